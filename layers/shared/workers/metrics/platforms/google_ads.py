"""Google Ads: searchStream of the REST API, with OAuth refresh.

https://developers.google.com/google-ads/api/rest/common/search
https://developers.google.com/google-ads/api/docs/common-errors
https://developers.google.com/identity/protocols/oauth2/web-server#offline
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Self

import ijson

from workers.errors import (
    ConnectionCredentialsError,
    ExpiredSignInError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay
from workers.metrics.platforms.protocol import (
    Account,
    Answer,
    Ask,
    Connection,
    Page,
    Request,
    amount,
    day_within,
    malformed,
    measured,
    whole,
)
from workers.metrics.windows import Window
from workers.settings import Settings


# cpm, cpc and ctr are computed from these sums; Google reports no reach that could be used.
def _money(value: Any, what: str) -> Decimal | None:
    micros = amount(value, what)
    return None if micros is None else micros.scaleb(-6)


# By the names that they have in JSON.
_MEASURES = {
    "impressions": ("impressions", whole),
    "clicks": ("clicks", whole),
    "spend": ("costMicros", _money),
}
_FIELDS = (
    "segments.date", "campaign.id", "campaign.name", "ad_group.id", "ad_group.name",
    "ad_group_ad.ad.id", "ad_group_ad.ad.name", "customer.currency_code",
    *(
        "metrics." + re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", place)
        for place, _ in _MEASURES.values()
    ),
)  # fmt: skip
_ROWS = "SELECT {fields} FROM ad_group_ad WHERE segments.date BETWEEN '{since}' AND '{until}'"
_ACCOUNT = (
    "SELECT customer.id, customer.descriptive_name, customer.currency_code, "
    "customer.time_zone, customer.manager, customer.status FROM customer LIMIT 1"
)

# Names of an errorCode's value, whatever its family.
_AUTH = re.compile(
    r"OAUTH_TOKEN_(REVOKED|DISABLED|INVALID)|GOOGLE_ACCOUNT_.*|TWO_STEP_VERIFICATION_NOT_ENROLLED"
    r"|ADVANCED_PROTECTION_.*|NOT_ADS_USER"
)
_PERMISSION = re.compile(
    r"CUSTOMER_NOT_FOUND|CLIENT_CUSTOMER_ID_.*|USER_PERMISSION_DENIED|CUSTOMER_NOT_ENABLED"
    r"|.*NOT_APPROVED.*|PROJECT_DISABLED|INVALID_LOGIN_CUSTOMER_ID_.*|METRIC_ACCESS_DENIED"
    r"|REQUESTED_METRICS_FOR_MANAGER"
)
_TRANSIENT_FAMILIES = frozenset({"internalError"})
_REFUSED_FAMILIES = frozenset(
    {
        "queryError",
        "requestError",
        "fieldError",
        "dateError",
        "authenticationError",
        "authorizationError",
    }
)
# The sliding day of the quota; used where Google names no time.
_LONG_WAIT = 3600.0
_SHORT_WAIT = 60.0


class GoogleAds:
    """One customer account on Google Ads."""

    name: ClassVar[str] = "google_ads"
    aliases: ClassVar[tuple[str, ...]] = ("google",)
    mapping_key: ClassVar[str] = "google_ad_id"
    longest_window: ClassVar[int | None] = None
    # A stream is not paged.
    page_size: ClassVar[int] = 1
    smallest_page: ClassVar[int] = 1
    daily_allowance: ClassVar[tuple[int, str] | None] = (2880, "Explorer access")

    def __init__(self, connection: Connection, customer: str, settings: Settings) -> None:
        self._connection = connection
        self._refresh_token = connection.credential("refresh_token")
        self._client_id = connection.optional_credential("client_id") or settings.google_client_id
        self._client_secret = (
            connection.optional_credential("client_secret") or settings.google_client_secret
        )
        if not self._client_id or not self._client_secret:
            raise ConnectionCredentialsError(
                "neither the connection's credentials nor the settings have a client_id and "
                "client_secret (GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET)",
                code="credentials_incomplete",
            )
        self._login_customer = _digits(connection.optional_credential("login_customer_id"))
        self._developer_token = (
            connection.optional_credential("developer_token") or settings.google_developer_token
        )
        self._customer = customer
        self._token_url = settings.google_token_url
        self._api = f"{settings.google_ads_url}/{settings.google_ads_api_version}"
        self._access_token = ""
        self.api_version = settings.google_ads_api_version

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        customer = _digits(connection.account_id)
        if not customer:
            raise PermanentError(
                f"account_id {connection.account_id!r:.60} is no customer id (123-456-7890)",
                code="malformed_account_id",
            )
        return cls(connection, customer, settings)

    @property
    def secrets(self) -> tuple[str, ...]:
        known = (self._client_secret, self._developer_token, self._access_token)
        return (*self._connection.secrets, *(secret for secret in known if secret))

    def sign_in(self) -> Request | None:
        return Request(
            "POST",
            self._token_url,
            form={
                "grant_type": "refresh_token",
                "client_id": self._client_id or "",
                "client_secret": self._client_secret or "",
                "refresh_token": self._refresh_token,
            },
        )

    def signed_in(self, answer: Answer) -> None:
        token = _object(answer).get("access_token")
        if not isinstance(token, str) or not token:
            raise malformed("Google's answer to the refresh token holds no access token")
        self._access_token = token

    def ask_account(self) -> Request:
        return self._search(_ACCOUNT)

    def read_account(self, answer: Answer) -> Account:
        rows = [row for batch in self._batches(answer) for row in batch.get("results", [])]
        if len(rows) != 1 or not isinstance(rows[0], dict):
            raise malformed(f"{len(rows)} rows describe the account, not one")
        customer = _object_at(rows[0], "customer")
        if customer.get("manager"):
            raise PermanentError(
                "this is a manager account, which has no ads: connect the accounts below it",
                code="REQUESTED_METRICS_FOR_MANAGER",
            )
        if not customer.get("currencyCode") or not customer.get("timeZone"):
            raise malformed("the account's answer lacks its currency or time zone")
        return Account(
            id=self._customer,
            name=str(customer.get("descriptiveName") or ""),
            currency=str(customer["currencyCode"]),
            time_zone=str(customer["timeZone"]),
        )

    def ask_page(self, window: Window, page_size: int, cursor: str | None) -> Request:
        return self._search(
            _ROWS.format(fields=", ".join(_FIELDS), since=window.since, until=window.until)
        )

    def read_pages(self, answer: Answer, window: Window) -> Iterator[Page]:
        for batch in self._batches(answer):
            yield Page([_row(row, window) for row in batch.get("results", [])])

    def classify(self, answer: Answer) -> WorkerError:
        body = answer.body()
        try:
            decoded = json.loads(body)
        except ValueError:
            return _without_code(answer.status)
        if isinstance(decoded, list):
            decoded = next((part for part in _objects(decoded) if "error" in part), {})
        error = decoded.get("error") if isinstance(decoded, dict) else None
        if isinstance(error, str):  # of the token endpoint, RFC 6749 section 5.2
            return _sign_in_error(error, answer.status)
        if not isinstance(error, dict):
            return _without_code(answer.status)
        return _meaning(error, answer.status)

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        """Google tells of its quotas only when they are used up."""
        return None

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        """Google tells nothing in headers; a version that has ended is refused."""
        return None

    def check(self, ask: Ask) -> Iterator[Finding]:
        """Which accounts the sign-in reaches, and this one's state."""
        reached = ask(self._ask_reachable)
        direct = f"customers/{self._customer}" in (reached.get("resourceNames") or [])
        if not direct and not self._login_customer:
            yield Finding(
                "warning",
                f"the sign-in does not reach account {self._customer} directly",
                "Set login_customer_id in the credentials to the manager account above it",
            )
        batches = ask(self.ask_account)
        customer = batches[0]["results"][0]["customer"]
        enabled = customer.get("status") == "ENABLED"
        yield Finding(
            "ok" if enabled else "failed",
            f"account {customer.get('descriptiveName')}: {customer.get('currencyCode')}, "
            f"{customer.get('timeZone')}, {customer.get('status')}",
            "" if enabled else "Enable the account in Google Ads, or end its connection",
        )

    def _ask_reachable(self) -> Request:
        url = f"{self._api}/customers:listAccessibleCustomers"
        return Request("GET", url, headers=self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._access_token}"}
        if self._login_customer:
            headers["login-customer-id"] = self._login_customer
        if self._developer_token:
            headers["developer-token"] = self._developer_token
        return headers

    def _search(self, query: str) -> Request:
        return Request(
            "POST",
            f"{self._api}/customers/{self._customer}/googleAds:searchStream",
            headers=self._headers,
            json={"query": query},
        )

    def _batches(self, answer: Answer) -> Iterator[dict[str, Any]]:
        """The stream's batches as they come. Raises what an error among them means, and
        TransientError where the stream breaks off."""
        try:
            for part in _parts(answer.chunks):
                if not isinstance(part, dict) or not isinstance(part.get("results", []), list):
                    raise malformed("a part of Google's answer is no object with results")
                if "error" in part:
                    raise _meaning(part["error"], answer.status)
                if part.get("nextPageToken"):
                    raise malformed("Google's stream has further pages")
                yield part
        except (ijson.JSONError, UnicodeDecodeError):
            raise TransientError(
                "Google's answer breaks off, or is no JSON", code="not_json"
            ) from None


