"""What a try of a delivery came to, and what follows from it.

sent        Slack confirmed it
retry       the message itself failed in a way that may pass: counts as an attempt
wait        not the message's fault: later, at no cost
unknown     it may have been posted: look for it before trying again
dead        the message will never be accepted
unstarted   it was announced and never posted
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from workers.errors import (
    AmbiguousError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.claims import Delivery
from workers.notifications.retries import retry_delay

Result = Literal["sent", "retry", "wait", "unknown", "dead", "unstarted"]

# Slack's history lags behind its posts: not earlier than this is a message looked for, or a
# refused destination tried a second time.
SETTLING_TIME: Final = 60.0


@dataclass(frozen=True)
class Outcome:
    """One entry of `record_notification_progress`'s outcomes; durations in seconds.

    `hold_in` is how long its destination is to be left alone, so that what is queued behind
    it keeps its place. `in_doubt` says that an earlier try may have posted it: while it waits it
    stays unknown.
    """

    result: Result
    attempts: int | None = None
    retry_in: float | None = None
    hold_in: float | None = None
    conversation_id: str | None = None
    message_ts: str | None = None
    request_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    possible_duplicate: bool = False
    in_doubt: bool = False

    def as_row(self, delivery_id: str, token: str, posted_ago: float | None) -> dict[str, Any]:
        """The entry for one delivery of the claim `token`."""
        return {"id": delivery_id, "token": token, "posted_ago": posted_ago, **asdict(self)}


def outcome_of(error: WorkerError, delivery: Delivery, *, jitter: float) -> Outcome:
    """What a failed try means for its delivery; `jitter` is from 0 to below 1.

    What it means for the run (a refused token, trouble at Slack, a config to park) is decided
    where the run is seen as a whole.
    """
    return replace(_consequence(error, delivery, jitter), error_code=error.code, error=str(error))


def _consequence(error: WorkerError, delivery: Delivery, jitter: float) -> Outcome:
    match error:
        case RateLimitedError():
            return Outcome("wait", hold_in=error.retry_after)
        case UnknownError():
            again_in = retry_delay(delivery.attempts, jitter)
            return Outcome("retry", attempts=delivery.attempts + 1, retry_in=again_in)
        case AmbiguousError():
            return Outcome("unknown", retry_in=SETTLING_TIME, hold_in=SETTLING_TIME)
        case TransientError() | CredentialsError():
            return Outcome("wait")
        case DestinationError():
            return Outcome("wait", retry_in=SETTLING_TIME, hold_in=SETTLING_TIME)
        case PermanentError():
            return Outcome("dead", attempts=delivery.attempts + 1)
    raise error
