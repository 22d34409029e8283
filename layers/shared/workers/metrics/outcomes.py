"""How a sync ended, and what follows from it for its account, its platform and its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from workers.errors import (
    ConnectionCredentialsError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)
from workers.metrics.account_connections import Parked
from workers.metrics.answers import Candidate, DerivedCounts
from workers.metrics.facts import Json
from workers.metrics.windows import Window

Status = Literal["success", "partial", "failed"]

# A first failure is tried again by the next plan; each further one doubles the wait.
FIRST_WAIT = 20 * 60.0
LONGEST_WAIT = 6 * 3600.0
# How many of the days that could not be read the log's message names.
_NAMED_DAYS = 5


@dataclass(frozen=True)
class Outcome:
    """`not_before` and `pause` are seconds for which the account, or every account that is read
    through the same app, is left alone. `is_done`: everything in the range that can be read was
    read."""

    status: Status
    code: str | None = None
    message: str | None = None
    not_before: float | None = None
    pause: float | None = None
    is_done: bool = False


SUCCESS = Outcome("success", is_done=True)
OUT_OF_TIME = Outcome(
    "partial", code="out_of_time", message="The time ran out; the next sync continues from here"
)


def failure_wait(failures: int) -> float | None:
    """Seconds to wait after a failure that directly follows `failures` others."""
    if failures == 0:
        return None
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))


def limit_wait(error: RateLimitedError, failures: int, now: datetime) -> float:
    """Seconds until a limit is free again; `now` is aware.

    When a guess was too short `failures` times, the quota is one that lasts for hours.
    """
    if error.until_midnight:
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return (today + timedelta(days=1) - now).total_seconds()
    if error.is_guess:
        return max(error.retry_after, failure_wait(failures) or 0.0)
    return error.retry_after


def outcome_of(
    error: WorkerError, message: str, failures: int, now: datetime, *, has_progress: bool
) -> Outcome:
    """How a sync ends that meets the platform's `error`. `message` is its text without secrets,
    `now` the time, aware.

    A sync that made progress is partial: the next one continues.
    """
    status: Status = "partial" if has_progress else "failed"
    if isinstance(error, ConnectionCredentialsError):
        return Outcome("failed", error.code, message)
    if isinstance(error, RateLimitedError):
        wait = limit_wait(error, failures, now)
        return Outcome(
            status,
            error.code,
            message,
            not_before=wait,
            pause=wait if error.everywhere else None,
        )
    wait_after_failure = failure_wait(failures)
    if isinstance(error, SharedCredentialsError):
        # once it is corrected, all connections that share it should continue soon
        soon = None if wait_after_failure is None else FIRST_WAIT
        return Outcome("failed", error.code, message, not_before=soon)
    return Outcome(status, error.code, message, not_before=wait_after_failure)


def all_but(left_out: Mapping[date, str]) -> Outcome:
    """Of a sync that read all it can: success, or partial where these days could not be read."""
    if not left_out:
        return SUCCESS
    days = sorted(left_out)
    named = ", ".join(map(str, days[:_NAMED_DAYS])) + (" ..." if len(days) > _NAMED_DAYS else "")
    reason = left_out[days[-1]]
    return Outcome(
        "partial",
        code="days_left_out",
        message=f"{len(days)} days could not be read and are tried again later ({named}): {reason}",
        is_done=True,
    )


@dataclass(frozen=True)
class SyncResult:
    """What end_metric_sync records. `worked` is the connection that read the account, where one
    did, `paused` the id of one whose app is at its limit; `window_days` is how many days to read at
    once from now on, None when that was not learned; `backfill` is the range that was asked for."""

    outcome: Outcome
    details: Json
    counts: DerivedCounts
    is_whole: bool
    worked: Candidate | None
    parked: Sequence[Parked]
    paused: str | None
    window_days: int | None
    backfill: Window | None

    def as_json(self) -> Json:
        """As end_metric_sync takes it."""
        code = {"code": self.outcome.code} if self.outcome.code else {}
        result: Json = {
            "status": self.outcome.status,
            "message": self.outcome.message,
            "details": {**self.details, **code},
            "created": self.counts.created,
            "updated": self.counts.updated,
            "not_before": self.outcome.not_before,
            "is_done": self.outcome.is_done,
            "is_whole": self.is_whole,
            "parked": [asdict(parked) for parked in self.parked],
            "window_days": self.window_days,
        }
        if self.worked:
            result["connection"] = {
                "id": self.worked.connection.id,
                "digest": self.worked.digest,
            }
        if self.outcome.pause is not None:
            result["pause"] = {
                "connection_id": self.paused,
                "seconds": self.outcome.pause,
                "reason": self.outcome.message,
            }
        if self.backfill:
            result["backfill"] = {
                "since": f"{self.backfill.since}",
                "until": f"{self.backfill.until}",
            }
        return result


@dataclass(frozen=True)
class SyncReport:
    """How it ended, for the summary and the log; `status` is stale when the sync request was no
    longer valid, paused when the platform asked the app to wait, lost when another sync took
    over. `connection_id` is the connection that read the account, where one did;
    `not_kept_until` the newest day of a backfill that the platform no longer keeps;
    `misconfigured` says what has to be corrected in the deployment, without secrets."""

    platform: str
    account_id: str
    status: Status | Literal["stale", "paused", "lost"]
    connection_id: str | None = None
    code: str | None = None
    is_parked: bool = False
    not_kept_until: date | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    misconfigured: str | None = None

    @property
    def is_out_of_time(self) -> bool:
        """Whether it ended because its time ran out, or its clock was stopped."""
        return self.code == OUT_OF_TIME.code

    def summary(self) -> Json:
        """JSON-able."""
        return {
            "platform": self.platform,
            "account_id": self.account_id,
            "connection_id": self.connection_id,
            "status": self.status,
            "code": self.code,
            "parked": self.is_parked,
            **self.counts,
        }
