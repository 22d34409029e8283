"""LinkedIn: the analytics finder of the Marketing API, with OAuth refresh where there is one.

https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/ads-reporting
https://learn.microsoft.com/en-us/linkedin/marketing/versioning
https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/error-handling
https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import ClassVar, Self
from urllib.parse import quote

from workers.errors import (
    GeneralError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay, Level, measures_of
from workers.metrics.platforms.linkedin_codes import meaning_of, meaning_of_grant
from workers.metrics.platforms.meanings import Meaning, error_of
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

_MEASURES = {
    "impressions": ("impressions", whole),
    "clicks": ("clicks", whole),
    "spend": ("costInLocalCurrency", amount),
    "reach": ("approximateMemberReach", whole),
}
# Optional.
_FURTHER = {
    "conversions": ("externalWebsiteConversions", whole),
    "conversion_value": ("conversionValueInLocalCurrency", amount),
    "link_clicks": ("landingPageClicks", whole),
    "video_views": ("videoViews", whole),
}
# Each conversion has its own windows, after a click and after a view.
_ATTRIBUTION = "conversion"
# What other platforms call campaign, ad group and ad.
_PIVOTS = ("CAMPAIGN_GROUP", "CAMPAIGN", "CREATIVE")
_ACCOUNT = "urn:li:sponsoredAccount:"
_URNS = (
    "urn:li:sponsoredCampaignGroup",
    "urn:li:sponsoredCampaign",
    "urn:li:sponsoredCreative",
)
# Every account's days are in UTC, as campaigns begin and end in UTC:
# https://www.linkedin.com/help/lms/answer/a427004
_TIME_ZONE = "UTC"

# There are no pages: a response is silently truncated here.
_MOST_ELEMENTS = 15_000
# The limit on the amount of data covers five minutes.
_LONG_WAIT = 330.0
# A version is served for a year, and ends in the middle of a month.
_LAST_DAY = 15
_NOTICE = timedelta(days=60)

# A daily quota, and one of a single member's token, as LinkedIn words them:
# "Resource level throttle MEMBER DAY limit for calls to this resource is reached."
_DAILY = re.compile(r"\bDAY\b")
_OF_MEMBER = re.compile(r"\bMEMBER\b")


class LinkedIn:
    """One ad account on LinkedIn."""

    name: ClassVar[str] = "linkedin"
    aliases: ClassVar[tuple[str, ...]] = ()
    mapping_keys: ClassVar[Mapping[Level, str]] = MappingProxyType({
        "ad": "linkedin_creative_id", "ad_group": "linkedin_campaign_id",
        "campaign": "linkedin_campaign_group_id",
    })  # fmt: skip
    reports: ClassVar[tuple[Report, ...]] = (ADS, TOTAL)
    # The longest common window after a click.
    attribution_days: ClassVar[int] = 90
    # Beyond that, there is no approximateMemberReach.
    longest_window: ClassVar[int | None] = 92
    # A response is not paged.
    page_size: ClassVar[int] = 1
    smallest_page: ClassVar[int] = 1
    daily_allowance: ClassVar[tuple[int, str] | None] = None

    def __init__(self, connection: Connection, account: str, settings: Settings) -> None:
        self._connection = connection
        self._refresh = _refresh_form(connection)
        self._token = (
            connection.optional_credential("access_token") or ""
            if self._refresh
            else connection.credential("access_token")
        )
        self._account = account
        self._api = settings.linkedin_api_url
        self._token_url = settings.linkedin_token_url
        self._warning: str | None = None
        self.api_version = settings.linkedin_api_version
        wanted = measures_of(settings.metrics_figures)
        self._measures = chosen(_MEASURES, _FURTHER, wanted)
        is_attributed = {"conversions", "conversion_value"} & wanted
        self._attribution = _ATTRIBUTION if is_attributed else None

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        digits = account_digits(connection.account_id, _ACCOUNT)
        if not digits:
            raise PermanentError(
                f"account_id {connection.account_id!r:.60} is not a sponsored account id, which is "
                "digits",
                code="malformed_account_id",
            )
        return cls(connection, digits, settings)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self._connection.secrets, self._token)

    def sign_in(self) -> Request | None:
        """The access token lasts for 60 days, so a stored one expires sooner or later."""
        return Request("POST", self._token_url, form=self._refresh) if self._refresh else None

    def signed_in(self, response: Response) -> None:
        token = _object(response).get("access_token")
        if not isinstance(token, str) or not token:
            raise malformed("LinkedIn's response to the refresh token has no access token")
        self._token = token

    def ask_account(self) -> Request:
        return self._get(f"adAccounts/{self._account}")

    def read_account(self, response: Response) -> Account:
        """This distinguishes an account without activity from one that the token does not reach,
        for which the analytics are empty as well."""
        body = _object(response)
        if not body.get("currency"):
            raise malformed("the account's response lacks its currency")
        return Account(
            id=self._account,
            name=str(body.get("name") or ""),
            currency=str(body["currency"]),
            time_zone=_TIME_ZONE,
        )

    def ask_page(
        self, window: Window, page_size: int, cursor: str | None, report: str = ADS.name
    ) -> Request:
        days = f"(start:{_restli_date(window.since)},end:{_restli_date(window.until)})"
        # brackets, commas and colons of Rest.li's syntax stay; those in a value are encoded:
        # https://linkedin.github.io/rest.li/spec/protocol#url-encoding
        account = quote(f"{_ACCOUNT}{self._account}", safe="")
        if report == TOTAL.name:
            asked, fields = "q=analytics&pivot=ACCOUNT", ["dateRange", "costInLocalCurrency"]
        else:
            asked = f"q=statistics&pivots=List({','.join(_PIVOTS)})"
            places = (place for place, _ in self._measures.values())
            fields = ["pivotValues", "dateRange", *places]
        return self._get(
            f"adAnalytics?{asked}&timeGranularity=DAILY&dateRange={days}"
            f"&accounts=List({account})&fields={','.join(fields)}"
        )

    def read_pages(
        self, response: Response, window: Window, cursor: str | None = None, report: str = ADS.name
    ) -> Iterator[Page]:
        elements = _object(response).get("elements")
        if not isinstance(elements, list):
            raise malformed("the response has no list of elements")
        if len(elements) >= _MOST_ELEMENTS:
            raise TooMuchDataError(
                f"LinkedIn returns at most {_MOST_ELEMENTS} rows at once, and there may be more "
                f"for {window}",
                code="too_many_elements",
                smaller_pages_help=False,
            )
        if report == TOTAL.name:
            yield Page([], spent=dict(_spent(element, window) for element in elements))
        else:
            yield Page([self._row(element, window) for element in elements])

    def _row(self, element: RawJson, window: Window) -> AdDay:
        if not isinstance(element, dict):
            raise malformed("an element is not an object")
        campaign, ad_group, ad = _ids(element.get("pivotValues"))
        return AdDay(
            ad_id=ad,
            # names would need a request for each creative, campaign and group
            ad_name=None,
            day=_day(element.get("dateRange"), window),
            measures=measured(self._measures, element),
            campaign_id=campaign,
            ad_group_id=ad_group,
            attribution=self._attribution,
        )

    def classify(self, response: Response) -> WorkerError:
        try:
            body = json.loads(response.body())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return _meaning(str(response.status), {}, response)
        if isinstance(body.get("error"), str):
            return _sign_in_error(body["error"], body, response.status)
        name = body.get("code") or body.get("serviceErrorCode") or response.status
        return _meaning(str(name), body, response)

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        """LinkedIn reports its limits only when they are reached."""
        return None

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        """From two months before the version in use ends, by LinkedIn's own clock."""
        try:
            today = parsedate_to_datetime(headers["Date"]).astimezone(UTC).date()
        except (KeyError, ValueError, TypeError):
            return self._warning
        end = date(int(self.api_version[:4]) + 1, int(self.api_version[4:]), _LAST_DAY)
        if today >= end - _NOTICE:
            self._warning = (
                f"LinkedIn serves version {self.api_version} for a year, until about {end}"
            )
        return self._warning

    def check(self, ask: Ask) -> Iterator[Finding]:
        """The account behind the token, and the version."""
        account = ask(self.ask_account)
        active = account.get("status") == "ACTIVE"
        yield Finding(
            "ok" if active else "warning",
            f"account {account.get('name')}: {account.get('currency')}, {account.get('status')}",
            "" if active else "The ad account is not active: check it in Campaign Manager",
        )
        if self._warning:
            yield Finding(
                "warning", self._warning, "Set LINKEDIN_API_VERSION to a newer one (YYYYMM)"
            )

    def _get(self, path: str) -> Request:
        return Request(
            "GET",
            f"{self._api}/{path}",
            headers={
                "Authorization": f"Bearer {self._token}",
                "LinkedIn-Version": self.api_version,
                "X-Restli-Protocol-Version": "2.0.0",
            },
        )


