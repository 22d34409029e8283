"""Ad accounts: which days were read, when the next sync is, and how much of it requests name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, assert_never
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console import asked, charts
from server.console.account_days import (
    MONTH,
    STATES,
    DayState,
    last_days,
    state_of,
    strip,
    zone_of,
)
from server.console.answers.accounts import (
    Account,
    AccountDetails,
    AdKind,
    DayRecord,
    ListedAccount,
    NewConnection,
    UnnamedAd,
    read_account_details,
    read_account_page,
    read_new_connections,
    read_unnamed_ads,
)
from server.console.charts import Chart, Series
from server.console.pages import figures
from server.console.project import Project
from server.console.rendering import page
from workers.clock import utc_now
from workers.metrics.platforms import MAPPING_KEYS

PATH: Final = "/metrics"
NAME: Final = "Metrics"

ACCOUNTS_PER_PAGE: Final = 25
ADS_PER_PAGE: Final = 50
# The difference from the account's total from which on the two differ, as for the doctor.
_TOLERANCE: Final = Decimal("0.001")
_LEAST_DIFFERENCE: Final = Decimal("0.01")


# --- the accounts ---


def accounts(request: Request) -> Response:
    """All accounts that were planned, a page at a time."""
    project: Project = request.app.state.project
    after = asked.cursor(request, platform=str, account_id=str)
    now = utc_now()
    since, until = _around(now)
    found = read_account_page(
        project.answer(
            "console_accounts", row_limit=ACCOUNTS_PER_PAGE, since=since, until=until, after=after
        )
    )
    new_connections: tuple[NewConnection, ...] = ()
    if after is None:
        rows = project.answers("console_new_accounts", row_limit=ACCOUNTS_PER_PAGE)
        new_connections = read_new_connections(rows)
    return page(
        request,
        "accounts.html",
        {
            "now": now,
            "accounts": [_shown(one, now) for one in found.accounts],
            "new_connections": new_connections,
            "states": STATES.values(),
            "onward": asked.onward(request, found.after),
            "is_first": after is None,
        },
    )


@dataclass(frozen=True)
class AccountState:
    """An account's state, in a word and its colour, and the reason; when it is synced next
    (`next_at`, or `next_words` where there is no time)."""

    word: str
    tone: str
    reason: str | None
    next_at: datetime | None = None
    next_words: str | None = None


def state_of_account(one: Account, now: datetime) -> AccountState:
    """What is the matter with an account, the most important first."""
    has_failed = one.sync is not None and one.sync.status == "failed"
    reason = one.reason if has_failed or one.until else None
    if one.is_syncing:
        return AccountState("syncing", "ok", None, next_words="in progress, or planned")
    if one.connection_id is None and one.time_zone is not None:
        words = "by another connection, if there is one"
        return AccountState("disconnected", "", "its connection was deleted", next_words=words)
    if one.connection_id is not None and not one.is_active:
        return AccountState("inactive", "", None, next_words="none: its connection is inactive")
    if one.parked:
        words = "once its credentials change, or it is released"
        return AccountState("parked", "failed", one.parked, next_words=words)
    if one.until:
        return AccountState("waiting", "warning", reason, next_at=one.until)
    due = _due_at(one)
    word, tone = _word(one, now, due)
    if due is None or due <= now:
        return AccountState(word, tone, reason, next_words="with the next plan")
    return AccountState(word, tone, reason, next_at=due)


def _word(one: Account, now: datetime, due: datetime | None) -> tuple[str, str]:
    status = None if one.sync is None else one.sync.status
    if status == "failed":
        return "failed", "failed"
    if status == "partial":
        return "partial", "warning"
    if due is None:
        return "not synced yet", ""
    # late after twice the time between syncs
    if now - due > timedelta(minutes=one.sync_frequency):
        return "late", "warning"
    return "synced", "ok"


def _due_at(one: Account) -> datetime | None:
    if one.last_synced_at is None:
        return None
    return one.last_synced_at + timedelta(minutes=one.sync_frequency)


@dataclass(frozen=True)
class ShownAccount:
    """An account of the list: its state, its days as a strip, and the address of its page."""

    account: Account
    state: AccountState
    strip: Markup
    address: str


def _shown(one: ListedAccount, now: datetime) -> ShownAccount:
    account = one.account
    zone = zone_of(account.time_zone)
    days = last_days(now, zone)
    states = [state_of(day, one.days.get(day), zone) for day in days]
    return ShownAccount(
        account,
        state_of_account(account, now),
        strip(days, states),
        _address("account", account.platform, account.account_id),
    )


def _around(now: datetime) -> tuple[str, str]:
    """The first and last day of the month, in any time zone."""
    today = now.date()
    return f"{today - timedelta(days=MONTH)}", f"{today + timedelta(days=1)}"


# --- one account ---


def account(request: Request) -> Response:
    """An account: its syncs, its days, its charts and its connections."""
    project: Project = request.app.state.project
    platform, account_id = asked.needed(request, "platform"), asked.needed(request, "id")
    now = utc_now()
    since, until = _around(now)
    answer = project.optional_answer(
        "console_account", platform=platform, account_id=account_id, since=since, until=until
    )
    if answer is None:
        raise HTTPException(404)
    found = read_account_details(answer)
    days = _days_of(found, now)
    currency = found.account.currency or "without a currency"
    return page(
        request,
        "account.html",
        {
            "now": now,
            "account": found.account,
            "state": state_of_account(found.account, now),
            "connections": found.connections,
            "days": days,
            "has_unreadable": any(one.state.word == "unreadable" for one in days),
            "states": STATES.values(),
            "total": compared(days),
            "currency": currency,
            "charts": [charts.figure(one) for one in _charts(days, currency)],
            "unnamed": _address("unnamed", platform, account_id),
        },
    )


@dataclass(frozen=True)
class AccountDay:
    """A day of an account: its state, and its record, which is empty where there is none."""

    day: date
    state: DayState
    record: DayRecord

    @property
    def spend_unnamed(self) -> Decimal | None:
        """What was spent on ads that no request names."""
        read, named = self.record.spend_read, self.record.spend_named
        return None if read is None or named is None else read - named

    @property
    def difference(self) -> Decimal | None:
        """The account's total minus what was read by ad and campaign."""
        read, total = self.record.spend_read, self.record.spend_total
        return None if read is None or total is None else total - read


