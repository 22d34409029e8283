"""Answers about ad accounts, their days, and the ads that no request names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from server.console.account_days import KnownDay
from server.console.answers.paging import read_key
from workers.answers import Answer


@dataclass(frozen=True)
class LastSync:
    """An account's last sync; `requests` that it made."""

    status: str
    end_time: datetime | None
    error: str | None
    requests: int | None
    api_version: str | None


@dataclass(frozen=True)
class Account:
    """Of `console_account_state`: an account, its last sync and the connection that read it last,
    if it is still there. `parked` is why that one is; `until` when the account is read again at the
    earliest; `sync_frequency` is in minutes."""

    platform: str
    account_id: str
    connection_id: str | None
    name: str | None
    is_active: bool
    sync_frequency: int
    last_synced_at: datetime | None
    parked: str | None
    until: datetime | None
    reason: str | None
    is_syncing: bool
    failures: int
    window_days: int | None
    time_zone: str | None
    currency: str | None
    sync: LastSync | None


@dataclass(frozen=True)
class ListedAccount:
    """An account of the list, with the days that are known of it."""

    account: Account
    days: Mapping[date, KnownDay]


@dataclass(frozen=True)
class AccountPage:
    """Of `console_accounts`; `after` is the key of the last row, None at the end."""

    accounts: tuple[ListedAccount, ...]
    after: Mapping[str, str] | None


@dataclass(frozen=True)
class NewConnection:
    """Of `console_new_accounts`: a connection that has not been synced yet."""

    platform: str
    account_id: str
    name: str | None
    is_active: bool
    created_at: datetime | None


@dataclass(frozen=True)
class AccountConnection:
    """A connection to an account; `sync_frequency` is in minutes."""

    id: str
    name: str | None
    is_active: bool
    is_parked: bool
    last_synced_at: datetime | None
    sync_frequency: int
    reason: str | None


@dataclass(frozen=True)
class DayRecord:
    """What is recorded of a day of an account: what was read, how much of that requests name, and
    the account's total; None where it is unknown."""

    known: KnownDay | None = None
    problem: str | None = None
    try_after: datetime | None = None
    rows_read: int | None = None
    rows_named: int | None = None
    spend_read: Decimal | None = None
    spend_named: Decimal | None = None
    spend_total: Decimal | None = None
    impressions_read: Decimal | None = None
    clicks_read: Decimal | None = None


@dataclass(frozen=True)
class AccountDetails:
    """Of `console_account`."""

    account: Account
    connections: tuple[AccountConnection, ...]
    days: Mapping[date, DayRecord]


class AdKind(StrEnum):
    """What a platform reports figures of."""

    AD = "ad"
    RESERVATION_AD = "reservation_ad"
    ASSET_GROUP = "asset_group"
    CAMPAIGN = "campaign"


@dataclass(frozen=True)
class UnnamedAd:
    """An ad that no request names; ids are empty where it has none. `is_named`: a request names it
    since the last sync."""

    campaign_id: str
    ad_group_id: str
    ad_id: str
    kind: AdKind
    campaign_name: str | None
    ad_group_name: str | None
    ad_name: str | None
    spend: Decimal | None
    currency: str | None
    first_date: date
    last_date: date
    is_named: bool


@dataclass(frozen=True)
class UnnamedAdPage:
    """Of `console_unnamed_ads`; `after` is the key of the last row, None at the end."""

    ads: tuple[UnnamedAd, ...]
    after: Mapping[str, str] | None


@dataclass(frozen=True)
class ListedConnection:
    """Of `list_connections`."""

    id: str
    platform: str
    account_id: str
    account: str
    is_active: bool


def read_account_page(answer: Answer) -> AccountPage:
    """As `console_accounts` returns it."""
    return AccountPage(
        accounts=tuple(
            ListedAccount(
                _account(one), {day.day("date"): _known_day(day) for day in one.inners("days")}
            )
            for one in answer.inners("accounts")
        ),
        after=read_key(answer, "after"),
    )


def read_new_connections(answers: tuple[Answer, ...]) -> tuple[NewConnection, ...]:
    """As `console_new_accounts` returns them."""
    return tuple(
        NewConnection(
            platform=one.text("platform"),
            account_id=one.text("account_id"),
            name=one.optional_text("name"),
            is_active=one.json("is_active") is not False,
            created_at=one.optional_time("created_at"),
        )
        for one in answers
    )