def _refresh_form(connection: Connection) -> dict[str, str] | None:
    """The form that exchanges the refresh token; None where the credentials lack it."""
    names = ("refresh_token", "client_id", "client_secret")
    values = {name: connection.optional_credential(name) for name in names}
    form = {name: value for name, value in values.items() if value is not None}
    return {"grant_type": "refresh_token", **form} if len(form) == len(names) else None


def _restli_date(day: date) -> str:
    return f"(year:{day.year},month:{day.month},day:{day.day})"


def _object(response: Response) -> RawObject:
    try:
        body = json.loads(response.body(), parse_float=Decimal)
    except ValueError:
        raise GeneralError("LinkedIn's response is not JSON", code="not_json") from None
    if not isinstance(body, dict):
        raise malformed("LinkedIn's response is not an object")
    return body


def _spent(element: RawJson, window: Window) -> tuple[date, Decimal]:
    """The day of an account's element, and what it spent."""
    if not isinstance(element, dict):
        raise malformed("an element is not an object")
    cost = amount(element.get("costInLocalCurrency"), "costInLocalCurrency")
    return _day(element.get("dateRange"), window), cost or Decimal()


def _ids(pivots: RawJson) -> tuple[str, ...]:
    """The ids of the campaign group, the campaign and the creative that an element is about, by
    their type: LinkedIn does not document their order. The creative is always present."""
    ids = dict.fromkeys(_URNS, "")
    for urn in pivots if isinstance(pivots, list) else []:
        kind, _, id_ = urn.rpartition(":") if isinstance(urn, str) else ("", "", "")
        if kind not in ids or ids[kind] or not re.fullmatch(r"[0-9]+", id_):
            raise malformed(f"an element is not about one creative: {pivots!r:.160}")
        ids[kind] = id_
    if not ids[_URNS[-1]]:
        raise malformed(f"an element is not about one creative: {pivots!r:.160}")
    return tuple(ids.values())


