"""How a sync ended, and what follows from it for its account, its platform and its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from workers.errors import (
    ConnectionCredentialsError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)

Status = Literal["success", "partial", "failed"]

# A first failure is tried again by the next plan; each further one doubles the wait.
FIRST_WAIT = 20 * 60.0
LONGEST_WAIT = 6 * 3600.0
# Of the days that could not be read, so many are named in the log's message.
_NAMED_DAYS = 5


@dataclass(frozen=True)
class Outcome:
    """`not_before` and `pause` are seconds for which the account, or every account that is read
    by the same app, is left alone. `is_done`: all that can be read of the range was read."""

    status: Status
    code: str | None = None
    message: str | None = None
    not_before: float | None = None
    pause: float | None = None
    is_done: bool = False


SUCCESS = Outcome("success", is_done=True)
OUT_OF_TIME = Outcome(
    "partial", code="out_of_time", message="The time ran out; the next sync goes on from here"
)


def failure_wait(failures: int) -> float | None:
    """Seconds to wait after a failure that `failures` others came directly before."""
    if failures == 0:
        return None
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))


def limit_wait(error: RateLimitedError, failures: int, now: datetime) -> float:
    """Seconds until what was limited is free again; `now` is aware.

    A guess that was too short `failures` times is one of a quota that lasts for hours.
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
    """What the platform's `error` makes of the sync. `message` is its text without secrets,
    `now` the time, aware.

    A sync that got something done is partial: the next one goes on.
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
        # once it is put right, all that share it are to go on soon
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


def as_result(
    outcome: Outcome, details: dict[str, Any], counts: Mapping[str, int]
) -> dict[str, Any]:
    """The outcome as end_metric_sync takes it."""
    result: dict[str, Any] = {
        "status": outcome.status,
        "message": outcome.message,
        "details": {**details, **({"code": outcome.code} if outcome.code else {})},
        "created": counts["created"],
        "updated": counts["updated"],
        "not_before": outcome.not_before,
        "is_done": outcome.is_done,
    }
    return result


@dataclass(frozen=True)
class SyncReport:
    """How it ended, for the summary and the log; `status` is stale when the sync request was no
    longer valid, paused when the platform asked the app to wait, lost when another sync took
    over. `connection_id` is the connection that read the account, where one did;
    `not_kept_until` the newest day of a backfill that the platform keeps no more; `misconfigured`
    says what of the deployment has to be put right, without secrets."""

    platform: str
    account_id: str
    status: str
    connection_id: str | None = None
    code: str | None = None
    is_parked: bool = False
    not_kept_until: date | None = None
    counts: dict[str, int] = field(default_factory=dict)
    misconfigured: str | None = None

    def summary(self) -> dict[str, Any]:
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
