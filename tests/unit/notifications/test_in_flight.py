"""The order of one destination, when its next step is due; nothing in flight is forgotten."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.notifications.claimed import delivery, post, unknown
from workers.notifications.answers import Delivery
from workers.notifications.in_flight import (
    DESTINATION_SHARE,
    LONGEST_WAIT,
    LOOK_AHEAD,
    PACE_MARGIN,
    UNPACED_DESTINATION_SHARE,
    ChannelQueue,
    InFlight,
    Post,
)
from workers.notifications.pacing import ChannelPace

NOW = 1000.0


def queue(*waiting: Post, rate: float = 1.0) -> ChannelQueue:
    return ChannelQueue("C1", ChannelPace(rate), waiting=deque(waiting))


def in_doubt(id: str = "d", looked_down_to: str | None = None) -> Post:
    return Post.of(unknown(id, looked_down_to=looked_down_to))


def test_a_queue_keeps_its_pace() -> None:
    one = queue(post(state="announced"))
    one.pace.posted(NOW - 0.25)
    assert one.ready_at(NOW) == one.next_step_at(NOW) == NOW + 0.75


@pytest.mark.parametrize("nothing_to_do", ["empty", "busy"])
def test_a_queue_that_is_empty_or_busy_is_never_ready(nothing_to_do: str) -> None:
    one = queue() if nothing_to_do == "empty" else queue(in_doubt())
    one.busy = nothing_to_do == "busy"
    assert one.ready_at(NOW) == one.next_step_at(NOW) == math.inf
    assert one.to_search_for() == []


@pytest.mark.parametrize("state", ["new", "requested"])
def test_a_queue_waits_for_an_announcement(state: str) -> None:
    one = queue(post(state=state), post(state="announced"))
    assert one.ready_at(NOW) == NOW
    assert one.next_step_at(NOW) == math.inf


def test_a_search_ignores_the_pace_but_keeps_a_wait_that_slack_asked_for() -> None:
    one = queue(in_doubt())
    one.pace.posted(NOW)
    assert one.next_step_at(NOW) == NOW
    one.pace.wait_until(NOW + 30)
    assert one.next_step_at(NOW) == NOW + 30


def test_one_search_covers_all_in_doubt_from_the_same_place() -> None:
    first, other, last = in_doubt("a"), post("b"), in_doubt("c")
    further = in_doubt("d", looked_down_to="1.2")
    one = queue(first, other, last, further)
    assert one.to_search_for() == [first, last]
    one.waiting.popleft()
    assert one.to_search_for() == []


@pytest.mark.parametrize(("rate", "count"), [(0.5, 1), (1.0, 2), (2.0, 4), (4.0, 7)])
def test_as_much_is_soon_as_the_pace_allows_within_the_look_ahead(rate: float, count: int) -> None:
    posts = [post() for _ in range(10)]
    assert list(queue(*posts, rate=rate).soon(NOW)) == posts[:count]


def test_without_a_pace_everything_is_soon() -> None:
    assert len(list(queue(*(post() for _ in range(50)), rate=0.0).soon(NOW))) == 50


def test_what_follows_a_post_in_doubt_is_not_soon() -> None:
    first = post()
    assert list(queue(first, in_doubt(), post(), rate=0.0).soon(NOW)) == [first]


def test_the_first_post_that_is_not_announced_comes_within_the_look_ahead() -> None:
    announced = [post(state="announced") for _ in range(4)]
    assert queue(*announced, post()).announce_at(NOW) == NOW + 4 - LOOK_AHEAD
    assert queue(*announced).announce_at(NOW) == math.inf


class TestThreads:
    """What is announced goes to its thread."""

    def of(self, id: str, thread: str | None = "r", **values: Any) -> Post:
        return post(id, thread=thread, **values)

    def test_replies_are_announced_again_once_the_first_message_is_posted(self) -> None:
        posts = [self.of(id, thread, state="announced") for id, thread in
                 (("b", "s"), ("c", "r"), ("d", None))]  # fmt: skip
        one = queue(*posts)
        one.thread_begun("r", "5.000001")
        assert [post.state for post in posts] == ["announced", "new", "announced"]
        assert [one.parent_of(post) for post in posts] == [None, "5.000001", None]

    def test_when_a_thread_begins_again_its_replies_are_announced_again(self) -> None:
        announced = self.of("a", state="announced")
        other = self.of("b", "s", state="announced")
        doubtful = Post.of(unknown("c", thread="r"))
        one = queue(announced, other, doubtful)
        one.thread_begun("r", "5.000001")
        assert [p.state for p in one.waiting] == ["new", "announced", "new"]
        announced.state = "announced"
        for older in ("5.000001", "4.999999"):
            one.thread_begun("r", older)
        assert announced.state == "announced"
        one.thread_begun(None, "6.000001")
        assert one.threads == {"r": "5.000001"}
        one.thread_begun("r", "10.000001")
        assert (announced.state, one.threads) == ("new", {"r": "10.000001"})

    def test_a_claim_names_a_thread_and_an_older_one_is_ignored(self) -> None:
        in_flight = flying(
            delivery("a", thread="r", thread_ts="5.000001"),
            delivery("b", thread="r", thread_ts="4.000001"),
            delivery("c", thread="s"),
        )
        assert in_flight.queues["C1"].threads == {"r": "5.000001"}


def flying(*deliveries: Delivery, rate: float = PACE_MARGIN) -> InFlight:
    """By default with a message a second for each channel."""
    in_flight = InFlight(rate)
    for one in deliveries:
        in_flight.take_in(one, NOW)
    return in_flight


def waiting(in_flight: InFlight) -> list[str]:
    return [post.first.id for queue in in_flight.queues.values() for post in queue.waiting]


DELIVERIES = st.builds(
    delivery,
    destination=st.sampled_from(["C1", "C2", "U3"]),
    ready_in=st.sampled_from([0.0, 0.0, 5.0, 60.0]),
)
# What may happen to the last post in a queue, or to the queue: returns what is no longer in flight.
MOVES: list[Callable[[InFlight, Post], list[Post]]] = [
    lambda in_flight, last: [last] if in_flight.remove(last) else [],
    lambda in_flight, last: in_flight.close(last.destination, NOW + 5),
    lambda in_flight, _: in_flight.release_all(),
]


def try_last(in_flight: InFlight, last: Post) -> list[Post]:
    in_flight.queues[last.destination].waiting.remove(last)
    in_flight.settled(last)
    return [last]


@given(st.lists(DELIVERIES | st.sampled_from([*MOVES, try_last]), max_size=20))
def test_each_delivery_leaves_flight_once(
    steps: list[Delivery | Callable[[InFlight, Post], list[Post]]],
) -> None:
    in_flight, taken, left = InFlight(1.0), 0, 0
    for step in steps:
        if isinstance(step, Delivery):
            taken += in_flight.take_in(step, NOW) is not None
        elif in_flight.anything_waits():
            queue = next(queue for queue in in_flight.queues.values() if queue.waiting)
            left += len(step(in_flight, queue.waiting[-1]))
        assert len(in_flight) == taken - left == len(waiting(in_flight))
    left += len(in_flight.release_all())
    assert (len(in_flight), left) == (0, taken)


def test_a_post_that_is_no_longer_queued_is_not_removed() -> None:
    in_flight = flying(delivery())
    (one,) = in_flight.queues["C1"].waiting
    assert in_flight.remove(one)
    assert not in_flight.remove(one)
    assert len(in_flight) == 0


def test_a_destination_that_must_wait_too_long_takes_nothing_in() -> None:
    in_flight = InFlight(1.0)
    assert in_flight.take_in(delivery(ready_in=LONGEST_WAIT + 1), NOW) is None
    assert in_flight.take_in(delivery(ready_in=LONGEST_WAIT - 1), NOW) is None, "it still waits"
    assert len(in_flight) == 0


def test_a_closed_destination_releases_what_waits_and_takes_nothing_more() -> None:
    in_flight = flying(delivery("a"), delivery("b"), delivery("c", destination="C2"))
    assert [post.first.id for post in in_flight.close("C1", NOW + 60)] == ["a", "b"]
    assert in_flight.take_in(delivery("d"), NOW) is None
    assert waiting(in_flight) == ["c"]


@pytest.mark.parametrize(
    ("rate", "share"), [(1.0, DESTINATION_SHARE), (0.0, UNPACED_DESTINATION_SHARE)]
)
def test_a_destination_with_its_share_in_flight_is_busy(rate: float, share: int) -> None:
    in_flight = flying(*(delivery(str(n)) for n in range(share - 1)), rate=rate)
    in_flight.take_in(delivery("other", destination="C2"), NOW)
    assert in_flight.busy_destinations() == []
    in_flight.take_in(delivery("last"), NOW)
    assert in_flight.busy_destinations() == ["C1"]


def test_the_pace_continues_from_the_last_post_of_another_run() -> None:
    in_flight = flying(delivery(idle_for=0.25))
    assert in_flight.queues["C1"].ready_at(NOW) == pytest.approx(NOW + 0.75)


def test_as_much_is_announced_as_there_is_room_for() -> None:
    in_flight = flying(*(delivery(str(n), destination=f"C{n}") for n in range(5)))
    assert [p.first.id for p in in_flight.to_announce(3.9, NOW)] == ["0", "1", "2"]
    in_flight.queues["C0"].waiting[0].state = "announced"
    assert [p.first.id for p in in_flight.to_announce(3.9, NOW)] == ["1", "2"]
