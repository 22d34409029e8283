from __future__ import annotations

from dataclasses import replace

import pytest

from workers.errors import (
    AmbiguousError,
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
from workers.notifications.claims import Delivery
from workers.notifications.outcomes import SETTLING_TIME, Outcome, outcome_of

DELIVERY = Delivery(
    id="d", destination="C1", state="queued", attempts=2, due_in=0.0, conversation_id=None,
    ready_in=0.0, idle_for=None, first_attempt=None, error_code=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RateLimitedError("told", code="x", retry_after=30.0), Outcome("wait", hold_in=30.0)),
        (UnknownError("told", code="x"), Outcome("retry", attempts=3, retry_in=132.0)),
        (
            AmbiguousError("told", code="x"),
            Outcome("unknown", retry_in=SETTLING_TIME, hold_in=SETTLING_TIME),
        ),
        (TransientError("told", code="x"), Outcome("wait")),
        (CredentialsError("told", code="x"), Outcome("wait")),
        (
            DestinationError("told", code="x"),
            Outcome("wait", retry_in=SETTLING_TIME, hold_in=SETTLING_TIME),
        ),
        (PermanentError("told", code="x"), Outcome("dead", attempts=3)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, WorkerError) else value.result,
)
def test_what_each_error_means_for_its_delivery(error: WorkerError, outcome: Outcome) -> None:
    expected = replace(outcome, error_code="x", error="told")
    assert outcome_of(error, DELIVERY, jitter=0.5) == expected


@pytest.mark.parametrize("kind", [ConfigurationError, TooMuchDataError])
def test_an_error_that_no_delivery_can_meet_goes_through(kind: type[WorkerError]) -> None:
    error = kind("told", code="x")
    with pytest.raises(kind) as caught:
        outcome_of(error, DELIVERY, jitter=0.0)
    assert caught.value is error


def test_a_row_is_the_outcome_and_whose_it_is() -> None:
    assert Outcome("sent", message_ts="1.2").as_row("d", "t", 4.5) == {
        "id": "d", "token": "t", "posted_ago": 4.5, "result": "sent", "attempts": None,
        "retry_in": None, "hold_in": None, "conversation_id": None, "message_ts": "1.2",
        "request_id": None, "error_code": None, "error": None, "possible_duplicate": False,
        "in_doubt": False,
    }  # fmt: skip
