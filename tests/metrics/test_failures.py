"""Each way in which a platform fails ends in its own log state, and costs nobody else a sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from local import faults
from local.fake_google_ads import google_error, invalid_grant, late_stream_error
from local.fake_meta import (
    account_throttled,
    app_throttled,
    business_usage,
    graph_error,
    token_expired,
    too_much_data,
)
from tests.metrics.world import SECRETS, Served, World

INSIGHTS = {"path": "act_1001/insights", "times": None}
STREAM = {"path": "customers/5000000001/googleAds:searchStream", "times": None}
META_AD = "23851000000000001"
GOOGLE_AD = "700000000001"


def meta_and_google(world: World) -> dict[str, str]:
    """Two accounts on each platform, each with an ad of a request of its own."""
    for account in ("1001", "1002"):
        world.meta_account(account, ads=[{"id": f"{META_AD}{account}", "name": "Film"}])
        world.request(meta_ad_id=f"{META_AD}{account}")
    for account in ("5000000001", "5000000002"):
        ad = {"id": f"{GOOGLE_AD}{account}", "name": "Banner", "ad_groups": ["1", "2"]}
        world.google_account(account, ads=[ad])
        world.request(google_ad_id=f"{GOOGLE_AD}{account}")
    return {
        "1001": world.connect_meta("1001"),
        "1002": world.connect_meta("1002"),
        "5000000001": world.connect_google("5000000001"),
        "5000000002": world.connect_google("5000000002"),
    }


def hide_no_secret(world: World) -> None:
    for row in world.rows("select * from metric_sync_logs"):
        for secret in SECRETS:
            assert secret not in str(row)


def only_failed(world: World, connections: dict[str, str], account: str) -> None:
    """That account's sync failed; the others are complete."""
    for other, connection in connections.items():
        status = world.last_log(connection)["status"]
        assert status == ("failed" if other == account else "success"), (other, status)
        assert (world.last_synced_at(connection) is None) == (other == account)


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
    Case("truncated", meta(faults.truncate(**INSIGHTS)), "1001", "ChunkedEncodingError"),
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
        google(faults.truncate(**STREAM)), "5000000001", "ChunkedEncodingError",
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


def test_an_app_throttle_pauses_the_platform_and_no_other(world: World) -> None:
    connections = meta_and_google(world)
    world.meta.faults.add(app_throttled(**INSIGHTS))
    world.sync_all()
    only_failed(world, connections, "1001")
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "meta"

    world.meta.faults.clear()
    world.connection.execute("update platform_connections set last_synced_at = null")
    planned = {order.connection_id for order in world.plan()[0]}
    assert planned == {connections["5000000001"], connections["5000000002"]}
    world.later(timedelta(minutes=30))
    planned = {order.connection_id for order in world.plan()[0]}
    assert connections["1001"] in planned


def test_a_daily_quota_pauses_google(world: World) -> None:
    meta_and_google(world)
    world.google.faults.add(
        google_error("quotaError", "RESOURCE_EXHAUSTED", 429, "Too many", "8962s", **STREAM)
    )
    world.sync_all()
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "google_ads"
    assert pause["paused_until"] > world.now + timedelta(seconds=8900)


def test_a_short_wait_is_waited_out(world: World) -> None:
    connections = meta_and_google(world)
    world.google.faults.add(
        google_error(
            "quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", 429, "", "2s", **{**STREAM, "times": 1}
        )
    )
    reports = world.sync_all()
    assert {report.status for report in reports.values()} == {"success"}
    assert world.clock.now() >= 2
    assert world.last_synced_at(connections["5000000001"]) is not None


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
def test_a_passing_trouble_is_tried_again(world: World, fault: faults.Fault) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film"}])
    connection = world.connect_meta("1001")
    request = world.request(meta_ad_id=META_AD)
    world.meta.faults.add(fault)
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected({request: [Served("meta", "1001", META_AD)]})


def test_a_late_error_in_a_stream_fails_the_sync(world: World) -> None:
    connections = meta_and_google(world)
    world.google.app.configure({"batch_size": 1, **late_stream_error(1, times=None)})
    world.sync_all()
    for account in ("5000000001", "5000000002"):
        log = world.last_log(connections[account])
        assert log["status"] == "failed"
        assert log["details"]["code"] == "INTERNAL_ERROR"
        assert world.last_synced_at(connections[account]) is None
    assert world.last_log(connections["1001"])["status"] == "success"
    assert world.figures("google_ads") == {}, "half of a window makes no figure"


def test_a_stream_that_breaks_off_once_is_read_in_smaller_pieces(world: World) -> None:
    connections = meta_and_google(world)
    world.google.app.configure({"batch_size": 1, **late_stream_error(3, times=1)})
    reports = world.sync_all()
    assert reports[connections["5000000001"]].status == "success"
    assert reports[connections["5000000002"]].status == "success"


