"""What the platforms' errors and usage headers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.metrics.catalogue import (
    GOOGLE_ERRORS,
    LINKEDIN_ERRORS,
    META_ERRORS,
    TIKTOK_ERRORS,
    graph,
    linkedin,
    opened,
    response,
    rows_of,
)
from workers.errors import (
    RateLimitedError,
    WorkerError,
)


@pytest.mark.parametrize(("body", "status", "kind"), META_ERRORS)
def test_metas_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("meta").classify(response(body, status))
    assert type(error) is kind
    if isinstance(body, dict):
        code = body["error"]["code"]
        assert error.code.startswith(str(code))
        if isinstance(error, RateLimitedError):
            assert error.everywhere == (code in (4, 341))


@pytest.mark.parametrize(("body", "status", "kind"), GOOGLE_ERRORS)
def test_googles_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("google_ads").classify(response(body, status))
    assert type(error) is kind
    if isinstance(error, RateLimitedError):
        text = json.dumps(body)
        of_all = ('"RESOURCE_EXHAUSTED"', "LONG_TERM", "RATE_LIMIT", "rate_limit", "DEVELOPER")
        assert error.everywhere == ("ACCOUNT" not in text and any(one in text for one in of_all))
        for delay in ("8962", "37.5"):
            assert (error.retry_after == float(delay)) == (f'"{delay}s"' in text)


@pytest.mark.parametrize(("body", "status", "kind"), TIKTOK_ERRORS)
def test_tiktoks_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("tiktok").classify(response(body, status))
    assert type(error) is kind
    if isinstance(body, dict):
        assert error.code == str(body["code"])
        if status == 200:
            with pytest.raises(kind):
                rows_of(opened("tiktok"), body)
            with pytest.raises(kind):
                opened("tiktok").read_account(response(body))
    if isinstance(error, RateLimitedError):
        assert error.everywhere


@pytest.mark.parametrize(("body", "status", "kind"), LINKEDIN_ERRORS)
def test_linkedins_errors_by_name(body: Any, status: int, kind: type[WorkerError]) -> None:
    error = opened("linkedin").classify(response(body, status))
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
def test_linkedins_throttle_concerns_all_accounts(headers: dict[str, str], wait: float) -> None:
    body = linkedin(429, "TOO_MANY_REQUESTS")
    error = opened("linkedin").classify(response(body, 429, headers))
    assert isinstance(error, RateLimitedError)
    assert (error.everywhere, error.retry_after) == (True, wait)


def use_cases(business: str, *entries: tuple[str, int, int]) -> dict[str, str]:
    """X-Business-Use-Case-Usage: types with their share in percent and minutes to wait."""
    usage = [
        {"type": type_, "total_time": share, "estimated_time_to_regain_access": minutes}
        for type_, share, minutes in entries
    ]
    return {"X-Business-Use-Case-Usage": json.dumps({business: usage})}


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
def test_a_limit_of_meta_is_waited_out_as_long_as_it_says(
    code: int, headers: dict[str, str], wait: float
) -> None:
    error = opened("meta").classify(response(graph(code), 400, headers))
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
def test_linkedins_daily_quota(
    message: str, headers: dict[str, str], everywhere: bool, until_midnight: bool
) -> None:
    body = linkedin(429, "TOO_MANY_REQUESTS", message)
    error = opened("linkedin").classify(response(body, 429, headers))
    assert isinstance(error, RateLimitedError)
    assert (error.everywhere, error.until_midnight) == (everywhere, until_midnight)
