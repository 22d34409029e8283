"""Meta (Facebook, Instagram): the Insights edge of the Graph API.

https://developers.facebook.com/docs/marketing-api/insights
https://developers.facebook.com/docs/marketing-api/insights/error-codes
https://developers.facebook.com/docs/graph-api/overview/rate-limiting
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import ClassVar, Self
from urllib.parse import quote

from workers.errors import (
    ConnectionCredentialsError,
    GeneralError,
    PermanentError,
    RateLimitedError,
    WorkerError,
)
from workers.findings import Finding
from workers.metrics.facts import AdDay, Level, measures_of
from workers.metrics.platforms.meanings import (
    Meaning,
    error_of,
    meaning_of_status,
)
from workers.metrics.platforms.meta_codes import meaning_of
from workers.metrics.platforms.protocol import (
    ADS,
    TOTAL,
    Account,
    Ask,
    Connection,
    Measure,
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
    "spend": ("spend", amount),
    "reach": ("reach", whole),
}
# Measures in lists by action type; a type that is not listed did not happen.
_ACTIONS = {"conversions": "actions", "conversion_value": "action_values", "video_views": "actions"}
_VIDEO_VIEWS = ("video_view",)
_NAMES = (
    "ad_id", "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name",
    "account_currency",
)  # fmt: skip
_LEVELS = {"ads": "ad", "total": "account"}

# Without this, archived or deleted ads lose their past: all statuses that exist.
# https://developers.facebook.com/docs/marketing-api/best-practices/manage-your-ad-object-status
_ALL_ADS = [
    {
        "field": "ad.effective_status",
        "operator": "IN",
        "value": [
            "ACTIVE", "ADSET_PAUSED", "ARCHIVED", "CAMPAIGN_PAUSED", "DELETED", "DISAPPROVED",
            "IN_PROCESS", "PAUSED", "PENDING_BILLING_INFO", "PENDING_REVIEW", "PREAPPROVED",
            "WITH_ISSUES",
        ],
    }
]  # fmt: skip

# No further request is sent for a scope that has used up this share of its limit, in percent.
_NEARLY_USED = 90
# The longest block of an app with limited access; used where Meta gives no time.
_USUAL_BLOCK = 300.0
# The use case of the requests made here, where a limit's usage is reported by use case; and the use
# cases of errors that are about another one.
_USE_CASE = "ads_insights"
_OTHER_USE_CASES = {80004: "ads_management"}


class Meta:
    """One ad account on Meta."""

    name: ClassVar[str] = "meta"
    aliases: ClassVar[tuple[str, ...]] = ("facebook", "instagram")
    mapping_keys: ClassVar[Mapping[Level, str]] = MappingProxyType(
        {"ad": "meta_ad_id", "ad_group": "meta_adset_id", "campaign": "meta_campaign_id"}
    )
    reports: ClassVar[tuple[Report, ...]] = (ADS, TOTAL)
    # "Do not change after 28 days": the longest of its attribution windows.
    attribution_days: ClassVar[int] = 28
    longest_window: ClassVar[int | None] = None
    page_size: ClassVar[int] = 500
    smallest_page: ClassVar[int] = 25
    daily_allowance: ClassVar[tuple[int, str] | None] = None

    def __init__(self, connection: Connection, account_id: str, settings: Settings) -> None:
        self._connection = connection
        self._token = connection.credential("access_token")
        self._app_id = connection.optional_credential("app_id")
        self._app_secret = connection.optional_credential("app_secret")
        self._account_id = account_id
        self._graph = f"{settings.meta_graph_url}/{settings.meta_api_version}"
        self._warning: str | None = None
        self.api_version = settings.meta_api_version
        wanted = measures_of(settings.metrics_figures)
        further = {"link_clicks": ("inline_link_clicks", whole), **_in_actions(settings)}
        self._measures = chosen(_MEASURES, further, wanted)
        self._is_attributed = bool({"conversions", "conversion_value"} & wanted)

    @classmethod
    def open(cls, connection: Connection, settings: Settings) -> Self:
        digits = account_digits(connection.account_id, "act_")
        if not digits:
            raise PermanentError(
                f"account_id {connection.account_id!r:.60} is not act_ and digits",
                code="malformed_account_id",
            )
        return cls(connection, digits, settings)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self._connection.secrets, self._proof() or "")

    def sign_in(self) -> Request | None:
        return None

    def signed_in(self, response: Response) -> None:
        """Meta's tokens need no exchange."""

    def ask_account(self) -> Request:
        return self._get(
            f"act_{self._account_id}",
            fields="account_id,name,currency,timezone_name,account_status",
        )

    def read_account(self, response: Response) -> Account:
        body = _object(response)
        if not body.get("currency") or not body.get("timezone_name"):
            raise malformed("the account's response lacks its currency or time zone")
        return Account(
            id=self._account_id,
            name=str(body.get("name") or ""),
            currency=str(body["currency"]),
            time_zone=str(body["timezone_name"]),
        )

    def ask_page(
        self, window: Window, page_size: int, cursor: str | None, report: str = ADS.name
    ) -> Request:
        days = json.dumps({"since": f"{window.since}", "until": f"{window.until}"})
        of_ads = {"fields": ",".join(self._fields), "filtering": json.dumps(_ALL_ADS)}
        return self._get(
            f"act_{self._account_id}/insights",
            level=_LEVELS[report],
            time_increment="1",
            time_range=days,
            limit=str(page_size),
            **(of_ads if report == ADS.name else {"fields": "spend"}),
            # paging.next is not followed: it may lead elsewhere and contain the token
            **({} if cursor is None else {"after": cursor}),
        )

    @property
    def _fields(self) -> list[str]:
        places = dict.fromkeys(place for place, _ in self._measures.values())
        return [*_NAMES, *places, *(["attribution_setting"] if self._is_attributed else [])]

    def read_pages(
        self, response: Response, window: Window, cursor: str | None = None, report: str = ADS.name
    ) -> Iterator[Page]:
        body = _object(response)
        rows = body.get("data")
        if not isinstance(rows, list):
            raise malformed("the response has no list of rows")
        paging = body.get("paging") or {}
        following = None
        if not isinstance(paging, dict):
            raise malformed("the response's paging is not an object")
        if paging.get("next"):
            cursors = paging.get("cursors")
            following = cursors.get("after") if isinstance(cursors, dict) else None
            if not isinstance(following, str) or not following:
                raise malformed("there is a next page, but no cursor for it")
        if report == TOTAL.name:
            yield Page([], following, spent=dict(_spent(row, window) for row in rows))
        else:
            yield Page([self._row(row, window) for row in rows], following)

    def _row(self, row: RawJson, window: Window) -> AdDay:
        if not isinstance(row, dict) or not row.get("ad_id"):
            raise malformed("a row lacks its ad_id")
        return AdDay(
            ad_id=str(row["ad_id"]),
            ad_name=row.get("ad_name"),
            day=_day(row, window),
            measures=measured(self._measures, row),
            currency=row.get("account_currency"),
            campaign_id=str(row.get("campaign_id") or ""),
            campaign_name=row.get("campaign_name"),
            ad_group_id=str(row.get("adset_id") or ""),
            ad_group_name=row.get("adset_name"),
            attribution=row.get("attribution_setting") if self._is_attributed else None,
        )

    def classify(self, response: Response) -> WorkerError:
        body = response.body()
        try:
            error = json.loads(body)["error"]
            code, subcode = int(error["code"]), int(error.get("error_subcode") or 0)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return _without_code(response.status)
        name = f"{code}/{subcode}" if subcode else str(code)
        message = str(error.get("message", ""))
        meaning = meaning_of(code, subcode, message)
        if meaning is Meaning.UNKNOWN:
            meaning = _meaning_without_table(error, response.status)
        return error_of(
            meaning,
            f"Meta refused the request with {name}: {message} "
            f"(fbtrace_id {error.get('fbtrace_id', 'none')})",
            code=name,
            wait=self._usage(response.headers, _OTHER_USE_CASES.get(code)).wait,
            usual_wait=_USUAL_BLOCK,
            version="META_API_VERSION",
        )

    def usage(self, headers: Mapping[str, str]) -> RateLimitedError | None:
        used = self._usage(headers)
        for everywhere, share in ((True, used.app), (False, used.account)):
            if share >= _NEARLY_USED:
                whose = "the app's" if everywhere else "the account's"
                return RateLimitedError(
                    f"{share:g} % of {whose} limit at Meta is used: waiting before it is reached",
                    code="limit_near",
                    retry_after=used.wait or _USUAL_BLOCK,
                    everywhere=everywhere,
                )
        return None

    def _usage(self, headers: Mapping[str, str], use_case: str | None = None) -> _Usage:
        """The usage that concerns insights, or that other use case, of this account.

        Graph's own X-App-Usage does not count requests to the Marketing API:
        https://developers.facebook.com/docs/graph-api/overview/rate-limiting
        """
        used = _Usage()
        used.add_account(_json_header(headers, "X-Ad-Account-Usage"))
        insights = _json_header(headers, "X-FB-Ads-Insights-Throttle")
        used.app = _share(insights, "app_id_util_pct")
        used.account = max(used.account, _share(insights, "acc_id_util_pct"))
        for business, entries in _json_header(headers, "X-Business-Use-Case-Usage").items():
            if business.removeprefix("act_") != self._account_id:
                continue
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, dict) and entry.get("type") in (_USE_CASE, use_case):
                    used.add_use_case(entry)
        return used

    def version_warning(self, headers: Mapping[str, str]) -> str | None:
        self._warning = headers.get("X-Ad-Api-Version-Warning", self._warning)
        return self._warning

    def check(self, ask: Ask) -> Iterator[Finding]:
        """The version, the token with its scopes and expiry, and the account behind it."""
        yield from self._check_version(ask)
        if self._app_id and self._app_secret:
            yield from self._check_token(ask)
        account = ask(self.ask_account)
        active = account.get("account_status") == 1
        yield Finding(
            "ok" if active else "warning",
            f"account {account.get('name')}: {account.get('currency')}, "
            f"{account.get('timezone_name')}, status {account.get('account_status')}",
            "" if active else "The ad account is not active: check it in Meta's Ads Manager",
        )
        if self._warning:
            yield Finding("warning", self._warning, "Set META_API_VERSION to a newer one")

    def _check_version(self, ask: Ask) -> Iterator[Finding]:
        """To a request without a token, a version that exists answers that it needs one."""
        try:
            ask(lambda: Request("GET", f"{self._graph}/me"))
        except ConnectionCredentialsError:
            return
        except PermanentError as error:
            if error.code not in ("2500", "2635"):
                return  # not about the version; the account's own response reports it
            yield Finding(
                "failed",
                f"Meta does not serve version {self.api_version}: {error}",
                "Set META_API_VERSION to one that it serves",
            )

    def _check_token(self, ask: Ask) -> Iterator[Finding]:
        # debug_token takes the inspected token in the URL; in a batch, that URL is part of the body
        # https://developers.facebook.com/docs/graph-api/batch-requests
        inner = {"method": "GET", "relative_url": f"debug_token?input_token={quote(self._token)}"}
        form = {
            "access_token": f"{self._app_id}|{self._app_secret}",
            "batch": json.dumps([inner]),
            "include_headers": "false",
        }
        try:
            responses = ask(lambda: Request("POST", f"{self._graph}/", form=form))
            token = json.loads(responses[0]["body"])["data"]
        except (WorkerError, ValueError, LookupError, TypeError):
            yield Finding(
                "warning",
                "Meta did not report the token's scopes and expiry",
                "Check that app_id and app_secret in the credentials are those of the token's app",
            )
            return
        yield from _token_findings(token)

    def _get(self, path: str, **params: str) -> Request:
        proof = self._proof()
        if proof:
            params["appsecret_proof"] = proof
        return Request(
            "GET",
            f"{self._graph}/{path}",
            params=params,
            headers={"Authorization": f"Bearer {self._token}"},
        )

    def _proof(self) -> str | None:
        """https://developers.facebook.com/docs/graph-api/guides/secure-requests"""
        if self._app_secret is None:
            return None
        key, message = self._app_secret.encode(), self._token.encode()
        return hmac.new(key, message, hashlib.sha256).hexdigest()