def _parts(chunks: Iterator[bytes]) -> Iterator[Any]:
    """The elements of a JSON array, or a single object, read as they come."""
    first = next((chunk for chunk in chunks if chunk.strip()), b"")
    prefix = "item" if first.lstrip()[:1] == b"[" else ""
    # by item, so that memory holds one batch however long the stream
    yield from ijson.items(ijson.from_iter(itertools.chain([first], chunks)), prefix)


def _digits(value: str | None) -> str:
    plain = (value or "").replace("-", "").replace(" ", "")
    return plain if re.fullmatch(r"[0-9]+", plain) else ""


def _object(answer: Answer) -> dict[str, Any]:
    try:
        body = json.loads(answer.body())
    except ValueError:
        raise TransientError("Google's answer is no JSON", code="not_json") from None
    if not isinstance(body, dict):
        raise malformed("Google's answer is no object")
    return body


def _row(row: Any, window: Window) -> AdDay:
    try:
        ad = row["adGroupAd"]["ad"]
        metrics = row.get("metrics") or {}
        day = row["segments"]["date"]
        ad_id = str(ad["id"])
        if not isinstance(metrics, dict):
            raise malformed("a row's metrics are no object")
    except (KeyError, TypeError, AttributeError):
        raise malformed("a row lacks its ad or its date") from None
    return AdDay(
        ad_id=ad_id,
        ad_name=ad.get("name") or None,
        day=day_within(day, window),
        measures=measured(_MEASURES, metrics),
        currency=_object_at(row, "customer").get("currencyCode"),
        campaign_id=str(_object_at(row, "campaign").get("id") or ""),
        campaign_name=_object_at(row, "campaign").get("name"),
        ad_group_id=_ad_group(row),
        ad_group_name=_object_at(row, "adGroup").get("name"),
    )


