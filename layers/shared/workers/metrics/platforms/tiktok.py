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
from typing import Any, ClassVar, Self

from workers.errors import (
    GeneralError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay
from workers.metrics.platforms.meanings import Meaning, error_of, meaning_of_status
from workers.metrics.platforms.protocol import (
    Account,
    Answer,
    Ask,
    Connection,
    Page,
    Request,
    account_digits,
    amount,
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
_METRICS = (
    "ad_name", "adgroup_id", "adgroup_name", "campaign_id", "campaign_name", "currency",
    *(place for place, _ in _MEASURES.values()),
)  # fmt: skip
# Without this, ads that have been deleted lose their past.
_ALL_ADS = [{"field_name": "ad_status", "filter_type": "IN", "filter_value": '["STATUS_ALL"]'}]
_ACCOUNT_FIELDS = ("advertiser_id", "name", "currency", "timezone", "display_timezone", "status")

# A synchronous report tells of at most so many ads. The rows are more than the ads, so that a
# report of fewer rows holds all of them.
_MOST_ADS = 10_000

# The limits are per second, minute and day; TikTok does not say which was reached.
_SHORT_WAIT = 10.0
# An app that the tokens of all connections come from, and that no setting names.
_APP_FIX = (
    "It is the app that the access tokens were given to: look at it in TikTok's developer portal "
    "(My Apps). Syncs go on by themselves once it may call again"
)
_NO_VALUE = (None, "-")


class TikTok:
    """One advertiser account on TikTok."""

    name: ClassVar[str] = "tiktok"
    aliases: ClassVar[tuple[str, ...]] = ()
    mapping_key: ClassVar[str] = "tiktok_ad_id"
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

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        advertiser = account_digits(connection.account_id, "")
        if not advertiser:
            raise PermanentError(
                f"account_id {connection.account_id!r:.60} is no advertiser id, which is digits",
                code="malformed_account_id",
            )
        return cls(connection, advertiser, settings)

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._connection.secrets

    def sign_in(self) -> Request | None:
        return None

    def signed_in(self, answer: Answer) -> None:
        """TikTok's tokens hold until they are revoked."""

    def ask_account(self) -> Request:
        return self._get(
            "advertiser/info/",
            advertiser_ids=json.dumps([self._advertiser]),
            fields=json.dumps(_ACCOUNT_FIELDS),
        )

    def read_account(self, answer: Answer) -> Account:
        account = self._account_in(_body(answer), answer.status)
        # the other one is a mere offset (Etc/GMT-1), which knows no summer time
        time_zone = account.get("display_timezone") or account.get("timezone")
        if not account.get("currency") or not time_zone:
            raise malformed("the account's answer lacks its currency or time zone")
        return Account(
            id=self._advertiser,
            name=str(account.get("name") or ""),
            currency=str(account["currency"]),
            time_zone=str(time_zone),
        )

    def ask_page(self, window: Window, page_size: int, cursor: str | None) -> Request:
        return self._get(
            "report/integrated/get/",
            advertiser_id=self._advertiser,
            service_type="AUCTION",
            report_type="BASIC",
            data_level="AUCTION_AD",
            dimensions=json.dumps(["ad_id", "stat_time_day"]),
            metrics=json.dumps(_METRICS),
            start_date=f"{window.since}",
            end_date=f"{window.until}",
            filtering=json.dumps(_ALL_ADS),
            page=cursor or "1",
            page_size=str(page_size),
        )

    def read_pages(self, answer: Answer, window: Window) -> Iterator[Page]:
        data = _data(_body(answer), answer.status)
        rows, info = data.get("list"), data.get("page_info")
        if not isinstance(rows, list) or not isinstance(info, dict):
            raise malformed("the answer has no list of rows, or no page_info")
        page, pages, total = (
            whole(info.get(name), name) for name in ("page", "total_page", "total_number")
        )
        if page is None or pages is None or total is None:
            raise malformed("the answer's page_info is not complete")
        if total >= _MOST_ADS:
            raise TooMuchDataError(
                f"TikTok has {total} rows for {window}, and may leave out ads beyond {_MOST_ADS}",
                code="too_many_ads",
                smaller_pages_help=False,
            )
        cursor = str(page + 1) if page < pages else None
        yield Page([_row(row, window) for row in rows], cursor, total)

    def classify(self, answer: Answer) -> WorkerError:
        try:
            body = json.loads(answer.body())
            code = int(body["code"])
        except (ValueError, KeyError, TypeError, OverflowError):
            return _without_code(answer.status)
        return _meaning(code, body, answer.status)

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        """TikTok tells of its limits only when they are reached."""
        return None

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        """TikTok tells nothing of it."""
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
            "" if enabled else "The account is not enabled: look at it in TikTok Ads Manager",
        )

    def _account_in(self, body: Any, status: int) -> dict[str, Any]:
        """This one of the accounts that an answer tells of."""
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


def _body(answer: Answer) -> Any:
    try:
        return json.loads(answer.body(), parse_float=Decimal)
    except ValueError:
        raise GeneralError("TikTok's answer is no JSON", code="not_json") from None


def _data(body: Any, status: int) -> dict[str, Any]:
    """What an answer holds. Raises what its code means: errors come with status 200."""
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, int):
        raise malformed("TikTok's answer is no object with a code")
    if code != 0:
        raise _meaning(code, body, status)
    data = body.get("data")
    if not isinstance(data, dict):
        raise malformed("TikTok's answer holds no data")
    return data