def _day(value: RawJson, window: Window) -> date:
    """The day of {"start": {"year", "month", "day"}, "end": the same}."""
    start, end = (value.get("start"), value.get("end")) if isinstance(value, dict) else (None, 0)
    if not isinstance(start, dict) or start != end:
        raise malformed(f"an element's dateRange is not a day: {value!r:.120}")
    try:
        day = date(start["year"], start["month"], start["day"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise malformed(f"an element's day is not a date: {start!r:.60}") from None
    return day_within(day.isoformat(), window)


def _meaning(name: str, body: RawObject, response: Response) -> WorkerError:
    message = str(body.get("message", ""))
    meaning = meaning_of(response.status, name)
    if meaning is Meaning.APP_LIMIT and _OF_MEMBER.search(message):
        meaning = Meaning.ACCOUNT_LIMIT
    wait = _retry_after(response.headers)
    return error_of(
        meaning,
        f"LinkedIn answered with status {response.status} ({name}): {message} "
        f"(request id {response.headers.get('x-li-uuid', 'none')})",
        code=name if body else f"http_{response.status}",
        wait=wait,
        usual_wait=_LONG_WAIT,
        until_midnight=wait is None and _DAILY.search(message) is not None,
        version="LINKEDIN_API_VERSION",
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """In seconds, where LinkedIn says it."""
    seconds = headers.get("Retry-After", "")
    return float(seconds) if re.fullmatch(r"[0-9]{1,6}", seconds) else None


def _sign_in_error(error: str, body: RawObject, status: int) -> WorkerError:
    return error_of(
        meaning_of_grant(error, status),
        f"LinkedIn refused the refresh token with {error}: {body.get('error_description', '')}. "
        "If that persists, connect the account again",
        code=error,
        usual_wait=_LONG_WAIT,
    )
