"""How the platforms' files read rows: exactly, or an error that says what is malformed."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.catalogue import (
    WINDOW,
    graph,
    linkedin,
    opened,
    response,
    rows_of,
)
from workers.errors import (
    MalformedAnswerError,
    PermanentError,
    TooMuchDataError,
    TransientError,
    WorkerError,
)
from workers.metrics.facts import AdDay
from workers.metrics.platforms import PLATFORMS
from workers.metrics.platforms.protocol import amount, whole


def measures(
    impressions: int, clicks: int, spend: str, reach: int | None = None
) -> dict[str, int | Decimal]:
    found = {"impressions": impressions, "clicks": clicks, "spend": Decimal(spend)}
    return found if reach is None else {**found, "reach": reach}


def meta_row(**values: Any) -> dict[str, Any]:
    day = {"date_start": "2025-01-02", "date_stop": "2025-01-02"}
    return {"ad_id": "1", "impressions": "10", "spend": "1.10", **day, **values}


def google_row(**metrics: Any) -> dict[str, Any]:
    return {
        "adGroupAd": {"resourceName": "customers/1/adGroupAds/77~1", "ad": {"id": "1"}},
        "segments": {"date": "2025-01-02"},
        "metrics": metrics,
    }


def tiktok_row(**values: Any) -> dict[str, Any]:
    dimensions = {"ad_id": "1", "stat_time_day": "2025-01-02 00:00:00"}
    dimensions |= {name: values.pop(name) for name in list(values) if name in dimensions}
    return {"dimensions": dimensions, "metrics": {"impressions": "10", "spend": "1.10", **values}}


def tiktok_page(*rows: Any, **info: Any) -> dict[str, Any]:
    info = {"page": 1, "page_size": 1000, "total_number": len(rows), "total_page": 1, **info}
    return {"code": 0, "message": "OK", "data": {"list": list(rows), "page_info": info}}


def linkedin_row(**values: Any) -> dict[str, Any]:
    day = {"year": 2025, "month": 1, "day": 2}
    return {
        "pivotValues": ["urn:li:sponsoredCreative:1"],
        "dateRange": {"start": day, "end": day},
        "impressions": 10,
        **values,
    }


def test_meta_rows_are_read_exactly() -> None:
    body = {"data": [meta_row(ad_name="Film", clicks="2", reach="9", account_currency="EUR")]}
    assert rows_of(opened("meta"), body) == [
        AdDay("1", "Film", date(2025, 1, 2), measures(10, 2, "1.10", 9), "EUR")
    ]
    (sparse,) = rows_of(opened("meta"), {"data": [meta_row(impressions=None)]})
    assert sparse.measures == {"spend": Decimal("1.10")}


@pytest.mark.parametrize("ad_id", ["1790000000000001", 1790000000000001])
def test_tiktok_rows_are_read_exactly(ad_id: Any) -> None:
    row = tiktok_row(ad_id=ad_id, ad_name="Film", clicks="2", reach="-", currency="EUR", cpc="-")
    assert rows_of(opened("tiktok"), tiktok_page(row)) == [
        AdDay("1790000000000001", "Film", date(2025, 1, 2), measures(10, 2, "1.10"), "EUR")
    ]


def test_tiktok_follows_pages_by_number_and_announces_how_many_rows_there_are() -> None:
    platform = opened("tiktok")
    body = tiktok_page(tiktok_row(), page=2, total_page=3, total_number=2100)
    (page,) = platform.read_pages(response(body), WINDOW)
    assert (page.cursor, page.total) == ("3", 2100)
    (last,) = platform.read_pages(response(tiktok_page(page=3, total_page=3)), WINDOW)
    assert (last.cursor, last.total) == (None, 0)
    (empty,) = platform.read_pages(response(tiktok_page(total_page=0)), WINDOW)
    assert (empty.rows, empty.cursor) == ([], None)


def test_linkedin_rows_are_read_exactly() -> None:
    row = linkedin_row(
        clicks=2, costInLocalCurrency="107.5300000000000335346", approximateMemberReach=9
    )
    assert rows_of(opened("linkedin"), {"elements": [row]}) == [
        AdDay("1", None, date(2025, 1, 2), measures(10, 2, "107.5300000000000335346", 9))
    ]
    (sparse,) = rows_of(opened("linkedin"), {"elements": [linkedin_row()]})
    assert sparse.measures == {"impressions": 10}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("tiktok", tiktok_page(total_number=10_000, total_page=10)),
        ("linkedin", {"elements": [linkedin_row()] * 15_000}),
    ],
)
def test_what_may_have_been_truncated_is_too_much(name: str, body: Any) -> None:
    with pytest.raises(TooMuchDataError):
        rows_of(opened(name), body)


@given(st.integers(0, 10**15))
def test_micros_become_units_without_loss(micros: int) -> None:
    (row,) = rows_of(opened("google_ads"), [{"results": [google_row(costMicros=str(micros))]}])
    assert row.spend * 10**6 == micros
    assert row.ad_group_id == "77"
    assert set(row.measures) == {"spend"}


@pytest.mark.parametrize(
    "row",
    [
        meta_row(date_stop="2025-01-03"),
        meta_row(date_start="2025-02-02", date_stop="2025-02-02"),
        meta_row(date_start="soon", date_stop="soon"),
        meta_row(ad_id=None),
        meta_row(impressions="many"),
        meta_row(impressions="1.5"),
        meta_row(clicks="-1"),
        meta_row(spend="NaN"),
        meta_row(spend=True),
        meta_row(spend=["1"]),
        "a row",
    ],
)
def test_a_malformed_meta_row_is_refused(row: Any) -> None:
    with pytest.raises(PermanentError) as caught:
        rows_of(opened("meta"), {"data": [row]})
    assert caught.value.code == "malformed_answer"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("meta", {"data": {}}),
        ("meta", {"data": [], "paging": {"next": "https://elsewhere.example/?access_token=x"}}),
        ("meta", []),
        ("meta", {"error": {"code": 1}}),
        ("tiktok", {"code": 0, "data": {"list": [], "page_info": {"page": 1}}}),
        ("tiktok", {"code": 0, "data": {"page_info": tiktok_page()["data"]["page_info"]}}),
        ("tiktok", {"code": 0}),
        ("tiktok", {"code": None, "data": {}}),
        ("tiktok", ["a page"]),
        ("tiktok", tiktok_page("a row")),
        ("tiktok", tiktok_page(tiktok_row(ad_id=None))),
        ("tiktok", tiktok_page(tiktok_row(ad_id=True))),
        ("tiktok", tiktok_page(tiktok_row(stat_time_day="2025-01-02 07:00:00"))),
        ("tiktok", tiktok_page(tiktok_row(stat_time_day="2025-02-02 00:00:00"))),
        ("tiktok", tiktok_page(tiktok_row(stat_time_day=None))),
        ("tiktok", tiktok_page(tiktok_row(impressions="many"))),
        ("tiktok", tiktok_page(tiktok_row(clicks="-1"))),
        ("linkedin", {"elements": {}}),
        ("linkedin", linkedin(403, "ACCESS_DENIED")),
        ("linkedin", ["an element"]),
        ("linkedin", {"elements": ["an element"]}),
        ("linkedin", {"elements": [linkedin_row(pivotValues=[])]}),
        ("linkedin", {"elements": [linkedin_row(pivotValues=["urn:li:sponsoredCampaign:1"])]}),
        ("linkedin", {"elements": [linkedin_row(dateRange={})]}),
        ("linkedin", {"elements": [linkedin_row(dateRange={
            "start": {"year": 2025, "month": 1, "day": 2},
            "end": {"year": 2025, "month": 1, "day": 3},
        })]}),
        ("linkedin", {"elements": [linkedin_row(dateRange={
            end: {"year": 2025, "month": 2, "day": 2} for end in ("start", "end")
        })]}),
        ("linkedin", {"elements": [linkedin_row(impressions="many")]}),
        ("linkedin", {"elements": [linkedin_row(costInLocalCurrency=True)]}),
        ("google_ads", ["a batch"]),
        ("google_ads", {"results": [], "nextPageToken": "x"}),
        ("google_ads", [{"results": [{"adGroupAd": {}}]}]),
        ("google_ads", [{"results": [google_row(impressions="1.5")]}]),
    ],
)  # fmt: skip
def test_a_malformed_response_is_refused(name: str, body: Any) -> None:
    with pytest.raises(PermanentError):
        rows_of(opened(name), body)


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data": [', b'[{"results": [{}', b"\xff\xfe"])
def test_a_truncated_response_may_be_complete_the_next_time(name: str, body: bytes) -> None:
    with pytest.raises(TransientError):
        list(opened(name).read_pages(response(body), WINDOW))


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_never_rows(body: bytes) -> None:
    for name in PLATFORMS:
        platform = opened(name)
        try:
            rows = [
                row for page in platform.read_pages(response(body), WINDOW) for row in page.rows
            ]
        except WorkerError:
            continue
        assert rows == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "code", "details", "errorCode", "status", "data",
                             "results", "paging", "metrics", "adGroupAd", "ad", "segments",
                             "list", "page_info", "dimensions", "elements", "message"]),
            inner, max_size=4,
        ),
        max_leaves=12,
    ),
    st.sampled_from([200, 400, 401, 403, 404, 429, 500]),
)  # fmt: skip
def test_every_json_is_rows_or_an_error_by_name(body: Any, status: int) -> None:
    for name in PLATFORMS:
        platform = opened(name)
        with suppress(WorkerError):
            list(platform.read_pages(response(body), WINDOW))
        assert isinstance(platform.classify(response(body, status)), WorkerError)


@pytest.mark.parametrize(("name", "smaller_pages_help"), [("tiktok", False), ("linkedin", False)])
def test_smaller_pages_of_a_report_that_is_too_large_are_not_smaller(
    name: str, smaller_pages_help: bool
) -> None:
    bodies = {
        "tiktok": tiktok_page(total_number=10_000, total_page=10),
        "linkedin": {"elements": [linkedin_row()] * 15_000},
    }
    with pytest.raises(TooMuchDataError) as caught:
        rows_of(opened(name), bodies[name])
    assert caught.value.smaller_pages_help is smaller_pages_help
    too_large = opened("meta").classify(response(graph(100, 1487534), 400))
    assert isinstance(too_large, TooMuchDataError)
    assert too_large.smaller_pages_help


def test_numbers_are_exact_or_refused() -> None:
    assert whole("12", "x") == 12
    assert amount("12.30", "x") == Decimal("12.30")
    assert amount(None, "x") is None
    for value in (1.5, True, "", "Infinity", "NaN", [], {}, "1e999999999", "1e-999999999", 10**30):
        for read in (amount, whole):
            with pytest.raises(MalformedAnswerError, match="clicks"):
                read(value, "clicks")


def test_negative_money_is_a_correction_and_a_negative_count_is_refused() -> None:
    assert amount("-0.10", "spend") == Decimal("-0.10")
    with pytest.raises(MalformedAnswerError, match="clicks is below zero"):
        whole("-1", "clicks")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("meta", {"data": [meta_row(spend="-0.10")]}),
        ("google_ads", [{"results": [google_row(costMicros="-100000")]}]),
        ("tiktok", tiktok_page(tiktok_row(spend="-0.10"))),
        ("linkedin", {"elements": [linkedin_row(costInLocalCurrency="-0.10")]}),
    ],
)
def test_every_platform_may_correct_spend(name: str, body: Any) -> None:
    (row,) = rows_of(opened(name), body)
    assert row.spend == Decimal("-0.1")
