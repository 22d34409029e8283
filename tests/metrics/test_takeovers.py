"""Syncs that are repeated, overtaken, killed or interrupted leave nothing half done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
import requests

from tests import forked
from tests.metrics.connected import META_AD, one_account, sync_request_for
from tests.metrics.sessions import SlowSession
from tests.metrics.world import TODAY, Served, World
from workers.errors import TransientError
from workers.metrics.planning import LEASE_SECONDS
from workers.metrics.sync import ConnectionSync
from workers.metrics.sync_requests import SyncRequest

STEPS = tuple(
    f"{when} {step}"
    for step in (
        "begin_metric_sync 1",
        "account 1",
        "load_named_ads 1",
        "insights 1",
        "insights 2",
        "check_account_days 1",
        "compare_metric_days 1",
        "store_metric_days 1",
        "derive_account_days 1",
        "mark_metric_days 1",
        "insights 3",
        "insights 4",
        "compare_metric_days 2",
        "store_metric_days 2",
        "derive_account_days 2",
        "mark_metric_days 2",
        "store_unnamed_ads 1",
        "forget_unnamed_ads 1",
        "end_metric_sync 1",
    )
    for when in ("before", "after")
)


# What only some syncs do.
RARE_CALLS = (
    "stage_metric_rows", "leave_out_metric_days", "read_by_connection", "drop_metric_plans"
)  # fmt: skip
RARE_STEPS = tuple(f"{when} {call} 1" for call in RARE_CALLS for when in ("before", "after"))


def test_a_repeated_message_does_nothing(world: World) -> None:
    connection, _ = one_account(world)
    sync_request = sync_request_for(world, connection)
    assert world.sync(sync_request).status == "success"
    requests_before = world.meta.journal.count()
    assert world.sync(sync_request).status == "stale"
    assert world.meta.journal.count() == requests_before
    assert len(world.logs()) == 1


def test_of_two_identical_requests_at_once_one_syncs(world: World) -> None:
    connection, served = one_account(world)
    sync_request = sync_request_for(world, connection)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: world.sync(sync_request), range(4)))
    assert sorted(report.status for report in reports) == ["stale", "stale", "stale", "success"]
    assert len(world.logs()) == 1
    assert world.figures() == world.expected(served)


def test_a_sync_that_was_taken_over_no_longer_writes(world: World) -> None:
    connection, _ = one_account(world)
    sync_request = sync_request_for(world, connection)

    class Takeover(SlowSession):
        """While the first request is in flight, another sync gets the connection."""

        def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
            if "insights" in str(url):
                world.connection.execute("update metric_accounts set token = gen_random_uuid()")
            return super().request(method, url, **rest)

    with Takeover(world, 1.0) as session:
        world.session = session
        assert world.sync(sync_request).status == "lost"
    assert world.rows("select 1 from ad_metrics") == []
    assert world.figures() == {}
    assert world.last_synced_at(connection) is None


def test_a_sync_that_was_taken_over_at_its_end_is_not_a_success(world: World) -> None:
    connection, _ = one_account(world)
    sync_request = sync_request_for(world, connection)
    call = world.database.call

    def overtaken(function: str, **arguments: Any) -> Any:
        if function == "end_metric_sync":
            world.connection.execute("update metric_accounts set token = gen_random_uuid()")
        return call(function, **arguments)

    world.database.call = overtaken  # type: ignore[method-assign]
    assert world.sync(sync_request).status == "lost"
    assert world.last_synced_at(connection) is None
    assert world.last_log(connection)["status"] == "in_progress"
    assert world.state(connection)["token"] is not None, "the other one still has it"


def test_connections_of_one_request_at_once_end_with_the_whole_sum(world: World) -> None:
    served = []
    for account in range(1001, 1007):
        world.meta_account(str(account), ads=[{"id": f"{META_AD}{account}", "name": "Film"}])
        world.connect_meta(str(account))
        served.append(Served("meta", str(account), f"{META_AD}{account}"))
    request = world.request(meta_ad_id=[ad.ad_id for ad in served])
    sync_requests, _ = world.plan()

    def sync(sync_request: SyncRequest) -> str:
        with requests.Session() as session:
            one = ConnectionSync(
                world.database, world.settings, world.clock, lambda _: session, lambda: 0.5
            )
            return one.run(sync_request, world.clock.now() + 280).status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(sync, sync_requests)) == {"success"}
    assert world.figures() == world.expected({request: served})


def with_more_ads(world: World) -> tuple[str, dict[str, list[Served]]]:
    """An account with an ad that no request names next to those that some do."""
    connection, served = one_account(world)
    ads = world.meta.app.state()["accounts"]["1001"]["ads"]
    world.change_account(world.meta, "1001", ads=[*ads, {"id": f"{META_AD}99", "name": "Other"}])
    return connection, served


def killed_sync(
    world: World, sync_request: SyncRequest, kill_at: str | None, **unusual: Any
) -> list[str]:
    """The steps that it took. `unusual`: as `killed_sync.py` says."""
    settings = {name: value for name, value in asdict(world.settings).items() if value is not None}
    parameters = {
        "settings": settings,
        "as_of": world.now.isoformat(),
        "body": sync_request.body(),
        "kill_at": kill_at,
        **unusual,
    }
    return forked.killed_run("tests.metrics.killed_sync", parameters)


def test_the_steps_are_those_of_a_sync(world: World) -> None:
    connection, _ = with_more_ads(world)
    *taken, ended = killed_sync(world, sync_request_for(world, connection), None)
    assert ended == "ended success"
    assert set(taken) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_the_next_plan_after_the_lease_finishes_it(world: World, step: str) -> None:
    connection, served = with_more_ads(world)
    sync_request = sync_request_for(world, connection)
    assert killed_sync(world, sync_request, step)[-1] == step
    expected = world.expected(served)
    for key, value in world.figures().items():
        assert expected[key] == value, "nothing half-done is shown"

    world.later(timedelta(seconds=LEASE_SECONDS))
    if step == "after end_metric_sync 1":
        assert world.last_log(connection)["status"] == "success"
    else:
        sync_requests, plan = world.plan()
        assert world.sync_requests_for(sync_requests, connection) == sync_requests
        assert plan.orphans == (step != "before begin_metric_sync 1")
        assert world.sync(sync_requests[0]).status == "success"
    assert world.figures() == expected
    assert {log["status"] for log in world.logs()} <= {"success", "failed"}


@pytest.mark.parametrize("step", RARE_STEPS)
def test_after_a_kill_at_a_rare_step_the_next_sync_is_complete(world: World, step: str) -> None:
    connection, served = one_account(world)
    unusual: dict[str, Any] = {}
    pause = "insert into metric_platform_pauses values ('meta', '42', %s, 'an hour')"
    if "stage_metric_rows" in step:
        unusual["store_rows"] = 3
    if "leave_out_metric_days" in step:
        day = TODAY - timedelta(days=10)
        odd = {f"{META_AD}00/{day}": {"impressions": 4, "spend": "1E25"}}
        world.change_account(world.meta, "1001", restated=odd)
    if "read_by_connection" in step:
        refused = world.connect_meta("1001", credentials={"access_token": "EAALOCALrefused1"})
        world.connection.execute(
            "update platform_connections set created_at = created_at - interval '1 day' "
            "where id = %s",
            (refused,),
        )
    sync_request = sync_request_for(world, connection)
    if "drop_metric_plans" in step:
        world.connection.execute(pause, (world.now + timedelta(hours=1),))
    assert killed_sync(world, sync_request, step, **unusual)[-1] == step
    world.change_account(world.meta, "1001", restated={})
    expected = world.expected(served)
    for key, value in world.figures().items():
        assert expected[key] == value, "nothing half-done is shown"

    # the lease and the pause are over, and the day is tried again
    world.later(timedelta(hours=2))
    assert [report.status for report in world.sync_all().values()] == ["success"]
    assert world.figures() == world.expected(served)
    world.plan()
    assert world.rows("select 1 from metric_staged_rows") == []


def test_a_database_failure_is_raised(world: World) -> None:
    connection, _ = one_account(world)
    sync_request = sync_request_for(world, connection)
    call = world.database.call

    def failing(function: str, **arguments: Any) -> Any:
        if function == "store_metric_days":
            raise TransientError("the database is away", code="57P03")
        return call(function, **arguments)

    world.database.call = failing  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="the database is away"):
        world.sync(sync_request)
    log = world.last_log(connection)
    assert (log["status"], log["details"]["code"]) == ("failed", "57P03")
    assert world.last_synced_at(connection) is None
    assert world.state(connection)["not_before"] is None, "the next plan tries again"
    world.later(timedelta(minutes=10))
    with pytest.raises(TransientError):
        world.sync(sync_request_for(world, connection))
    assert world.state(connection)["not_before"] == world.now + timedelta(minutes=20)
