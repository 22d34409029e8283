"""What a failed call to Slack means: one table for posts, one for searches of the history."""

from __future__ import annotations

from enum import Enum
from typing import Final

from workers.errors import (
    AmbiguousError,
    CannotReadError,
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
    """Slack asks us to wait before posting to this destination, or anywhere."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a kind of failure
    """Nothing can be posted anywhere."""
    IN_DOUBT = "in_doubt"
    """It may have been posted."""
    NOT_SENT = "not_sent"
    """Slack was not reached."""
    DESTINATION_REFUSED = "destination_refused"
    """Nothing can be posted there."""
    MESSAGE_REFUSED = "message_refused"
    """This message will never be accepted."""
    UNKNOWN_CODE = "unknown_code"
    """Refused with a code that no rule covers."""


class SearchFailure(Enum):
    """Of a search for what may have been posted."""

    LATER = "later"
    """The history may be read at another time."""
    NEVER = "never"
    """It cannot be read, now or later."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a kind of failure
    """Nothing can be read anywhere."""


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
_SEARCH: Final[tuple[tuple[type[WorkerError], SearchFailure], ...]] = (
    (RateLimitedError, SearchFailure.LATER),
    (TransientError, SearchFailure.LATER),
    (CannotReadError, SearchFailure.NEVER),
    (DestinationError, SearchFailure.NEVER),
    (CredentialsError, SearchFailure.TOKEN_REFUSED),
)


def failure_of(error: WorkerError) -> Failure:
    """What it means for a post. Raises the error itself where the table does not have it."""
    for kind, failure in _POST:
        if isinstance(error, kind):
            return failure
    raise error


def search_failure_of(error: WorkerError) -> SearchFailure:
    """What it means for a search. Raises the error itself where the table does not have it."""
    for kind, failure in _SEARCH:
        if isinstance(error, kind):
            return failure
    raise error
