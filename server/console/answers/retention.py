"""Answers about retention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from workers.answers import Answer


@dataclass(frozen=True)
class Stayed:
    """Rows that could not be deleted, and why; `example` is the id of one."""

    rows: int
    reason: str
    example: str | None


@dataclass(frozen=True)
class Progress:
    """What the last run did by a policy."""

    status: str
    archived: int
    purged: int
    verified_bytes: int
    remaining: int | None
    stayed: tuple[Stayed, ...]
    error: str | None
    updated_at: datetime


@dataclass(frozen=True)
class PolicyState:
    """A row of retention_policies as it is, and what the last run did by it."""

    last_purged_at: datetime | None
    progress: Progress | None


@dataclass(frozen=True)
class Retention:
    """Of `console_retention`. `rows` are those of retention_policies, as `read_policies` takes
    them; `states` are by their ids; `whole_from` is the day from which on the ledger is complete,
    None where all of it is."""

    now: datetime
    rows: tuple[Answer, ...]
    states: Mapping[str, PolicyState]
    whole_from: date | None


@dataclass(frozen=True)
class DueRows:
    """Of `console_due_days`: the rows of a table that are due, by day. `older` counts those before
    the days, `oldest` is their first day: one of the two is known. `is_active`: they are due by the
    shorter of the policy's times. `until` is what they are older than."""

    what: str
    table: str
    is_active: bool
    until: datetime | date
    days: Mapping[date, int]
    older: int | None
    oldest: date | None


@dataclass(frozen=True)
class LastRun:
    """Of `list_worker_runs`."""

    ended_at: datetime
    seconds: float
    outcome: str
    error: str | None


def read_retention(answer: Answer) -> Retention:
    """As `console_retention` returns it."""
    rows = answer.inners("policies")
    return Retention(
        now=answer.time("now"),
        rows=rows,
        states={row.text("id"): _policy_state(row) for row in rows},
        whole_from=answer.optional_day("whole_from"),
    )


def read_due_rows(answer: Answer) -> DueRows:
    """As `console_due_days` returns it for a table."""
    has_time = "T" in answer.text("until")
    return DueRows(
        what=answer.text("what"),
        table=answer.text("table"),
        is_active=answer.flag("is_active"),
        until=answer.time("until") if has_time else answer.day("until"),
        days={one.day("day"): one.whole("rows") for one in answer.inners("days")},
        older=answer.optional_whole("older"),
        oldest=answer.optional_day("oldest"),
    )


def read_last_run(answers: tuple[Answer, ...]) -> LastRun | None:
    """The first that `list_worker_runs` returns; None where there is none."""
    for answer in answers:
        return LastRun(
            ended_at=answer.time("ended_at"),
            seconds=answer.number("seconds"),
            outcome=answer.text("outcome"),
            error=answer.optional_text("error"),
        )
    return None


def _policy_state(answer: Answer) -> PolicyState:
    progress = answer.optional_inner("progress")
    return PolicyState(
        last_purged_at=answer.optional_time("last_purged_at"),
        progress=None if progress is None else _progress(progress),
    )


def _progress(answer: Answer) -> Progress:
    return Progress(
        status=answer.text("status"),
        archived=answer.whole("archived"),
        purged=answer.whole("purged"),
        verified_bytes=answer.whole("verified_bytes"),
        remaining=answer.optional_whole("remaining"),
        stayed=tuple(map(_stayed, answer.inners("stayed"))),
        error=answer.optional_text("error"),
        updated_at=answer.time("updated_at"),
    )


def _stayed(answer: Answer) -> Stayed:
    return Stayed(
        rows=answer.whole("rows"),
        reason=answer.text("reason"),
        # rows that were in use have none
        example=answer.optional_text("example") if "example" in answer.fields else None,
    )
