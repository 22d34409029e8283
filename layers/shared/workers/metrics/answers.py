"""What the metrics' SQL functions return, read once into what the syncs and the plan work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from workers.answers import Answer
from workers.metrics.facts import LEVELS, Level
from workers.metrics.platforms.protocol import Connection
from workers.metrics.sync_requests import SyncRequest


@dataclass(frozen=True)
class Candidate:
    """A connection that may read an account, and the digest of its credentials, which may have
    worked before."""

    connection: Connection
    digest: str
    has_worked: bool


@dataclass(frozen=True)
class Begun:
    """Of `open_metric_sync`: a sync whose log is open.

    `candidates`, at least one, begin with the connection that reads. `minutes` is the shortest
    interval of the account's connections. `days_read` are those that earlier syncs of the same
    round read, each with its time of reading; `days_left_out` those that could not be read lately,
    each with the reason. `failures` is how many syncs in a row failed before this one. Times are
    aware.
    """

    sync_id: str
    now: datetime
    platform: str
    account_id: str
    candidates: tuple[Candidate, ...]
    minutes: int
    whole_read_at: datetime | None
    days_read: Mapping[date, datetime]
    days_left_out: Mapping[date, str]
    window_days: int | None
    failures: int


@dataclass(frozen=True)
class Paused:
    """Of `begin_metric_sync`: the account's apps have to wait that many seconds."""

    seconds: float


@dataclass(frozen=True)
class Refused:
    """Of `begin_metric_backfill`: the account is busy, or there is no such connection."""

    is_unknown: bool


@dataclass(frozen=True)
class Planned:
    """Of `plan_metric_syncs`."""

    sync_requests: tuple[SyncRequest, ...]
    in_flight: int
    left: int
    orphans: int


@dataclass(frozen=True)
class NamedPage:
    """Of `load_named_ads`: ids by level, and where the next page begins, None after the last."""

    ids: Mapping[Level, tuple[str, ...]]
    after: Mapping[str, object] | None
    is_newly_named: bool


@dataclass(frozen=True)
class Compared:
    """Of `compare_metric_days`."""

    changed: frozenset[date]
    stored: int


@dataclass(frozen=True)
class DerivedCounts:
    """Of `derive_metrics`: figures, and days of requests in several currencies."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    mixed_currency_days: int = 0

    def __add__(self, other: DerivedCounts) -> DerivedCounts:
        return DerivedCounts(
            self.created + other.created,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.mixed_currency_days + other.mixed_currency_days,
        )


@dataclass(frozen=True)
class DerivedStep:
    """Of `derive_account_days` and `check_account_days`: `after` is None after the last step."""

    counts: DerivedCounts
    after: str | None


def read_begun_sync(value: object) -> Begun | Paused | None:
    """None where the plan is stale."""
    if value is None:
        return None
    answer = Answer.of("begin_metric_sync", value)
    return Paused(answer.number("paused")) if "paused" in answer.fields else _begun(answer)


def read_begun_backfill(value: object) -> Begun | Refused:
    answer = Answer.of("begin_metric_backfill", value)
    if "refused" in answer.fields:
        return Refused(is_unknown=answer.text("refused") == "unknown")
    return _begun(answer)


def read_planned(value: object) -> Planned:
    answer = Answer.of("plan_metric_syncs", value)
    return Planned(
        sync_requests=tuple(
            SyncRequest(one.text("platform"), one.text("account_id"), one.text("token"))
            for one in answer.inners("planned")
        ),
        in_flight=answer.whole("in_flight"),
        left=answer.whole("left"),
        orphans=answer.whole("orphans"),
    )


def read_after(function: str, value: object) -> str | None:
    """Where the next step begins; None after the last."""
    return Answer.of(function, value).optional_text("after")


def read_is_finished(value: object) -> bool:
    return Answer.of("settle_ad_links", value).flag("is_finished")


def read_named_page(value: object) -> NamedPage:
    answer = Answer.of("load_named_ads", value)
    named, after = answer.inner("named"), answer.optional_inner("after")
    return NamedPage(
        ids={level: named.texts(level) for level in LEVELS if level in named.fields},
        after=None if after is None else after.fields,
        is_newly_named=answer.flag("is_newly_named"),
    )


def read_compared(value: object) -> Compared:
    answer = Answer.of("compare_metric_days", value)
    return Compared(
        changed=frozenset(map(date.fromisoformat, answer.texts("changed"))),
        stored=answer.whole("stored"),
    )


def read_derived_step(function: str, value: object) -> DerivedStep:
    answer = Answer.of(function, value)
    return DerivedStep(
        DerivedCounts(
            created=answer.whole("created"),
            updated=answer.whole("updated"),
            deleted=answer.whole("deleted"),
            mixed_currency_days=answer.whole("mixed_currency_days"),
        ),
        answer.optional_text("after"),
    )


def _begun(answer: Answer) -> Begun:
    days_read, read_by_date = answer.by_date("days_read")
    left_out, left_out_by_date = answer.by_date("days_left_out")
    return Begun(
        sync_id=answer.text("sync_id"),
        now=answer.time("now"),
        platform=answer.text("platform"),
        account_id=answer.text("account_id"),
        candidates=tuple(map(_candidate, answer.inners("connections"))),
        minutes=answer.optional_whole("minutes") or 0,
        whole_read_at=answer.optional_time("whole_read_at"),
        days_read={day: days_read.time(field) for day, field in read_by_date.items()},
        days_left_out={day: left_out.text(field) for day, field in left_out_by_date.items()},
        window_days=answer.optional_whole("window_days"),
        failures=answer.whole("failures"),
    )


def _candidate(answer: Answer) -> Candidate:
    return Candidate(
        Connection.from_answer(answer), answer.text("digest"), answer.flag("has_worked")
    )
