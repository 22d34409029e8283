"""A lasting failure is reported once, with account and reason, and so is its end."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from local.fakes.meta import graph_error, token_expired
from tests.metrics.platform_calls import INSIGHTS
from tests.metrics.sessions import Spoilt
from tests.metrics.world import SECRETS, TODAY, World
from workers.metrics.ledger import LEASE
from workers.notifications.rendering import render

REFUSED = {"access_token": "EAALOCALofYesterday000001"}
GOOD = {"access_token": SECRETS[0], "app_secret": SECRETS[1]}
BAD_DAY = TODAY - timedelta(days=10)
PATH = INSIGHTS["path"]
DOWN = graph_error(1, 99, "An unknown error occurred", status=500, path=PATH, times=None)


@pytest.fixture(autouse=True)
def config(world: World) -> str:
    return world.agency.config(
        "C0OPERATORS", entity_type="platform_connection", event_type="sync_failed", template=None
    )


def account(world: World, **values: Any) -> str:
    world.meta_account("1001", ads=[])
    return world.connect_meta("1001", account_name="Nordlys", **values)


def notices(world: World) -> list[str]:
    """The plain lines, oldest first, without the time of the failure."""
    lines = []
    for row in world.rows("select event_data from notification_queue order by created_at, ctid"):
        data = {key: value for key, value in row["event_data"].items() if key != "failed_since"}
        lines.append(render(None, data, event_type="sync_failed").text)
    return lines


def store(world: World, connection: str, credentials: dict[str, str]) -> None:
    world.connection.execute(
        "update platform_connections set credentials = jsonb_object(%s, %s) where id = %s",
        (list(credentials), list(credentials.values()), connection),
    )


WELL = "Sync works again: Meta: Nordlys (act_1001) — It works again."


def test_refused_credentials(world: World) -> None:
    connection = account(world, credentials=REFUSED)
    assert world.sync_all()[connection].is_parked
    (line,) = notices(world)
    assert line.startswith("Sync failed: Meta: Nordlys (act_1001) — ")
    assert "token" in line
    store(world, connection, {"access_token": "EAALOCALofYesterday000002"})
    assert world.sync_all()[connection].is_parked
    assert len(notices(world)) == 2, "another token, refused as well"
    store(world, connection, GOOD)
    for _ in range(2):
        assert world.sync_again()[connection].status == "success"
    assert notices(world)[2:] == [WELL]


def test_of_connections_that_share_a_token_the_last_one_reports_the_recovery(world: World) -> None:
    first = account(world, credentials=REFUSED)
    world.meta_account("1002", ads=[])
    second = world.connect_meta("1002", credentials=REFUSED, account_name="Café")
    world.sync_all()
    (line,) = notices(world)
    assert "2 connections" in line
    for connection in (first, second):
        assert len(notices(world)) == 1
        store(world, connection, GOOD)
        assert world.sync_all()[connection].status == "success"
    (_, line) = notices(world)
    assert line.startswith("Sync works again: Meta: ")
    world.next_day()
    world.sync_all()
    assert len(notices(world)) == 2


def test_the_recovery_of_a_released_connection_is_reported(world: World) -> None:
    connection = account(world)
    world.meta.faults.add(token_expired(path=PATH, times=None))
    assert world.sync_all()[connection].is_parked
    world.meta.faults.clear()
    world.rows("select release_connections(%s, %s)", connection, world.now)
    assert world.sync_again()[connection].status == "success"
    assert notices(world)[1:] == [WELL]


def test_failing_for_a_day(world: World) -> None:
    connection = account(world)
    assert world.sync_all()[connection].status == "success"
    world.next_day()
    world.meta.faults.add(DOWN)
    for hours in range(0, 24, 6):
        assert world.sync_again()[connection].status == "failed"
        assert notices(world) == [], f"after {hours} hours"
        world.later(timedelta(hours=6))
    for _ in range(3):
        assert world.sync_again()[connection].status == "failed"
        world.later(timedelta(hours=6))
    (line,) = notices(world)
    assert line.startswith("Sync failed: Meta: Nordlys (act_1001) — ")
    assert "unknown error" in line
    world.meta.faults.clear()
    for _ in range(2):
        assert world.sync_again()[connection].status == "success"
    assert notices(world)[1:] == [WELL]
    (last,) = world.rows(
        "select event_data from notification_queue order by created_at desc limit 1"
    )
    assert last["event_data"]["failed_since"] is not None


def test_syncs_that_are_killed_for_a_day(world: World) -> None:
    connection = account(world)
    for _ in range(6):
        (sync_request,), _ = world.plan()
        begun = world.database.call(
            "begin_metric_sync", plan_token=sync_request.token, token=str(uuid.uuid4()), lease=LEASE
        )
        assert begun["sync_id"]
        world.later(timedelta(hours=6))
    (line,) = notices(world)
    assert line.startswith(
        "Sync failed: Meta: Nordlys (act_1001) — The sync ended without a result"
    )
    assert world.sync_all()[connection].status == "success"
    assert notices(world)[1:] == [WELL]


def test_a_short_failure_is_not_reported(world: World) -> None:
    connection = account(world)
    for _ in range(3):
        world.meta.faults.add(DOWN)
        assert world.sync_again()[connection].status == "failed"
        world.meta.faults.clear()
        world.later(timedelta(hours=12))
        assert world.sync_again()[connection].status == "success"
        world.later(timedelta(hours=12))
    assert notices(world) == []


def test_days_that_cannot_be_read(world: World) -> None:
    connection = account(world)
    body = graph_error(1, 99).body
    with Spoilt(lambda days: (500, body) if BAD_DAY in days else None) as session:
        world.session, usual = session, world.session
        for _ in range(3):
            assert world.sync_again()[connection].code == "days_left_out"
            world.later(timedelta(hours=1))
    (line,) = notices(world)
    assert line.startswith("Sync incomplete: Meta: Nordlys (act_1001) — 1 days could not be read")
    assert f"{BAD_DAY}" in line
    world.session = usual
    world.later(timedelta(days=1))
    for _ in range(2):
        assert world.sync_again()[connection].status == "success"
    assert notices(world)[1:] == [WELL]


def test_recoveries_go_to_their_own_config_where_there_is_one(world: World, config: str) -> None:
    other = world.agency.config(
        "C0OPERATORS", entity_type="platform_connection", event_type="sync_recovered"
    )
    connection = account(world, credentials=REFUSED)
    world.sync_all()
    store(world, connection, GOOD)
    world.sync_all()
    rows = world.rows(
        "select config_id::text, event_data from notification_queue order by created_at, ctid"
    )
    assert [row["config_id"] for row in rows] == [config, other]
    assert [row["event_data"]["state"] for row in rows] == ["failed", "recovered"]
    assert "EAALOCAL" not in str(rows)
