"""What every ad platform must do: the same tests for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local import faults
from local.fakes.ad_facts import truth
from tests.metrics.catalogue import ERRORS, opened, response
from tests.metrics.sides import SIDES, Side
from tests.metrics.world import LOOK_BACK, TODAY, World
from workers.answers import Answer
from workers.errors import (
    ConnectionCredentialsError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.metrics.facts import AdDay
from workers.metrics.platforms import PLATFORMS
from workers.metrics.platforms.fetching import Reader
from workers.metrics.platforms.protocol import Connection
from workers.metrics.windows import Window

every_platform = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)


def test_every_platform_is_tested() -> None:
    assert set(SIDES) == set(ERRORS) == set(PLATFORMS)
    keys = [key for platform in PLATFORMS.values() for key in platform.mapping_keys.values()]
    assert len(set(keys)) == len(keys)


def reader(world: World, connection_id: str) -> Reader:
    (row,) = world.rows(
        "select id::text, platform, account_id, account_name, credentials "
        "from platform_connections where id = %s",
        connection_id,
    )
    connection = Connection.from_answer(Answer("f", row))
    platform = PLATFORMS[connection.platform].open(connection, world.settings)
    return Reader(platform, world.session, world.clock, world.clock.now() + 3600, lambda: 0.5)


def split(whole: Window, width: int) -> Iterator[Window]:
    left: Window | None = whole
    while left is not None:
        window = left.newest(width)
        yield window
        rest = window.since - timedelta(days=1)
        left = Window(left.since, rest) if rest >= left.since else None


def keys_of(rows: list[AdDay]) -> list[tuple[date, str, str, str]]:
    return [row.key for row in rows]


@every_platform
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ads=st.integers(0, 9), page=st.integers(1, 300), width=st.integers(1, 30))
def test_pages_end_and_have_each_row_once_however_they_are_split(
    world: World, side: Side, ads: int, page: int, width: int
) -> None:
    side.put_account(world, ad_count=ads)
    if side.small_pages:
        side.server(world).app.configure({side.small_pages: page})
    whole = Window(TODAY - timedelta(days=LOOK_BACK), TODAY)
    found = reader(world, side.connect(world))
    account = found.account()
    before = found.requests

    rows = []
    for window in split(whole, width):
        read = [row for page in found.pages(window, 1000) for row in page.rows]
        assert all(row.day in window for row in read)
        rows += read

    state = side.server(world).app.state()["accounts"][side.account_id]
    expected = {
        (side.ad_id(number), day): facts
        for number in range(1, ads + 1)
        for day in whole.days
        if (facts := truth(side.account_id, state, side.ad_id(number), day)) is not None
    }
    assert len(set(keys_of(rows))) == len(rows)
    assert sorted((row.ad_id, row.day) for row in rows) == sorted(expected)
    for row in rows:
        facts = expected[row.ad_id, row.day]
        assert row.measures["impressions"] == facts.impressions
        assert row.measures["clicks"] == facts.clicks
        assert isinstance(row.measures["spend"], Decimal)
        assert abs(row.spend - facts.spend) < Decimal("1e-12")
        assert row.measures.get("reach") in (facts.reach, None)
        assert row.campaign_id
        assert row.ad_group_id
        assert row.currency in (account.currency, None)
    assert found.requests - before <= 2 * 31 + len(rows)


@every_platform
def test_no_window_is_longer_than_the_platform_allows(world: World, side: Side) -> None:
    side.put_account(world, ad_count=1)
    connection = side.connect(world)
    world.remember(connection, window_days=400)
    longest = PLATFORMS[side.name].longest_window or 400
    assert world.sync_all()[connection].status == "success"
    for since, until in world.last_log(connection)["details"]["windows"]:
        assert Window(date.fromisoformat(since), date.fromisoformat(until)).width <= longest


@every_platform
def test_figures_are_those_of_the_accounts_own_days(world: World, side: Side) -> None:
    side.put_account(world, ad_count=4, time_zone="Pacific/Kiritimati")
    connection = side.connect(world)
    served = {
        world.request(**{side.mapping_key: side.ad_id(1)}): [side.served(1)],
        world.request(**{side.mapping_key: [side.ad_id(2), int(side.ad_id(3))]}): [
            side.served(2),
            side.served(3),
        ],
    }

    assert world.sync_all()[connection].status == "success"

    details = world.last_log(connection)["details"]
    # fourteen hours ahead it is tomorrow already
    today = TODAY if details["time_zone"] == "UTC" else TODAY + timedelta(days=1)
    assert details["window"] == [f"{today - timedelta(days=LOOK_BACK)}", f"{today}"]
    assert details["unmatched_ads"] == 1
    assert details["currency"] == "EUR"
    assert world.figures(side.name) == world.expected(served, today=today)


@every_platform
def test_a_second_sync_stores_nothing_new_and_a_restated_day_changes(
    world: World, side: Side
) -> None:
    side.put_account(world, ad_count=3)
    connection = side.connect(world)
    served = {world.request(**{side.mapping_key: side.ad_id(1)}): [side.served(1)]}
    world.sync_all()
    world.sync_again()
    log = world.last_log(connection)
    assert (log["metrics_created"], log["metrics_updated"]) == (0, 0)

    day = max(day for (_, day, kind) in world.figures(side.name) if kind == "cpc")
    key, figures = f"{side.ad_id(1)}/{day}", {"impressions": 77, "clicks": 7, "spend": "7.77"}
    gone = f"{side.ad_id(1)}/{min(day for (_, day, _) in world.figures(side.name))}"
    side.put_account(world, ad_count=3, restated={key: {**figures, "reach": 70}}, vanished=[gone])
    world.sync_again()
    assert world.figures(side.name) == world.expected(served)


@every_platform
def test_every_catalogued_error_has_its_class(side: Side) -> None:
    for body, status, kind in ERRORS[side.name]:
        error = opened(side.name).classify(response(body, status))
        assert type(error) is kind, (body, status)
        assert error.code
        assert str(error)
    kinds = [kind for _, _, kind in ERRORS[side.name]]
    for needed in (
        TransientError,
        RateLimitedError,
        PermanentError,
        ConnectionCredentialsError,
        UnknownError,
    ):
        assert any(issubclass(kind, needed) for kind in kinds), needed


@every_platform
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 503])
def test_a_web_page_is_never_rows(world: World, side: Side, status: int) -> None:
    side.put_account(world, ad_count=1)
    found = reader(world, side.connect(world))
    found.account()
    side.server(world).faults.add(faults.failing(status, path=side.path, times=None))
    with pytest.raises(WorkerError):
        list(found.pages(Window(TODAY, TODAY), 1000))


@every_platform
@pytest.mark.parametrize(
    "fault", [faults.failing(503), faults.reset(), faults.close(), faults.truncate()],
    ids=lambda fault: fault.how,
)  # fmt: skip
def test_a_passing_failure_costs_nothing(world: World, side: Side, fault: faults.Fault) -> None:
    side.put_account(world, ad_count=2)
    connection = side.connect(world)
    served = {world.request(**{side.mapping_key: side.ad_id(1)}): [side.served(1)]}
    side.server(world).faults.add(fault)
    assert world.sync_all()[connection].status == "success"
    assert world.figures(side.name) == world.expected(served)


@every_platform
def test_no_token_is_shown_anywhere(
    world: World, side: Side, capfd: pytest.CaptureFixture[str]
) -> None:
    side.put_account(world, ad_count=2)
    connection = side.connect(world)
    world.request(**{side.mapping_key: side.ad_id(1)})
    server = side.server(world)
    reports = [world.sync_all()]
    secrets = (*side.secrets, *server.app.state().get("access_tokens", {}))
    for secret in secrets:
        server.faults.clear()
        server.faults.add(side.quoting(f"{secret} is wrong: access_token={secret}&x=1"))
        world.connection.execute("update metric_accounts set not_before = null")
        reports.append(world.sync_again())
        assert reports[-1][connection].status == "failed"

    printed = capfd.readouterr()
    asked = [f"{one['path']}?{one['query']}" for one in server.journal.listing()]
    logs = world.rows("select * from metric_sync_logs")
    states = world.rows("select * from metric_accounts, metric_connection_states")
    assert str(logs).count("[redacted]") >= len(secrets)
    for text in (str(asked), printed.out, printed.err, str(logs), str(states), str(reports)):
        for secret in secrets:
            assert secret not in text


@pytest.mark.parametrize("how", ["refused", "reset", "server error"])
@every_platform
def test_a_broken_connection_leaves_the_others_complete(world: World, side: Side, how: str) -> None:
    served: dict[str, dict[str, Any]] = {}
    connections = {}
    for name, one in SIDES.items():
        one.put_account(world, ad_count=3)
        connections[name] = one.connect(world)
        request = world.request(**{one.mapping_key: [one.ad_id(1), one.ad_id(2)]})
        served[name] = {request: [one.served(1), one.served(2)]}
    made = {
        "refused": side.refused,
        "reset": lambda: faults.reset(path=side.path, times=None),
        "server error": lambda: faults.failing(503, path=side.path, times=None),
    }
    side.server(world).faults.add(made[how]())

    sync_requests, plan = world.plan()
    assert plan.planned == len(SIDES)
    reports = {
        str(report.connection_id): report
        for report in (world.sync(sync_request) for sync_request in sync_requests)
    }

    for name, connection in connections.items():
        log = world.last_log(connection)
        if name == side.name:
            assert log["status"] == reports[connection].status == "failed"
            assert reports[connection].is_parked == (how == "refused")
            assert log["details"]["code"]
            assert world.figures(name) == {}
            assert world.last_synced_at(connection) is None
        else:
            assert log["status"] == reports[connection].status == "success"
            assert world.figures(name) == world.expected(served[name])
            assert world.last_synced_at(connection) is not None

    side.server(world).faults.clear()
    world.connection.execute("update metric_connection_states set parked_at = null")
    world.later(timedelta(hours=7))
    world.sync_all()
    assert world.figures(side.name) == world.expected(served[side.name])


@every_platform
def test_a_name_that_dns_does_not_resolve_is_transient(world: World, side: Side) -> None:
    side.put_account(world, ad_count=1)
    connection = side.connect(world)
    world.request(**{side.mapping_key: side.ad_id(1)})
    usual, url = world.settings, side.server(world).url
    lost = {
        name: value.replace(url, "http://nowhere.invalid")
        for name, value in asdict(usual).items()
        if isinstance(value, str)
    }
    world.settings = replace(usual, **lost)
    assert world.sync_all()[connection].code == "ConnectionError"
    assert world.last_log(connection)["status"] == "failed"

    world.settings = usual
    world.later(timedelta(minutes=10))
    assert world.sync_all()[connection].status == "success"


def test_one_request_may_have_ads_on_every_platform(world: World) -> None:
    names: dict[str, str] = {}
    for one in SIDES.values():
        one.put_account(world, ad_count=1)
        one.connect(world)
        names[one.mapping_key] = one.ad_id(1)
    request = world.request(**names)
    assert {report.status for report in world.sync_all().values()} == {"success"}
    for name, one in SIDES.items():
        assert world.figures(name) == world.expected({request: [one.served(1)]})
