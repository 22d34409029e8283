"""The fake of TikTok's Business API, over HTTP as a client uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from local.control import Control
from local.fakes.ad_facts import Facts, generated_ad_id, truth
from local.fakes.tiktok import fake_tiktok, tiktok_error, too_frequent
from tests.integration.data_api_client import local_client

TOKEN = "localtiktoksampletoken000000000000000001"
ADVERTISER = "7012345678901234567"
DELETED = "1790000000000003"
NOW = "2026-11-24T12:00:00+00:00"
FIRST, LAST = date(2026, 10, 25), date(2026, 11, 23)
DAYS = [FIRST + timedelta(number) for number in range(30)]
METRICS = ["ad_name", "currency", "spend", "impressions", "clicks", "reach", "cpm", "cpc", "ctr"]
REPORT = "/open_api/v1.3/report/integrated/get/"
INFO = "/open_api/v1.3/advertiser/info/"


class Caller:
    """Calls with one token and keeps the last answer."""

    def __init__(self, url: str) -> None:
        self.control = Control(url)
        self.client = local_client(base_url=url)
        self.token = TOKEN
        self.answer = httpx.Response(0)

    def __call__(self, path: str, **parameters: Any) -> Any:
        headers = {"Access-Token": self.token} if self.token else {}
        given = {
            name: value if isinstance(value, str | int) else json.dumps(value)
            for name, value in parameters.items()
            if value is not None
        }
        self.answer = self.client.get(path, params=given, headers=headers)
        return self.answer.json()

    def report(self, **parameters: Any) -> Any:
        """A page of a daily report by ad, with other parameters if given (None: left out)."""
        every = [{"field_name": "ad_status", "filter_type": "IN", "filter_value": '["STATUS_ALL"]'}]
        return self(REPORT, **{
            "advertiser_id": ADVERTISER, "service_type": "AUCTION", "report_type": "BASIC",
            "data_level": "AUCTION_AD", "dimensions": ["ad_id", "stat_time_day"],
            "metrics": METRICS, "start_date": str(FIRST), "end_date": str(LAST), "page": 1,
            "page_size": 1000, "filtering": every, **parameters,
        })  # fmt: skip

    def rows(self, **parameters: Any) -> list[Any]:
        """Every row, page by page."""
        rows, page, pages = [], 1, 1
        while page <= pages:
            data = self.report(page=page, **parameters)["data"]
            rows += data["list"]
            page, pages = page + 1, data["page_info"]["total_page"]
        assert len(rows) == data["page_info"]["total_number"]
        return rows

    def refusal(self, path: str = "", **parameters: Any) -> int:
        """The code of an error, which has status 200."""
        body = self(path, **parameters) if path else self.report(**parameters)
        assert set(body) == {"code", "message", "request_id", "data"}
        assert (self.answer.status_code, body["data"]) == (200, {})
        return int(body["code"])

    def change(self, **values: Any) -> None:
        """Change the sample account."""
        state = self.control.state()
        state["accounts"][ADVERTISER].update(values)
        self.control.replace_state(state)

    def expected(self) -> dict[tuple[str, str], Facts]:
        account = self.control.state()["accounts"][ADVERTISER]
        found = {
            (ad["id"], f"{day} 00:00:00"): truth(ADVERTISER, account, ad["id"], day)
            for ad in account["ads"]
            for day in DAYS
        }
        return {key: facts for key, facts in found.items() if facts is not None}


@pytest.fixture
def tiktok() -> Iterator[Caller]:
    with fake_tiktok() as server:
        caller = Caller(server.url)
        caller.control.configure(now=NOW)
        with caller.client:
            yield caller


def key_of(row: Any) -> tuple[str, str]:
    return row["dimensions"]["ad_id"], row["dimensions"]["stat_time_day"]


def test_a_daily_report_is_the_truth_in_tiktoks_format(tiktok: Caller) -> None:
    expected = tiktok.expected()
    rows = tiktok.rows()
    assert {key_of(row) for row in rows} == set(expected)
    for row in rows:
        facts, metrics = expected[key_of(row)], row["metrics"]
        assert all(isinstance(value, str) for value in metrics.values())
        assert (metrics["impressions"], metrics["clicks"]) == (
            str(facts.impressions), str(facts.clicks),
        )  # fmt: skip
        assert (Decimal(metrics["spend"]), metrics["reach"]) == (facts.spend, str(facts.reach))
        assert metrics["currency"] == "EUR"
        assert metrics["ad_name"]
        if not facts.clicks:
            assert (metrics["cpc"], metrics["ctr"]) == ("0.00", "0.00")


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_pages_of_any_size_hold_each_row_once(tiktok: Caller, size: int) -> None:
    whole = tiktok.rows()
    assert tiktok.rows(page_size=size) == whole
    tiktok.control.configure(page_limit=3)
    assert tiktok.rows() == whole


def test_beyond_the_last_page_there_is_nothing(tiktok: Caller) -> None:
    data = tiktok.report(page=99)["data"]
    assert data["list"] == []
    assert data["page_info"]["total_number"] == len(tiktok.expected())


def test_deleted_ads_are_returned_only_on_request(tiktok: Caller) -> None:
    assert DELETED in {row["dimensions"]["ad_id"] for row in tiktok.rows()}
    assert DELETED not in {row["dimensions"]["ad_id"] for row in tiktok.rows(filtering=None)}
    assert tiktok.refusal(filtering="not json") == 40002


def test_ids_may_be_numbers_and_values_may_be_missing(tiktok: Caller) -> None:
    tiktok.control.configure(number_ids=True, dashes=["cpc", "reach"])
    for row in tiktok.rows():
        assert isinstance(row["dimensions"]["ad_id"], int)
        assert (row["metrics"]["cpc"], row["metrics"]["reach"]) == ("-", "-")
        assert row["metrics"]["spend"] != "-"


def test_days_are_in_the_accounts_time_zone_and_end_today(tiktok: Caller) -> None:
    tiktok.control.configure(now="2026-11-23T23:30:00+00:00")  # the 24th in Oslo
    days = {key_of(row)[1] for row in tiktok.rows(start_date="2026-11-20", end_date="2026-12-01")}
    assert max(days) == "2026-11-24 00:00:00"


def test_days_can_be_restated_and_vanish(tiktok: Caller) -> None:
    ad = "1790000000000001"
    figures = {"impressions": 10, "clicks": 1, "spend": "0.50", "reach": 9}
    tiktok.change(restated={f"{ad}/2026-11-20": figures}, vanished=[f"{ad}/2026-11-21"])
    rows = {key_of(row): row["metrics"] for row in tiktok.rows()}
    assert rows[ad, "2026-11-20 00:00:00"]["spend"] == "0.50"
    assert (ad, "2026-11-21 00:00:00") not in rows
    assert set(rows) == set(tiktok.expected())


def test_a_report_leaves_out_ads_beyond_its_limit(tiktok: Caller) -> None:
    tiktok.change(ads=[], ad_count=20)
    tiktok.control.configure(most_ads=5)
    found = {row["dimensions"]["ad_id"] for row in tiktok.rows()}
    assert found == {generated_ad_id("tiktok", ADVERTISER, number) for number in range(1, 6)}


def test_the_account(tiktok: Caller) -> None:
    fields = ["advertiser_id", "name", "currency", "timezone", "display_timezone", "status"]
    (given,) = tiktok(INFO, advertiser_ids=[ADVERTISER], fields=fields)["data"]["list"]
    assert given == {
        "advertiser_id": ADVERTISER, "name": "Nordlys Outdoor", "currency": "EUR",
        "timezone": "Etc/GMT-1", "display_timezone": "Europe/Oslo", "status": "STATUS_ENABLE",
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"advertiser_id": None},
        {"start_date": "soon"},
        {"start_date": None},
        {"end_date": "2026-10-24"},
        {"start_date": "2026-10-24"},  # 31 days
        {"page_size": 1001},
        {"page": 0},
        {"metrics": ["spend", "love"]},
        {"metrics": "spend"},
        {"dimensions": ["ad_id"]},
        {"report_type": "AUDIENCE"},
        {"service_type": "RESERVATION"},
    ],
)
def test_parameters_that_are_refused(tiktok: Caller, wrong: dict[str, Any]) -> None:
    assert tiktok.refusal(**wrong) == 40002


def test_who_may_see_what(tiktok: Caller) -> None:
    assert tiktok.refusal(advertiser_id="1") == 40001
    assert tiktok.refusal(INFO, advertiser_ids=["1"]) == 40001
    tiktok.token = "another"
    assert tiktok.refusal() == 40105
    tiktok.token = ""
    assert tiktok.refusal(INFO, advertiser_ids=[ADVERTISER]) == 40104


def test_other_paths_versions_and_methods(tiktok: Caller) -> None:
    for path in ("/open_api/v1.2/advertiser/info/", "/open_api/v1.3/campaign/get/", "/v1.3"):
        assert tiktok.client.get(path).status_code == 404
    assert tiktok.client.post(REPORT).json()["code"] == 40002


def test_faults_have_tiktoks_format(tiktok: Caller) -> None:
    tiktok.control.add_faults(too_frequent(), tiktok_error(50000, "System error", status=500))
    assert tiktok.refusal() == 40100
    assert tiktok.report()["code"] == 50000
    assert tiktok.answer.status_code == 500
    assert tiktok.rows()
