"""What a failed call of Slack's means: one table for posts, one for looks into the history."""

from __future__ import annotations

from enum import Enum
from typing import Final

from workers.errors import (
    AmbiguousError,
    CannotLookError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)


class Failure(Enum):
    """Of a post. All but IN_DOUBT mean that nothing was sent."""

    RATE_LIMITED = "rate_limited"
    """Slack asks to wait with this destination, or with everything."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a kind of failure
    """Nothing can be posted by anybody."""
    IN_DOUBT = "in_doubt"
    """It may have been posted."""
    NOT_SENT = "not_sent"
    """Slack was not reached."""
    DESTINATION_REFUSED = "destination_refused"
    """Nothing can be posted there."""
    MESSAGE_REFUSED = "message_refused"
    """This message will never be taken."""
    UNKNOWN_CODE = "unknown_code"
    """Refused for a reason that no rule knows."""


class LookFailure(Enum):
    """Of a look for what may have been posted."""

    LATER = "later"
    """The history may be read at another time."""
    NEVER = "never"
    """It cannot be read, now or later."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a kind of failure
    """Nothing can be read by anybody."""


# In this order: an error is also one of its bases.
_POST: Final[tuple[tuple[type[WorkerError], Failure], ...]] = (
    (RateLimitedError, Failure.RATE_LIMITED),
    (CredentialsError, Failure.TOKEN_REFUSED),
    (AmbiguousError, Failure.IN_DOUBT),
    (TransientError, Failure.NOT_SENT),
    (DestinationError, Failure.DESTINATION_REFUSED),
    (PermanentError, Failure.MESSAGE_REFUSED),
    (UnknownError, Failure.UNKNOWN_CODE),
)
_LOOK: Final[tuple[tuple[type[WorkerError], LookFailure], ...]] = (
    (RateLimitedError, LookFailure.LATER),
    (TransientError, LookFailure.LATER),
    (CannotLookError, LookFailure.NEVER),
    (DestinationError, LookFailure.NEVER),
    (CredentialsError, LookFailure.TOKEN_REFUSED),
)


def failure_of(error: WorkerError) -> Failure:
    """What it means for a post. Raises the error itself where the table has no such kind."""
    for kind, failure in _POST:
        if isinstance(error, kind):
            return failure
    raise error


def look_failure_of(error: WorkerError) -> LookFailure:
    """What it means for a look. Raises the error itself where the table has no such kind."""
    for kind, failure in _LOOK:
        if isinstance(error, kind):
            return failure
    raise error