def _ad_group(row: Mapping[str, Any]) -> str:
    """Its id; the resource name holds it as well: customers/1/adGroupAds/<group>~<ad>."""
    group = _object_at(row, "adGroup").get("id")
    if group is None:
        name = str(row["adGroupAd"].get("resourceName", ""))
        group = name.rpartition("/")[2].partition("~")[0]
    return str(group)


def _meaning(error: Any, status: int) -> WorkerError:
    """https://developers.google.com/google-ads/api/docs/best-practices/understand-api-errors"""
    if not isinstance(error, dict):
        return malformed("Google's error is no object")
    details = _objects(error.get("details"))
    errors = [one for detail in details for one in _objects(detail.get("errors"))]
    codes = [
        (family, str(value))
        for one in errors
        for family, value in _object_at(one, "errorCode").items()
    ]
    request_id = next((one["requestId"] for one in details if one.get("requestId")), "none")
    names = ", ".join(value for _, value in codes) or str(error.get("status") or status)
    said = next((one.get("message") for one in errors), None) or error.get("message") or ""
    told = f"Google Ads refused it with {names}: {said} (request id {request_id})"
    for family, value in codes:
        found = _meaning_of_code(family, value, told, _retry_delay(errors))
        if found is not None:
            return found
    if status == 401 or error.get("status") == "UNAUTHENTICATED":
        return ExpiredSignInError(told, code=names)
    if status >= 500 or error.get("status") in ("UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED"):
        return TransientError(told, code=names)
    if status == 429 or error.get("status") == "RESOURCE_EXHAUSTED":
        return RateLimitedError(
            told, code=names, retry_after=_retry_delay(errors) or _SHORT_WAIT, everywhere=True
        )
    if status == 403:
        return PermanentError(told, code=names)
    return UnknownError(told, code=names)


