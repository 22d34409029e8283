"""What a run may send to Slack, alone and after a previous run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.notifications.throttle import FAILURE_HOLD, FAILURE_LIMIT, Handover, Throttle

NOW = 1000.0


def throttle(**values: Any) -> Throttle:
    """The throttle of a first run at NOW, except for what is given."""
    usual = {
        "rate": 5.0, "burst": 10.0, "concurrency": 8, "handover": Handover(), "now": NOW,
    }  # fmt: skip
    return Throttle(**{**usual, **values})


def failing(**values: Any) -> Throttle:
    one = throttle(**values)
    while not one.failed(NOW):
        pass
    return one


def takes(one: Throttle, now: float) -> int:
    """How many messages may go out at once."""
    count = 0
    while one.take(now):
        count += 1
    return count


def test_a_first_run_has_the_whole_burst_and_every_thread() -> None:
    one = throttle()
    assert one.ready_at(NOW) == NOW
    assert one.width == 8
    assert takes(one, NOW) == 10
    assert one.ready_at(NOW) == pytest.approx(NOW + 0.2)


def test_there_is_room_for_the_tokens_held_and_those_refilled_meanwhile() -> None:
    one = throttle()
    assert one.room(NOW, 2.0) == 20.0
    one.take(NOW)
    assert one.room(NOW, 2.0) == 19.0
    assert throttle(rate=0.0).room(NOW, 2.0) == math.inf


@given(
    st.sampled_from((1.0, 5.0, 1 / 3)),
    st.integers(1, 5),
    st.lists(st.tuples(st.floats(0, 4), st.floats(0, 4)), min_size=1, max_size=8),
)
def test_successive_runs_send_no_more_than_one_run_would(
    rate: float, burst: int, runs: list[tuple[float, float]]
) -> None:
    """Each run lasts a while and starts a while after the one before."""
    start = now = NOW
    handover, sent = Handover(), 0
    for duration, pause in runs:
        one = throttle(rate=rate, burst=burst, handover=handover, now=now)
        sent += takes(one, now) + takes(one, now + duration)
        now += duration
        allowed = burst + rate * (now - start)
        # What is passed on is rounded to a thousandth.
        assert sent <= allowed + 0.001 * len(runs)
        handover = replace(one.handover(now), age=pause)
        now += pause


def test_the_next_run_has_the_tokens_left_and_those_refilled_since() -> None:
    one = throttle()
    takes(one, NOW)
    handover = one.handover(NOW + 0.5)
    assert handover.tokens == 2.5
    assert throttle(handover=replace(handover, age=0.9)).room(NOW, 0.0) == 7.0
    assert throttle(handover=replace(handover, age=60.0)).room(NOW, 0.0) == 10.0


def test_without_a_limit_no_tokens_are_passed_on() -> None:
    one = throttle(rate=0.0)
    assert all(one.take(NOW) for _ in range(1000))
    assert one.handover(NOW) == Handover(tokens=None, hold=0.0, failing=False)


def test_one_channel_that_has_to_wait_holds_no_other() -> None:
    one = throttle()
    assert not one.limited("C1", NOW + 30, everywhere=False)
    assert not one.limited("C1", NOW + 60, everywhere=False)
    assert one.ready_at(NOW) == NOW
    assert one.take(NOW)


def test_a_second_channel_that_has_to_wait_holds_all() -> None:
    one = throttle()
    one.limited("C1", NOW + 30, everywhere=False)
    assert one.limited("C2", NOW + 20, everywhere=False)
    assert one.ready_at(NOW) == NOW + 20
    assert not one.take(NOW + 19.9)
    assert one.take(NOW + 20)


def test_everything_waits_when_slack_says_so() -> None:
    one = throttle()
    assert one.limited("C1", NOW + 30, everywhere=True)
    assert one.ready_at(NOW) == NOW + 30


def test_a_shorter_wait_never_ends_a_longer_one() -> None:
    one = throttle()
    one.limited("C1", NOW + 90, everywhere=True)
    one.limited("C2", NOW + 30, everywhere=True)
    while not one.failed(NOW):
        pass
    assert one.ready_at(NOW) == NOW + 90


def test_the_next_run_waits_for_the_rest_of_a_hold() -> None:
    one = throttle()
    one.limited("C1", NOW + 30, everywhere=True)
    handover = one.handover(NOW + 10.25)
    assert handover.hold == 19.75
    assert throttle(handover=replace(handover, age=5.0)).ready_at(NOW) == NOW + 14.75
    assert throttle(handover=replace(handover, age=25.0)).hold_until == NOW


def test_a_few_failures_do_not_stop_anything_unless_in_a_row() -> None:
    one = throttle()
    for _ in range(3):
        assert not any(one.failed(NOW) for _ in range(FAILURE_LIMIT - 1))
        one.succeeded()
    assert one.width == 8
    assert one.ready_at(NOW) == NOW


@pytest.mark.parametrize("concurrency", [1, 2, 64])
def test_failures_in_a_row_hold_a_run_of_any_width(concurrency: int) -> None:
    one = throttle(concurrency=concurrency)
    held = [one.failed(NOW) for _ in range(FAILURE_LIMIT)]
    assert held == [False] * (FAILURE_LIMIT - 1) + [True]
    assert one.width == 1
    assert one.ready_at(NOW) == NOW + FAILURE_HOLD
    assert one.handover(NOW) == Handover(tokens=10.0, hold=FAILURE_HOLD, failing=True)


def test_a_run_of_one_thread_without_failures_passes_on_none() -> None:
    assert throttle(concurrency=1).handover(NOW).failing is False


def test_after_failures_one_probe_goes_first_and_decides() -> None:
    handover = failing().handover(NOW)
    later = throttle(handover=replace(handover, age=60.0))
    assert later.width == 1
    assert later.failed(NOW)
    assert later.ready_at(NOW) == NOW + FAILURE_HOLD

    later.succeeded()
    assert later.width == 8
    assert not later.failed(NOW)
    assert later.handover(NOW).failing is False
