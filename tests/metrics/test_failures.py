"""Each failure of a platform ends in its own log state, and costs no other account a sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from local import faults
from local.fakes.google_ads import google_error, invalid_grant
from local.fakes.linkedin import linkedin_error
from local.fakes.meta import (
    account_throttled,
    app_throttled,
    graph_error,
    token_expired,
    too_much_data,
)
from local.fakes.tiktok import tiktok_error
from tests.metrics.connected import (
    LINKEDIN,
    META_AD,
    linkedin_ads,
    meta_and_google,
    only_failed,
    tiktok_ads,
)
from tests.metrics.platform_calls import ANALYTICS, INSIGHTS, REPORT, STREAM
from tests.metrics.world import SECRETS, Served, World


def hide_no_secret(world: World) -> None:
    for row in world.rows("select * from metric_sync_logs"):
        for secret in SECRETS:
            assert secret not in str(row)


@dataclass(frozen=True)
class Case:
    name: str
    spoil: Callable[[World], None]
    account: str
    code: str
    not_before: float | None = None
    is_parked: bool = False
    paused: str | None = None


def meta(fault: faults.Fault) -> Callable[[World], None]:
    return lambda world: world.meta.faults.add(fault)


def google(fault: faults.Fault) -> Callable[[World], None]:
    return lambda world: world.google.faults.add(fault)


CASES = [
    Case("token expired", meta(token_expired(**INSIGHTS)), "1001", "190/463", is_parked=True),
    Case(
        "account throttled",
        meta(account_throttled(7, account_id="1001", **INSIGHTS)),
        "1001", "17/2446079", not_before=7 * 60,
    ),
    Case(
        "account throttled, by use case",
        meta(account_throttled(47, account_id="1001", code=80004, **INSIGHTS)),
        "1001", "80004/2446079", not_before=47 * 60,
    ),
    Case("server error", meta(faults.failing(502, **INSIGHTS)), "1001", "http_502"),
    Case("web page", meta(faults.failing(200, **INSIGHTS)), "1001", "not_json"),
    Case("truncated", meta(faults.truncate(**INSIGHTS)), "1001", "ProtocolError"),
    Case("reset", meta(faults.reset(**INSIGHTS)), "1001", "ConnectionError"),
    Case("unknown error", meta(graph_error(987, 654, **INSIGHTS)), "1001", "987/654"),
    Case("permission", meta(graph_error(200, **INSIGHTS)), "1001", "200"),
    Case("redirect", meta(faults.redirect("http://127.0.0.1:9/", **INSIGHTS)), "1001", "http_302"),
    Case(
        "too much for one day", meta(too_much_data(**INSIGHTS)), "1001", "100/1487534"
    ),
    Case(
        "refresh token revoked",
        google(invalid_grant(contains="refresh-test-43", times=None)),
        "5000000001", "invalid_grant", is_parked=True,
    ),
    Case(
        "short quota",
        google(google_error(
            "quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", 429, "Too many", "137.5s", **STREAM
        )),
        "5000000001", "RESOURCE_TEMPORARILY_EXHAUSTED", not_before=137.5,
    ),
    Case(
        "truncated stream",
        google(faults.truncate(**STREAM)), "5000000001", "ProtocolError",
    ),
    Case("web page for a stream", google(faults.failing(200, **STREAM)), "5000000001", "not_json"),
    Case("gateway", google(faults.failing(503, **STREAM)), "5000000001", "http_503"),
    Case(
        "no access",
        google(google_error("authorizationError", "USER_PERMISSION_DENIED", 403, **STREAM)),
        "5000000001", "USER_PERMISSION_DENIED",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_failure_is_recorded_and_the_others_are_complete(world: World, case: Case) -> None:
    connections = meta_and_google(world)
    if case.code == "invalid_grant":  # tokens are per connection; let this one have its own
        world.connection.execute(
            "update platform_connections "
            "set credentials = jsonb_set(credentials, '{refresh_token}', '\"1//refresh-test-43\"') "
            "where id = %s",
            (connections["5000000001"],),
        )
    case.spoil(world)

    world.sync_all()

    only_failed(world, connections, case.account)
    connection = connections[case.account]
    log = world.last_log(connection)
    assert log["details"]["code"] == case.code
    assert log["error_message"]
    assert log["end_time"] is not None
    state = world.state(connection)
    assert (state["parked_at"] is not None) == case.is_parked
    waited = state["not_before"] and (state["not_before"] - log["end_time"]).total_seconds()
    assert waited == case.not_before
    hide_no_secret(world)


@pytest.mark.parametrize(
    "fault",
    [
        graph_error(2, None, "Service temporarily unavailable", status=500, is_transient=True),
        graph_error(1, 99, "An unknown error occurred", status=500),
        faults.failing(503),
        faults.reset(),
        faults.close(),
        faults.truncate(),
    ],
    ids=lambda fault: f"{fault.how} {fault.status} {fault.body[:20]}",
)
def test_a_passing_failure_is_retried(world: World, fault: faults.Fault) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film"}])
    connection = world.connect_meta("1001")
    request = world.request(meta_ad_id=META_AD)
    world.meta.faults.add(fault)
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected({request: [Served("meta", "1001", META_AD)]})


def test_the_list_shows_what_a_connection_waits_for(world: World) -> None:
    connections = meta_and_google(world)

    def listed(account: str) -> tuple[Any, ...]:
        (row,) = world.rows(
            "select * from jsonb_to_recordset(list_connections(%s)) as listed "
            '(id uuid, state text, "until" timestamptz, reason text) where id = %s',
            world.now, connections[account],
        )  # fmt: skip
        return row["state"], row["until"], row["reason"]

    assert listed("1002") == ("active", None, None)
    world.meta.faults.add(token_expired(**INSIGHTS))
    world.sync_all()
    assert listed("1001")[:2] == ("parked", None)
    assert "190" in listed("1001")[2]

    world.meta.faults.clear()
    world.meta.faults.add(app_throttled(**INSIGHTS))
    world.connection.execute(
        "update platform_connections set credentials = credentials || '{\"other\": 1}'"
    )
    assert listed("1001")[0] == "active", "with other credentials it is tried again"
    assert world.sync_all()[connections["1001"]].code == "4"
    for account in ("1001", "1002"):
        state, until, reason = listed(account)
        assert state == "waiting"
        assert until > world.now
        assert "refused the request with 4" in reason
    assert listed("5000000001") == ("active", None, None)


def test_failures_in_a_row_are_tried_less_often(world: World) -> None:
    world.meta_account("1001")
    connection = world.connect_meta("1001")
    world.meta.faults.add(graph_error(200, **INSIGHTS))
    waits = []
    for _ in range(8):
        world.sync_all()
        state = world.state(connection)
        waits.append(((state["not_before"] or world.now) - world.now).total_seconds() / 60)
        world.later(timedelta(minutes=waits[-1] + 1))
    assert waits == [0, 20, 40, 80, 160, 320, 360, 360]
    world.meta.faults.clear()
    assert world.sync_all()[connection].status == "success"
    assert world.state(connection)["failures"] == 0


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"platform": "snapchat"}, "unknown_platform"),
        ({"account_id": "my account"}, "malformed_account_id"),
        ({"credentials": {}}, "credentials_incomplete"),
        ({"credentials": ["a list"]}, "credentials_incomplete"),
        ({"account_id": None}, "malformed_account_id"),
    ],
)
def test_a_connection_that_cannot_work_is_recorded_with_its_error(
    world: World, values: dict[str, object], code: str
) -> None:
    connections = meta_and_google(world)
    broken = world.connect_meta("1003", **values)
    world.sync_all()
    log = world.last_log(broken)
    assert (log["status"], log["details"]["code"]) == ("failed", code)
    if code == "unknown_platform":
        assert "snapchat" in log["error_message"]
    for connection in connections.values():
        assert world.last_log(connection)["status"] == "success"


@pytest.mark.parametrize(
    ("fault", "is_parked"),
    [
        (tiktok_error(40105, "revoked", times=None), True),
        (tiktok_error(40001, "no permission", times=None), False),
        (tiktok_error(40002, "start_date", **REPORT), False),
        (tiktok_error(50000, "system error", **REPORT), False),
        (tiktok_error(88888, "of tomorrow", **REPORT), False),
    ],
    ids=lambda value: value.body[9:14] if isinstance(value, faults.Fault) else None,
)
def test_a_tiktok_error_with_status_200_is_not_a_success(
    world: World, fault: faults.Fault, is_parked: bool
) -> None:
    connection, _ = tiktok_ads(world)
    world.tiktok.faults.add(fault)
    report = world.sync_all()[connection]
    assert (report.status, report.is_parked) == ("failed", is_parked)
    assert f'"code": {report.code}' in fault.body
    assert fault.body[0] == "{"
    hide_no_secret(world)


def test_an_advertiser_that_the_token_does_not_reach_is_named(world: World) -> None:
    tiktok_ads(world)
    other = world.connect_tiktok("7000000000000000002")
    report = world.sync_all()[other]
    assert (report.status, report.code) == ("failed", "40001")


def test_a_linkedin_account_without_access_is_distinguished_from_one_without_activity(
    world: World,
) -> None:
    idle = world.connect_linkedin(LINKEDIN)
    world.linkedin_account(LINKEDIN)
    other = "507000043"
    world.linkedin_account(other, refresh_tokens=["of someone else"])
    denied = world.connect_linkedin(other)
    missing = world.connect_linkedin("507000044")
    reports = world.sync_all()
    assert reports[idle].status == "success"
    assert (reports[denied].status, reports[denied].code) == ("failed", "ACCESS_DENIED")
    assert (reports[missing].status, reports[missing].code) == ("failed", "NOT_FOUND")
    assert world.linkedin.journal.count("adAnalytics") > 0


def test_an_ended_version_is_named_with_its_fix(world: World) -> None:
    connection, _ = linkedin_ads(world)
    state = world.linkedin.app.state()
    world.linkedin.app.replace_state({**state, "versions": ["202801"]})
    report = world.sync_all()[connection]
    assert (report.status, report.code) == ("failed", "NONEXISTENT_VERSION")
    assert "LINKEDIN_API_VERSION" in world.last_log(connection)["error_message"]


def test_a_version_that_is_about_to_end_is_in_the_log(world: World) -> None:
    connection, _ = linkedin_ads(world)
    world.sync_all()
    assert "version_warning" not in world.last_log(connection)["details"]
    world.linkedin.app.configure({"now": "2027-06-01T12:00:00+00:00"})
    world.sync_again()  # its clock, not ours
    world.linkedin.app.configure({"now": "2027-06-01T12:00:00+00:00"})
    world.connection.execute("update platform_connections set last_synced_at = null")
    world.sync_all()
    assert "2027-07-15" in world.last_log(connection)["details"]["version_warning"]


@pytest.mark.parametrize(
    ("status", "code"), [(400, "PARAM_INVALID"), (500, "INTERNAL_SERVER_ERROR"), (409, "CONFLICT")]
)
def test_what_linkedin_refuses_is_recorded_with_its_own_code(
    world: World, status: int, code: str
) -> None:
    connection, _ = linkedin_ads(world)
    world.linkedin.faults.add(linkedin_error(status, code, **ANALYTICS))
    report = world.sync_all()[connection]
    assert (report.status, report.code, report.is_parked) == ("failed", code, False)