def _meaning_of_code(
    family: str, value: str, told: str, retry_delay: float | None
) -> WorkerError | None:
    if value == "OAUTH_TOKEN_EXPIRED":
        return ExpiredSignInError(told, code=value)
    if _AUTH.fullmatch(value):
        return ConnectionCredentialsError(told, code=value)
    if value in ("RESOURCE_EXHAUSTED", "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION"):
        wait = retry_delay or _LONG_WAIT
        return RateLimitedError(told, code=value, retry_after=wait, everywhere=True)
    if family == "quotaError":
        return RateLimitedError(told, code=value, retry_after=retry_delay or _SHORT_WAIT)
    if value == "UNSUPPORTED_VERSION":
        return PermanentError(
            f"{told}. Set GOOGLE_ADS_API_VERSION to one that is still served", code=value
        )
    if _PERMISSION.fullmatch(value) or family in _REFUSED_FAMILIES:
        return PermanentError(told, code=value)
    if family in _TRANSIENT_FAMILIES:
        return TransientError(told, code=value)
    return None


def _retry_delay(errors: list[dict[str, Any]]) -> float | None:
    """Seconds: "37s" or "37.5s" at details.quotaErrorDetails.retryDelay."""
    for error in errors:
        quota = _object_at(_object_at(error, "details"), "quotaErrorDetails")
        seconds = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)s", str(quota.get("retryDelay", "")))
        if seconds:
            return float(seconds[1])
    return None


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, which an error's body need not be."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _object_at(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _sign_in_error(error: str, status: int) -> WorkerError:
    """https://developers.google.com/identity/protocols/oauth2#expiration"""
    told = f"Google refused the refresh token with {error}"
    if error == "invalid_grant":
        return ConnectionCredentialsError(f"{told}: connect the account anew", code=error)
    if error in ("invalid_client", "unauthorized_client"):
        return ConnectionCredentialsError(
            f"{told}: look at client_id and client_secret", code=error
        )
    if status >= 500:
        return TransientError(told, code=error)
    return UnknownError(told, code=error)


def _without_code(status: int) -> WorkerError:
    told = f"Google answered with status {status} and no error of its own"
    if status == 404:
        return PermanentError(f"{told}: is GOOGLE_ADS_API_VERSION still served?", code="http_404")
    if status == 401:
        return ExpiredSignInError(told, code="http_401")
    if status == 429:
        return RateLimitedError(told, code="http_429", retry_after=_SHORT_WAIT, everywhere=True)
    if status >= 500 or status == 408 or 200 <= status < 300:
        return TransientError(told, code=f"http_{status}")
    return UnknownError(told, code=f"http_{status}")
