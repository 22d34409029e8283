"""The platforms' own files: rows that are not as asked for, errors by name, usage headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import (
    ConnectionCredentialsError,
    ExpiredSignInError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.metrics.facts import AdDay
from workers.metrics.windows import Window
from workers.platforms import NAMES, PLATFORMS, find_platform
from workers.platforms.protocol import Answer, Connection, Platform, amount, whole
from workers.settings import Settings

SETTINGS = Settings(
    supabase_url="https://abc.supabase.co",
    supabase_service_role_key="sb_secret_x",
    slack_bot_token="xoxb-x",
    google_client_id="id",
    google_client_secret="GOCSPX-of-the-deployment",
)
CREDENTIALS = {
    "meta": {"access_token": "EAALOCALtoken000000001", "app_secret": "secret-of-the-app"},
    "google_ads": {"refresh_token": "1//refresh-000001", "login_customer_id": "900-000-0001"},
}
ACCOUNTS = {"meta": "act_1001", "google_ads": "123-456-7890"}
WINDOW = Window(date(2025, 1, 1), date(2025, 1, 31))


def opened(name: str, **credentials: Any) -> Platform:
    row = {
        "id": "c", "platform": name, "account_id": ACCOUNTS[name], "account_name": None,
        "credentials": {**CREDENTIALS[name], **credentials},
    }  # fmt: skip
    return PLATFORMS[name].open(Connection.from_row(row), SETTINGS)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(raw), 7):
            yield raw[start : start + 7]

    return Answer(status, headers or {}, chunks())


def rows_of(platform: Platform, body: Any) -> list[AdDay]:
    return [row for page in platform.read_pages(answer(body), WINDOW) for row in page.rows]


def meta_row(**values: Any) -> dict[str, Any]:
    day = {"date_start": "2025-01-02", "date_stop": "2025-01-02"}
    return {"ad_id": "1", "impressions": "10", "spend": "1.10", **day, **values}


def google_row(**metrics: Any) -> dict[str, Any]:
    return {
        "adGroupAd": {"resourceName": "customers/1/adGroupAds/77~1", "ad": {"id": "1"}},
        "segments": {"date": "2025-01-02"},
        "metrics": metrics,
    }


def test_names_lead_to_platforms() -> None:
    assert set(PLATFORMS) == {"meta", "google_ads"}
    assert dict(NAMES) == {
        "meta": "meta", "facebook": "meta", "instagram": "meta",
        "google_ads": "google_ads", "google": "google_ads",
    }  # fmt: skip
    assert find_platform(" Facebook ") is PLATFORMS["meta"]
    assert find_platform("snapchat") is None
    for name, platform in PLATFORMS.items():
        assert platform.name == name


@pytest.mark.parametrize("name", PLATFORMS)
def test_no_secret_is_in_a_url_or_a_repr(name: str) -> None:
    platform = opened(name)
    requests = [platform.ask_account(), platform.ask_page(WINDOW, 500, "cursor")]
    if (sign_in := platform.sign_in()) is not None:
        requests.append(sign_in)
    secrets = [secret for secret in platform.secrets if secret]
    assert len(secrets) >= 2
    for request in requests:
        proof = request.params.get("appsecret_proof", "none")
        told = request.url + repr(request).replace(proof, "")
        for secret in secrets:
            assert secret not in told
        for secret in CREDENTIALS[name].values():
            assert name == "google_ads" or secret not in str(request.params)


def test_meta_asks_for_days_and_ads() -> None:
    request = opened("meta").ask_page(WINDOW, 500, "abc")
    assert request.url == "https://graph.facebook.com/v26.0/act_1001/insights"
    params = dict(request.params)
    assert len(params.pop("appsecret_proof")) == 64
    fields = params.pop("fields").split(",")
    assert {"ad_id", "ad_name", "impressions", "clicks", "spend", "reach"} <= set(fields)
    assert json.loads(params.pop("time_range")) == {"since": "2025-01-01", "until": "2025-01-31"}
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


def test_meta_rows_are_read_exactly() -> None:
    body = {"data": [meta_row(ad_name="Film", clicks="2", reach="9", account_currency="EUR")]}
    assert rows_of(opened("meta"), body) == [
        AdDay("1", "Film", date(2025, 1, 2), 10, 2, Decimal("1.10"), 9, "EUR")
    ]
    (sparse,) = rows_of(opened("meta"), {"data": [meta_row(impressions=None)]})
    assert (sparse.impressions, sparse.clicks, sparse.reach) == (None, None, None)


@given(st.integers(0, 10**15))
def test_micros_become_units_without_loss(micros: int) -> None:
    (row,) = rows_of(opened("google_ads"), [{"results": [google_row(costMicros=str(micros))]}])
    assert row.spend is not None
    assert row.spend * 10**6 == micros
    assert (row.ad_group_id, row.reach, row.impressions) == ("77", None, None)


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
        ("google_ads", ["a batch"]),
        ("google_ads", {"results": [], "nextPageToken": "x"}),
        ("google_ads", [{"results": [{"adGroupAd": {}}]}]),
        ("google_ads", [{"results": [google_row(impressions="1.5")]}]),
    ],
)
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
                             "results", "paging", "metrics", "adGroupAd", "ad", "segments"]),
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


def graph(code: int, subcode: int = 0, message: str = "", **more: Any) -> dict[str, Any]:
    error = {"code": code, "error_subcode": subcode, "message": message, "fbtrace_id": "A1"}
    return {"error": {**error, **more}}


META_ERRORS = [
    (graph(190, 463), 400, ConnectionCredentialsError),
    (graph(190), 400, ConnectionCredentialsError),
    (graph(102), 400, ConnectionCredentialsError),
    (graph(2500, message="An active access token must be used"), 400, ConnectionCredentialsError),
    (graph(2500, message="Unknown path components: /me"), 400, PermanentError),
    (graph(10), 403, PermanentError),
    (graph(200), 403, PermanentError),
    (graph(294), 403, PermanentError),
    (graph(100, 33), 400, PermanentError),
    (graph(100, 3191001), 400, PermanentError),
    (graph(100), 400, PermanentError),
    (graph(3018), 400, PermanentError),
    (graph(368), 400, PermanentError),
    (graph(2635), 400, PermanentError),
    (graph(2, 1504041), 400, PermanentError),
    (graph(2, 1504042, is_transient=True), 400, PermanentError),
    (graph(4), 400, RateLimitedError),
    (graph(4, 1504022), 400, RateLimitedError),
    (graph(341), 400, RateLimitedError),
    (graph(17, 2446079), 400, RateLimitedError),
    (graph(32), 400, RateLimitedError),
    (graph(613, 1487742), 400, RateLimitedError),
    *((graph(code), 400, RateLimitedError) for code in (*range(80000, 80007), 80008, 80009, 80014)),
    (graph(100, 1487534), 400, TooMuchDataError),
    (graph(100, 1504018), 400, TooMuchDataError),
    (graph(2, 1504038), 400, TooMuchDataError),
    (graph(1, message="Please reduce the amount of data you're asking for"), 500, TooMuchDataError),
    (graph(1), 500, TransientError),
    (graph(1, 99), 400, TransientError),
    (graph(2), 500, TransientError),
    (graph(2, 1504043), 400, TransientError),
    (graph(104), 400, TransientError),
    (graph(960), 400, TransientError),
    (graph(100, message="Cannot include x in summary param because"), 400, TransientError),
    (graph(9999, is_transient=True), 400, TransientError),
    (graph(9999), 400, UnknownError),
    ("<html>", 502, TransientError),
    ("", 200, TransientError),
    ("<html>", 429, RateLimitedError),
    ("<html>", 418, UnknownError),
]


@pytest.mark.parametrize(("body", "status", "kind"), META_ERRORS)
def test_metas_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("meta").classify(answer(body, status))
    assert type(error) is kind
    if isinstance(body, dict):
        code = body["error"]["code"]
        assert error.code.startswith(str(code))
        if isinstance(error, RateLimitedError):
            assert error.everywhere == (code in (4, 341))


def failure(family: str, value: str, delay: str | None = None) -> list[Any]:
    details = {"quotaErrorDetails": {"retryDelay": delay}} if delay else {}
    one = {"errorCode": {family: value}, "message": "No.", "details": details}
    return [{"error": {"code": 400, "details": [{"requestId": "R1", "errors": [one]}]}}]


GOOGLE_ERRORS = [
    (failure("authenticationError", "OAUTH_TOKEN_EXPIRED"), 401, ExpiredSignInError),
    ({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, 401, ExpiredSignInError),
    (failure("authenticationError", "OAUTH_TOKEN_REVOKED"), 401, ConnectionCredentialsError),
    (failure("authenticationError", "OAUTH_TOKEN_INVALID"), 401, ConnectionCredentialsError),
    (failure("authenticationError", "GOOGLE_ACCOUNT_COOKIE_INVALID"), 401,
     ConnectionCredentialsError),
    (failure("authenticationError", "TWO_STEP_VERIFICATION_NOT_ENROLLED"), 401,
     ConnectionCredentialsError),
    (failure("authenticationError", "ADVANCED_PROTECTION_NOT_ENROLLED"), 401,
     ConnectionCredentialsError),
    (failure("authenticationError", "NOT_ADS_USER"), 401, ConnectionCredentialsError),
    (failure("authenticationError", "CUSTOMER_NOT_FOUND"), 401, PermanentError),
    (failure("authenticationError", "CLIENT_CUSTOMER_ID_INVALID"), 401, PermanentError),
    (failure("authorizationError", "USER_PERMISSION_DENIED"), 403, PermanentError),
    (failure("authorizationError", "CUSTOMER_NOT_ENABLED"), 403, PermanentError),
    (failure("authorizationError", "CLOUD_PROJECT_NOT_APPROVED_FOR_PRODUCTION"), 403,
     PermanentError),
    (failure("authorizationError", "PROJECT_DISABLED"), 403, PermanentError),
    (failure("authorizationError", "METRIC_ACCESS_DENIED"), 403, PermanentError),
    (failure("queryError", "UNRECOGNIZED_FIELD"), 400, PermanentError),
    (failure("queryError", "REQUESTED_METRICS_FOR_MANAGER"), 400, PermanentError),
    (failure("requestError", "UNSUPPORTED_VERSION"), 400, PermanentError),
    (failure("quotaError", "RESOURCE_EXHAUSTED", "8962s"), 429, RateLimitedError),
    (failure("quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", "37.5s"), 429, RateLimitedError),
    (failure("quotaError", "EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION"), 429,
     RateLimitedError),
    (failure("quotaError", "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION"), 429,
     RateLimitedError),
    (failure("internalError", "INTERNAL_ERROR"), 500, TransientError),
    (failure("internalError", "TRANSIENT_ERROR"), 503, TransientError),
    ({"error": {"code": 503, "status": "UNAVAILABLE"}}, 503, TransientError),
    ({"error": "invalid_grant"}, 400, ConnectionCredentialsError),
    ({"error": "invalid_client"}, 401, ConnectionCredentialsError),
    ({"error": "temporarily_unavailable"}, 503, TransientError),
    ({"error": "invalid_scope"}, 400, UnknownError),
    (failure("someError", "OF_TOMORROW"), 400, UnknownError),
    (failure("someError", "OF_TOMORROW"), 403, PermanentError),
    ("<html>", 404, PermanentError),
    ("<html>", 502, TransientError),
    ("", 200, TransientError),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "kind"), GOOGLE_ERRORS)
def test_googles_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("google_ads").classify(answer(body, status))
    assert type(error) is kind
    if isinstance(error, RateLimitedError):
        told = json.dumps(body)
        assert error.everywhere == ('"RESOURCE_EXHAUSTED"' in told or "LONG_TERM" in told)
        for delay in ("8962", "37.5"):
            assert (error.retry_after == float(delay)) == (f'"{delay}s"' in told)


@pytest.mark.parametrize(
    ("headers", "everywhere", "wait"),
    [
        ({"X-App-Usage": '{"call_count": 95}'}, True, 300.0),
        ({"X-Ad-Account-Usage": '{"acc_id_util_pct": 90.5, "reset_time_duration": 60}'}, False, 60),
        (
            {"X-Business-Use-Case-Usage": json.dumps({"1": [
                {"type": "ads_management", "call_count": 3},
                {"type": "ads_insights", "total_time": 99, "estimated_time_to_regain_access": 7},
            ]})},
            False, 420,
        ),
        ({"X-FB-Ads-Insights-Throttle": '{"app_id_util_pct": 91, "acc_id_util_pct": 1}'},
         True, 300),
        ({"X-App-Usage": '{"call_count": 89}'}, None, 0),
        ({"X-App-Usage": "no json"}, None, 0),
        ({"X-App-Usage": '["a list"]', "X-Business-Use-Case-Usage": '{"1": {"a": 1}}'}, None, 0),
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


def test_numbers_are_exact_or_refused() -> None:
    assert whole("12", "x") == 12
    assert amount("12.30", "x") == Decimal("12.30")
    assert amount(None, "x") is None
    for value in (1.5, True, "", "1e999999999", "Infinity", -1, [], {}):
        with pytest.raises(PermanentError, match="clicks"):
            amount(value, "clicks")
