"""Every platform opened without a server, and what each may respond when it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from workers.answers import Answer as SqlAnswer
from workers.errors import (
    ConnectionCredentialsError,
    ExpiredSignInError,
    GeneralError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.metrics.facts import AdDay
from workers.metrics.platforms import PLATFORMS
from workers.metrics.platforms.protocol import Connection, Platform, Response
from workers.metrics.windows import Window
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
    "tiktok": {"access_token": "localtiktoktoken00000000000000000000001"},
    "linkedin": {"access_token": "AQlocalLinkedinToken000000000000000000001"},
}
ACCOUNTS = {
    "meta": "act_1001",
    "google_ads": "123-456-7890",
    "tiktok": "7012345678901234567",
    "linkedin": "507000001",
}
WINDOW = Window(date(2025, 1, 1), date(2025, 1, 31))


def opened(name: str, **credentials: Any) -> Platform:
    row = {
        "id": "c", "platform": name, "account_id": ACCOUNTS[name], "account_name": None,
        "credentials": {**CREDENTIALS[name], **credentials},
    }  # fmt: skip
    return PLATFORMS[name].open(Connection.from_answer(SqlAnswer("f", row)), SETTINGS)


def response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(raw), 7):
            yield raw[start : start + 7]

    return Response(status, headers or {}, chunks())


def rows_of(platform: Platform, body: Any) -> list[AdDay]:
    return [row for page in platform.read_pages(response(body), WINDOW) for row in page.rows]


def graph(code: int, subcode: int = 0, message: str = "", **more: Any) -> dict[str, Any]:
    error = {"code": code, "error_subcode": subcode, "message": message, "fbtrace_id": "A1"}
    return {"error": {**error, **more}}


META_ERRORS = [
    (graph(190, 463), 400, ConnectionCredentialsError),
    (graph(190), 400, ConnectionCredentialsError),
    (graph(102), 400, ConnectionCredentialsError),
    (graph(104), 400, ConnectionCredentialsError),
    (graph(9999), 401, ConnectionCredentialsError),
    (graph(100, message="Invalid appsecret_proof"), 400, ConnectionCredentialsError),
    (graph(2500, message="An active access token must be used"), 400, ConnectionCredentialsError),
    (graph(2500, message="Token de acceso activo"), 400, ConnectionCredentialsError),
    (graph(2500, message="Unknown path components: /me"), 400, PermanentError),
    (graph(3), 400, PermanentError),
    (graph(10), 403, PermanentError),
    (graph(12), 400, PermanentError),
    (graph(200), 403, PermanentError),
    (graph(294), 403, PermanentError),
    (graph(803), 404, PermanentError),
    (graph(1150), 400, PermanentError),
    (graph(2654, 1713092), 400, PermanentError),
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
    *((graph(code), 400, RateLimitedError) for code in range(80000, 80015)),
    (graph(100, 1487534), 400, TooMuchDataError),
    (graph(100, 1504018), 400, TooMuchDataError),
    (graph(2, 1504038), 400, TooMuchDataError),
    (graph(1, message="Please reduce the amount of data you're asking for"), 500, TooMuchDataError),
    (graph(1, message="Reduce la cantidad de datos"), 500, GeneralError),
    (graph(1), 500, GeneralError),
    (graph(1, 99), 400, GeneralError),
    (graph(2), 500, GeneralError),
    (graph(2, 1504043), 400, GeneralError),
    (graph(9999, is_transient=True), 400, GeneralError),
    (graph(9999), 500, GeneralError),
    (graph(960), 400, TransientError),
    (graph(100, message="Cannot include x in summary param because"), 400, TransientError),
    (graph(9999), 400, UnknownError),
    ({"error": {"code": 10**400}}, 400, UnknownError),
    (b'{"error": {"code": 1e999}}', 400, UnknownError),
    ("<html>", 502, GeneralError),
    ("<html>", 503, TransientError),
    ("", 200, GeneralError),
    ("<html>", 429, RateLimitedError),
    ("<html>", 418, UnknownError),
]


def failure(
    family: str, value: str, delay: str | None = None, scope: str | None = None
) -> list[Any]:
    quota = {"retryDelay": delay, "rateScope": scope}
    given = {name: one for name, one in quota.items() if one is not None}
    details = {"quotaErrorDetails": given} if given else {}
    one = {"errorCode": {family: value}, "message": "No.", "details": details}
    return [{"error": {"code": 400, "details": [{"requestId": "R1", "errors": [one]}]}}]


def refusal(reason: str, status: str = "PERMISSION_DENIED") -> dict[str, Any]:
    """Of the layers in front of Google Ads, instead of its own errors."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    return {"error": {"code": 403, "status": status, "message": "No.", "details": [info]}}


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
     SharedCredentialsError),
    (failure("authorizationError", "PROJECT_DISABLED"), 403, SharedCredentialsError),
    (failure("headerError", "INVALID_LOGIN_CUSTOMER_ID"), 400, PermanentError),
    (failure("authenticationError", "AUTHENTICATION_ERROR"), 401, ConnectionCredentialsError),
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
    (failure("quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", "37.5s", "DEVELOPER"), 429,
     RateLimitedError),
    (failure("quotaError", "RESOURCE_EXHAUSTED", "8962s", "ACCOUNT"), 429, RateLimitedError),
    (failure("quotaError", "ACCESS_PROHIBITED"), 403, PermanentError),
    (failure("sizeLimitError", "RESPONSE_SIZE_LIMIT_EXCEEDED"), 400, TooMuchDataError),
    (failure("internalError", "INTERNAL_ERROR"), 500, GeneralError),
    (failure("internalError", "TRANSIENT_ERROR"), 503, GeneralError),
    (failure("internalError", "DEADLINE_EXCEEDED"), 504, GeneralError),
    ({"error": {"code": 504, "status": "DEADLINE_EXCEEDED"}}, 504, GeneralError),
    ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, 429, RateLimitedError),
    (refusal("ACCESS_TOKEN_SCOPE_INSUFFICIENT"), 403, ConnectionCredentialsError),
    (refusal("ACCESS_TOKEN_EXPIRED", "UNAUTHENTICATED"), 401, ExpiredSignInError),
    (refusal("SERVICE_DISABLED"), 403, SharedCredentialsError),
    (refusal("RATE_LIMIT_EXCEEDED"), 429, RateLimitedError),
    (refusal("OF_TOMORROW"), 403, PermanentError),
    ({"error": {"code": 503, "status": "UNAVAILABLE"}}, 503, TransientError),
    ({"error": "invalid_grant"}, 400, ConnectionCredentialsError),
    ({"error": "invalid_client"}, 401, SharedCredentialsError),
    ({"error": "unauthorized_client"}, 401, SharedCredentialsError),
    ({"error": "deleted_client"}, 401, SharedCredentialsError),
    ({"error": "invalid_scope"}, 400, ConnectionCredentialsError),
    ({"error": "rate_limit_exceeded"}, 403, RateLimitedError),
    ({"error": "temporarily_unavailable"}, 503, TransientError),
    ({"error": "internal_failure"}, 500, GeneralError),
    ({"error": "of_tomorrow"}, 400, UnknownError),
    (failure("someError", "OF_TOMORROW"), 400, UnknownError),
    (failure("someError", "OF_TOMORROW"), 403, PermanentError),
    ("<html>", 404, PermanentError),
    ("<html>", 502, GeneralError),
    ("", 200, GeneralError),
]  # fmt: skip


