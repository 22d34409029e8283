from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import (
    AmbiguousError,
    ConnectionCredentialsError,
    CredentialsError,
    ExpiredSignInError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.metrics.outcomes import (
    FIRST_WAIT,
    LONGEST_WAIT,
    OUT_OF_TIME,
    SUCCESS,
    Outcome,
    as_result,
    failure_wait,
    outcome_of,
)

COUNTS = {"created": 3, "updated": 2}


def test_the_waits_of_a_connection_that_fails_again_and_again() -> None:
    minutes = [None if (wait := failure_wait(n)) is None else wait / 60 for n in range(8)]
    assert minutes == [None, 20, 40, 80, 160, 320, 360, 360]


@given(st.integers(1, 10**18), st.integers(1, 10**18))
def test_no_number_of_failures_is_too_large(one: int, other: int) -> None:
    fewer, more = failure_wait(min(one, other)), failure_wait(max(one, other))
    assert fewer is not None
    assert more is not None
    assert FIRST_WAIT <= fewer <= more <= LONGEST_WAIT


@pytest.mark.parametrize("kind", [ConnectionCredentialsError, ExpiredSignInError])
@pytest.mark.parametrize("has_progress", [False, True])
def test_refused_credentials_park_their_connection_and_nothing_else(
    kind: type[WorkerError], has_progress: bool
) -> None:
    outcome = outcome_of(kind("secret", code="190"), "told", 3, has_progress=has_progress)
    assert outcome == Outcome("failed", "190", "told", parked="told")


@pytest.mark.parametrize(("has_progress", "status"), [(False, "failed"), (True, "partial")])
@pytest.mark.parametrize(("everywhere", "pause"), [(False, None), (True, 90.0)])
def test_a_wait_that_was_asked_for_is_kept_whatever_failed_before(
    has_progress: bool, status: Any, everywhere: bool, pause: float | None
) -> None:
    error = RateLimitedError("secret", code="17", retry_after=90.0, everywhere=everywhere)
    outcome = outcome_of(error, "told", 3, has_progress=has_progress)
    assert outcome == Outcome(status, "17", "told", not_before=90.0, pause=pause)


@pytest.mark.parametrize(
    "kind",
    [
        TransientError, AmbiguousError, PermanentError, TooMuchDataError, UnknownError,
        CredentialsError,
    ],
)  # fmt: skip
@pytest.mark.parametrize(("failures", "wait"), [(0, None), (1, 1200.0), (3, 4800.0)])
def test_any_other_error_fails_and_waits_by_how_often_it_failed(
    kind: type[WorkerError], failures: int, wait: float | None
) -> None:
    outcome = outcome_of(kind("secret", code="x"), "told", failures, has_progress=True)
    assert outcome == Outcome("failed", "x", "told", not_before=wait)


def test_a_success_leaves_nothing_to_say() -> None:
    assert as_result(SUCCESS, "meta", {"pages": 1}, COUNTS) == {
        "status": "success", "message": None, "details": {"pages": 1},
        "created": 3, "updated": 2, "not_before": None, "parked": None,
    }  # fmt: skip


def test_the_code_is_told_among_the_details() -> None:
    details = {"pages": 1}
    result = as_result(OUT_OF_TIME, "meta", details, COUNTS)
    assert result["status"] == "partial"
    assert result["details"] == {"pages": 1, "code": "out_of_time"}
    assert result["message"] == OUT_OF_TIME.message
    assert details == {"pages": 1}, "what was handed in is left as it was"


def test_a_pause_is_that_of_the_platform() -> None:
    error = RateLimitedError("secret", code="4", retry_after=60.0, everywhere=True)
    result = as_result(outcome_of(error, "told", 0, has_progress=False), "meta", {}, COUNTS)
    assert result == {
        "status": "failed", "message": "told", "details": {"code": "4"},
        "created": 3, "updated": 2, "not_before": 60.0, "parked": None,
        "pause": {"platform": "meta", "seconds": 60.0, "reason": "told"},
    }  # fmt: skip


def test_a_reason_to_park_is_handed_on() -> None:
    error = ConnectionCredentialsError("secret", code="190")
    result = as_result(outcome_of(error, "told", 0, has_progress=False), "meta", {}, COUNTS)
    assert result["parked"] == result["message"] == "told"
    assert "pause" not in result
