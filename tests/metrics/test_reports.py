"""The reports other than those by ad, as each platform documents them.

google-ads 34.0.0 (v26), facebook-business 26.0.3 (AdsInsights), tiktok-business-api-sdk-official
1.1.3 (ReportingApi, StoreApi), LinkedIn's ads-reporting schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.metrics.catalogue import ACCOUNTS, CREDENTIALS, SETTINGS, WINDOW, response
from workers.errors import MalformedAnswerError
from workers.metrics.platforms import PLATFORMS
from workers.metrics.platforms.protocol import Connection, Platform
from workers.settings import OPTIONAL_FIGURES

DAY = date(2025, 1, 2)


def opened(name: str, *figures: str, **values: Any) -> Platform:
    connection = Connection("1", name, ACCOUNTS[name], None, CREDENTIALS[name])
    settings = replace(SETTINGS, metrics_figures=figures, **values)
    return PLATFORMS[name].open(connection, settings)


def asked(platform: Platform, report: str, cursor: str | None = None) -> Mapping[str, str]:
    request = platform.ask_page(WINDOW, 500, cursor, report)
    return {"url": request.url, **request.params, **(request.json or {})}


TOTALS: dict[str, tuple[dict[str, str], Any, str]] = {
    "meta": (
        {"level": "account", "fields": "spend", "time_increment": "1"},
        {"data": [{"spend": "12.30", "date_start": f"{DAY}", "date_stop": f"{DAY}"}]},
        "12.30",
    ),
    "google_ads": (
        {"query": "SELECT segments.date, metrics.cost_micros FROM customer WHERE segments.date "
                  "BETWEEN '2025-01-01' AND '2025-01-31'"},
        [{"results": [{"segments": {"date": f"{DAY}"}, "metrics": {"costMicros": "12300000"}}]}],
        "12.30",
    ),
    "tiktok": (
        {"data_level": "AUCTION_ADVERTISER", "dimensions": '["advertiser_id", "stat_time_day"]',
         "metrics": '["spend"]'},
        {"code": 0, "data": {
            "list": [{"dimensions": {"advertiser_id": "7", "stat_time_day": f"{DAY} 00:00:00"},
                      "metrics": {"spend": "12.30"}}],
            "page_info": {"page": 1, "total_page": 1, "total_number": 1},
        }},
        "12.30",
    ),
    "linkedin": (
        {},
        {"elements": [{"costInLocalCurrency": "12.3000000000000335", "dateRange": {
            "start": {"year": 2025, "month": 1, "day": 2},
            "end": {"year": 2025, "month": 1, "day": 2},
        }}]},
        "12.3000000000000335",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_total_is_what_the_account_spent(name: str) -> None:
    platform = opened(name)
    words, body, spend = TOTALS[name]
    request = asked(platform, "total")
    assert words.items() <= request.items()
    assert "filtering" not in request, "ads that were deleted have spent as well"
    if name == "linkedin":
        assert "q=analytics&pivot=ACCOUNT&" in request["url"]
        assert request["url"].endswith("&fields=dateRange,costInLocalCurrency")
    (page,) = platform.read_pages(response(body), WINDOW, None, "total")
    assert (page.rows, page.spent) == ([], {DAY: Decimal(spend)})
    for wrong in ("nothing", None, 5):
        with pytest.raises(MalformedAnswerError):
            list(platform.read_pages(response(_with_row(body, wrong)), WINDOW, None, "total"))


def _with_row(body: Any, row: Any) -> Any:
    text = json.dumps(body)
    rows = body[0]["results"] if isinstance(body, list) else (
        body.get("data") if isinstance(body.get("data"), list) else
        body["data"]["list"] if "data" in body else body["elements"]
    )  # fmt: skip
    return json.loads(text.replace(json.dumps(rows), json.dumps([row])))


def test_google_continues_with_asset_groups_only_where_there_are_any() -> None:
    platform = opened("google_ads", *OPTIONAL_FIGURES)
    assert asked(platform, "campaigns")["query"].startswith(
        "SELECT segments.date, campaign.id, campaign.name, customer.currency_code, "
        "campaign.advertising_channel_type, metrics.impressions, metrics.clicks, "
        "metrics.cost_micros, metrics.conversions, metrics.conversions_value, "
        "metrics.video_trueview_views FROM campaign WHERE"
    )
    query = asked(platform, "campaigns", "asset_groups")["query"]
    assert "asset_group.id, asset_group.name, metrics.impressions" in query
    assert "video" not in query
    assert " FROM asset_group WHERE" in query
    campaign = {"id": "250", "name": "Sale", "advertisingChannelType": "SEARCH"}
    row = {"campaign": campaign, "segments": {"date": f"{DAY}"},
           "metrics": {"costMicros": "1500000", "clicks": "2", "conversions": 1.5}}  # fmt: skip
    (page,) = platform.read_pages(response([{"results": [row]}]), WINDOW, None, "campaigns")
    (found,) = page.rows
    assert (found.kind, found.place, found.spend) == ("campaign", ("250", "", ""), Decimal("1.5"))
    assert found.measures["conversions"] == Decimal("1.5")
    assert found.attribution == "conversion_action"
    assert page.cursor is None
    campaign["advertisingChannelType"] = "PERFORMANCE_MAX"
    *_, last = platform.read_pages(response([{"results": [row]}]), WINDOW, None, "campaigns")
    assert (last.rows, last.cursor) == ([], "asset_groups")
    group = {**row, "assetGroup": {"id": "180", "name": "Shoes"}}
    (page,) = platform.read_pages(
        response([{"results": [group]}]), WINDOW, "asset_groups", "campaigns"
    )
    assert (page.rows[0].kind, page.rows[0].place) == ("asset_group", ("250", "180", ""))
    assert page.cursor is None
    for report, cursor, lacking in (
        ("campaigns", None, "campaign"), ("campaigns", "asset_groups", "assetGroup"),
        ("campaigns", None, "segments"),
    ):  # fmt: skip
        less = {name: one for name, one in group.items() if name != lacking}
        with pytest.raises(MalformedAnswerError):
            list(platform.read_pages(response([{"results": [less]}]), WINDOW, cursor, report))


def gmv_max_page(row: Any, page: int, pages: int) -> dict[str, Any]:
    rows = {} if row is None else {"list": [row]}
    info = {"page": page, "page_size": 500, "total_page": pages, "total_number": pages}
    return {"code": 0, "data": {**rows, "page_info": info}}


def test_tiktok_asks_for_gmv_max_shop_by_shop_and_page_by_page() -> None:
    platform = opened("tiktok", "conversions", "conversion_value")
    assert asked(platform, "gmv_max") == {
        "url": "https://business-api.tiktok.com/open_api/v1.3/gmv_max/store/list/",
        "advertiser_id": ACCOUNTS["tiktok"],
    }
    shops = {"code": 0, "data": {"store_list": [{"store_id": 74001}, {"store_id": "74002"}]}}
    (page,) = platform.read_pages(response(shops), WINDOW, None, "gmv_max")
    row = {
        "dimensions": {"campaign_id": 185, "stat_time_day": f"{DAY} 00:00:00"},
        "metrics": {"campaign_name": "Shop", "currency": "EUR", "cost": "1.50", "orders": "2",
                    "gross_revenue": "-"},
    }  # fmt: skip
    cursors, answers = [], [gmv_max_page(row, 1, 2), gmv_max_page(None, 2, 2),
                            gmv_max_page(row, 1, 1)]  # fmt: skip
    cursor = page.cursor
    for body in answers:
        assert cursor is not None
        request = asked(platform, "gmv_max", cursor)
        cursors.append((json.loads(request["store_ids"]), request["page"]))
        (page,) = platform.read_pages(response(body), WINDOW, cursor, "gmv_max")
        cursor = page.cursor
    assert cursor is None
    assert cursors == [(["74001"], "1"), (["74001"], "2"), (["74002"], "1")]
    assert request["url"].endswith("/gmv_max/report/get/")
    assert json.loads(request["dimensions"]) == ["campaign_id", "stat_time_day"]
    assert json.loads(request["metrics"]) == [
        "campaign_name", "currency", "cost", "orders", "gross_revenue"
    ]  # fmt: skip
    (found,) = page.rows
    assert (found.kind, found.place, found.campaign_name) == ("campaign", ("185", "", ""), "Shop")
    assert found.measures == {"spend": Decimal("1.50"), "conversions": 2}
    assert found.attribution == "gmv_max"


@pytest.mark.parametrize("data", [{}, {"store_list": []}])
def test_without_a_shop_there_is_no_report_of_gmv_max(data: Any) -> None:
    body = {"code": 0, "data": data}
    (page,) = opened("tiktok").read_pages(response(body), WINDOW, None, "gmv_max")
    assert (page.rows, page.cursor) == ([], None)


@pytest.mark.parametrize(
    ("cursor", "data"),
    [
        (None, {"store_list": "none"}), (None, {"store_list": [{"store_id": "a"}]}),
        (None, {"store_list": [7]}), ("1/1", {"list": []}), ("1/1", {"list": {}, "page_info": {}}),
        ("1/1", {"list": [{}], "page_info": {"page": 1, "total_page": 1}}),
    ],
)  # fmt: skip
def test_a_malformed_report_of_gmv_max_is_refused(cursor: str | None, data: Any) -> None:
    body = {"code": 0, "data": data}
    with pytest.raises(MalformedAnswerError):
        list(opened("tiktok").read_pages(response(body), WINDOW, cursor, "gmv_max"))


def test_tiktoks_reservations_have_a_report_of_their_own() -> None:
    request = asked(opened("tiktok"), "reservation")
    assert (request["service_type"], request["data_level"]) == ("RESERVATION", "RESERVATION_AD")


def test_meta_counts_the_action_types_that_were_chosen() -> None:
    platform = opened("meta", "conversions", "roas", "video_views", "link_clicks",
                      meta_conversion_actions=("lead", "purchase"))  # fmt: skip
    fields = asked(platform, "ads")["fields"].split(",")
    assert fields[-4:] == ["inline_link_clicks", "actions", "action_values", "attribution_setting"]
    actions = [
        {"action_type": "omni_purchase", "value": "3"}, {"action_type": "purchase", "value": "2"},
        {"action_type": "lead", "value": "1"}, {"action_type": "video_view", "value": "40"},
    ]  # fmt: skip
    row = {"ad_id": "1", "date_start": f"{DAY}", "date_stop": f"{DAY}", "spend": "1",
           "actions": actions, "action_values": [{"action_type": "purchase", "value": "9.99"}],
           "inline_link_clicks": "5", "attribution_setting": "7d_click_1d_view"}  # fmt: skip
    (page,) = platform.read_pages(response({"data": [row]}), WINDOW)
    assert page.rows[0].measures == {
        "spend": Decimal(1), "conversions": Decimal(3), "conversion_value": Decimal("9.99"),
        "video_views": Decimal(40), "link_clicks": 5,
    }  # fmt: skip
    assert page.rows[0].attribution == "7d_click_1d_view"
    bare = {name: row[name] for name in ("ad_id", "date_start", "date_stop")}
    (page,) = platform.read_pages(response({"data": [bare]}), WINDOW)
    assert page.rows[0].measures == dict.fromkeys(
        ("conversions", "conversion_value", "video_views"), Decimal(0)
    )
    for wrong in ("3", [3], [{"action_type": "lead", "value": "many"}], {"lead": 1}):
        with pytest.raises(MalformedAnswerError):
            list(platform.read_pages(response({"data": [{**row, "actions": wrong}]}), WINDOW))
