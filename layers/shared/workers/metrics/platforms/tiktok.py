"""TikTok: synchronous reports of the Business API.

https://business-api.tiktok.com/portal/docs?id=1740302848100353 (reports)
https://business-api.tiktok.com/portal/docs?id=1739593083610113 (accounts)
https://business-api.tiktok.com/portal/docs?id=1737172488964097 (return codes)
https://github.com/tiktok/tiktok-business-api-sdk/blob/main/java_sdk/docs/ReportingApi.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import ClassVar, Self

from workers.errors import (
    GeneralError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay, Kind, Level, measures_of
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
from workers.metrics.platforms.tiktok_codes import meaning_of
from workers.metrics.windows import Window
from workers.settings import Settings

_MEASURES = {
    "impressions": ("impressions", whole),
    "clicks": ("clicks", whole),
    "spend": ("spend", amount),
    "reach": ("reach", whole),
}
# Optional. Clicks are those that lead to the destination. The value of completed payments has the
# name of a rate.
_FURTHER = {
    "conversions": ("conversion", whole),
    "conversion_value": ("total_complete_payment_rate", amount),
    "link_clicks": ("clicks", whole),
    "video_views": ("video_play_actions", whole),
}
# GMV Max: https://business-api.tiktok.com/portal/docs?id=1824721673497601
_OF_GMV_MAX = {"spend": ("cost", amount)}
_FURTHER_OF_GMV_MAX = {
    "conversions": ("orders", whole), "conversion_value": ("gross_revenue", amount),
}  # fmt: skip
# The windows are set for each ad group; GMV Max is attributed all of a shop's sales.
_ATTRIBUTION = "ad_group"
_ATTRIBUTION_OF_GMV_MAX = "gmv_max"
_NAMES = (
    "ad_name", "adgroup_id", "adgroup_name", "campaign_id", "campaign_name", "currency",
)  # fmt: skip
_RESERVATION = Report(
    "reservation", frozenset({"reservation_ad"}), is_in_total=False, may_be_refused=True
)
_GMV_MAX = Report("gmv_max", frozenset({"campaign"}), is_in_total=False, may_be_refused=True)
# Service type and level of the reports by /report/integrated/get/.
_LEVELS = {
    ADS.name: ("AUCTION", "AUCTION_AD"),
    _RESERVATION.name: ("RESERVATION", "RESERVATION_AD"),
    TOTAL.name: ("AUCTION", "AUCTION_ADVERTISER"),
}
# Without this, deleted ads lose their past.
_ALL_ADS = [{"field_name": "ad_status", "filter_type": "IN", "filter_value": '["STATUS_ALL"]'}]
_ACCOUNT_FIELDS = ("advertiser_id", "name", "currency", "timezone", "display_timezone", "status")

# A synchronous report covers at most that many ads. There are at least as many rows as ads, so a
# report with fewer rows has all of them.
_MOST_ADS = 10_000

# The limits are per second, minute and day; TikTok does not say which was reached.
_SHORT_WAIT = 10.0
# The app of all connections' tokens, which no setting names.
_APP_FIX = (
    "It concerns the app that the access tokens were issued to: check it in TikTok's developer "
    "portal (My Apps). Syncs continue automatically once it may call again"
)
_NO_VALUE = (None, "-")


class TikTok:
    """One advertiser account on TikTok."""

    name: ClassVar[str] = "tiktok"
    aliases: ClassVar[tuple[str, ...]] = ()
    mapping_keys: ClassVar[Mapping[Level, str]] = MappingProxyType(
        {"ad": "tiktok_ad_id", "ad_group": "tiktok_adgroup_id", "campaign": "tiktok_campaign_id"}
    )
    reports: ClassVar[tuple[Report, ...]] = (ADS, _RESERVATION, _GMV_MAX, TOTAL)
    # The longest of its attribution windows.
    attribution_days: ClassVar[int] = 28
    # TikTok's own limit for reports by day.
    longest_window: ClassVar[int | None] = 30
    page_size: ClassVar[int] = 1000
    smallest_page: ClassVar[int] = 100
    daily_allowance: ClassVar[tuple[int, str] | None] = None

    def __init__(self, connection: Connection, advertiser: str, settings: Settings) -> None:
        self._connection = connection
        self._token = connection.credential("access_token")
        self._advertiser = advertiser
        self._api = f"{settings.tiktok_api_url}/{settings.tiktok_api_version}"
        self.api_version = settings.tiktok_api_version
        wanted = measures_of(settings.metrics_figures)
        self._measures = chosen(_MEASURES, _FURTHER, wanted)
        self._measures_of_gmv_max = chosen(_OF_GMV_MAX, _FURTHER_OF_GMV_MAX, wanted)
        self._is_attributed = bool({"conversions", "conversion_value"} & wanted)

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        advertiser = account_digits(connection.account_id, "")
        if not advertiser:
            raise PermanentError(
                f"account_id {connection.account_id!r:.60} is not an advertiser id, which is "
                "digits",
                code="malformed_account_id",
            )
        return cls(connection, advertiser, settings)

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._connection.secrets

    def sign_in(self) -> Request | None:
        return None

    def signed_in(self, response: Response) -> None:
        """TikTok's tokens are valid until they are revoked."""

    def ask_account(self) -> Request:
        return self._get(
            "advertiser/info/",
            advertiser_ids=json.dumps([self._advertiser]),
            fields=json.dumps(_ACCOUNT_FIELDS),
        )

    def read_account(self, response: Response) -> Account:
        account = self._account_in(_body(response), response.status)
        # the other one is a plain offset (Etc/GMT-1), without daylight saving time
        time_zone = account.get("display_timezone") or account.get("timezone")
        if not account.get("currency") or not time_zone:
            raise malformed("the account's response lacks its currency or time zone")
        return Account(
            id=self._advertiser,
            name=str(account.get("name") or ""),
            currency=str(account["currency"]),
            time_zone=str(time_zone),
        )

    def ask_page(
        self, window: Window, page_size: int, cursor: str | None, report: str = ADS.name
    ) -> Request:
        days = {"start_date": f"{window.since}", "end_date": f"{window.until}"}
        if report == _GMV_MAX.name:
            return self._ask_gmv_max(days, page_size, cursor)
        service, level = _LEVELS[report]
        is_total = report == TOTAL.name
        places = dict.fromkeys(place for place, _ in self._measures.values())
        return self._get(
            "report/integrated/get/",
            advertiser_id=self._advertiser,
            service_type=service,
            report_type="BASIC",
            data_level=level,
            dimensions=json.dumps(["advertiser_id" if is_total else "ad_id", "stat_time_day"]),
            metrics=json.dumps(["spend"] if is_total else [*_NAMES, *places]),
            **days,
            **({} if is_total else {"filtering": json.dumps(_ALL_ADS)}),
            page=cursor or "1",
            page_size=str(page_size),
        )

    def _ask_gmv_max(self, days: Mapping[str, str], page_size: int, cursor: str | None) -> Request:
        """The shops first, then the report of each; `cursor` has the shops that are left, the first
        of which is being read, and its page."""
        if cursor is None:
            return self._get("gmv_max/store/list/", advertiser_id=self._advertiser)
        stores, _, page = cursor.rpartition("/")
        places = (place for place, _ in self._measures_of_gmv_max.values())
        return self._get(
            "gmv_max/report/get/",
            advertiser_id=self._advertiser,
            store_ids=json.dumps(stores.split(",")[:1]),
            dimensions=json.dumps(["campaign_id", "stat_time_day"]),
            metrics=json.dumps(["campaign_name", "currency", *places]),
            **days,
            page=page,
            page_size=str(page_size),
        )

    def read_pages(
        self, response: Response, window: Window, cursor: str | None = None, report: str = ADS.name
    ) -> Iterator[Page]:
        data = _data(_body(response), response.status)
        if report == _GMV_MAX.name:
            yield self._gmv_max_page(data, window, cursor)
            return
        rows, info = data.get("list"), data.get("page_info")
        if not isinstance(rows, list) or not isinstance(info, dict):
            raise malformed("the response has no list of rows, or no page_info")
        page, pages, total = (
            whole(info.get(name), name) for name in ("page", "total_page", "total_number")
        )
        if page is None or pages is None or total is None:
            raise malformed("the response's page_info is incomplete")
        if total >= _MOST_ADS:
            raise TooMuchDataError(
                f"TikTok has {total} rows for {window}, and may leave out ads beyond {_MOST_ADS}",
                code="too_many_ads",
                smaller_pages_help=False,
            )
        following = str(page + 1) if page < pages else None
        if report == TOTAL.name:
            yield Page([], following, spent=dict(_spent(row, window) for row in rows))
        else:
            kind: Kind = "ad" if report == ADS.name else "reservation_ad"
            yield Page([self._row(row, window, kind) for row in rows], following, total)

    def _gmv_max_page(self, data: RawObject, window: Window, cursor: str | None) -> Page:
        """A page of a shop leads to its next one, or to the next shop."""
        if cursor is None:
            stores = _stores(data)
            return Page([], f"{','.join(stores)}/1" if stores else None)
        # where there are no rows, there is no list at all
        rows, info = data.get("list", []), data.get("page_info")
        if not isinstance(rows, list) or not isinstance(info, dict):
            raise malformed("the response has no list of rows, or no page_info")
        page, pages = (whole(info.get(name), name) for name in ("page", "total_page"))
        if page is None or pages is None:
            raise malformed("the response's page_info is incomplete")
        left = cursor.rpartition("/")[0]
        following: str | None = f"{left}/{page + 1}"
        if page >= pages:
            left = left.partition(",")[2]
            following = f"{left}/1" if left else None
        return Page([self._gmv_max_row(row, window) for row in rows], following)

    def _gmv_max_row(self, row: RawJson, window: Window) -> AdDay:
        dimensions, metrics = _halves(row)
        return AdDay(
            ad_id="",
            ad_name=None,
            day=_day(dimensions.get("stat_time_day"), window),
            measures=measured(self._measures_of_gmv_max, metrics),
            currency=_text(metrics.get("currency")),
            campaign_id=_id(dimensions.get("campaign_id"), "campaign_id"),
            campaign_name=_text(metrics.get("campaign_name")),
            kind="campaign",
            attribution=_ATTRIBUTION_OF_GMV_MAX if self._is_attributed else None,
        )

    def _row(self, row: RawJson, window: Window, kind: Kind) -> AdDay:
        dimensions, metrics = _halves(row)
        return AdDay(
            ad_id=_id(dimensions.get("ad_id"), "ad_id"),
            ad_name=_text(metrics.get("ad_name")),
            day=_day(dimensions.get("stat_time_day"), window),
            measures=measured(self._measures, metrics),
            currency=_text(metrics.get("currency")),
            campaign_id=str(metrics.get("campaign_id") or ""),
            campaign_name=_text(metrics.get("campaign_name")),
            ad_group_id=str(metrics.get("adgroup_id") or ""),
            ad_group_name=_text(metrics.get("adgroup_name")),
            kind=kind,
            attribution=_ATTRIBUTION if self._is_attributed else None,
        )

    def classify(self, response: Response) -> WorkerError:
        try:
            body = json.loads(response.body())
            code = int(body["code"])
        except (ValueError, KeyError, TypeError, OverflowError):
            return _without_code(response.status)
        return _meaning(code, body, response.status)

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        """TikTok reports its limits only when they are reached."""
        return None

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        """TikTok says nothing about it."""
        return None

    def check(self, ask: Ask) -> Iterator[Finding]:
        """The account behind the token."""
        account = self._account_in(ask(self.ask_account), 200)
        enabled = account.get("status") == "STATUS_ENABLE"
        yield Finding(
            "ok" if enabled else "warning",
            f"account {account.get('name')}: {account.get('currency')}, "
            f"{account.get('display_timezone') or account.get('timezone')}, "
            f"{account.get('status')}",
            "" if enabled else "The account is not enabled: check it in TikTok Ads Manager",
        )

    def _account_in(self, body: RawJson, status: int) -> RawObject:
        """This account, out of those in the response."""
        accounts = _data(body, status).get("list")
        for account in accounts if isinstance(accounts, list) else []:
            if isinstance(account, dict) and str(account.get("advertiser_id")) == self._advertiser:
                return account
        raise PermanentError(
            f"the token does not reach advertiser {self._advertiser}", code="no_such_account"
        )

    def _get(self, path: str, **params: str) -> Request:
        headers = {"Access-Token": self._token}
        return Request("GET", f"{self._api}/{path}", params=params, headers=headers)