def _row(row: Any, window: Window) -> AdDay:
    dimensions = row.get("dimensions") if isinstance(row, dict) else None
    metrics = row.get("metrics") if isinstance(row, dict) else None
    if not isinstance(dimensions, dict) or not isinstance(metrics, dict):
        raise malformed("a row lacks its dimensions or metrics")
    told = {name: None if value in _NO_VALUE else value for name, value in metrics.items()}
    return AdDay(
        ad_id=_ad_id(dimensions.get("ad_id")),
        ad_name=_text(told.get("ad_name")),
        day=_day(dimensions.get("stat_time_day"), window),
        measures=measured(_MEASURES, told),
        currency=_text(told.get("currency")),
        campaign_id=str(told.get("campaign_id") or ""),
        campaign_name=_text(told.get("campaign_name")),
        ad_group_id=str(told.get("adgroup_id") or ""),
        ad_group_name=_text(told.get("adgroup_name")),
    )


def _ad_id(value: Any) -> str:
    """Digits, which come as text or as a number."""
    text = str(value) if isinstance(value, int | str) else ""
    if not re.fullmatch(r"[0-9]+", text):
        raise malformed(f"a row's ad_id is no id: {value!r:.40}")
    return text


def _day(value: Any, window: Window) -> date:
    """The day of "2026-03-01 00:00:00"."""
    day, _, time = value.partition(" ") if isinstance(value, str) else (value, "", "")
    if time not in ("", "00:00:00"):
        raise malformed(f"a row's day is a time: {value!r:.40}")
    return day_within(day, window)


def _text(value: Any) -> str | None:
    return value or None if isinstance(value, str) else None


def _meaning(code: int, body: Mapping[str, Any], status: int) -> WorkerError:
    meaning = meaning_of(code)
    if status == 429:
        meaning = Meaning.APP_LIMIT
    elif meaning is Meaning.UNKNOWN and status != 200:
        meaning = meaning_of_status(status)
    return error_of(
        meaning,
        f"TikTok refused it with {code}: {body.get('message', '')} "
        f"(request_id {body.get('request_id', 'none')})",
        code=str(code),
        usual_wait=_SHORT_WAIT,
        version="TIKTOK_API_VERSION",
        shared=_APP_FIX,
    )


def _without_code(status: int) -> WorkerError:
    """A gateway's answer, or half of one."""
    return error_of(
        Meaning.VERSION if status == 404 else meaning_of_status(status),
        f"TikTok answered with status {status} and no code of its own",
        code=f"http_{status}",
        usual_wait=_SHORT_WAIT,
        version="TIKTOK_API_VERSION",
    )
