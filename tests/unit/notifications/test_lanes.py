"""The order of one destination, and when its next step is due."""

from __future__ import annotations

import math
from collections import deque

import pytest

from tests.unit.notifications.claimed import work
from workers.notifications.lanes import LOOKAHEAD, UNPACED_LOOKAHEAD, Lane, Work
from workers.notifications.pacing import ChannelPace

NOW = 1000.0


def lane(*waiting: Work, rate: float = 1.0) -> Lane:
    return Lane("C1", ChannelPace(rate), waiting=deque(waiting))


def announced() -> Work:
    return work(state="announced")


def unknown() -> Work:
    return work(look_first=True)


def test_a_lane_goes_at_its_pace() -> None:
    one = lane(announced())
    one.pace.last_start = NOW - 0.25
    assert one.ready_at(NOW) == one.next_step_at(NOW) == NOW + 0.75


@pytest.mark.parametrize("nothing_to_do", ["empty", "busy"])
def test_a_lane_that_is_empty_or_busy_is_never_ready(nothing_to_do: str) -> None:
    one = lane() if nothing_to_do == "empty" else lane(unknown())
    one.busy = nothing_to_do == "busy"
    assert one.ready_at(NOW) == one.next_step_at(NOW) == math.inf
    assert one.to_look_for() == []


@pytest.mark.parametrize("state", ["new", "asked"])
def test_what_is_not_announced_does_not_go_on_by_itself(state: str) -> None:
    one = lane(work(state=state), announced())
    assert one.ready_at(NOW) == NOW
    assert one.next_step_at(NOW) == math.inf


def test_looking_needs_no_pace_yet_keeps_a_wait_that_slack_asked_for() -> None:
    one = lane(unknown())
    one.pace.last_start = NOW
    assert one.next_step_at(NOW) == NOW
    one.pace.wait_until(NOW + 30)
    assert one.next_step_at(NOW) == NOW + 30


def test_all_that_may_have_been_posted_is_looked_for_once_one_of_it_is_next() -> None:
    first, other, last = unknown(), announced(), unknown()
    one = lane(first, other, last)
    assert one.to_look_for() == [first, last]
    one.waiting.popleft()
    assert one.to_look_for() == []


@pytest.mark.parametrize(("rate", "count"), [(0.5, 1), (1.0, 2), (2.0, 4), (4.0, 7)])
def test_as_much_is_soon_as_the_pace_lets_through_in_the_look_ahead(
    rate: float, count: int
) -> None:
    works = [work() for _ in range(10)]
    assert list(lane(*works, rate=rate).soon(NOW)) == works[:count]


def test_without_a_pace_a_number_of_them_is_soon() -> None:
    soon = list(lane(*(work() for _ in range(100)), rate=0.0).soon(NOW))
    assert UNPACED_LOOKAHEAD <= len(soon) <= UNPACED_LOOKAHEAD + 1


def test_what_follows_one_that_has_to_be_looked_for_is_not_soon() -> None:
    first = work()
    one = lane(first, unknown(), work())
    assert list(one.soon(NOW)) == [first]
    one.waiting.popleft()
    assert list(one.soon(NOW)) == []
    assert one.announce_at(NOW) == math.inf


def test_a_delivery_is_announced_when_it_comes_within_the_look_ahead() -> None:
    first, second = announced(), work()
    one = lane(first, second)
    one.pace.wait_until(NOW + 10)
    at = one.announce_at(NOW)
    assert at == NOW + 10 + 1 - LOOKAHEAD
    assert list(one.soon(at)) == [first, second]
    assert list(one.soon(at - 0.1)) == [first]
    assert one.announce_at(NOW + 60) == NOW + 60


def test_what_is_announced_or_asked_for_is_not_announced_again() -> None:
    assert lane(announced(), work(state="asked")).announce_at(NOW) == math.inf
