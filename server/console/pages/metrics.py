"""Ad accounts: what is read of them, when, and what of it is whose."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console import asked, charts
from server.console.account_days import (
    MONTH,
    STATES,
    DayState,
    KnownDay,
    last_days,
    state_of,
    strip,
    zone_of,
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
# From where on what was read and the account's total differ, as the doctor has it.
_TOLERANCE: Final = Decimal("0.001")
_LEAST_DIFFERENCE: Final = Decimal("0.01")


# --- the accounts ---


def accounts(request: Request) -> Response:
    """All that a plan has had, a page at a time."""
    project: Project = request.app.state.project
    after = asked.cursor(request, platform=str, account_id=str)
    now = utc_now()
    since, until = _around(now)
    found = project.call(
        "console_accounts", row_limit=ACCOUNTS_PER_PAGE, since=since, until=until, after=after
    )
    fresh = project.call("console_new_accounts", row_limit=ACCOUNTS_PER_PAGE) if not after else []
    return page(
        request,
        "accounts.html",
        {
            "now": now,
            "accounts": [_listed(one, now) for one in found["accounts"]],
            "fresh": fresh,
            "states": STATES.values(),
            "onward": asked.onward(request, found["after"]),
            "is_first": after is None,
        },
    )


@dataclass(frozen=True)
class AccountState:
    """How an account is, in a word and its colour, and why; when it is synced next (`next_at`, or
    `next_words` where that is no time)."""

    word: str
    tone: str
    reason: str | None
    next_at: datetime | None = None
    next_words: str | None = None


def state_of_account(row: Mapping[str, Any], now: datetime) -> AccountState:
    """Of what console_account_state has."""
    failed = (row["sync"] or {}).get("status") == "failed"
    reason = row["reason"] if failed or row["until"] else None
    if row["is_syncing"]:
        return AccountState("syncing", "ok", None, next_words="under way, or planned")
    if row["connection_id"] is None and row["time_zone"] is not None:
        words = "by another connection, where one leads to it"
        return AccountState("disconnected", "", "its connection is gone", next_words=words)
    if row["connection_id"] is not None and not row["is_active"]:
        return AccountState("inactive", "", None, next_words="none: its connection is inactive")
    if row["parked"]:
        words = "once its credentials change, or it is released"
        return AccountState("parked", "failed", row["parked"], next_words=words)
    if row["until"]:
        return AccountState("waiting", "warning", reason, next_at=_moment(row["until"]))
    due = _due_at(row)
    word, tone = _word(row, now, due)
    if due is None or due <= now:
        return AccountState(word, tone, reason, next_words="with the next plan")
    return AccountState(word, tone, reason, next_at=due)


def _word(row: Mapping[str, Any], now: datetime, due: datetime | None) -> tuple[str, str]:
    status = (row["sync"] or {}).get("status")
    if status == "failed":
        return "failed", "failed"
    if status == "partial":
        return "partial", "warning"
    if due is None:
        return "not synced yet", ""
    # as long as it should take, and once more
    if now - due > timedelta(minutes=row["sync_frequency"]):
        return "late", "warning"
    return "synced", "ok"


def _due_at(row: Mapping[str, Any]) -> datetime | None:
    synced = row["last_synced_at"]
    return _moment(synced) + timedelta(minutes=row["sync_frequency"]) if synced else None


def _listed(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    zone = zone_of(row["time_zone"])
    days = last_days(now, zone)
    known = {
        date.fromisoformat(day): KnownDay(read_at and _moment(read_at), restated, unreadable)
        for day, read_at, restated, unreadable in row["days"]
    }
    states = [state_of(day, known.get(day), zone) for day in days]
    return {
        **row,
        "state": state_of_account(row, now),
        "strip": strip(days, states),
        "where": _address("account", row["platform"], row["account_id"]),
    }


def _around(now: datetime) -> tuple[str, str]:
    """The month's days, wherever an account is."""
    today = now.date()
    return f"{today - timedelta(days=MONTH)}", f"{today + timedelta(days=1)}"


# --- one account ---


def account(request: Request) -> Response:
    """Its syncs, its days, its charts and its connections."""
    project: Project = request.app.state.project
    platform, account_id = asked.needed(request, "platform"), asked.needed(request, "id")
    now = utc_now()
    since, until = _around(now)
    found = project.call(
        "console_account", platform=platform, account_id=account_id, since=since, until=until
    )
    if found is None:
        raise HTTPException(404)
    row = found["account"]
    days = _days_of(found["days"], row["time_zone"], now)
    currency = row["currency"] or "without a currency"
    return page(
        request,
        "account.html",
        {
            "now": now,
            "account": row,
            "state": state_of_account(row, now),
            "connections": found["connections"],
            "days": days,
            "unread": any(one.state.word == "unreadable" for one in days),
            "states": STATES.values(),
            "total": compared(days),
            "currency": currency,
            "charts": [charts.figure(one) for one in _charts(days, currency)],
            "unnamed": _address("unnamed", platform, account_id),
        },
    )


