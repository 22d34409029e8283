"""How a sync ended, and what follows from it for its connection, its platform and its log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from workers.errors import ConnectionCredentialsError, RateLimitedError, WorkerError

Status = Literal["success", "partial", "failed"]

# A first failure is tried again by the next plan; each further one doubles the wait.
FIRST_WAIT = 20 * 60.0
LONGEST_WAIT = 6 * 3600.0


@dataclass(frozen=True)
class Outcome:
    """`not_before` and `pause` are seconds for which the connection, or every connection of
    the platform, is left alone; `parked` is the reason why it is until it is mended."""

    status: Status
    code: str | None = None
    message: str | None = None
    not_before: float | None = None
    pause: float | None = None
    parked: str | None = None


SUCCESS = Outcome("success")
OUT_OF_TIME = Outcome(
    "partial", code="out_of_time", message="The time ran out; the next sync goes on from here"
)


def failure_wait(failures: int) -> float | None:
    """Seconds to wait after a failure that `failures` others came directly before."""
    if failures == 0:
        return None
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))


def outcome_of(error: WorkerError, message: str, failures: int, *, has_progress: bool) -> Outcome:
    """What the platform's `error` makes of the sync. `message` is its text without secrets.

    A throttled sync that got something done is partial: the next one goes on.
    """
    if isinstance(error, ConnectionCredentialsError):
        return Outcome("failed", error.code, message, parked=message)
    if isinstance(error, RateLimitedError):
        return Outcome(
            "partial" if has_progress else "failed",
            error.code,
            message,
            not_before=error.retry_after,
            pause=error.retry_after if error.everywhere else None,
        )
    return Outcome("failed", error.code, message, not_before=failure_wait(failures))


def as_result(
    outcome: Outcome, platform: str, details: dict[str, Any], counts: dict[str, int]
) -> dict[str, Any]:
    """The outcome as end_metric_sync takes it."""
    result: dict[str, Any] = {
        "status": outcome.status,
        "message": outcome.message,
        "details": {**details, **({"code": outcome.code} if outcome.code else {})},
        "created": counts["created"],
        "updated": counts["updated"],
        "not_before": outcome.not_before,
        "parked": outcome.parked,
    }
    if outcome.pause is not None:
        result["pause"] = {
            "platform": platform,
            "seconds": outcome.pause,
            "reason": outcome.message,
        }
    return result