def tiktok(code: int, message: str = "No.") -> dict[str, Any]:
    return {"code": code, "message": message, "request_id": "R1", "data": {}}


TIKTOK_ERRORS = [
    (tiktok(40100), 200, RateLimitedError),
    (tiktok(40132), 200, RateLimitedError),
    (tiktok(61000), 200, RateLimitedError),
    (tiktok(40102), 200, ConnectionCredentialsError),
    (tiktok(40104), 200, ConnectionCredentialsError),
    (tiktok(40105), 200, ConnectionCredentialsError),
    (tiktok(40110), 200, ConnectionCredentialsError),
    (tiktok(40114), 200, ConnectionCredentialsError),
    (tiktok(40130), 200, ConnectionCredentialsError),
    (tiktok(40101), 200, SharedCredentialsError),
    (tiktok(40113), 200, SharedCredentialsError),
    (tiktok(40118), 200, SharedCredentialsError),
    (tiktok(40125), 200, SharedCredentialsError),
    (tiktok(40001), 200, PermanentError),
    (tiktok(40002), 200, PermanentError),
    (tiktok(40003), 200, PermanentError),
    (tiktok(40006), 200, PermanentError),
    (tiktok(40007), 200, PermanentError),
    (tiktok(40300), 200, PermanentError),
    (tiktok(41000), 200, PermanentError),
    (tiktok(41001), 200, PermanentError),
    (tiktok(50000), 200, GeneralError),
    (tiktok(50002), 200, GeneralError),
    (tiktok(51010), 200, GeneralError),
    (tiktok(51305), 500, GeneralError),
    (tiktok(60001), 200, TransientError),
    (tiktok(88888), 200, UnknownError),
    (tiktok(88888), 503, TransientError),
    (tiktok(88888), 429, RateLimitedError),
    ("<html>", 429, RateLimitedError),
    ("404 page not found", 404, PermanentError),
    ("<html>", 502, GeneralError),
    ("", 200, GeneralError),
    ("<html>", 418, UnknownError),
]