def _days_of(found: AccountDetails, now: datetime) -> list[AccountDay]:
    """The month, oldest day first."""
    zone = zone_of(found.account.time_zone)
    records = ((day, found.days.get(day, DayRecord())) for day in last_days(now, zone))
    return [AccountDay(day, state_of(day, one.known, zone), one) for day, one in records]


@dataclass(frozen=True)
class Compared:
    """What was read of the days that were over, and the account's total of these days."""

    days: int
    read: Decimal
    total: Decimal

    @property
    def difference(self) -> Decimal:
        return self.total - self.read

    @property
    def is_within(self) -> bool:
        """Whether rounding and restatements may explain the difference."""
        return abs(self.difference) <= max(abs(self.total) * _TOLERANCE, _LEAST_DIFFERENCE)


def compared(days: Sequence[AccountDay]) -> Compared | None:
    """None where the platform reported no total for any day that is over."""
    over = [
        (read, total)
        for one in days
        if one.state.word in ("read", "restated")
        and (read := one.record.spend_read) is not None
        and (total := one.record.spend_total) is not None
    ]
    if not over:
        return None
    return Compared(
        len(over), sum((read for read, _ in over), Decimal()),
        sum((total for _, total in over), Decimal()),
    )  # fmt: skip


def _charts(days: Sequence[AccountDay], currency: str) -> Iterator[Chart]:
    shown = [one.day for one in days]
    partial = frozenset(one.day for one in days if one.state.word == "partial")
    named = _series("ads that requests name", 1, {one.day: one.record.spend_named for one in days})
    rest = _series("other ads", 5, {one.day: one.spend_unnamed for one in days})
    yield Chart("Spend", currency, shown, [named, rest], partial)
    impressions = {one.day: one.record.impressions_read for one in days}
    yield Chart("Impressions", "impressions", shown, [_series("all ads", 2, impressions)], partial)
    clicks = {one.day: one.record.clicks_read for one in days}
    yield Chart("Clicks", "clicks", shown, [_series("all ads", 2, clicks)], partial)


def _series(name: str, colour: int, values: Mapping[date, Decimal | None]) -> Series:
    return Series(name, colour, {day: one for day, one in values.items() if one is not None})


# --- ads that no request names ---


def unnamed(request: Request) -> Response:
    """An account's ads that no request names, highest spend first, and how to name each."""
    project: Project = request.app.state.project
    platform, account_id = asked.needed(request, "platform"), asked.needed(request, "id")
    after = asked.cursor(
        request, spend=_amount, campaign_id=str, ad_group_id=str, ad_id=str
    )  # fmt: skip
    found = read_unnamed_ads(
        project.answer(
            "console_unnamed_ads",
            platform=platform,
            account_id=account_id,
            row_limit=ADS_PER_PAGE,
            after=after,
        )
    )
    return page(
        request,
        "unnamed.html",
        {
            "platform": platform,
            "account_id": account_id,
            "account": _address("account", platform, account_id),
            "ads": [(ad, list(matches(platform, ad))) for ad in found.ads],
            "onward": asked.onward(request, found.after),
            "is_first": after is None,
        },
    )


def matches(platform: str, ad: UnnamedAd) -> Iterator[tuple[str, str]]:
    """Values that requests.metadata could have, narrowest first: (what that names, JSON)."""
    keys = {str(level): key for level, key in MAPPING_KEYS.get(platform, {}).items()}
    match ad.kind:
        case AdKind.ASSET_GROUP:
            group, words = "asset_group", "its whole asset group"
        case AdKind.AD | AdKind.RESERVATION_AD | AdKind.CAMPAIGN:
            group, words = "ad_group", "its whole ad group"
        case _:
            assert_never(ad.kind)
    for level, named, id_ in (
        ("ad", "this ad", ad.ad_id),
        (group, words, ad.ad_group_id),
        ("campaign", "its whole campaign", ad.campaign_id),
    ):
        key = keys.get(level)
        if key and id_:
            yield named, json.dumps({key: id_}, ensure_ascii=False)


def _amount(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite():
        raise ValueError(text)
    return amount


def _address(what: str, platform: str, account_id: str) -> str:
    return f"{PATH}/{what}?" + urlencode({"platform": platform, "id": account_id})


ROUTES: Final = [
    Route(PATH, accounts),
    Route(f"{PATH}/account", account),
    Route(f"{PATH}/unnamed", unnamed),
    *figures.ROUTES,
]
