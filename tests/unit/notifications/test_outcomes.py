"""What each failure of a Slack call means for a post, and for its deliveries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.notifications.claimed import delivery
from workers.errors import (
    AmbiguousError,
    CannotReadError,
    ConfigurationError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.failures import Failure, SearchFailure, failure_of, search_failure_of
from workers.notifications.outcomes import SETTLING_TIME, Outcome, outcome_of

LIMITED = RateLimitedError("said", code="x", retry_after=30.0)
POSTS: list[tuple[WorkerError, Failure, Outcome]] = [
    (LIMITED, Failure.RATE_LIMITED, Outcome("wait", hold_in=30.0)),
    (
        UnknownError("said", code="x"),
        Failure.UNKNOWN_CODE,
        Outcome("retry", attempts=3, retry_in=132.0),
    ),
    (
        AmbiguousError("said", code="x"),
        Failure.IN_DOUBT,
        Outcome("unknown", retry_in=SETTLING_TIME, hold_in=SETTLING_TIME),
    ),
    (TransientError("said", code="x"), Failure.NOT_SENT, Outcome("wait")),
    (CredentialsError("said", code="x"), Failure.TOKEN_REFUSED, Outcome("wait")),
    (
        DestinationError("said", code="x"),
        Failure.DESTINATION_REFUSED,
        Outcome("wait", hold_in=SETTLING_TIME),
    ),
    (PermanentError("said", code="x"), Failure.MESSAGE_REFUSED, Outcome("dead", attempts=3)),
]


@pytest.mark.parametrize(("error", "failure", "outcome"), POSTS)
def test_what_each_error_means_for_a_post(
    error: WorkerError, failure: Failure, outcome: Outcome
) -> None:
    assert failure_of(error) is failure
    expected = replace(outcome, error_code="x", error="said")
    assert outcome_of(failure, error, delivery(attempts=2), jitter=0.5) == expected


def test_every_failure_is_covered() -> None:
    assert {failure for _, failure, _ in POSTS} == set(Failure)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (LIMITED, SearchFailure.LATER),
        (TransientError("said", code="x"), SearchFailure.LATER),
        (CannotReadError("said", code="x"), SearchFailure.NEVER),
        (CredentialsError("said", code="x"), SearchFailure.TOKEN_REFUSED),
    ],
)
def test_what_each_error_means_for_a_search(error: WorkerError, failure: SearchFailure) -> None:
    assert search_failure_of(error) is failure


@pytest.mark.parametrize("kind", [ConfigurationError, TooMuchDataError])
def test_an_error_that_slack_calls_never_raise_passes_through(kind: type[WorkerError]) -> None:
    error = kind("said", code="x")
    for table in (failure_of, search_failure_of):
        with pytest.raises(kind) as caught:
            table(error)
        assert caught.value is error


def test_a_row_has_the_outcome_and_its_delivery() -> None:
    assert Outcome("sent", message_ts="1.2").as_row(delivery(), 4.5) == {
        "id": "d", "token": "t", "posted_ago": 4.5, "result": "sent", "attempts": None,
        "retry_in": None, "hold_in": None, "conversation_id": None, "message_ts": "1.2",
        "parent_ts": None, "thread": None,
        "request_id": None, "error_code": None, "error": None, "possible_duplicate": False,
        "in_doubt": False, "looking": False, "looked_down_to": None,
    }  # fmt: skip