def test_too_much_data_narrows_the_window(world: World) -> None:
    ads = [{"id": f"{META_AD}{number}", "name": f"Ad {number}"} for number in range(30)]
    world.meta_account("1001", ads=ads)
    connection = world.connect_meta("1001")
    served = {
        world.request(meta_ad_id=ad["id"]): [Served("meta", "1001", ad["id"])] for ad in ads[:5]
    }
    world.meta.app.configure({"max_rows": 30 * 4})
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected(served)
    widths = [(until, since) for since, until in world.last_log(connection)["details"]["windows"]]
    assert widths == sorted(widths, reverse=True), "newest first"


def test_too_large_pages_are_made_smaller(world: World) -> None:
    ads = [{"id": f"{META_AD}{number}", "name": f"Ad {number}"} for number in range(60)]
    world.meta_account("1001", ads=ads)
    connection = world.connect_meta("1001")
    request = world.request(meta_ad_id=ads[0]["id"])
    world.meta.app.configure({"max_limit": 125})
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected({request: [Served("meta", "1001", ads[0]["id"])]})


def test_a_limit_that_is_near_is_not_reached(world: World) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film"}])
    connection = world.connect_meta("1001")
    world.request(meta_ad_id=META_AD)
    world.meta.app.configure(
        {"usage": {"1001": {"X-Business-Use-Case-Usage": business_usage("1001", 93, 5)}}}
    )
    report = world.sync_all()[connection]
    assert (report.status, report.code) == ("failed", "limit_near")
    assert world.meta.journal.count("insights") == 0, "the account's own answer told it"
    assert world.state(connection)["not_before"] == world.now + timedelta(minutes=5)


def test_refused_credentials_are_told_once_and_tried_again_when_changed(world: World) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film"}])
    connection = world.connect_meta(
        "1001", credentials={"access_token": "EAALOCALofYesterday000001"}
    )
    config = world.agency.config(
        "C0OPERATORS", entity_type="platform_connection", event_type="sync_failed",
        template="{{account_name}}: {{error}}",
    )  # fmt: skip
    assert world.sync_all()[connection].is_parked
    (queued,) = world.rows("select * from notification_queue")
    assert str(queued["config_id"]) == config
    assert queued["event_data"]["account_name"] == "Connection to act_1001"
    assert "EAALOCAL" not in str(queued)

    for _ in range(3):
        world.next_day()
        assert world.plan()[0] == [], "parked"
    world.connection.execute(
        "update platform_connections set credentials = "
        "jsonb_build_object('access_token', %s::text, 'app_secret', %s::text) where id = %s",
        (SECRETS[0], SECRETS[1], connection),
    )
    assert world.sync_all()[connection].status == "success"
    assert world.state(connection)["parked_at"] is None
    assert len(world.rows("select 1 from notification_queue")) == 1


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
def test_a_connection_that_cannot_work_is_recorded_by_name(
    world: World, values: dict[str, object], code: str
) -> None:
    connections = meta_and_google(world)
    broken = world.connect_meta("1001", **values)
    world.sync_all()
    log = world.last_log(broken)
    assert (log["status"], log["details"]["code"]) == ("failed", code)
    if code == "unknown_platform":
        assert "snapchat" in log["error_message"]
    for connection in connections.values():
        assert world.last_log(connection)["status"] == "success"


def test_an_expired_access_token_is_renewed_once(world: World) -> None:
    world.google_account("5000000001", ads=[{"id": GOOGLE_AD, "name": "Banner"}])
    connection = world.connect_google("5000000001")
    world.google.faults.add(
        google_error("authenticationError", "OAUTH_TOKEN_EXPIRED", 401, **{**STREAM, "times": 1})
    )
    assert world.sync_all()[connection].status == "success"
    assert world.google.journal.count("/token") == 2

    world.later(timedelta(minutes=1))
    world.google.faults.add(
        google_error("authenticationError", "OAUTH_TOKEN_EXPIRED", 401, **STREAM)
    )
    assert world.sync_again()[connection].is_parked


def test_google_figures_are_as_reported(world: World) -> None:
    ads = [
        {"id": f"7000000{number:05d}", "name": f"Ad {number}", "ad_groups": groups}
        for number, groups in enumerate([["1"], ["1", "2", "3"], ["4"], ["5"]])
    ]
    world.google_account("5000000001", ads=ads, manager="9000000001")
    world.google_account("9000000001", ads=[], is_manager=True)
    credentials = {
        "refresh_token": SECRETS[2], "client_id": "400000000042-test.apps.googleusercontent.com",
        "client_secret": SECRETS[3], "login_customer_id": "900-000-0001",
    }  # fmt: skip
    connection = world.connect_google("5000000001", credentials=credentials, platform="google")
    served = {
        world.request(google_ad_id=ads[0]["id"]): [Served("google", "5000000001", ads[0]["id"])],
        world.request(google_ad_id=[ads[1]["id"], int(ads[2]["id"])]): [
            Served("google", "5000000001", ad["id"]) for ad in ads[1:3]
        ],
    }
    world.google.app.configure({"batch_size": 7})
    report = world.sync_all()[connection]
    assert report.status == "success"
    assert report.counts["unmatched_ads"] == 1
    assert world.figures("google_ads") == world.expected(served)
    assert "reach" not in {kind for (_, _, kind) in world.figures("google_ads")}
