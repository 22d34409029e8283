"""No more messages than the pace allows, and rounding never stalls it."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.notifications.pacing import ChannelPace, TokenBucket

clocks = st.sampled_from((0.0, 1e-300, 12.5, 1e5, 1.7e9, 1.7e12))
pauses = st.lists(st.floats(0, 3) | st.just(0.0), max_size=60)
rates = st.floats(0.01, 500) | st.sampled_from((1.0, 5.0, 1 / 3))


@given(clocks, pauses, rates, st.integers(1, 20), st.floats(0, 20))
def test_no_span_holds_more_than_burst_and_refill(
    clock: float, pauses: list[float], rate: float, burst: int, tokens: float
) -> None:
    bucket = TokenBucket(rate, burst, tokens, clock)
    times: list[float] = []
    for pause in pauses:
        clock = bucket.ready_at(clock + pause)
        assert bucket.take(clock)
        times.append(clock)

    for first, start in enumerate(times):
        for last in range(first, len(times)):
            span = Fraction(times[last]) - Fraction(start)
            # Exact except for the rounding of the tokens themselves, which does not accumulate.
            assert last - first + 1 <= burst + Fraction(rate) * span + Fraction(1, 10**9)


@given(clocks, pauses, rates)
def test_a_saturated_bucket_loses_nothing(clock: float, pauses: list[float], rate: float) -> None:
    bucket = TokenBucket(rate, 1, 1, clock)
    start = clock
    for _ in pauses:
        clock = bucket.ready_at(clock)
        assert bucket.take(clock)

    due = start + max(0, len(pauses) - 1) / rate
    assert clock == pytest.approx(due, abs=2 * len(pauses) * math.ulp(due) + 1e-9)


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.floats(1e-9, 1e9), st.floats(-5, 0.999))
def test_ready_means_ready(at: float, now: float, rate: float, tokens: float) -> None:
    bucket = TokenBucket(rate, 1, tokens, at)
    ready = bucket.ready_at(now)

    assert ready >= now
    assert bucket.ready_at(ready) == ready
    assert bucket.take(ready)


def test_an_empty_bucket_gives_no_token_and_loses_none() -> None:
    bucket = TokenBucket(5, 300, 1, 100.0)

    assert bucket.take(100.0)
    assert not bucket.take(100.0)
    assert not bucket.take(100.1)
    assert bucket.ready_at(100.1) == pytest.approx(100.2)
    assert bucket.held(100.1) == pytest.approx(0.5)
    assert bucket.held(1e6) == 300


def test_a_partial_token_shortens_the_wait() -> None:
    assert TokenBucket(2, 5, 0.5, 100.0).ready_at(100.0) == 100.25


def test_a_clock_set_back_refills_nothing() -> None:
    bucket = TokenBucket(1, 1, 1, 100.0)

    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert bucket.ready_at(50.0) == 101.0


def test_a_rate_of_zero_is_no_limit() -> None:
    bucket = TokenBucket(0, 0, 0, 0)
    pace = ChannelPace(0)

    assert all(bucket.take(1.0) and bucket.ready_at(1.0) == 1.0 for _ in range(1000))
    pace.posted(1.0)
    assert pace.ready_at(1.0) == 1.0
    pace.wait_until(30.0)
    assert pace.ready_at(2.0) == 30.0


@pytest.mark.parametrize(("rate", "burst"), [(-1, 5), (1, 0.5)])
def test_a_bucket_that_could_never_give_a_token_is_rejected(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="bucket"):
        TokenBucket(rate, burst, 1, 0)
    with pytest.raises(ValueError, match="negative"):
        ChannelPace(-1)


@given(clocks, pauses, rates)
def test_a_channel_never_gets_two_messages_within_the_gap(
    clock: float, pauses: list[float], rate: float
) -> None:
    pace = ChannelPace(rate)
    times: list[float] = []
    for pause in pauses:
        clock = pace.ready_at(clock + pause)
        pace.posted(clock)
        times.append(clock)

    gaps = [after - before for before, after in pairwise(times)]
    assert all(gap >= 1 / rate for gap in gaps)


def test_a_wait_that_slack_asked_for_is_kept() -> None:
    pace = ChannelPace(1, last_post=10.0)
    pace.wait_until(40.0)
    pace.wait_until(20.0)

    assert pace.ready_at(10.5) == 40.0
    pace.posted(40.0)
    assert pace.ready_at(40.0) == 41.0
