"""Each way in which a platform fails ends in its own log state, and costs nobody else a sync."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import requests
from psycopg.types.json import Jsonb
from urllib3 import HTTPResponse

from local import faults
from local.fakes.google_ads import google_error, invalid_grant, late_stream_error
from local.fakes.linkedin import linkedin_error, throttled
from local.fakes.linkedin import token_expired as linkedin_token_expired
from local.fakes.meta import (
    account_throttled,
    app_throttled,
    business_usage,
    graph_error,
    token_expired,
    too_much_data,
)
from local.fakes.tiktok import tiktok_error, too_frequent
from tests.metrics.world import SECRETS, TODAY, Served, World
from workers.metrics.platforms import NAMES

INSIGHTS = {"path": "act_1001/insights", "times": None}
STREAM = {"path": "customers/5000000001/googleAds:searchStream", "times": None}
REPORT = {"path": "report/integrated/get/", "times": None}
ANALYTICS = {"path": "rest/adAnalytics", "times": None}
TIKTOK, LINKEDIN = "7000000000000000001", "507000042"
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


def test_credentials_that_come_during_a_refused_sync_are_not_parked(world: World) -> None:
    world.meta_account("1001")
    connection = world.connect_meta("1001")
    world.meta.faults.add(token_expired(**INSIGHTS))
    replace = Between(
        lambda: world.connection.execute(
            "update platform_connections set credentials = credentials || '{\"new\": 1}'"
        ),
        level="ad",
    )
    with replace as session:
        world.session, usual = session, world.session
        assert world.sync_all()[connection].status == "failed"
    world.session = usual
    world.meta.faults.clear()
    assert world.sync_all()[connection].status == "success"


def test_what_a_connection_waits_for_is_told(world: World) -> None:
    connections = meta_and_google(world)

    def told(account: str) -> tuple[Any, ...]:
        (row,) = world.rows(
            "select * from jsonb_to_recordset(list_connections(%s, %s)) as told "
            '(id uuid, state text, "until" timestamptz, reason text) where id = %s',
            Jsonb(dict(NAMES)), world.now, connections[account],
        )  # fmt: skip
        return row["state"], row["until"], row["reason"]

    assert told("1002") == ("active", None, None)
    world.meta.faults.add(token_expired(**INSIGHTS))
    world.sync_all()
    assert told("1001")[:2] == ("parked", None)
    assert "190" in told("1001")[2]

    world.meta.faults.clear()
    world.meta.faults.add(app_throttled(**INSIGHTS))
    world.connection.execute(
        "update platform_connections set credentials = credentials || '{\"other\": 1}'"
    )
    assert told("1001")[0] == "active", "with other credentials it is tried again"
    assert world.sync_all()[connections["1001"]].code == "4"
    for account in ("1001", "1002"):
        state, until, reason = told(account)
        assert state == "waiting"
        assert until > world.now
        assert "refused it with 4" in reason
    assert told("5000000001") == ("active", None, None)


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


def tiktok_ads(world: World, count: int = 1, **values: Any) -> tuple[str, dict[str, list[Served]]]:
    """A connection to an account of so many ads, each of a request of its own."""
    ads = [{"id": f"17900000000000{number:02d}", "name": f"Ad {number}"} for number in range(count)]
    world.tiktok_account(TIKTOK, ads=ads, **values)
    served = {
        world.request(tiktok_ad_id=ad["id"]): [Served("tiktok", TIKTOK, ad["id"])] for ad in ads
    }
    return world.connect_tiktok(TIKTOK), served


class Between(requests.Session):
    """Does something before the first request whose parameters are such."""

    def __init__(self, act: Callable[[], None], **params: str) -> None:
        super().__init__()
        self._act: Callable[[], None] | None = act
        self._params = params

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        if self._act and self._params.items() <= rest.get("params", {}).items():
            act, self._act = self._act, None
            act()
        return super().request(method, url, **rest)


@pytest.mark.parametrize("change", ["vanished", "restated"])
def test_pages_that_move_while_they_are_read_are_read_again(world: World, change: str) -> None:
    connection, served = tiktok_ads(world, 8)
    world.tiktok.app.configure({"page_limit": 7})
    first = "1790000000000000"
    day = TODAY if change == "vanished" else TODAY - timedelta(days=1)
    state = world.tiktok.app.state()["accounts"][TIKTOK]
    # the first row of all goes, or comes: those after it move by one
    figures = {"impressions": 5, "clicks": 1, "spend": "1", "reach": 1}
    before: dict[str, Any] = {f"{first}/{day}": figures}
    values: dict[str, Any] = {"restated": before}
    after: dict[str, Any] = {"restated": before, "vanished": [f"{first}/{day}"]}
    if change == "restated":
        values, after = after, values
    world.tiktok_account(TIKTOK, **{**state, **values})
    move = Between(lambda: world.tiktok_account(TIKTOK, **{**state, **after}), page="2")
    with move as session:
        world.session = session
        assert world.sync_all()[connection].status == "success"
    assert world.figures("tiktok") == world.expected(served)


class Again(requests.Session):
    """Puts the last row of a page of Meta's in front of the next one's, once."""

    def __init__(self) -> None:
        super().__init__()
        self._last: list[Any] = []
        self._is_done = False

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        response = super().request(method, url, **rest)
        if "insights" in str(url):
            page = json.loads(response.raw.read())
            last, self._last = self._last, page["data"][-1:]
            if "after" in rest["params"] and not self._is_done:
                page["data"] = last + page["data"]
                self._is_done = True
            response.raw = HTTPResponse(BytesIO(json.dumps(page).encode()), preload_content=False)
        return response


def test_a_row_that_a_later_page_tells_again_is_not_counted_twice(world: World) -> None:
    ads = [{"id": f"{META_AD}{number}", "name": "Film"} for number in range(8)]
    world.meta_account("1001", ads=ads)
    world.meta.app.configure({"page_limit": 7})
    connection = world.connect_meta("1001")
    served = {world.request(meta_ad_id=ad["id"]): [Served("meta", "1001", ad["id"])] for ad in ads}
    with Again() as session:
        world.session = session
        assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected(served)


def test_pages_that_never_come_to_rest_are_no_success(world: World) -> None:
    connection, _ = tiktok_ads(world, 8)
    world.tiktok.app.configure({"page_limit": 7})
    state = world.tiktok.app.state()["accounts"][TIKTOK]
    gone = False

    class Restless(requests.Session):
        def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
            nonlocal gone
            gone = not gone
            vanished = [f"1790000000000000/{TODAY - timedelta(days=n)}" for n in range(40)]
            world.tiktok_account(TIKTOK, **{**state, "vanished": vanished if gone else []})
            return super().request(method, url, **rest)

    with Restless() as session:
        world.session = session
        report = world.sync_all()[connection]
    assert (report.status, report.code) == ("failed", "pages_moved")
    assert world.last_synced_at(connection) is None
    read = world.last_log(connection)["details"]["windows"]
    for _, day, _ in world.figures("tiktok"):
        assert any(since <= str(day) <= until for since, until in read), "half of a window"


def test_a_report_that_may_leave_ads_out_is_asked_for_in_smaller_pieces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.metrics.platforms.tiktok._MOST_ADS", 20)
    connection, served = tiktok_ads(world, 12)
    world.connection.execute(
        "insert into metric_connection_states (connection_id, window_days) values (%s, 30)",
        (connection,),
    )
    assert world.sync_all()[connection].status == "success"
    assert world.figures("tiktok") == world.expected(served)
    world.tiktok.app.configure({"most_ads": 20})
    world.tiktok_account(TIKTOK, ad_count=40)
    report = world.sync_again()[connection]
    assert (report.status, report.code) == ("failed", "too_many_ads"), "never a part of it"


def test_deleted_ads_keep_their_past_and_unknown_values_have_no_row(world: World) -> None:
    connection, served = tiktok_ads(world, 2)
    ads = world.tiktok.app.state()["accounts"][TIKTOK]["ads"]
    world.tiktok_account(TIKTOK, ads=[{**ad, "is_deleted": True} for ad in ads])
    world.tiktok.app.configure({"dashes": ["reach"], "number_ids": True})
    assert world.sync_all()[connection].status == "success"
    expected = world.expected(served)
    assert world.figures("tiktok") == {
        key: value for key, value in expected.items() if key[2] != "reach"
    }


def test_ads_that_are_deleted_on_meta_keep_their_past(world: World) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film", "is_deleted": True}])
    served = {world.request(meta_ad_id=META_AD): [Served("meta", "1001", META_AD)]}
    connection = world.connect_meta("1001")
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected(served)
    assert world.figures()


def test_a_short_tiktok_limit_is_waited_out_and_a_long_one_pauses_the_platform(
    world: World,
) -> None:
    connection, _ = tiktok_ads(world)
    world.tiktok.faults.add(too_frequent(**{**REPORT, "times": 2}))
    assert world.sync_all()[connection].status == "success"
    assert world.clock.now() >= 20
    world.tiktok.faults.clear()
    world.tiktok.faults.add(too_frequent(**REPORT))
    report = world.sync_again()[connection]
    assert (report.status, report.code) == ("failed", "40100")
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "tiktok"


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
def test_a_tiktok_error_of_status_200_is_no_success(
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


def linkedin_ads(world: World, count: int = 1) -> tuple[str, dict[str, list[Served]]]:
    """A connection to an account of so many creatives, each of a request of its own."""
    ads = [{"id": f"33000000{number:02d}", "name": f"Ad {number}"} for number in range(count)]
    world.linkedin_account(LINKEDIN, ads=ads)
    served = {
        world.request(linkedin_creative_id=ad["id"]): [Served("linkedin", LINKEDIN, ad["id"])]
        for ad in ads
    }
    return world.connect_linkedin(LINKEDIN), served


def test_an_answer_that_may_be_cut_off_is_asked_for_in_smaller_pieces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.metrics.platforms.linkedin._MOST_ELEMENTS", 40)
    connection, served = linkedin_ads(world, 12)
    world.linkedin.app.configure({"most_elements": 40})
    world.connection.execute(
        "insert into metric_connection_states (connection_id, window_days) values (%s, 31)",
        (connection,),
    )
    assert world.sync_all()[connection].status == "success"
    assert world.figures("linkedin") == world.expected(served)
    world.linkedin_account(LINKEDIN, ad_count=60)
    report = world.sync_again()[connection]
    assert (report.status, report.code) == ("failed", "too_many_elements")


def test_an_access_token_of_linkedin_is_renewed_where_it_can_be(world: World) -> None:
    connection, served = linkedin_ads(world)
    world.linkedin.faults.add(linkedin_token_expired(**{**ANALYTICS, "times": 1}))
    assert world.sync_all()[connection].status == "success"
    assert world.linkedin.journal.count("/token") == 2
    assert world.figures("linkedin") == world.expected(served)

    stored = "AQlocalLinkedinStoredToken00000000000000042"
    world.change_account(world.linkedin, LINKEDIN, tokens=[stored])
    world.connection.execute(
        "update platform_connections set credentials = jsonb_build_object('access_token', %s::text)"
        " where id = %s",
        (stored, connection),
    )
    assert world.sync_again()[connection].status == "success"
    assert world.linkedin.journal.count("/token") == 2, "there is nothing to exchange"
    world.linkedin.faults.add(linkedin_token_expired(**ANALYTICS))
    assert world.sync_again()[connection].is_parked


def test_a_linkedin_account_without_access_is_told_from_one_without_activity(
    world: World,
) -> None:
    idle = world.connect_linkedin(LINKEDIN)
    world.linkedin_account(LINKEDIN)
    other = "507000043"
    world.linkedin_account(other, refresh_tokens=["of somebody else"])
    denied = world.connect_linkedin(other)
    missing = world.connect_linkedin("507000044")
    reports = world.sync_all()
    assert reports[idle].status == "success"
    assert (reports[denied].status, reports[denied].code) == ("failed", "ACCESS_DENIED")
    assert (reports[missing].status, reports[missing].code) == ("failed", "NOT_FOUND")
    assert world.linkedin.journal.count("adAnalytics") > 0


def test_a_linkedin_throttle_pauses_the_platform(world: World) -> None:
    connection, _ = linkedin_ads(world)
    world.linkedin.faults.add(throttled(**ANALYTICS))
    assert world.sync_all()[connection].code == "TOO_MANY_REQUESTS"
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "linkedin"
    assert pause["paused_until"] > world.now + timedelta(seconds=300)


def test_a_version_that_has_ended_is_named_with_its_mend(world: World) -> None:
    connection, _ = linkedin_ads(world)
    state = world.linkedin.app.state()
    world.linkedin.app.replace_state({**state, "versions": ["202801"]})
    report = world.sync_all()[connection]
    assert (report.status, report.code) == ("failed", "NONEXISTENT_VERSION")
    assert "LINKEDIN_API_VERSION" in world.last_log(connection)["error_message"]


def test_a_version_that_is_about_to_end_is_told_in_the_log(world: World) -> None:
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
def test_what_linkedin_refuses_is_recorded_by_its_own_name(
    world: World, status: int, code: str
) -> None:
    connection, _ = linkedin_ads(world)
    world.linkedin.faults.add(linkedin_error(status, code, **ANALYTICS))
    report = world.sync_all()[connection]
    assert (report.status, report.code, report.is_parked) == ("failed", code, False)