def _body(response: Response) -> RawJson:
    try:
        return json.loads(response.body(), parse_float=Decimal)
    except ValueError:
        raise GeneralError("TikTok's response is not JSON", code="not_json") from None


def _data(body: RawJson, status: int) -> RawObject:
    """A response's data. Raises what its code means: errors come with status 200."""
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, int):
        raise malformed("TikTok's response is not an object with a code")
    if code != 0:
        raise _meaning(code, body, status)
    data = body.get("data")
    if not isinstance(data, dict):
        raise malformed("TikTok's response has no data")
    return data


def _halves(row: RawJson) -> tuple[RawObject, RawObject]:
    """The dimensions and the metrics of a row; None for metrics without a value."""
    dimensions = row.get("dimensions") if isinstance(row, dict) else None
    metrics = row.get("metrics") if isinstance(row, dict) else None
    if not isinstance(dimensions, dict) or not isinstance(metrics, dict):
        raise malformed("a row lacks its dimensions or metrics")
    return dimensions, {
        name: None if value in _NO_VALUE else value for name, value in metrics.items()
    }


def _spent(row: RawJson, window: Window) -> tuple[date, Decimal]:
    """The day of an account's row, and what it spent."""
    dimensions, metrics = _halves(row)
    spend = amount(metrics.get("spend"), "spend")
    return _day(dimensions.get("stat_time_day"), window), spend or Decimal()


