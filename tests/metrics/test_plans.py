"""Plans: each connection that is due, once, and no more than can be synced in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from tests.metrics.connected import one_account
from tests.metrics.world import World
from workers.metrics.planning import LEASE_SECONDS, plan_syncs
from workers.metrics.platforms import MAPPING_KEYS


def test_a_plan_is_not_made_twice(world: World) -> None:
    connection, _ = one_account(world)
    sync_requests, plan = world.plan()
    assert world.sync_requests_for(sync_requests, connection) == sync_requests != []
    assert plan.planned == 1
    again, second = world.plan()
    assert (again, second.in_flight) == ([], 1)
    world.later(timedelta(seconds=LEASE_SECONDS - 1))
    assert world.plan()[0] == []
    world.later(timedelta(seconds=1))
    assert len(world.plan()[0]) == 1, "a lost message costs one lease"


def test_only_what_is_due_is_planned(world: World) -> None:
    world.connect_meta("1001")
    fresh = world.connect_meta("1002", frequency=60)
    inactive = world.connect_meta("1003")
    world.connection.execute(
        "update platform_connections set last_synced_at = %s where id = %s",
        (world.now - timedelta(minutes=59), fresh),
    )
    world.remember(fresh, whole_read_at=world.now - timedelta(minutes=59))
    world.connection.execute(
        "update platform_connections set is_active = false where id = %s", (inactive,)
    )
    assert {one.account_id for one in world.plan()[0]} == {"1001"}
    world.later(timedelta(minutes=1))
    assert {one.account_id for one in world.plan()[0]} == {"1002"}


def test_a_thousand_connections_are_planned_as_fast_as_they_can_be_synced(world: World) -> None:
    world.connection.execute(
        "insert into platform_connections (platform, account_id, credentials) "
        "select 'meta', 'act_' || number, '{}' from generate_series(1, 1000) number"
    )
    calls: list[str] = []
    call = world.database.call

    def counted(function: str, **arguments: Any) -> Any:
        calls.append(function)
        return call(function, **arguments)

    world.database.call = counted  # type: ignore[method-assign]
    planned: set[str] = set()
    passes = 0
    while len(planned) < 1000:
        sync_requests, plan = world.plan(concurrency=10)
        passes += 1
        assert len(calls) <= 20
        calls.clear()
        # at half a minute each, ten side by side do 400 within a lease less the longest sync
        assert plan.planned == len(sync_requests) <= 400
        assert plan.left == 1000 - len(planned) - len(sync_requests)
        assert not planned & {one.account_id for one in sync_requests}
        assert world.plan(concurrency=10)[0] == []
        planned |= {one.account_id for one in sync_requests}
        world.connection.execute(
            "update metric_accounts set leased_until = null, token = null, whole_read_at = %s;"
            "update platform_connections set last_synced_at = %s where "
            "metric_account_id(account_id) in (select account_id from metric_accounts)".replace(
                "%s", f"'{world.now.isoformat()}'"
            )
        )
        calls.clear()
    assert passes == 3


def test_what_could_not_be_sent_is_planned_again_at_once(world: World) -> None:
    connection, _ = one_account(world)

    class Refusing:
        def send(self, bodies: Any) -> list[int]:
            return list(range(len(bodies)))

    plan = plan_syncs(world.database, Refusing(), MAPPING_KEYS, 10)
    assert (plan.planned, plan.unsent, plan.left) == (0, 1, 1)
    assert len(world.sync_requests_for(world.plan()[0], connection)) == 1


def test_eight_planners_at_once_plan_each_connection_once(world: World) -> None:
    for number in range(40):
        world.connect_meta(f"1{number:03}")
    with ThreadPoolExecutor(8) as pool:
        plans = list(pool.map(lambda _: world.plan()[0], range(8)))
    ids = [one.account_id for planned in plans for one in planned]
    assert len(ids) == len(set(ids))
    world.later(timedelta(seconds=0))
    assert len(ids) + len(world.plan()[0]) == 40


def test_a_second_planner_at_the_same_moment_plans_nothing(world: World) -> None:
    """Otherwise both would use up the same room."""
    one_account(world)
    plan = "select plan_metric_syncs(10, '15 minutes', '5 minutes', %s)"
    with world.api.connect() as other, other.transaction():
        other.execute(plan, (world.now,))
        sync_requests, plan = world.plan()
        assert (sync_requests, plan.planned, plan.left) == ([], 0, 0)
    assert world.plan()[1].in_flight == 1