def read_account_details(answer: Answer) -> AccountDetails:
    """As `console_account` returns it."""
    return AccountDetails(
        account=_account(answer.inner("account")),
        connections=tuple(map(_connection, answer.inners("connections"))),
        days={one.day("date"): _day_record(one) for one in answer.inners("days")},
    )


def read_unnamed_ads(answer: Answer) -> UnnamedAdPage:
    """As `console_unnamed_ads` returns it."""
    return UnnamedAdPage(
        ads=tuple(map(_unnamed_ad, answer.inners("ads"))), after=read_key(answer, "after")
    )


def read_connections(answers: tuple[Answer, ...]) -> tuple[ListedConnection, ...]:
    """As `list_connections` returns them."""
    return tuple(
        ListedConnection(
            id=one.text("id"),
            platform=one.text("platform"),
            account_id=one.text("account_id"),
            account=one.text("account"),
            is_active=one.text("state") != "inactive",
        )
        for one in answers
    )


def _account(answer: Answer) -> Account:
    return Account(
        platform=answer.text("platform"),
        account_id=answer.text("account_id"),
        connection_id=answer.optional_text("connection_id"),
        name=answer.optional_text("name"),
        is_active=answer.json("is_active") is True,
        sync_frequency=answer.whole("sync_frequency"),
        last_synced_at=answer.optional_time("last_synced_at"),
        parked=answer.optional_text("parked"),
        until=answer.optional_time("until"),
        reason=answer.optional_text("reason"),
        is_syncing=answer.flag("is_syncing"),
        failures=answer.whole("failures"),
        window_days=answer.optional_whole("window_days"),
        time_zone=answer.optional_text("time_zone"),
        currency=answer.optional_text("currency"),
        sync=_last_sync(answer.optional_inner("sync")),
    )


def _last_sync(answer: Answer | None) -> LastSync | None:
    if answer is None:
        return None
    return LastSync(
        status=answer.text("status"),
        end_time=answer.optional_time("end_time"),
        error=answer.optional_text("error"),
        requests=answer.optional_whole("requests"),
        api_version=answer.optional_text("api_version"),
    )


def _known_day(answer: Answer) -> KnownDay:
    return KnownDay(
        read_at=answer.optional_time("read_at"),
        is_restated=answer.flag("is_restated"),
        is_unreadable=answer.flag("is_unreadable"),
    )


def _connection(answer: Answer) -> AccountConnection:
    return AccountConnection(
        id=answer.text("id"),
        name=answer.optional_text("name"),
        is_active=answer.flag("is_active"),
        is_parked=answer.flag("is_parked"),
        last_synced_at=answer.optional_time("last_synced_at"),
        sync_frequency=answer.whole("sync_frequency"),
        reason=answer.optional_text("reason"),
    )


def _day_record(answer: Answer) -> DayRecord:
    return DayRecord(
        known=_known_day(answer),
        problem=answer.optional_text("problem"),
        try_after=answer.optional_time("try_after"),
        rows_read=answer.optional_whole("rows_read"),
        rows_named=answer.optional_whole("rows_named"),
        spend_read=answer.optional_decimal("spend_read"),
        spend_named=answer.optional_decimal("spend_named"),
        spend_total=answer.optional_decimal("spend_total"),
        impressions_read=answer.optional_decimal("impressions_read"),
        clicks_read=answer.optional_decimal("clicks_read"),
    )


def _unnamed_ad(answer: Answer) -> UnnamedAd:
    return UnnamedAd(
        campaign_id=answer.text("campaign_id"),
        ad_group_id=answer.text("ad_group_id"),
        ad_id=answer.text("ad_id"),
        kind=answer.choice("kind", AdKind),
        campaign_name=answer.optional_text("campaign_name"),
        ad_group_name=answer.optional_text("ad_group_name"),
        ad_name=answer.optional_text("ad_name"),
        spend=answer.optional_decimal("spend"),
        currency=answer.optional_text("currency"),
        first_date=answer.day("first_date"),
        last_date=answer.day("last_date"),
        is_named=answer.flag("is_named"),
    )
