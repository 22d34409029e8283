"""The platforms' own files: rows that are not as asked for, errors by name, usage headers."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.catalogue import (
    ACCOUNTS,
    CREDENTIALS,
    GOOGLE_ERRORS,
    LINKEDIN_ERRORS,
    META_ERRORS,
    SETTINGS,
    TIKTOK_ERRORS,
    WINDOW,
    answer,
    graph,
    linkedin,
    opened,
)
from workers.answers import Answer
from workers.errors import (
    ConnectionCredentialsError,
    MalformedAnswerError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    TransientError,
    WorkerError,
)
from workers.metrics.facts import AdDay
from workers.metrics.platforms import NAMES, PLATFORMS, find_platform
from workers.metrics.platforms.protocol import Connection, Platform, amount, whole


def rows_of(platform: Platform, body: Any) -> list[AdDay]:
    return [row for page in platform.read_pages(answer(body), WINDOW) for row in page.rows]


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
    told = {"page": 1, "page_size": 1000, "total_number": len(rows), "total_page": 1, **info}
    return {"code": 0, "message": "OK", "data": {"list": list(rows), "page_info": told}}


def linkedin_row(**values: Any) -> dict[str, Any]:
    day = {"year": 2025, "month": 1, "day": 2}
    return {
        "pivotValues": ["urn:li:sponsoredCreative:1"],
        "dateRange": {"start": day, "end": day},
        "impressions": 10,
        **values,
    }


def test_names_lead_to_platforms() -> None:
    assert set(PLATFORMS) == {"meta", "google_ads", "tiktok", "linkedin"}
    assert dict(NAMES) == {
        "meta": "meta", "facebook": "meta", "instagram": "meta",
        "google_ads": "google_ads", "google": "google_ads",
        "tiktok": "tiktok", "linkedin": "linkedin",
    }  # fmt: skip
    assert find_platform(" Facebook ") is PLATFORMS["meta"]
    assert find_platform("snapchat") is None
    for name, platform in PLATFORMS.items():
        assert platform.name == name


@pytest.mark.parametrize("name", PLATFORMS)
def test_no_secret_is_in_a_url_or_a_repr(name: str) -> None:
    platform = opened(name)
    built = [platform.ask_account(), platform.ask_page(WINDOW, 500, "2")]
    if (sign_in := platform.sign_in()) is not None:
        built.append(sign_in)
    secrets = [secret for secret in platform.secrets if secret]
    assert secrets
    for request in built:
        proof = request.params.get("appsecret_proof", "none")
        told = request.url + repr(request).replace(proof, "")
        for secret in secrets:
            assert secret not in told
        for secret in CREDENTIALS[name].values():
            assert name == "google_ads" or secret not in str(request.params)


def test_meta_asks_for_days_ads_and_deleted_ones() -> None:
    request = opened("meta").ask_page(WINDOW, 500, "abc")
    assert request.url == "https://graph.facebook.com/v26.0/act_1001/insights"
    params = dict(request.params)
    assert len(params.pop("appsecret_proof")) == 64
    fields = params.pop("fields").split(",")
    assert {"ad_id", "ad_name", "impressions", "clicks", "spend", "reach"} <= set(fields)
    assert json.loads(params.pop("time_range")) == {"since": "2025-01-01", "until": "2025-01-31"}
    (kept,) = json.loads(params.pop("filtering"))
    assert (kept["field"], kept["operator"]) == ("ad.effective_status", "IN")
    assert {"ACTIVE", "PAUSED", "ARCHIVED", "DELETED"} <= set(kept["value"])
    assert params == {"level": "ad", "time_increment": "1", "limit": "500", "after": "abc"}


def test_google_asks_with_login_customer_and_token_only_where_configured() -> None:
    request = opened("google_ads").ask_page(WINDOW, 1, None)
    assert request.url == (
        "https://googleads.googleapis.com/v26/customers/1234567890/googleAds:searchStream"
    )
    assert request.headers["login-customer-id"] == "9000000001"
    assert "developer-token" not in request.headers
    with_token = opened("google_ads", developer_token="dev-token-1").ask_page(WINDOW, 1, None)
    assert with_token.headers["developer-token"] == "dev-token-1"
    assert "BETWEEN '2025-01-01' AND '2025-01-31'" in request.json["query"]


def test_tiktok_asks_for_days_ads_and_deleted_ones() -> None:
    request = opened("tiktok").ask_page(WINDOW, 1000, None)
    assert request.url == "https://business-api.tiktok.com/open_api/v1.3/report/integrated/get/"
    assert request.headers == {"Access-Token": CREDENTIALS["tiktok"]["access_token"]}
    params = dict(request.params)
    assert json.loads(params.pop("dimensions")) == ["ad_id", "stat_time_day"]
    assert {"spend", "impressions", "clicks", "reach"} <= set(json.loads(params.pop("metrics")))
    (kept,) = json.loads(params.pop("filtering"))
    assert (kept["field_name"], json.loads(kept["filter_value"])) == ("ad_status", ["STATUS_ALL"])
    assert params == {
        "advertiser_id": ACCOUNTS["tiktok"], "service_type": "AUCTION", "report_type": "BASIC",
        "data_level": "AUCTION_AD", "start_date": "2025-01-01", "end_date": "2025-01-31",
        "page": "1", "page_size": "1000",
    }  # fmt: skip
    assert opened("tiktok").ask_page(WINDOW, 1000, "7").params["page"] == "7"
    assert PLATFORMS["tiktok"].longest_window == 30


def test_linkedin_asks_in_restli_words() -> None:
    request = opened("linkedin").ask_page(WINDOW, 1, None)
    sent = requests.Request(request.method, request.url, params=dict(request.params)).prepare().url
    assert sent == (
        "https://api.linkedin.com/rest/adAnalytics?q=statistics&pivots=List(CAMPAIGN_GROUP,CAMPAIGN,CREATIVE)"
        "&timeGranularity=DAILY"
        "&dateRange=(start:(year:2025,month:1,day:1),end:(year:2025,month:1,day:31))"
        "&accounts=List(urn%3Ali%3AsponsoredAccount%3A507000001)"
        "&fields=pivotValues,dateRange,impressions,clicks,costInLocalCurrency,"
        "approximateMemberReach"
    )
    assert request.headers["LinkedIn-Version"] == SETTINGS.linkedin_api_version
    assert request.headers["X-Restli-Protocol-Version"] == "2.0.0"


def test_linkedin_exchanges_a_refresh_token_only_where_it_can() -> None:
    assert opened("linkedin").sign_in() is None
    assert opened("linkedin", refresh_token="AQrefresh").sign_in() is None
    platform = opened("linkedin", refresh_token="AQr", client_id="77", client_secret="s")
    request = platform.sign_in()
    assert request is not None
    assert request.form == {
        "grant_type": "refresh_token", "refresh_token": "AQr", "client_id": "77",
        "client_secret": "s",
    }  # fmt: skip
    platform.signed_in(answer({"access_token": "AQfresh"}))
    assert platform.ask_account().headers["Authorization"] == "Bearer AQfresh"
    assert "AQfresh" in platform.secrets
    with pytest.raises(PermanentError):
        platform.signed_in(answer({"access_token": ""}))


def opened_as(name: str, account_id: Any) -> Platform:
    row = {
        "id": "c", "platform": name, "account_id": account_id, "account_name": None,
        "credentials": CREDENTIALS[name],
    }  # fmt: skip
    return PLATFORMS[name].open(Connection.from_answer(Answer("f", row)), SETTINGS)


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize(
    "pasted",
    ["", None, "-", "my account", "act_", "12a4", "act_1,act_2", "\u0661", "\u200b", "1.5"],
    ids=ascii,
)
def test_what_is_no_account_id_is_refused_by_name(name: str, pasted: Any) -> None:
    with pytest.raises(PermanentError, match="account_id") as caught:
        opened_as(name, pasted)
    assert caught.value.code == "malformed_account_id"


@pytest.mark.parametrize(
    ("name", "pasted"),
    [
        ("meta", "act_1001"), ("meta", " 1001\n"), ("meta", "\u200bact_1001\ufeff"),
        ("meta", '"act_1001"'), ("google_ads", "123-456-7890"), ("google_ads", "123 456 7890"),
        ("google_ads", "123\u2011456\u20117890"), ("google_ads", "customers/1234567890"),
        ("tiktok", "\u00a07012345678901234567\t"), ("linkedin", "507000001"),
        ("linkedin", "urn:li:sponsoredAccount:507000001"),
    ],
)  # fmt: skip
def test_an_account_id_is_read_in_any_form(name: str, pasted: str) -> None:
    asked, usual = opened_as(name, pasted).ask_account(), opened(name).ask_account()
    assert (asked.url, asked.params.get("advertiser_ids")) == (
        usual.url,
        usual.params.get("advertiser_ids"),
    )


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize(
    "half", ["{}\n{}", "{}\r\n {}", "{} {}", "{}\x00{}", "{}\u200b{}", "{}é{}"], ids=ascii
)
def test_a_credential_that_no_header_can_carry_is_refused_by_name(name: str, half: str) -> None:
    for credential, value in CREDENTIALS[name].items():
        if not credential.endswith("_id"):
            with pytest.raises(ConnectionCredentialsError, match=credential) as caught:
                opened(name, **{credential: half.format(value, value)})
            assert caught.value.code == "credentials_malformed"
            assert value not in str(caught.value)


@pytest.mark.parametrize(
    "around", ["{}\n", "\ufeff{}", " {} ", "\u200b{}\r\n", "\u2800{}"], ids=ascii
)
@pytest.mark.parametrize("name", PLATFORMS)
def test_what_surrounds_a_credential_is_none_of_it(name: str, around: str) -> None:
    pasted = {key: around.format(value) for key, value in CREDENTIALS[name].items()}
    platform = opened(name, **pasted)
    asked, usual = (one.sign_in() or one.ask_account() for one in (platform, opened(name)))
    assert (asked.headers, asked.form, asked.params) == (usual.headers, usual.form, usual.params)
    assert set(platform.secrets) >= set(opened(name).secrets), "redacted as it is sent"


@pytest.mark.parametrize(
    "pasted", ["900-000-0001", "9000000001", " 900 000 0001 ", "customers/9000000001", 9000000001]
)
def test_googles_login_customer_is_read_in_any_form(pasted: Any) -> None:
    request = opened("google_ads", login_customer_id=pasted).ask_account()
    assert request.headers["login-customer-id"] == "9000000001"


@pytest.mark.parametrize("pasted", ["my manager", "900-000-000X", "customers/"])
def test_a_malformed_login_customer_is_said_to_be_one(pasted: str) -> None:
    with pytest.raises(ConnectionCredentialsError, match="login_customer_id") as caught:
        opened("google_ads", login_customer_id=pasted)
    assert caught.value.code == "malformed_login_customer_id"
    for absent in ("", None, "\u200b"):
        headers = opened("google_ads", login_customer_id=absent).ask_account().headers
        assert "login-customer-id" not in headers


@pytest.mark.parametrize(
    ("day", "warns"),
    [
        ("Sat, 15 May 2027 12:00:00 GMT", False),
        ("Sun, 16 May 2027 12:00:00 GMT", True),
        ("Wed, 21 Jul 2027 12:00:00 GMT", True),
        ("some day", False),
        (None, False),
    ],
)
def test_linkedin_tells_of_a_version_that_is_about_to_end(day: str | None, warns: bool) -> None:
    assert SETTINGS.linkedin_api_version == "202607"
    warning = opened("linkedin").version_warning({} if day is None else {"Date": day})
    assert (warning is not None) == warns
    assert warning is None or "2027-07-15" in warning


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


def test_tiktok_follows_pages_by_number_and_tells_how_many_rows_there_are() -> None:
    platform = opened("tiktok")
    body = tiktok_page(tiktok_row(), page=2, total_page=3, total_number=2100)
    (page,) = platform.read_pages(answer(body), WINDOW)
    assert (page.cursor, page.total) == ("3", 2100)
    (last,) = platform.read_pages(answer(tiktok_page(page=3, total_page=3)), WINDOW)
    assert (last.cursor, last.total) == (None, 0)
    (empty,) = platform.read_pages(answer(tiktok_page(total_page=0)), WINDOW)
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
def test_what_may_have_been_cut_off_is_too_much(name: str, body: Any) -> None:
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
def test_a_meta_row_that_is_not_as_asked_for_is_refused(row: Any) -> None:
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
def test_an_answer_of_another_form_is_refused(name: str, body: Any) -> None:
    with pytest.raises(PermanentError):
        rows_of(opened(name), body)


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data": [', b'[{"results": [{}', b"\xff\xfe"])
def test_an_answer_that_breaks_off_may_come_whole_the_next_time(name: str, body: bytes) -> None:
    with pytest.raises(TransientError):
        list(opened(name).read_pages(answer(body), WINDOW))


@given(st.binary(max_size=60))
def test_no_bytes_whatever_are_taken_for_rows(body: bytes) -> None:
    for name in PLATFORMS:
        platform = opened(name)
        try:
            rows = [row for page in platform.read_pages(answer(body), WINDOW) for row in page.rows]
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
            list(platform.read_pages(answer(body), WINDOW))
        assert isinstance(platform.classify(answer(body, status)), WorkerError)


@pytest.mark.parametrize(("body", "status", "kind"), META_ERRORS)
def test_metas_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("meta").classify(answer(body, status))
    assert type(error) is kind
    if isinstance(body, dict):
        code = body["error"]["code"]
        assert error.code.startswith(str(code))
        if isinstance(error, RateLimitedError):
            assert error.everywhere == (code in (4, 341))


@pytest.mark.parametrize(("body", "status", "kind"), GOOGLE_ERRORS)
def test_googles_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("google_ads").classify(answer(body, status))
    assert type(error) is kind
    if isinstance(error, RateLimitedError):
        told = json.dumps(body)
        of_all = ('"RESOURCE_EXHAUSTED"', "LONG_TERM", "RATE_LIMIT", "rate_limit", "DEVELOPER")
        assert error.everywhere == ("ACCOUNT" not in told and any(one in told for one in of_all))
        for delay in ("8962", "37.5"):
            assert (error.retry_after == float(delay)) == (f'"{delay}s"' in told)


@pytest.mark.parametrize(("body", "status", "kind"), TIKTOK_ERRORS)
def test_tiktoks_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("tiktok").classify(answer(body, status))
    assert type(error) is kind
    if isinstance(body, dict):
        assert error.code == str(body["code"])
        if status == 200:
            with pytest.raises(kind):
                rows_of(opened("tiktok"), body)
            with pytest.raises(kind):
                opened("tiktok").read_account(answer(body))
    if isinstance(error, RateLimitedError):
        assert error.everywhere


@pytest.mark.parametrize(("body", "status", "kind"), LINKEDIN_ERRORS)
def test_linkedins_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("linkedin").classify(answer(body, status))
    assert type(error) is kind
    if isinstance(body, dict):
        assert error.code == str(
            body.get("error") or body.get("code") or body.get("serviceErrorCode")
        )
    if status == 426:
        assert "LINKEDIN_API_VERSION" in str(error)


@pytest.mark.parametrize(
    ("headers", "wait"), [({}, 330.0), ({"Retry-After": "17"}, 17.0), ({"Retry-After": "x"}, 330.0)]
)
def test_linkedins_throttle_concerns_everybody(headers: dict[str, str], wait: float) -> None:
    body = linkedin(429, "TOO_MANY_REQUESTS")
    error = opened("linkedin").classify(answer(body, 429, headers))
    assert isinstance(error, RateLimitedError)
    assert (error.everywhere, error.retry_after) == (True, wait)


def use_cases(business: str, *entries: tuple[str, int, int]) -> dict[str, str]:
    """X-Business-Use-Case-Usage: types with their share in percent and minutes to wait."""
    told = [
        {"type": type_, "total_time": share, "estimated_time_to_regain_access": minutes}
        for type_, share, minutes in entries
    ]
    return {"X-Business-Use-Case-Usage": json.dumps({business: told})}


@pytest.mark.parametrize(
    ("headers", "everywhere", "wait"),
    [
        ({"X-Ad-Account-Usage": '{"acc_id_util_pct": 90.5, "reset_time_duration": 60}'}, False, 60),
        (use_cases("1001", ("ads_management", 3, 0), ("ads_insights", 99, 7)), False, 420),
        (use_cases("act_1001", ("ads_insights", 99, 7)), False, 420),
        ({"X-FB-Ads-Insights-Throttle": '{"app_id_util_pct": 91, "acc_id_util_pct": 1}'},
         True, 300),
        # of other requests than ours, or of another account
        ({"X-App-Usage": '{"call_count": 104, "total_time": 99}'}, None, 0),
        (use_cases("1001", ("ads_management", 100, 60), ("ads_insights", 4, 0)), None, 0),
        (use_cases("1002", ("ads_insights", 100, 60)), None, 0),
        ({"X-FB-Ads-Insights-Throttle": '{"app_id_util_pct": 89}'}, None, 0),
        ({"X-Ad-Account-Usage": "no json"}, None, 0),
        ({"X-Ad-Account-Usage": '["a list"]', "X-Business-Use-Case-Usage": '{"1001": {"a": 1}}'},
         None, 0),
        ({"X-Ad-Account-Usage": '{"acc_id_util_pct": 1e999}'}, None, 0),
        ({"X-Ad-Account-Usage": f'{{"acc_id_util_pct": {10**400}}}'}, None, 0),
        ({"X-Ad-Account-Usage": '{"acc_id_util_pct": NaN}'}, None, 0),
        ({}, None, 0),
    ],
)  # fmt: skip
def test_metas_usage_headers(headers: dict[str, str], everywhere: bool | None, wait: float) -> None:
    near = opened("meta").usage(headers)
    if everywhere is None:
        assert near is None
    else:
        assert near is not None
        assert (near.everywhere, near.retry_after) == (everywhere, wait)


@pytest.mark.parametrize(
    ("code", "headers", "wait"),
    [
        (80000, use_cases("1001", ("ads_insights", 100, 7), ("ads_management", 100, 90)), 420),
        (80004, use_cases("1001", ("ads_insights", 10, 0), ("ads_management", 100, 90)), 5400),
        (17, use_cases("1002", ("ads_insights", 100, 90)), 300),
        (4, {}, 300),
    ],
)
def test_a_limit_of_meta_is_waited_for_as_long_as_it_says(
    code: int, headers: dict[str, str], wait: float
) -> None:
    error = opened("meta").classify(answer(graph(code), 400, headers))
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == wait


@pytest.mark.parametrize(
    ("message", "headers", "everywhere", "until_midnight"),
    [
        ("Resource level throttle APPLICATION DAY limit for calls to this resource is reached.",
         {}, True, True),
        ("Resource level throttle MEMBER DAY limit for calls to this resource is reached.",
         {}, False, True),
        ("Resource level throttle MEMBER DAY limit for calls to this resource is reached.",
         {"Retry-After": "60"}, False, False),
        ("Data limit for all queries over the last 5 minutes: 45000000", {}, True, False),
        ("TODAY is not a day of rest", {}, True, False),
    ],
)  # fmt: skip
def test_linkedins_quota_of_the_day(
    message: str, headers: dict[str, str], everywhere: bool, until_midnight: bool
) -> None:
    body = linkedin(429, "TOO_MANY_REQUESTS", message)
    error = opened("linkedin").classify(answer(body, 429, headers))
    assert isinstance(error, RateLimitedError)
    assert (error.everywhere, error.until_midnight) == (everywhere, until_midnight)


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
    too_large = opened("meta").classify(answer(graph(100, 1487534), 400))
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


def test_money_below_zero_is_a_correction_and_a_count_below_zero_is_none() -> None:
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
def test_every_platform_may_correct_what_was_spent(name: str, body: Any) -> None:
    (row,) = rows_of(opened(name), body)
    assert row.spend == Decimal("-0.1")
