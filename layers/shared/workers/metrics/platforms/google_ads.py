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
from datetime import date
from decimal import Decimal
from types import MappingProxyType, ModuleType
from typing import ClassVar, Self

import ijson
from ijson.backends import python as plain_ijson  # type: ignore[import-untyped]

from workers.errors import (
    GeneralError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay, Kind, Level, measures_of
from workers.metrics.platforms import google_ads_codes as codes
from workers.metrics.platforms.meanings import Meaning, error_of, meaning_of_status
from workers.metrics.platforms.protocol import (
    ADS,
    TOTAL,
    Account,
    Ask,
    Connection,
    Page,
    RawJson,
    RawObject,
    Report,
    Request,
    Response,
    account_digits,
    amount,
    chosen,
    day_within,
    malformed,
    measured,
    whole,
)
from workers.metrics.windows import Window
from workers.settings import Settings

_CUSTOMER = "customers/"
# A stream up to this size is read as a whole, which is several times as fast.
_READ_WHOLE = 8 << 20


def _money(value: RawJson, what: str) -> Decimal | None:
    micros = amount(value, what)
    return None if micros is None else micros.scaleb(-6)


# By their names in JSON. cpm, cpc and ctr are computed from these sums; Google reports no usable
# reach.
_MEASURES = {
    "impressions": ("impressions", whole),
    "clicks": ("clicks", whole),
    "spend": ("costMicros", _money),
}
# Optional. Conversions are fractions where several clicks share one.
_FURTHER = {
    "conversions": ("conversions", amount),
    "conversion_value": ("conversionsValue", amount),
    "video_views": ("videoTrueviewViews", whole),
}
# Each conversion action has a window and a model of its own.
_ATTRIBUTION = "conversion_action"
_CAMPAIGNS = Report("campaigns", frozenset({"campaign", "asset_group"}))
# These follow if a campaign has them.
_ASSET_GROUPS = "asset_groups"
_WITH_ASSET_GROUPS = "PERFORMANCE_MAX"
_CAMPAIGN_FIELDS = ("segments.date", "campaign.id", "campaign.name", "customer.currency_code")
# The resource of a report, its fields, and the measures that it lacks.
# https://developers.google.com/google-ads/api/fields/v26/overview
_RESOURCES: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    ADS.name: (
        "ad_group_ad",
        (*_CAMPAIGN_FIELDS, "ad_group.id", "ad_group.name", "ad_group_ad.ad.id",
         "ad_group_ad.ad.name"),
        (),
    ),
    _CAMPAIGNS.name: (
        "campaign", (*_CAMPAIGN_FIELDS, "campaign.advertising_channel_type"), ()
    ),
    _ASSET_GROUPS: (
        "asset_group", (*_CAMPAIGN_FIELDS, "asset_group.id", "asset_group.name"), ("video_views",)
    ),
    TOTAL.name: ("customer", ("segments.date",), ("impressions", "clicks", *_FURTHER)),
}  # fmt: skip
_ROWS = "SELECT {fields} FROM {resource} WHERE segments.date BETWEEN '{since}' AND '{until}'"
_ACCOUNT = (
    "SELECT customer.id, customer.descriptive_name, customer.currency_code, "
    "customer.time_zone, customer.manager, customer.status FROM customer LIMIT 1"
)

# For a quota over a sliding day; used where Google gives no time.
_LONG_WAIT = 3600.0
_SHORT_WAIT = 60.0
# The codes of quotas that stay used up for hours.
_LONG_QUOTAS = frozenset({"RESOURCE_EXHAUSTED", "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION"})
# What a status means with an unknown error, and without any error of Google Ads.
_OF_STATUS = {401: Meaning.SIGN_IN, 403: Meaning.PERMISSION}
_OF_PAGE = {401: Meaning.SIGN_IN, 404: Meaning.VERSION}