class _Usage:
    """The largest shares, in percent, that the usage headers have, and the wait in seconds.

    They are read leniently: their content is JSON that Meta changes at times.
    """

    def __init__(self) -> None:
        self.app = 0.0
        self.account = 0.0
        self.wait = 0.0

    def add_account(self, values: RawObject) -> None:
        """Of X-Ad-Account-Usage."""
        self.account = max(self.account, _share(values, "acc_id_util_pct"))
        self.wait = max(self.wait, _share(values, "reset_time_duration"))

    def add_use_case(self, entry: RawObject) -> None:
        """Of an entry of X-Business-Use-Case-Usage."""
        shares = (_share(entry, key) for key in ("call_count", "total_cputime", "total_time"))
        self.account = max(self.account, *shares)
        self.wait = max(self.wait, _share(entry, "estimated_time_to_regain_access") * 60)


def _json_header(headers: Mapping[str, str], name: str) -> RawObject:
    try:
        value = json.loads(headers.get(name) or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _share(values: RawObject, key: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    # NaN and absurd numbers say nothing
    return float(value) if 0 <= value < 1e9 else 0.0


def _object(response: Response) -> RawObject:
    try:
        body = json.loads(response.body(), parse_float=Decimal)
    except ValueError:
        raise GeneralError("Meta's response is not JSON", code="not_json") from None
    if not isinstance(body, dict) or "error" in body:
        raise malformed("Meta's response is not an object, or is an error with a success status")
    return body


def _day(row: RawObject, window: Window) -> date:
    if row.get("date_start") != row.get("date_stop"):
        raise malformed(
            f"a row spans {row.get('date_start')!r:.20} to {row.get('date_stop')!r:.20}, not a day"
        )
    return day_within(row.get("date_start"), window)


def _spent(row: RawJson, window: Window) -> tuple[date, Decimal]:
    """The day of an account's row, and what it spent."""
    if not isinstance(row, dict):
        raise malformed("a row is not an object")
    return _day(row, window), amount(row.get("spend"), "spend") or Decimal()


def _in_actions(settings: Settings) -> dict[str, Measure]:
    """The measures in lists by action type."""
    types = {"video_views": _VIDEO_VIEWS}
    return {
        name: (place, _sum_of(types.get(name, settings.meta_conversion_actions)))
        for name, place in _ACTIONS.items()
    }


def _sum_of(types: Collection[str]) -> Callable[[RawJson, str], Decimal]:
    """Reads the sum over these types of [{"action_type", "value"}]; zero where there is no list,
    which is how Meta reports that nothing happened.

    https://developers.facebook.com/docs/marketing-api/reference/ads-action-stats/
    """

    def read(value: RawJson, what: str) -> Decimal:
        actions = [] if value is None else value
        if not isinstance(actions, list) or not all(isinstance(one, dict) for one in actions):
            raise malformed(f"{what} is not a list of actions: {value!r:.60}")
        found = (one.get("value") for one in actions if one.get("action_type") in types)
        return sum((amount(one, what) or Decimal() for one in found), Decimal())

    return read


def _meaning_without_table(error: RawObject, status: int) -> Meaning:
    """Of a code that is in no table."""
    if status == 401:
        return Meaning.CREDENTIALS
    if error.get("is_transient") or status >= 500:
        return Meaning.GENERAL
    return Meaning.UNKNOWN


def _without_code(status: int) -> WorkerError:
    """A gateway's response, or a truncated one."""
    # assumed to be the account's: only a code says that it is the app's limit
    meaning = Meaning.ACCOUNT_LIMIT if status == 429 else meaning_of_status(status)
    return error_of(
        meaning,
        f"Meta answered with status {status} and no error of its own",
        code=f"http_{status}",
        usual_wait=_USUAL_BLOCK,
    )


def _token_findings(token: RawObject) -> Iterator[Finding]:
    """https://developers.facebook.com/docs/graph-api/reference/debug_token"""
    if not token.get("is_valid"):
        error = token.get("error")
        said = error.get("message") if isinstance(error, dict) else None
        yield Finding(
            "failed",
            f"the access token is not valid: {said or 'Meta gives no reason'}",
            "Connect the account again",
        )
        return
    if not {"ads_read", "ads_management"} & set(token.get("scopes") or []):
        yield Finding(
            "failed",
            "the access token lacks the scope ads_read",
            "Create a token with ads_read and connect the account again",
        )
    # 0 or absent: it does not expire; without access to the data a token is useless
    ends = [int(token.get(name) or 0) for name in ("expires_at", "data_access_expires_at")]
    if any(ends):
        day = datetime.fromtimestamp(min(filter(None, ends)), UTC).date()
        yield Finding(
            "warning",
            f"the access token expires on {day}",
            "A system user's token can be created without an expiry",
        )
    else:
        yield Finding("ok", "the access token does not expire")