def _stores(data: RawObject) -> list[str]:
    """The ids of the shops that the advertiser sees; where there are none, there is no list."""
    stores = data.get("store_list", [])
    if not isinstance(stores, list) or not all(isinstance(one, dict) for one in stores):
        raise malformed("the response has no list of shops")
    return [_id(one.get("store_id"), "store_id") for one in stores]


def _id(value: RawJson, what: str) -> str:
    """Digits, which come as text or as a number."""
    text = str(value) if isinstance(value, int | str) else ""
    if not re.fullmatch(r"[0-9]+", text):
        raise malformed(f"a row's {what} is not an id: {value!r:.40}")
    return text


def _day(value: RawJson, window: Window) -> date:
    """The day of "2026-03-01 00:00:00"."""
    day, _, time = value.partition(" ") if isinstance(value, str) else (value, "", "")
    if time not in ("", "00:00:00"):
        raise malformed(f"a row's day is a time: {value!r:.40}")
    return day_within(day, window)


def _text(value: RawJson) -> str | None:
    return value or None if isinstance(value, str) else None


def _meaning(code: int, body: RawObject, status: int) -> WorkerError:
    meaning = meaning_of(code)
    if status == 429:
        meaning = Meaning.APP_LIMIT
    elif meaning is Meaning.UNKNOWN and status != 200:
        meaning = meaning_of_status(status)
    return error_of(
        meaning,
        f"TikTok refused the request with {code}: {body.get('message', '')} "
        f"(request_id {body.get('request_id', 'none')})",
        code=str(code),
        usual_wait=_SHORT_WAIT,
        version="TIKTOK_API_VERSION",
        shared=_APP_FIX,
    )


def _without_code(status: int) -> WorkerError:
    """A gateway's response, or a truncated one."""
    return error_of(
        Meaning.VERSION if status == 404 else meaning_of_status(status),
        f"TikTok answered with status {status} and no code of its own",
        code=f"http_{status}",
        usual_wait=_SHORT_WAIT,
        version="TIKTOK_API_VERSION",
    )
