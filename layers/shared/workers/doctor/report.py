"""What doctor_report returns, read section by section: a malformed part costs its section only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from workers.answers import Answer
from workers.metrics.platforms.protocol import Connection

ROLES: Final = ("anon", "authenticated")


@dataclass(frozen=True)
class TableAccess:
    """The columns of a table that a role can read, and the commands with which it can write."""

    columns: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True)
class OpenView:
    """A view that a role can read."""

    view: str
    role: str


@dataclass(frozen=True)
class Access:
    """By table: what each role can do with it, and the views of its secret column."""

    tables: Mapping[str, Mapping[str, TableAccess]]
    views: Mapping[str, tuple[OpenView, ...]]


@dataclass(frozen=True)
class Config:
    """An active notification config; `unrouted` is why one of its notifications goes nowhere."""

    id: str
    event_type: str
    channel_id: str | None
    user_id: str | None
    slack_id: str | None
    has_route: bool
    unrouted: str | None


@dataclass(frozen=True)
class Parked:
    """A destination, a config or, without both, all delivery; `waiting` notifications wait."""

    destination: str | None
    config_id: str | None
    reason: str
    waiting: int | None
    next_probe: str | None


@dataclass(frozen=True)
class Account:
    """An active connection and what is known of its syncs; days are ISO dates."""

    connection: Connection
    sync_minutes: int
    parked: str | None = None
    last_status: str | None = None
    last_error: str | None = None
    requests: int | None = None
    spend_total: Decimal = Decimal()
    total_difference: Decimal = Decimal()
    days_that_differ: tuple[str, ...] = ()
    reports_left_out: Mapping[str, str] = field(default_factory=dict)
    unread_days: Mapping[str, str] = field(default_factory=dict)


def read_access(report: Answer) -> Access:
    """Of doctor_report's answer."""
    tables, views = report.inner("access"), report.inner("views")
    return Access(
        {
            table: {role: _table_access(tables.inner(table).inner(role)) for role in ROLES}
            for table in tables.fields
        },
        {table: tuple(map(_open_view, views.inners(table))) for table in views.fields},
    )


def _table_access(answer: Answer) -> TableAccess:
    return TableAccess(answer.texts("columns"), answer.texts("writes"))


def _open_view(answer: Answer) -> OpenView:
    return OpenView(answer.text("view"), answer.text("role"))


def read_configs(report: Answer) -> list[Config]:
    """Of doctor_report's answer."""
    return [
        Config(
            id=one.text("id"),
            event_type=one.text("event_type"),
            channel_id=one.optional_text("channel_id"),
            user_id=one.optional_text("user_id"),
            slack_id=one.optional_text("slack_id"),
            has_route=one.flag("has_route"),
            unrouted=one.optional_text("unrouted"),
        )
        for one in report.inners("configs")
    ]


def read_channels(report: Answer) -> list[str]:
    """All channels that messages may go to, in order."""
    named = {one.channel_id for one in read_configs(report) if one.channel_id}
    return sorted(named.union(report.texts("channels")))


def read_people(report: Answer) -> list[str]:
    """All people that direct messages go to, in order, by their Slack ids."""
    configs = read_configs(report)
    return sorted({one.slack_id for one in configs if one.slack_id and one.channel_id is None})


def read_parked(report: Answer) -> list[Parked]:
    """Of doctor_report's answer."""
    return [
        Parked(
            destination=one.optional_text("destination"),
            config_id=one.optional_text("config_id"),
            reason=one.optional_text("reason") or "",
            waiting=one.optional_whole("waiting"),
            next_probe=one.optional_text("next_probe"),
        )
        for one in report.inners("parked")
    ]


def read_accounts(report: Answer) -> list[Account]:
    """Of doctor_report's answer. What a log says in free form is read as far as it can be."""
    return [_account(row) for row in report.inners("connections")]


def _account(row: Answer) -> Account:
    requests = row.json("requests")
    return Account(
        connection=Connection.from_answer(row),
        sync_minutes=row.whole("sync_frequency"),
        parked=row.optional_text("parked"),
        last_status=row.optional_text("last_status"),
        last_error=row.optional_text("last_error"),
        requests=requests if isinstance(requests, int) else None,
        spend_total=_amount(row.json("spend_total")),
        total_difference=_amount(row.json("total_difference")),
        days_that_differ=tuple(sorted(_texts(row.json("days_that_differ")))),
        reports_left_out=_texts(row.json("reports_left_out")),
        unread_days=_texts(row.json("unread_days")),
    )


def _amount(value: object) -> Decimal:
    try:
        return Decimal(str(value or 0))
    except InvalidOperation:
        return Decimal()


def _texts(value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {name: str(text) for name, text in value.items()}
    return dict.fromkeys(map(str, value), "") if isinstance(value, list) else {}
