"""The fake of Meta's Graph API, over HTTP as a client uses it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from local import faults
from local.control import Control, ControlError
from local.fakes.ad_facts import Facts, generated_ad_id, truth
from local.fakes.meta import (
    TOO_MUCH_DATA,
    account_throttled,
    app_throttled,
    business_usage,
    error_body,
    fake_meta,
    graph_error,
    token_expired,
    too_much_data,
)
from local.faults import Fault
from tests.integration.data_api_client import local_client

TOKEN = "EAALOCALmetaSampleToken000000000000000001"
SECRET = "local-meta-app-secret-0000000001"
ACCOUNT = "1203300000000001"
NOW = "2026-11-24T12:00:00+00:00"
FIRST, LAST = date(2026, 10, 25), date(2026, 11, 23)
DAYS = [FIRST + timedelta(number) for number in range(30)]
FIELDS = "ad_id,ad_name,impressions,clicks,spend,reach,cpm,cpc,ctr,account_currency"


class Caller:
    """Calls Graph with one token and keeps the last answer."""

    def __init__(self, url: str) -> None:
        self.control = Control(url)
        self.client = local_client(base_url=url)
        self.token = TOKEN
        self.answer = httpx.Response(0)

    def __call__(self, path: str, **parameters: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.answer = self.client.get(path, params=parameters, headers=headers)
        return self.answer.json()

    def insights(self, account: str = ACCOUNT, **parameters: Any) -> Any:
        """A page of a daily report by ad, with other parameters if given (None: left out)."""
        defaults = {
            "level": "ad", "time_increment": 1, "limit": 500, "fields": FIELDS,
            "time_range": json.dumps({"since": str(FIRST), "until": str(LAST)}),
        }  # fmt: skip
        asked = {k: v for k, v in {**defaults, **parameters}.items() if v is not None}
        return self(f"/v26.0/act_{account}/insights", **asked)

    def all_rows(self, account: str = ACCOUNT, **parameters: Any) -> tuple[list[Any], int]:
        """Every row, and how many pages there were."""
        rows, pages = [], 0
        while True:
            page = self.insights(account, **parameters)
            rows += page["data"]
            pages += 1
            if "next" not in page.get("paging", {}):
                return rows, pages
            parameters["after"] = page["paging"]["cursors"]["after"]

    def refusal(self, path: str, **parameters: Any) -> tuple[int, int, int | None]:
        """Status, code and subcode of an error, after checking its form."""
        error = self(path, **parameters)["error"]
        assert set(error) >= {"message", "type", "code", "fbtrace_id"}
        assert set(error) <= {
            "message", "type", "code", "error_subcode", "is_transient", "fbtrace_id"
        }  # fmt: skip
        return self.answer.status_code, error["code"], error.get("error_subcode")

    def change(self, account: str = ACCOUNT, /, **values: Any) -> None:
        """Change an account, or create one with the usual properties."""
        state = self.control.state()
        made = {"name": "More", "currency": "USD", "time_zone": "UTC", "tokens": [TOKEN]}
        state["accounts"][account] = {**state["accounts"].get(account, made), **values}
        self.control.replace_state(state)

    def expected(self, account: str = ACCOUNT) -> dict[tuple[str, str], Facts]:
        """What each ad did on each day, computed independently of the fake."""
        described = self.control.state()["accounts"][account]
        found = {
            (ad["id"], str(day)): truth(account, described, ad["id"], day)
            for ad in described["ads"]
            for day in DAYS
        }
        return {key: facts for key, facts in found.items() if facts is not None}


@pytest.fixture
def meta() -> Iterator[Caller]:
    with fake_meta() as server:
        caller = Caller(server.url)
        caller.control.configure(now=NOW)
        with caller.client:
            yield caller


def six_decimals(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.000001"), ROUND_HALF_UP)


def test_a_daily_report_is_the_truth_in_graphs_units(meta: Caller) -> None:
    rows, _ = meta.all_rows()
    expected = meta.expected()
    assert {(row["ad_id"], row["date_start"]) for row in rows} == set(expected)
    assert len(rows) == len(expected)
    for row in rows:
        facts = expected[row["ad_id"], row["date_start"]]
        assert row["date_stop"] == row["date_start"]
        assert all(isinstance(value, str) for value in row.values())
        assert (row["impressions"], row["clicks"]) == (str(facts.impressions), str(facts.clicks))
        assert (Decimal(row["spend"]), row["reach"]) == (facts.spend, str(facts.reach))
        assert Decimal(row["ctr"]) == six_decimals(Decimal(100 * facts.clicks) / facts.impressions)
        assert Decimal(row["cpm"]) == six_decimals(1000 * facts.spend / facts.impressions)
        if facts.clicks:
            assert Decimal(row["cpc"]) == six_decimals(facts.spend / facts.clicks)
        else:
            assert "cpc" not in row
            assert row["ctr"] == "0"


def test_there_are_idle_days_and_days_without_clicks(meta: Caller) -> None:
    rows, _ = meta.all_rows()
    assert len(rows) < 7 * 30
    assert any(row["clicks"] == "0" for row in rows)
    assert meta.all_rows() == (rows, 1)  # the same each time


@pytest.mark.parametrize("limit", [1, 2, 7, 25, 100, 186, 187, 188, 500])
def test_pages_of_any_size_hold_each_row_once(meta: Caller, limit: int) -> None:
    rows, _ = meta.all_rows()
    paged, pages = meta.all_rows(limit=limit)
    assert paged == rows
    assert pages == -(-len(rows) // limit)


def test_the_default_is_25_and_the_server_may_return_less(meta: Caller) -> None:
    assert len(meta.insights(limit=None)["data"]) == 25
    meta.control.configure(page_limit=10)
    assert len(meta.insights()["data"]) == 10
    assert meta.all_rows()[1] > 10


def test_next_is_a_full_url_with_the_token(meta: Caller) -> None:
    page = meta.insights(limit=10)
    address = urlsplit(page["paging"]["next"])
    assert address.netloc == meta.client.base_url.netloc.decode()
    query = parse_qs(address.query)
    assert query["access_token"] == [TOKEN]
    assert query["after"] == [page["paging"]["cursors"]["after"]]
    followed = meta.client.get(page["paging"]["next"]).json()
    assert followed["data"] == meta.insights(limit=20)["data"][10:]


def test_a_page_may_be_empty_and_have_a_next(meta: Caller) -> None:
    rows, pages = meta.all_rows(limit=50)
    meta.control.configure(empty_pages=True)
    assert meta.insights(limit=50)["data"] == []
    assert meta.all_rows(limit=50) == (rows, 2 * pages)


def test_a_cursor_belongs_to_its_report(meta: Caller) -> None:
    after = meta.insights(limit=5)["paging"]["cursors"]["after"]
    other = json.dumps({"since": "2026-11-01", "until": "2026-11-02"})
    path = f"/v26.0/act_{ACCOUNT}/insights"
    asked = {"level": "ad", "time_increment": "1"}
    for wrong in ({"after": after, "time_range": other}, {"after": "nonsense"}):
        assert meta.refusal(path, **asked, **wrong)[:2] == (400, 100)


def test_without_an_increment_there_is_one_row_per_ad(meta: Caller) -> None:
    rows = meta.insights(time_increment=None)["data"]
    assert len(rows) == 7
    sums: dict[str, int] = {}
    for (ad_id, _), facts in meta.expected().items():
        sums[ad_id] = sums.get(ad_id, 0) + facts.cents
    for row in rows:
        assert (row["date_start"], row["date_stop"]) == (str(FIRST), str(LAST))
        assert Decimal(row["spend"]) * 100 == sums[row["ad_id"]]


def test_only_requested_fields_are_returned(meta: Caller) -> None:
    rows = meta.insights(fields="spend,ad_name")["data"]
    assert list(rows[0]) == ["spend", "ad_name", "date_start", "date_stop"]
    (row,) = meta.insights(level=None, time_increment=None)["data"]
    assert "ad_id" not in row
    assert int(row["impressions"]) == sum(one.impressions for one in meta.expected().values())
    assert len(meta.insights(level=None)["data"]) == 30
    slices = meta.insights(level=None, time_increment=7)["data"]
    assert [one["date_stop"] for one in slices][-2:] == ["2026-11-21", "2026-11-23"]


def test_the_preset_excludes_today_in_the_accounts_time_zone(meta: Caller) -> None:
    meta.control.configure(now="2026-11-23T23:30:00+00:00")  # the 24th in Oslo
    days = {row["date_start"] for row in meta.all_rows(time_range=None)[0]}
    assert days == {str(day) for day in DAYS}
    until = json.dumps({"since": "2026-11-23", "until": "2026-12-24"})
    days = {row["date_start"] for row in meta.all_rows(time_range=until)[0]}
    assert days == {"2026-11-23", "2026-11-24"}  # nothing of future days


def test_filtering(meta: Caller) -> None:
    wanted = ["23851000000000001", 23851000000000003]
    filtering = [
        {"field": "ad.impressions", "operator": "GREATER_THAN", "value": 0},
        {"field": "ad.id", "operator": "IN", "value": wanted},
    ]
    rows, _ = meta.all_rows(filtering=json.dumps(filtering))
    assert {row["ad_id"] for row in rows} == {"23851000000000001", "23851000000000003"}
    filtering[0]["field"] = "ad.colour"
    path = f"/v26.0/act_{ACCOUNT}/insights"
    assert meta.refusal(path, filtering=json.dumps(filtering))[:2] == (400, 100)


def test_days_can_be_restated_and_vanish(meta: Caller) -> None:
    (ad_id, day), facts = next(iter(meta.expected().items()))
    restated = {"impressions": 7, "clicks": 1, "spend": "0.05", "reach": 6}
    gone = f"{ad_id}/{list(meta.expected())[1][1]}"
    meta.change(restated={f"{ad_id}/{day}": restated}, vanished=[gone])
    rows = {(row["ad_id"], row["date_start"]): row for row in meta.all_rows()[0]}
    assert set(rows) == set(meta.expected())
    assert (ad_id, gone.partition("/")[2]) not in rows
    assert rows[ad_id, day]["spend"] == "0.05"
    assert rows[ad_id, day]["impressions"] == "7" != str(facts.impressions)


def test_a_page_of_a_big_account_is_complete(meta: Caller) -> None:
    meta.change("55", ad_count=10_000)
    last = generated_ad_id("meta", "55", 10_000)
    assert (len(last), last[:4]) == (17, "2385")
    page = meta.insights("55")
    assert len(page["data"]) == 500
    narrowed = [{"field": "ad.id", "operator": "IN", "value": [last]}]
    rows, _ = meta.all_rows("55", filtering=json.dumps(narrowed))
    described = meta.control.state()["accounts"]["55"]
    found = {str(day): truth("55", described, last, day) for day in DAYS}
    assert {row["date_start"]: row["impressions"] for row in rows} == {
        day: str(facts.impressions) for day, facts in found.items() if facts
    }


def test_parameters_as_the_sdk_sends_them(meta: Caller) -> None:
    plain = meta.insights(limit=10)
    meta.token = ""
    encoded = meta.insights(
        access_token=TOKEN, limit=10, level="ad", fields=json.dumps(FIELDS.split(",")),
        filtering="[]",
    )  # fmt: skip
    assert encoded["data"] == plain["data"]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"time_range": "{since"}, 100),
        ({"time_range": '{"since": "2026-11-02"}'}, 100),
        ({"time_range": '{"since": "2026-11-02", "until": "2026-11-01"}'}, 100),
        ({"time_range": '{"since": "02.11.2026", "until": "2026-11-03"}'}, 100),
        ({"time_range": '{"since": "2023-10-23", "until": "2026-11-01"}'}, 3018),
        ({"fields": "ad_id,colour"}, 100),
        ({"level": "galaxy"}, 100),
        ({"time_increment": "0"}, 100),
        ({"limit": "none"}, 100),
        ({"date_preset": "last_year_or_so"}, 100),
        ({"breakdowns": "dma"}, 100),
        ({"date_format": "U"}, 100),
    ],
)
def test_invalid_parameters_are_refused(
    meta: Caller, parameters: dict[str, str], code: int
) -> None:
    assert meta.refusal(f"/v26.0/act_{ACCOUNT}/insights", **parameters)[:2] == (400, code)


def test_data_older_than_37_months_is_refused(meta: Caller) -> None:
    time_range = '{"since": "2023-10-24", "until": "2023-10-30"}'
    assert meta.insights(time_range=time_range)["data"]


def test_too_much_at_once(meta: Caller) -> None:
    meta.control.configure(max_rows=7 * 15)
    path, asked = f"/v26.0/act_{ACCOUNT}/insights", {"level": "ad", "time_increment": "1"}
    assert meta.refusal(path, **asked) == (400, 100, 1487534)
    half = json.dumps({"since": str(DAYS[0]), "until": str(DAYS[14])})
    assert meta.insights(time_range=half)["data"]
    meta.control.configure(max_rows=None, max_limit=100)
    assert meta.refusal(path, **asked, limit="101")[:2] == (500, 1)
    assert meta.insights(limit=100)["data"]


def test_the_account_and_its_fields(meta: Caller) -> None:
    asked = "name,currency,timezone_name,account_status,account_id,id"
    assert meta(f"/v26.0/act_{ACCOUNT}", fields=asked) == {
        "name": "Nordlys Outdoor", "currency": "EUR", "timezone_name": "Europe/Oslo",
        "account_status": 1, "account_id": ACCOUNT, "id": f"act_{ACCOUNT}",
    }  # fmt: skip
    assert meta(f"/v26.0/act_{ACCOUNT}", fields="currency") == {
        "currency": "EUR", "id": f"act_{ACCOUNT}"
    }  # fmt: skip
    assert meta.refusal(f"/v26.0/act_{ACCOUNT}", fields="mood")[:2] == (400, 100)
    meta.change("2", tokens=["another"])
    listed = meta("/me/adaccounts", fields="account_id,name")["data"]
    assert listed == [
        {"account_id": ACCOUNT, "name": "Nordlys Outdoor", "id": f"act_{ACCOUNT}"}
    ]  # fmt: skip


def test_tokens(meta: Caller) -> None:
    node = f"/v26.0/act_{ACCOUNT}"
    meta.change("2", tokens=["another"])
    assert meta.refusal("/v26.0/act_2") == (400, 100, 33)
    assert meta.refusal("/v26.0/act_3") == (400, 100, 33)
    state = meta.control.state()
    state["tokens"] = {
        "old": {"expires_at": 1}, TOKEN: {"scopes": ["pages_read_engagement"]},
    }  # fmt: skip
    meta.control.replace_state(state)
    assert meta.refusal(node) == (400, 200, None)
    meta.token = "old"
    assert meta.refusal(node) == (400, 190, 463)
    meta.token = "unknown"
    assert meta.refusal(node) == (400, 190, None)
    meta.token = ""
    assert meta.refusal(node) == (400, 2500, None)
    assert "An active access token must be used" in meta.answer.text


def test_the_proof(meta: Caller) -> None:
    node = f"/v26.0/act_{ACCOUNT}"
    proof = hmac.new(SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
    assert "id" in meta(node)
    assert meta.refusal(node, appsecret_proof="0" * 64)[:2] == (400, 100)
    meta.change(require_proof=True)
    assert meta.refusal(node)[:2] == (400, 100)
    assert "Invalid appsecret_proof provided in the API argument" in meta.answer.text
    assert "id" in meta(node, appsecret_proof=proof)


def test_debugging_a_token(meta: Caller) -> None:
    meta.token = ""
    app = f"4820000000000001|{SECRET}"
    well = meta("/debug_token", input_token=TOKEN, access_token=app)["data"]
    assert (well["is_valid"], well["expires_at"], well["scopes"]) == (True, 0, ["ads_read"])
    bad = meta("/v26.0/debug_token", input_token="gone", access_token=app)["data"]
    assert (bad["is_valid"], bad["error"]["code"]) == (False, 190)
    assert meta.refusal("/debug_token", input_token=TOKEN, access_token="1|2")[1] == 190


def test_versions(meta: Caller) -> None:
    meta.token = ""
    assert "An active access token must be used" in meta("/v26.0/me")["error"]["message"]
    assert meta.refusal("/v99.0/me") == (400, 2500, None)
    assert "Unknown path components: /me" in meta.answer.text
    meta.token = TOKEN
    assert meta.refusal(f"/v23.0/act_{ACCOUNT}") == (400, 2635, None)
    assert meta.refusal(f"/v99.0/act_{ACCOUNT}")[1] == 2500
    assert meta("/v25.0/me")["id"]
    assert "X-Ad-Api-Version-Warning" not in meta.answer.headers
    meta.control.configure(version_warning="The call has been auto-upgraded")
    meta("/v25.0/me")
    assert meta.answer.headers["X-Ad-Api-Version-Warning"] == "The call has been auto-upgraded"


def test_other_paths_and_methods(meta: Caller) -> None:
    assert meta.refusal("/v26.0/me/pets")[1] == 2500
    answer = meta.client.post(f"/v26.0/act_{ACCOUNT}/insights", json={"access_token": TOKEN})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 100)


def test_usage_headers(meta: Caller) -> None:
    meta.control.configure(
        usage={
            "app": {"X-App-Usage": {"call_count": 12}},
            ACCOUNT: {"X-Business-Use-Case-Usage": business_usage(ACCOUNT, 91)},
            "2": {"X-Business-Use-Case-Usage": "not JSON"},
        }
    )
    meta(f"/v26.0/act_{ACCOUNT}")
    assert json.loads(meta.answer.headers["X-App-Usage"]) == {"call_count": 12}
    (used,) = json.loads(meta.answer.headers["X-Business-Use-Case-Usage"])[ACCOUNT]
    assert (used["type"], used["call_count"]) == ("ads_insights", 91)
    meta("/me/adaccounts")
    assert "X-Business-Use-Case-Usage" not in meta.answer.headers
    meta("/v26.0/act_2")
    assert meta.answer.headers["X-Business-Use-Case-Usage"] == "not JSON"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (token_expired(), (400, 190, 463)),
        (token_expired(460), (400, 190, 460)),
        (account_throttled(5), (400, 17, 2446079)),
        (account_throttled(5, code=80004), (400, 80004, 2446079)),
        (app_throttled(), (400, 4, None)),
        (too_much_data(), (400, 100, 1487534)),
        (too_much_data("2/1504038"), (400, 2, 1504038)),
        (too_much_data("1"), (500, 1, None)),
        (graph_error(2, 1504043, "x", status=503, is_transient=True), (503, 2, 1504043)),
    ],
)
def test_faults_have_metas_format(
    meta: Caller, fault: Fault, expected: tuple[int, int, int | None]
) -> None:
    meta.control.add_faults(fault)
    assert meta.refusal(f"/v26.0/act_{ACCOUNT}") == expected
    assert "id" in meta(f"/v26.0/act_{ACCOUNT}")


def test_a_throttled_account_reports_for_how_long(meta: Caller) -> None:
    meta.control.add_faults(account_throttled(7, path="insights"), app_throttled())
    assert "error" in meta.insights()
    usage = json.loads(meta.answer.headers["X-Business-Use-Case-Usage"])
    assert usage[ACCOUNT][0]["estimated_time_to_regain_access"] == 7
    assert meta.insights()["error"]["is_transient"] is True
    assert json.loads(meta.answer.headers["X-App-Usage"])["call_count"] > 100


def test_every_shape_of_too_much_data_can_be_made() -> None:
    assert {json.loads(too_much_data(shape).body)["error"]["code"] for shape in TOO_MUCH_DATA} == {
        1, 2, 100
    }  # fmt: skip
    assert set(error_body(1, "x")["error"]) == {"message", "type", "code", "fbtrace_id"}


def test_connection_faults(meta: Caller) -> None:
    meta.control.add_faults(faults.truncate(path="insights"), faults.failing(502, path="insights"))
    with pytest.raises(httpx.RemoteProtocolError):
        meta.insights()
    answer = meta.client.get(f"/v26.0/act_{ACCOUNT}/insights")
    assert (answer.status_code, answer.text[:6]) == (502, "<html>")


def test_secrets_stay_out_of_the_journal_but_their_names_are_shown(meta: Caller) -> None:
    meta.token = ""
    meta("/v26.0/me", access_token=TOKEN, appsecret_proof="c0ffee" * 9)
    (exchange,) = meta.control.journal("/me")
    assert "access_token=...0001" in exchange["query"]
    assert TOKEN not in json.dumps(exchange)
    assert "c0ffeec0ffee" not in json.dumps(exchange)


def test_settings_and_state_are_restored(meta: Caller) -> None:
    before = meta.control.state()
    meta.change(ad_count=3)
    with pytest.raises(ControlError, match="unknown settings: mood"):
        meta.control.configure(mood="good")
    with pytest.raises(ControlError):
        meta.control.replace_state({"accounts": {"1": {"restated": {"1/today": {}}}}})
    assert meta.control.state()["accounts"][ACCOUNT]["ad_count"] == 3
    meta.control.reset()
    assert meta.control.state() == before
    assert meta.control.settings()["now"] is None
