from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import (
    AmbiguousError,
    ConnectionCredentialsError,
    CredentialsError,
    ExpiredSignInError,
    GeneralError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.metrics.account_connections import Parked
from workers.metrics.answers import Candidate, DerivedCounts
from workers.metrics.outcomes import (
    FIRST_WAIT,
    LONGEST_WAIT,
    OUT_OF_TIME,
    SUCCESS,
    Outcome,
    SyncResult,
    all_but,
    failure_wait,
    outcome_of,
)
from workers.metrics.platforms.protocol import Connection
from workers.metrics.windows import Window

RESULT = SyncResult(
    outcome=SUCCESS, details={"pages": 1}, counts=DerivedCounts(created=3, updated=2),
    is_whole=True, worked=None, parked=(), paused=None, window_days=7, backfill=None,
)  # fmt: skip
NOW = datetime(2025, 3, 11, 12, 0, tzinfo=UTC)


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
def test_refused_credentials_fail_the_sync_without_a_wait(
    kind: type[WorkerError], has_progress: bool
) -> None:
    outcome = outcome_of(kind("secret", code="190"), "refused", 3, NOW, has_progress=has_progress)
    assert outcome == Outcome("failed", "190", "refused")


@pytest.mark.parametrize(("has_progress", "status"), [(False, "failed"), (True, "partial")])
@pytest.mark.parametrize(("everywhere", "pause"), [(False, None), (True, 90.0)])
def test_a_requested_wait_is_kept_whatever_failed_before(
    has_progress: bool, status: Any, everywhere: bool, pause: float | None
) -> None:
    error = RateLimitedError("secret", code="17", retry_after=90.0, everywhere=everywhere)
    outcome = outcome_of(error, "refused", 3, NOW, has_progress=has_progress)
    assert outcome == Outcome(status, "17", "refused", not_before=90.0, pause=pause)


@pytest.mark.parametrize(
    "kind",
    [
        TransientError, AmbiguousError, GeneralError, PermanentError, TooMuchDataError,
        UnknownError, CredentialsError,
    ],
)  # fmt: skip
@pytest.mark.parametrize(("failures", "wait"), [(0, None), (1, 1200.0), (3, 4800.0)])
def test_any_other_error_fails_and_waits_longer_each_time(
    kind: type[WorkerError], failures: int, wait: float | None
) -> None:
    error = kind("secret", code="x")
    outcome = outcome_of(error, "refused", failures, NOW, has_progress=False)
    assert outcome == Outcome("failed", "x", "refused", not_before=wait)
    assert outcome_of(error, "refused", failures, NOW, has_progress=True).status == "partial"


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (NOW, 12.0),
        (NOW.replace(hour=0), 24.0),
        (NOW.replace(hour=23, minute=30), 0.5),
        (NOW.astimezone(timezone(timedelta(hours=-8))), 12.0),
        (datetime(2024, 12, 31, 18, 0, tzinfo=UTC), 6.0),
    ],
)
def test_a_daily_quota_is_restored_at_midnight_utc(
    now: datetime, hours: float, everywhere: bool
) -> None:
    error = RateLimitedError(
        "secret", code="429", retry_after=330.0, everywhere=everywhere, until_midnight=True
    )
    outcome = outcome_of(error, "refused", 0, now, has_progress=False)
    assert outcome.not_before == hours * 3600
    assert outcome.pause == (hours * 3600 if everywhere else None)


@pytest.mark.parametrize(
    ("failures", "wait"), [(0, 10.0), (1, FIRST_WAIT), (2, 2 * FIRST_WAIT), (9, LONGEST_WAIT)]
)
def test_a_guessed_wait_grows_until_it_is_long_enough(failures: int, wait: float) -> None:
    error = RateLimitedError(
        "secret", code="40100", retry_after=10.0, everywhere=True, is_guess=True
    )
    outcome = outcome_of(error, "refused", failures, NOW, has_progress=False)
    assert (outcome.not_before, outcome.pause) == (wait, wait)


@pytest.mark.parametrize(("failures", "wait"), [(0, None), (1, FIRST_WAIT), (9, FIRST_WAIT)])
def test_a_shared_credential_is_tried_again_soon_however_often_it_failed(
    failures: int, wait: float | None
) -> None:
    error = SharedCredentialsError("secret", code="invalid_client")
    outcome = outcome_of(error, "refused", failures, NOW, has_progress=False)
    assert outcome == Outcome("failed", "invalid_client", "refused", not_before=wait)


def test_the_result_of_a_success_has_no_message() -> None:
    assert all_but({}) is SUCCESS
    assert RESULT.as_json() == {
        "status": "success", "message": None, "details": {"pages": 1}, "created": 3, "updated": 2,
        "not_before": None, "is_done": True, "is_whole": True, "parked": [], "window_days": 7,
    }  # fmt: skip


def test_the_code_is_one_of_the_details() -> None:
    result = replace(RESULT, outcome=OUT_OF_TIME).as_json()
    assert (result["status"], result["is_done"]) == ("partial", False)
    assert result["details"] == {"pages": 1, "code": "out_of_time"}
    assert result["message"] == OUT_OF_TIME.message
    assert RESULT.details == {"pages": 1}, "the details themselves are not changed"


def test_a_result_names_its_connections_and_its_range() -> None:
    connection = Connection("c1", "meta", "act_1", None, {"access_token": "secret"})
    result = replace(
        RESULT,
        outcome=Outcome("failed", "4", "limited", pause=90.0),
        worked=Candidate(connection, "d1", has_worked=True),
        parked=(Parked("c2", "d2", "refused"),),
        paused="c1",
        backfill=Window(date(2026, 1, 1), date(2026, 1, 2)),
    ).as_json()
    assert result["connection"] == {"id": "c1", "digest": "d1"}
    assert result["parked"] == [{"connection_id": "c2", "digest": "d2", "reason": "refused"}]
    assert result["pause"] == {"connection_id": "c1", "seconds": 90.0, "reason": "limited"}
    assert result["backfill"] == {"since": "2026-01-01", "until": "2026-01-02"}
    assert "secret" not in str(result)


def test_days_that_could_not_be_read_are_named() -> None:
    outcome = all_but({date(2025, 1, 1 + number): f"reason {number}" for number in range(7)})
    assert (outcome.status, outcome.code, outcome.is_done) == ("partial", "days_left_out", True)
    assert outcome.message is not None
    assert "7 days" in outcome.message
    assert "2025-01-01" in outcome.message
    assert "2025-01-06" not in outcome.message
    assert outcome.message.endswith("reason 6")
