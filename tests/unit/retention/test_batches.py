from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.retention.batches import (
    LEAST_ROWS,
    MOST_FAILURES,
    MOST_ROWS,
    QUICK,
    SLOW,
    BatchSize,
)


def test_a_slow_batch_is_followed_by_smaller_ones_and_a_quick_one_by_larger_ones() -> None:
    size = BatchSize()
    rows = [size.rows]
    for seconds in (SLOW + 0.1, 5.0, SLOW, QUICK, QUICK - 0.1, 0.0, 0.0):
        size.went_well(seconds)
        rows.append(size.rows)
    assert rows == [10_000, 5_000, 2_500, 2_500, 2_500, 5_000, 10_000, 10_000]


def test_a_batch_is_never_too_small_to_get_anywhere() -> None:
    size = BatchSize()
    for _ in range(20):
        size.went_well(SLOW + 1)
    assert size.rows == LEAST_ROWS


def test_what_is_slow_is_for_the_caller_to_say() -> None:
    size = BatchSize(most=1_000, slow=3.0)
    size.went_well(2.9)
    assert size.rows == 1_000
    size.went_well(3.1)
    assert size.rows == 500


def test_a_smaller_limit_than_the_least_is_kept() -> None:
    size = BatchSize(most=7)
    size.went_well(SLOW + 1)
    assert size.rows == 7
    assert size.failed() is not None
    assert size.rows == 7


def test_failures_in_a_row_wait_longer_each_and_end() -> None:
    size = BatchSize()
    waits = [size.failed() for _ in range(MOST_FAILURES)]
    assert waits == [1.0, 2.0, 4.0, None]
    assert size.rows == MOST_ROWS // 8


def test_a_batch_that_went_well_forgets_the_failures_before() -> None:
    size = BatchSize()
    for _ in range(3):
        assert [size.failed() for _ in range(MOST_FAILURES - 1)] == [1.0, 2.0, 4.0]
        size.went_well(QUICK)
    assert size.failed() == 1.0


@pytest.mark.parametrize("most", [1, LEAST_ROWS - 1, LEAST_ROWS, 101, MOST_ROWS])
@given(steps=st.lists(st.none() | st.floats(0, 10), max_size=40))
def test_a_size_stays_a_whole_number_in_its_bounds(most: int, steps: list[float | None]) -> None:
    size = BatchSize(most)
    for seconds in steps:
        if seconds is None:
            size.failed()
        else:
            size.went_well(seconds)
        assert isinstance(size.rows, int)
        assert min(LEAST_ROWS, most) <= size.rows <= most
