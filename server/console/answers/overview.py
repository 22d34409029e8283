"""Answers about runs, and about everything that the overview shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from workers.answers import Answer


@dataclass(frozen=True)
class LastRun:
    """A run in a worker's list. `about` is the account of a sync."""

    id: str
    ended_at: datetime
    seconds: float
    outcome: str
    succeeded: bool
    error_class: str | None
    about: str | None


@dataclass(frozen=True)
class Sent:
    """Notifications sent, by the minute. `is_whole`: all were counted."""

    minutes: Mapping[datetime, int]
    is_whole: bool


class StalledKind(StrEnum):
    """What no longer moves: all delivery, a channel or person, or a config without a route."""

    STOPPED = "stopped"
    DESTINATION = "destination"
    CONFIG = "config"


@dataclass(frozen=True)
class Stalled:
    """A part of the queue that waits for a person. `destination` or `config_id` is set, by its
    kind; `waiting` counts its notifications up to 100."""

    kind: StalledKind
    destination: str | None
    config_id: str | None
    event_type: str | None
    code: str
    reason: str | None
    since: datetime | None
    next_probe: datetime | None
    waiting: int | None


@dataclass(frozen=True)
class AccountCounts:
    """How many ad accounts are in each state, and when the next is due."""

    parked: int
    unread: int
    failing: int
    late: int
    partial: int
    synced: int
    next_due_at: datetime | None


@dataclass(frozen=True)
class Signs:
    """What the alarms watch, as far as runs record it; durations in seconds."""

    raised: int
    longest_notifications: float
    longest_sync: float
    dead: int
    refused: int
    syncs_failed: int
    retention_outcome: str | None


@dataclass(frozen=True)
class PolicyProgress:
    """What the last run of retention did by a policy; None in all of it where none did."""

    entity_type: str
    status: str | None
    archived: int | None
    purged: int | None
    stayed: int
    error: str | None
    updated_at: datetime | None
    last_purged_at: datetime | None
    archive_days: int | None


@dataclass(frozen=True)
class Overview:
    """Of `console_overview`. `runs` are each worker's last ones, newest first; `in_progress` the
    workers with a run now; `delayed` counts up to 10,000."""

    now: datetime
    runs: Mapping[str, tuple[LastRun, ...]]
    in_progress: frozenset[str]
    sent: Sent
    delayed: int
    next_attempt_at: datetime | None
    stalled: tuple[Stalled, ...]
    accounts: AccountCounts
    signs: Signs
    retention: tuple[PolicyProgress, ...]


@dataclass(frozen=True)
class Run:
    """Of `console_run`: a run, and the ids of the worker's next and previous one."""

    worker: str
    started_at: datetime
    ended_at: datetime
    seconds: float
    outcome: str
    succeeded: bool
    counts: Mapping[str, object]
    error_class: str | None
    error: str | None
    newer: str | None
    older: str | None


def read_overview(answer: Answer) -> Overview:
    """As `console_overview` returns it."""
    runs = answer.inner("runs")
    return Overview(
        now=answer.time("now"),
        runs={worker: tuple(map(_last_run, runs.inners(worker))) for worker in runs.fields},
        in_progress=frozenset(answer.texts("in_progress")),
        sent=_sent(answer.inner("sent")),
        delayed=answer.whole("delayed"),
        next_attempt_at=answer.optional_time("next_attempt_at"),
        stalled=tuple(map(_stalled, answer.inners("stalled"))),
        accounts=_account_counts(answer.inner("accounts")),
        signs=_signs(answer.inner("signs")),
        retention=tuple(map(_progress, answer.inners("retention"))),
    )


def read_run(answer: Answer) -> Run:
    """As `console_run` returns it."""
    run = answer.inner("run")
    return Run(
        worker=run.text("worker"),
        started_at=run.time("started_at"),
        ended_at=run.time("ended_at"),
        seconds=run.number("seconds"),
        outcome=run.text("outcome"),
        succeeded=run.flag("succeeded"),
        counts=run.inner("counts").fields,
        error_class=run.optional_text("error_class"),
        error=run.optional_text("error"),
        newer=answer.optional_text("newer"),
        older=answer.optional_text("older"),
    )


def _last_run(answer: Answer) -> LastRun:
    return LastRun(
        id=answer.text("id"),
        ended_at=answer.time("ended_at"),
        seconds=answer.number("seconds"),
        outcome=answer.text("outcome"),
        succeeded=answer.flag("succeeded"),
        error_class=answer.optional_text("error_class"),
        about=answer.optional_text("about"),
    )


def _sent(answer: Answer) -> Sent:
    minutes = answer.inners("minutes")
    return Sent({one.time("minute"): one.whole("sent") for one in minutes}, answer.flag("is_whole"))


def _stalled(answer: Answer) -> Stalled:
    return Stalled(
        kind=answer.choice("kind", StalledKind),
        destination=answer.optional_text("destination"),
        config_id=answer.optional_text("config_id"),
        event_type=answer.optional_text("event_type"),
        code=answer.optional_text("code") or "",
        reason=answer.optional_text("reason"),
        since=answer.optional_time("since"),
        next_probe=answer.optional_time("next_probe"),
        waiting=answer.optional_whole("waiting"),
    )


def _account_counts(answer: Answer) -> AccountCounts:
    return AccountCounts(
        parked=answer.whole("parked"),
        unread=answer.whole("unread"),
        failing=answer.whole("failing"),
        late=answer.whole("late"),
        partial=answer.whole("partial"),
        synced=answer.whole("synced"),
        next_due_at=answer.optional_time("next_due_at"),
    )


def _signs(answer: Answer) -> Signs:
    return Signs(
        raised=answer.whole("raised"),
        longest_notifications=answer.optional_number("longest_notifications") or 0.0,
        longest_sync=answer.optional_number("longest_sync") or 0.0,
        dead=answer.whole("dead"),
        refused=answer.whole("refused"),
        syncs_failed=answer.whole("syncs_failed"),
        retention_outcome=answer.optional_text("retention_outcome"),
    )


def _progress(answer: Answer) -> PolicyProgress:
    return PolicyProgress(
        entity_type=answer.text("entity_type"),
        status=answer.optional_text("status"),
        archived=answer.optional_whole("archived"),
        purged=answer.optional_whole("purged"),
        stayed=answer.whole("stayed"),
        error=answer.optional_text("error"),
        updated_at=answer.optional_time("updated_at"),
        last_purged_at=answer.optional_time("last_purged_at"),
        archive_days=answer.optional_whole("archive_days"),
    )