def linkedin(
    status: int, code: str, message: str = "No.", service_code: int = 100
) -> dict[str, Any]:
    return {"status": status, "serviceErrorCode": service_code, "code": code, "message": message}


LINKEDIN_ERRORS = [
    (linkedin(401, "INVALID_ACCESS_TOKEN", service_code=65600), 401, ExpiredSignInError),
    (linkedin(401, "REVOKED_ACCESS_TOKEN", service_code=65601), 401, ExpiredSignInError),
    (linkedin(401, "EXPIRED_ACCESS_TOKEN", service_code=65602), 401, ExpiredSignInError),
    ({"status": 401, "serviceErrorCode": 401, "message": "Empty"}, 401, ExpiredSignInError),
    (linkedin(403, "ACCESS_DENIED"), 403, PermanentError),
    (linkedin(404, "NOT_FOUND"), 404, PermanentError),
    (linkedin(400, "PARAM_INVALID"), 400, PermanentError),
    (linkedin(400, "VERSION_MISSING"), 400, PermanentError),
    (linkedin(426, "NONEXISTENT_VERSION"), 426, PermanentError),
    (linkedin(429, "TOO_MANY_REQUESTS", service_code=101), 429, RateLimitedError),
    (linkedin(500, "INTERNAL_SERVER_ERROR"), 500, GeneralError),
    (linkedin(503, "SERVICE_UNAVAILABLE"), 503, TransientError),
    (linkedin(504, "GATEWAY_TIMEOUT"), 504, GeneralError),
    (linkedin(409, "CONFLICT"), 409, PermanentError),
    (linkedin(418, "TEAPOT"), 418, UnknownError),
    ({"error": "invalid_grant"}, 400, ConnectionCredentialsError),
    ({"error": "invalid_request", "error_description": "expired"}, 400,
     ConnectionCredentialsError),
    ({"error": "invalid_client"}, 401, ConnectionCredentialsError),
    ({"error": "temporarily_unavailable"}, 503, TransientError),
    ({"error": "unauthorized_client"}, 400, ConnectionCredentialsError),
    ({"error": "invalid_scope"}, 400, ConnectionCredentialsError),
    ({"error": "server_error"}, 500, GeneralError),
    ({"error": "of_tomorrow"}, 400, UnknownError),
    ("<html>", 414, PermanentError),
    ("<html>", 429, RateLimitedError),
    ("<html>", 502, GeneralError),
    ("", 200, GeneralError),
    ("<html>", 418, UnknownError),
]  # fmt: skip

# What each platform may respond, with its status, and the error that it must become.
ERRORS: dict[str, list[tuple[Any, int, type[WorkerError]]]] = {
    "meta": META_ERRORS,
    "google_ads": GOOGLE_ERRORS,
    "tiktok": TIKTOK_ERRORS,
    "linkedin": LINKEDIN_ERRORS,
}
