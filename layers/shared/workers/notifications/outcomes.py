"""The result of an attempt to post, and what follows from it for the post's deliveries.

sent        Slack confirmed it
retry       the message itself failed, perhaps temporarily: counts as an attempt
wait        not the message's fault: later, does not count as an attempt
unknown     it may have been posted: look for it before posting again
dead        the message will never be accepted
moved       it was not posted here, and is to be posted elsewhere
unstarted   it was announced and never posted
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Final, Literal, assert_never

from workers.errors import WorkerError
from workers.notifications.answers import Delivery
from workers.notifications.failures import Failure
from workers.notifications.retries import retry_delay

Result = Literal["sent", "retry", "wait", "unknown", "dead", "moved", "unstarted"]

# Slack's history lags behind its posts: the wait before a message is looked for, or a refused
# destination is tried a second time.
SETTLING_TIME: Final = 60.0


@dataclass(frozen=True)
class Outcome:
    """One entry of `record_notification_progress`'s outcomes; durations in seconds.

    `hold_in` is how long nothing is posted to its destination, so that what is queued behind it
    keeps its place. `in_doubt` says that an earlier attempt may have posted it: while it waits it
    stays unknown. `looking`: it is being looked for, so far down to the message `looked_down_to`.
    What was sent is in the thread of `parent_ts`, or in the channel itself if that is None, and is
    about the request `thread` where threads are wanted.
    """

    result: Result
    attempts: int | None = None
    retry_in: float | None = None
    hold_in: float | None = None
    conversation_id: str | None = None
    message_ts: str | None = None
    parent_ts: str | None = None
    thread: str | None = None
    request_id: str | None = None
    error_code: str | None = None
    error: str | None = None
    possible_duplicate: bool = False
    in_doubt: bool = False
    looking: bool = False
    looked_down_to: str | None = None

    def as_row(self, delivery: Delivery, posted_ago: float | None) -> dict[str, object]:
        """The entry for one delivery of the post."""
        return {
            "id": delivery.id, "token": delivery.token, "posted_ago": posted_ago, **asdict(self),
        }  # fmt: skip


def outcome_of(
    failure: Failure, error: WorkerError, delivery: Delivery, *, jitter: float
) -> Outcome:
    """What a failed attempt means for a delivery; `jitter` is from 0 to below 1."""
    outcome = _consequence(failure, delivery, getattr(error, "retry_after", None), jitter)
    return replace(outcome, error_code=error.code, error=str(error))


def _consequence(
    failure: Failure, delivery: Delivery, retry_after: float | None, jitter: float
) -> Outcome:
    match failure:
        case Failure.RATE_LIMITED:
            return Outcome("wait", hold_in=retry_after)
        case Failure.UNKNOWN_CODE:
            again_in = retry_delay(delivery.attempts, jitter)
            return Outcome("retry", attempts=delivery.attempts + 1, retry_in=again_in)
        case Failure.IN_DOUBT:
            return Outcome("unknown", retry_in=SETTLING_TIME, hold_in=SETTLING_TIME)
        case Failure.NOT_SENT | Failure.TOKEN_REFUSED:
            return Outcome("wait")
        case Failure.DESTINATION_REFUSED:
            return Outcome("wait", hold_in=SETTLING_TIME)
        case Failure.MESSAGE_REFUSED:
            return Outcome("dead", attempts=delivery.attempts + 1)
        case _:
            assert_never(failure)