class GoogleAds:
    """One customer account on Google Ads."""

    name: ClassVar[str] = "google_ads"
    aliases: ClassVar[tuple[str, ...]] = ("google",)
    mapping_keys: ClassVar[Mapping[Level, str]] = MappingProxyType({
        "ad": "google_ad_id", "ad_group": "google_ad_group_id",
        "asset_group": "google_asset_group_id", "campaign": "google_campaign_id",
    })  # fmt: skip
    # Campaigns first: Performance Max reports no ads.
    # https://developers.google.com/google-ads/api/docs/performance-max/reporting
    reports: ClassVar[tuple[Report, ...]] = (_CAMPAIGNS, ADS, TOTAL)
    # The longest window that a conversion action may have.
    attribution_days: ClassVar[int] = 90
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
            raise SharedCredentialsError(
                "neither the connection's credentials nor the settings have a client_id and "
                "client_secret (GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET)",
                code="credentials_incomplete",
            )
        self._login_customer = connection.optional_account("login_customer_id", _CUSTOMER)
        own_developer_token = connection.optional_credential("developer_token")
        self._developer_token = own_developer_token or settings.google_developer_token
        # which of these are the deployment's: their refusal concerns all connections
        self._shared_settings = [
            setting
            for setting, own, value in (
                ("GOOGLE_CLIENT_ID", connection.optional_credential("client_id"), True),
                ("GOOGLE_CLIENT_SECRET", connection.optional_credential("client_secret"), True),
                ("GOOGLE_DEVELOPER_TOKEN", own_developer_token, self._developer_token),
            )
            if value and not own
        ]
        self._customer = customer
        self._token_url = settings.google_token_url
        self._api = f"{settings.google_ads_url}/{settings.google_ads_api_version}"
        self._access_token = ""
        self._json: ModuleType = ijson
        self.api_version = settings.google_ads_api_version
        wanted = measures_of(settings.metrics_figures)
        self._measures = chosen(_MEASURES, _FURTHER, wanted)
        is_attributed = {"conversions", "conversion_value"} & wanted
        self._attribution = _ATTRIBUTION if is_attributed else None

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        customer = account_digits(connection.account_id, _CUSTOMER)
        if not customer:
            raise PermanentError(
                f"account_id {connection.account_id!r:.60} is not a customer id (123-456-7890)",
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

    def signed_in(self, response: Response) -> None:
        token = _object(response).get("access_token")
        if not isinstance(token, str) or not token:
            raise malformed("Google's response to the refresh token has no access token")
        self._access_token = token

    def ask_account(self) -> Request:
        return self._search(_ACCOUNT)

    def read_account(self, response: Response) -> Account:
        rows = [row for batch in self._batches(response) for row in batch.get("results", [])]
        if len(rows) != 1 or not isinstance(rows[0], dict):
            raise malformed(f"{len(rows)} rows describe the account instead of one")
        customer = _object_at(rows[0], "customer")
        if customer.get("manager"):
            raise PermanentError(
                "this is a manager account, which has no ads: connect the accounts below it",
                code="REQUESTED_METRICS_FOR_MANAGER",
            )
        if not customer.get("currencyCode") or not customer.get("timeZone"):
            raise malformed("the account's response lacks its currency or time zone")
        return Account(
            id=self._customer,
            name=str(customer.get("descriptiveName") or ""),
            currency=str(customer["currencyCode"]),
            time_zone=str(customer["timeZone"]),
        )

    def ask_page(
        self, window: Window, page_size: int, cursor: str | None, report: str = ADS.name
    ) -> Request:
        resource, fields, lacking = _RESOURCES[_part(report, cursor)]
        places = [place for name, (place, _) in self._measures.items() if name not in lacking]
        every = (*fields, *(f"metrics.{_snake(place)}" for place in places))
        return self._search(
            _ROWS.format(
                fields=", ".join(every), resource=resource, since=window.since, until=window.until
            )
        )

    def read_pages(
        self, response: Response, window: Window, cursor: str | None = None, report: str = ADS.name
    ) -> Iterator[Page]:
        has_asset_groups = False
        for batch in self._batches(response):
            results = batch.get("results", [])
            if report == TOTAL.name:
                yield Page([], spent=dict(_spent(row, window) for row in results))
                continue
            yield Page([self._row(_part(report, cursor), row, window) for row in results])
            if report == _CAMPAIGNS.name and cursor is None:
                has_asset_groups = has_asset_groups or any(map(_has_asset_groups, results))
        if has_asset_groups:
            yield Page([], _ASSET_GROUPS)

    def _row(self, report: str, row: RawJson, window: Window) -> AdDay:
        try:
            day, metrics = row["segments"]["date"], row.get("metrics") or {}
            campaign, group = _object_at(row, "campaign"), _object_at(row, "adGroup")
            ad: RawObject = {}
            kind: Kind = "campaign"
            if report == ADS.name:
                kind, ad = "ad", row["adGroupAd"]["ad"]
                str(ad["id"])
            elif report == _ASSET_GROUPS:
                kind, group = "asset_group", row["assetGroup"]
                str(group["id"])
            if not isinstance(metrics, dict):
                raise malformed("a row's metrics are not an object")
        except (KeyError, TypeError, AttributeError):
            raise malformed(f"a row of {report} lacks its id or its date") from None
        if kind != "ad" and not campaign.get("id"):
            raise malformed(f"a row of {report} lacks its campaign")
        return AdDay(
            ad_id=str(ad.get("id") or ""),
            ad_name=ad.get("name") or None,
            day=day_within(day, window),
            measures=measured(self._measures, metrics),
            currency=_object_at(row, "customer").get("currencyCode"),
            campaign_id=str(campaign.get("id") or ""),
            campaign_name=campaign.get("name"),
            ad_group_id=_ad_group(row) if kind == "ad" else str(group.get("id") or ""),
            ad_group_name=group.get("name"),
            kind=kind,
            attribution=self._attribution,
        )

    def classify(self, response: Response) -> WorkerError:
        body = response.body()
        try:
            decoded = json.loads(body)
        except ValueError:
            return _without_code(response.status)
        if isinstance(decoded, list):
            decoded = next((part for part in _objects(decoded) if "error" in part), {})
        error = decoded.get("error") if isinstance(decoded, dict) else None
        if isinstance(error, str):  # of the token endpoint, RFC 6749 section 5.2
            return self._sign_in_error(error, decoded, response.status)
        if not isinstance(error, dict):
            return _without_code(response.status)
        return self._meaning(error, response.status)

    def _sign_in_error(self, error: str, body: RawObject, status: int) -> WorkerError:
        """https://developers.google.com/identity/protocols/oauth2#expiration"""
        meaning = codes.meaning_of_grant(error)
        if meaning is Meaning.UNKNOWN:
            meaning = meaning_of_status(status)
        fix = (
            "check client_id and client_secret"
            if meaning is Meaning.CLIENT
            else "if that persists, connect the account again"
        )
        return error_of(
            meaning,
            f"Google refused the refresh token with {error} ({body.get('error_description')}): "
            f"{fix}",
            code=error,
            usual_wait=_SHORT_WAIT,
            shared=self._shared_fix("GOOGLE_CLIENT_"),
        )

    def _shared_fix(self, names: str) -> str:
        """Which of the deployment's settings with such names to correct; empty where the
        connection has its own."""
        shared = [setting for setting in self._shared_settings if setting.startswith(names)]
        return f"Correct the deployment's {' or '.join(shared)}" if shared else ""

    def _meaning(self, error: RawJson, status: int) -> WorkerError:
        """https://developers.google.com/google-ads/api/docs/best-practices/understand-api-errors"""
        if not isinstance(error, dict):
            return malformed("Google's error is not an object")
        details = _objects(error.get("details"))
        errors = [one for detail in details for one in _objects(detail.get("errors"))]
        quota = _quota(errors)
        meaning, code = _meaning_of(error, details, errors, str(quota.get("rateScope", "")))
        code = code or str(error.get("status") or status)
        if meaning is Meaning.UNKNOWN:
            meaning = _OF_STATUS.get(status) or meaning_of_status(status)
        said = next((one.get("message") for one in errors), None) or error.get("message") or ""
        request_id = next((one["requestId"] for one in details if one.get("requestId")), "none")
        return error_of(
            meaning,
            f"Google Ads refused the request with {code}: {said} (request id {request_id})",
            code=code,
            wait=_retry_delay(quota),
            usual_wait=_LONG_WAIT if code in _LONG_QUOTAS else _SHORT_WAIT,
            version="GOOGLE_ADS_API_VERSION",
            shared=self._shared_fix(
                "GOOGLE_DEVELOPER_" if "DEVELOPER_TOKEN" in code else "GOOGLE_CLIENT_ID"
            ),
        )

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        """Google reports its quotas only when they are used up."""
        return None

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        """Google's headers say nothing about it; a version that has ended is refused."""
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

    def _batches(self, response: Response) -> Iterator[RawObject]:
        """The stream's batches as they arrive. Raises what an error among them means, and
        TransientError where the stream is truncated."""
        try:
            for part in _parts(response.chunks, self._json):
                if not isinstance(part, dict) or not isinstance(part.get("results", []), list):
                    raise malformed("a part of Google's response is not an object with results")
                if "error" in part:
                    raise self._meaning(part["error"], response.status)
                if part.get("nextPageToken"):
                    raise malformed("Google's stream has further pages")
                yield part
        except UnicodeDecodeError:
            # the usual reader fails at half of a surrogate pair: the next try uses the slow one
            self._json = plain_ijson
            raise GeneralError(
                "Google's response has half of a surrogate pair", code="not_json"
            ) from None
        except (ijson.JSONError, ValueError):
            raise GeneralError(
                "Google's response is truncated or not JSON", code="not_json"
            ) from None


def _parts(chunks: Iterator[bytes], reader: ModuleType) -> Iterator[RawJson]:
    """The elements of a JSON array, or a single object. Raises ValueError, or one of ijson's
    errors, where it is not JSON or is truncated."""
    begun = bytearray()
    for chunk in chunks:
        begun += chunk
        if len(begun) > _READ_WHOLE:
            break
    else:
        body = json.loads(begun, parse_float=Decimal)
        yield from body if isinstance(body, list) else [body]
        return
    prefix = "item" if begun.lstrip()[:1] == b"[" else ""
    # by item, so that memory holds only one batch of however long a stream
    yield from reader.items(ijson.from_iter(itertools.chain([bytes(begun)], chunks)), prefix)


def _object(response: Response) -> RawObject:
    try:
        body = json.loads(response.body())
    except ValueError:
        raise GeneralError("Google's response is not JSON", code="not_json") from None
    if not isinstance(body, dict):
        raise malformed("Google's response is not an object")
    return body


def _part(report: str, cursor: str | None) -> str:
    """Which of the resources: the campaigns' report continues with their asset groups."""
    return _ASSET_GROUPS if report == _CAMPAIGNS.name and cursor else report


def _snake(place: str) -> str:
    """A field's name in a query, from its name in JSON."""
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", place)


def _spent(row: RawJson, window: Window) -> tuple[date, Decimal]:
    """The day of an account's row, and what it spent."""
    try:
        day, cost = row["segments"]["date"], row["metrics"].get("costMicros")
    except (KeyError, TypeError, AttributeError):
        raise malformed("a row lacks its metrics or its date") from None
    return day_within(day, window), _money(cost, "costMicros") or Decimal()


def _has_asset_groups(row: RawObject) -> bool:
    channel: RawJson = _object_at(row, "campaign").get("advertisingChannelType")
    return bool(channel == _WITH_ASSET_GROUPS)


def _ad_group(row: RawObject) -> str:
    """Its id, which is also in the resource name: customers/1/adGroupAds/<group>~<ad>."""
    group = _object_at(row, "adGroup").get("id")
    if group is None:
        name = str(row["adGroupAd"].get("resourceName", ""))
        group = name.rpartition("/")[2].partition("~")[0]
    return str(group)


def _meaning_of(
    error: RawObject,
    details: list[RawObject],
    errors: list[RawObject],
    rate_scope: str,
) -> tuple[Meaning, str]:
    """What an error means and its code's name: by the first of its known errors, otherwise by the
    reason or the status that it has instead."""
    found = [
        (codes.meaning_of(family, str(value), rate_scope), str(value))
        for one in errors
        for family, value in _object_at(one, "errorCode").items()
    ]
    found += [
        (codes.meaning_of_reason(reason), reason)
        for one in details
        if isinstance(reason := one.get("reason"), str)
    ]
    names = ", ".join(name for _, name in found)
    status = codes.meaning_of_status(str(error.get("status")))
    return next(
        (one for one in found if one[0] is not Meaning.UNKNOWN),
        (status, names),
    )


def _quota(errors: list[RawObject]) -> RawObject:
    """The details of the first quota among the errors; empty where there is none."""
    quotas = (_object_at(_object_at(one, "details"), "quotaErrorDetails") for one in errors)
    return next(filter(None, quotas), {})


def _retry_delay(quota: RawObject) -> float | None:
    """Seconds of "37s" or "37.5s"."""
    seconds = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s", str(quota.get("retryDelay", "")))
    return float(seconds[1]) if seconds else None


def _objects(value: RawJson) -> list[RawObject]:
    """The objects in a list; none in anything else, which an error may have instead."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _object_at(value: RawObject, key: str) -> RawObject:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _without_code(status: int) -> WorkerError:
    return error_of(
        _OF_PAGE.get(status) or meaning_of_status(status),
        f"Google answered with status {status} and no error of its own",
        code=f"http_{status}",
        usual_wait=_SHORT_WAIT,
        version="GOOGLE_ADS_API_VERSION",
    )
