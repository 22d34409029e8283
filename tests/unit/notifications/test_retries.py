"""Waits between attempts: at least the formula, at most a fifth more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.notifications.retries import retry_delay

attempts = st.integers(0, 10**6)
jitters = st.floats(0, 1, exclude_max=True)


def test_the_waits_of_a_message_that_fails_five_times() -> None:
    assert [retry_delay(before, 0) for before in range(7)] == [30, 60, 120, 240, 480, 900, 900]


@pytest.mark.parametrize("before", [10**6, 10**18])
def test_no_number_of_attempts_is_too_large(before: int) -> None:
    assert retry_delay(before, 0.5) == pytest.approx(990)


@given(attempts, jitters)
def test_jitter_only_lengthens_the_wait(before: int, jitter: float) -> None:
    floor = min(900, 2 ** min(before, 50) * 30)

    assert floor <= retry_delay(before, jitter) <= 1.2 * floor <= 1080


@pytest.mark.parametrize(("jitter", "wait"), [(-1.0, 30), (0.5, 33), (1.0, 36), (7.0, 36)])
def test_the_wait_stays_within_its_bounds_for_any_jitter(jitter: float, wait: float) -> None:
    assert retry_delay(0, jitter) == pytest.approx(wait)


@given(attempts, attempts)
def test_later_attempts_wait_at_least_as_long(one: int, other: int) -> None:
    assert retry_delay(min(one, other), 0) <= retry_delay(max(one, other), 0)
