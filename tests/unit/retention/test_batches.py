from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import ConfigurationError
from workers.retention.batches import (
    MOST_FAILURES,
    MOST_ROWS,
    QUICK,
    SLOW,
    Batch,
    BatchSize,
    Stayed,
    merged,
)


def test_a_slow_batch_is_followed_by_smaller_ones_and_a_quick_one_by_larger_ones() -> None:
    size = BatchSize()
    rows = [size.rows]
    for seconds in (SLOW + 0.1, 5.0, SLOW, QUICK, QUICK - 0.1, 0.0, 0.0):
        size.went_well(seconds)
        rows.append(size.rows)
    assert rows == [10_000, 5_000, 2_500, 2_500, 2_500, 5_000, 10_000, 10_000]


def test_the_caller_says_what_is_slow() -> None:
    size = BatchSize(most=1_000, slow=3.0)
    size.went_well(2.9)
    assert size.rows == 1_000
    size.went_well(3.1)
    assert size.rows == 500


@pytest.mark.parametrize("begin", [None, 0, -1, 1, 7, 20_000])
def test_it_starts_with_what_the_last_run_managed(begin: int | None) -> None:
    expected = {None: 5_000, 0: 5_000, -1: 1, 1: 1, 7: 7, 20_000: 5_000}[begin]
    assert BatchSize(most=5_000, begin=begin).rows == expected


@pytest.mark.parametrize("code", ["57014", "ReadTimeout", "http_504", "54001"])
def test_a_batch_that_is_too_large_shrinks_without_waiting_down_to_one_row(code: str) -> None:
    size = BatchSize()
    rows = []
    while size.rows > 1:
        assert size.failed(code) == 0.0
        rows.append(size.rows)
    assert rows == [5_000, 2_500, 1_250, 625, 312, 156, 78, 39, 19, 9, 4, 2, 1]
    assert [size.failed(code) for _ in range(MOST_FAILURES)] == [1.0, 2.0, 4.0, None]


@pytest.mark.parametrize("code", ["40P01", "55P03", "57P03", "PGRST003", "ConnectError", "53300"])
def test_a_failure_that_size_did_not_cause_keeps_the_size(code: str) -> None:
    size = BatchSize()
    assert [size.failed(code) for _ in range(MOST_FAILURES)] == [1.0, 2.0, 4.0, None]
    assert size.rows == MOST_ROWS


def test_a_successful_batch_resets_the_failures() -> None:
    size = BatchSize()
    for _ in range(3):
        assert [size.failed("40P01") for _ in range(MOST_FAILURES - 1)] == [1.0, 2.0, 4.0]
        size.went_well(QUICK)
    assert size.failed("40P01") == 1.0


@pytest.mark.parametrize("most", [1, 2, 101, MOST_ROWS])
@given(steps=st.lists(st.sampled_from(["57014", "40P01"]) | st.floats(0, 10), max_size=40))
def test_the_size_stays_within_its_bounds(most: int, steps: list[str | float]) -> None:
    size = BatchSize(most)
    for step in steps:
        if isinstance(step, str):
            size.failed(step)
        else:
            size.went_well(step)
        assert isinstance(size.rows, int)
        assert 1 <= size.rows <= most


def test_a_batch_is_a_number_or_says_what_stayed() -> None:
    assert Batch.of("purge", "f", 7) == Batch(7)
    assert Batch.of("purge", "f", 7).taken == 7
    one = {"code": "23503", "reason": "referred to", "rows": 2, "example": "7f"}
    batch = Batch.of("purge", "f", {"went": 3, "stayed": [one]})
    assert batch == Batch(3, (Stayed("purge", "23503", "referred to", 2, "7f"),))
    assert batch.taken == 5
    with pytest.raises(ConfigurationError, match="f returned no stayed"):
        Batch.of("purge", "f", {"went": 3})
    with pytest.raises(ConfigurationError, match="f returned null, not a whole number"):
        Batch.of("purge", "f", None)


def test_the_same_reason_is_listed_once() -> None:
    first, other = Stayed("a", "x", "why", 2, "7f"), Stayed("b", "x", "why", 5)
    assert merged([first, other, Stayed("a", "x", "why", 3, "80")]) == [
        Stayed("a", "x", "why", 5, "7f"), other
    ]  # fmt: skip