@dataclass(frozen=True)
class AccountDay:
    """A day of an account: its state, and the database's row, where there is one."""

    day: date
    state: DayState
    row: Mapping[str, Any]

    def amount(self, name: str) -> Decimal | None:
        """A number of the row; None where it is not known."""
        value = self.row.get(name)
        return None if value is None else Decimal(value)

    @property
    def spend_unnamed(self) -> Decimal | None:
        """What no request names."""
        read, named = self.amount("spend_read"), self.amount("spend_named")
        return None if read is None or named is None else read - named

    @property
    def difference(self) -> Decimal | None:
        """The account's total less what was read of it."""
        read, total = self.amount("spend_read"), self.amount("spend_total")
        return None if read is None or total is None else total - read


def _days_of(
    rows: Sequence[Mapping[str, Any]], zone_name: str | None, now: datetime
) -> list[AccountDay]:
    """The month, oldest day first."""
    zone = zone_of(zone_name)
    by_day = {date.fromisoformat(row["date"]): row for row in rows}
    found = []
    for day in last_days(now, zone):
        row = by_day.get(day)
        known = (
            None
            if row is None
            else KnownDay(
                row["read_at"] and _moment(row["read_at"]), row["is_restated"], row["failures"] > 0
            )
        )
        found.append(AccountDay(day, state_of(day, known, zone), row or {}))
    return found


@dataclass(frozen=True)
class Compared:
    """What was read of the days that were over against the account's total of them."""

    days: int
    read: Decimal
    total: Decimal

    @property
    def difference(self) -> Decimal:
        return self.total - self.read

    @property
    def is_within(self) -> bool:
        """Whether that is no more than rounding and restatements make."""
        return abs(self.difference) <= max(abs(self.total) * _TOLERANCE, _LEAST_DIFFERENCE)


def compared(days: Sequence[AccountDay]) -> Compared | None:
    """None where the platform told no total of any day that is over."""
    over = [
        (read, total)
        for one in days
        if one.state.word in ("read", "restated")
        and (read := one.amount("spend_read")) is not None
        and (total := one.amount("spend_total")) is not None
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
    named = _series("named by requests", 1, {one.day: one.amount("spend_named") for one in days})
    rest = _series("named by none", 5, {one.day: one.spend_unnamed for one in days})
    yield Chart("Spend", currency, shown, [named, rest], partial)
    for title, name in (("Impressions", "impressions_read"), ("Clicks", "clicks_read")):
        values = {one.day: one.amount(name) for one in days}
        yield Chart(title, title.lower(), shown, [_series("all ads", 2, values)], partial)


def _series(name: str, colour: int, values: Mapping[date, Decimal | None]) -> Series:
    return Series(name, colour, {day: one for day, one in values.items() if one is not None})


# --- what no request names ---


def unnamed(request: Request) -> Response:
    """An account's ads that no request names, what spent most first, and how each would be."""
    project: Project = request.app.state.project
    platform, account_id = asked.needed(request, "platform"), asked.needed(request, "id")
    after = asked.cursor(
        request, spend=_amount, campaign_id=str, ad_group_id=str, ad_id=str
    )  # fmt: skip
    found = project.call(
        "console_unnamed_ads",
        platform=platform,
        account_id=account_id,
        row_limit=ADS_PER_PAGE,
        after=after,
    )
    return page(
        request,
        "unnamed.html",
        {
            "platform": platform,
            "account_id": account_id,
            "account": _address("account", platform, account_id),
            "ads": [{**ad, "matches": list(matches(platform, ad))} for ad in found["ads"]],
            "onward": asked.onward(request, found["after"]),
            "is_first": after is None,
        },
    )


def matches(platform: str, ad: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What requests.metadata would have to hold, narrowest first: (what is then named, JSON)."""
    keys = MAPPING_KEYS.get(platform, {})
    group = "asset_group" if ad["kind"] == "asset_group" else "ad_group"
    for level, words, name in (
        ("ad", "this ad", "ad_id"),
        (group, f"all of its {group.replace('_', ' ')}", "ad_group_id"),
        ("campaign", "all of its campaign", "campaign_id"),
    ):
        key = keys.get(level)  # type: ignore[call-overload]
        if key and ad[name]:
            yield words, json.dumps({key: ad[name]}, ensure_ascii=False)


def _amount(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite():
        raise ValueError(text)
    return amount


def _address(what: str, platform: str, account_id: str) -> str:
    return f"{PATH}/{what}?" + urlencode({"platform": platform, "id": account_id})


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


ROUTES: Final = [
    Route(PATH, accounts),
    Route(f"{PATH}/account", account),
    Route(f"{PATH}/unnamed", unnamed),
    *figures.ROUTES,
]
