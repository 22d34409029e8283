"""What is in hand is told of once, and nothing of it is forgotten."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.notifications.claimed import delivery, notification
from workers.notifications.claims import Notification
from workers.notifications.hand import (
    CONFIG_SHARE,
    LONGEST_WAIT,
    LOST_CLAIMS_ALONE,
    PACE_MARGIN,
    UNPACED_CONFIG_SHARE,
    Hand,
)
from workers.notifications.lanes import LOOKAHEAD, Work
from workers.notifications.outcomes import Outcome
from workers.notifications.report import Report

NOW = 1000.0
SENT = Outcome("sent", message_ts="1.2")


def new_hand(rate: float = PACE_MARGIN) -> Hand:
    """Unless told, one whose channels get a message a second."""
    return Hand(rate, Report("drained"))


def holding(*notifications: Notification) -> Hand:
    hand = new_hand()
    for one in notifications:
        hand.take_in(one, NOW)
    return hand


def queued(hand: Hand) -> list[str]:
    """The ids of what waits, lane by lane."""
    return [work.delivery.id for lane in hand.lanes.values() for work in lane.waiting]


def told(hand: Hand) -> list[tuple[str, str]]:
    return [(one.work.delivery.id, one.outcome.result) for one in hand.outbox.told]


def finished(hand: Hand) -> list[str]:
    return [one.id for one in hand.outbox.finished]


def head(hand: Hand, destination: str = "C1") -> Work:
    return hand.lanes[destination].waiting[0]


def start(hand: Hand, destination: str = "C1") -> Work:
    """Take the next one out of its lane, as for a post."""
    return hand.lanes[destination].waiting.popleft()


DELIVERIES = st.builds(
    delivery,
    destination=st.sampled_from(["C1", "C2", "U3"]),
    due_in=st.sampled_from([0.0, 0.0, 9.0]),
    ready_in=st.sampled_from([0.0, 0.0, 5.0, 60.0]),
)
CLAIMS = st.builds(
    lambda config, deliveries: notification("", *deliveries, config_id=config),
    st.sampled_from("jk"),
    st.lists(DELIVERIES, min_size=1, max_size=3),
)
# What may become of the last one in a lane, or of the lane.
MOVES: list[Callable[[Hand, Work], object]] = [
    Hand.drop,
    lambda hand, work: setattr(work, "may_be_announced", True),
    lambda hand, work: hand.settle_waiting(work, SENT),
    lambda hand, work: hand.release([work, work]),
    lambda hand, work: hand.tell(start(hand, work.delivery.destination), SENT),
    lambda hand, work: hand.close(hand.lanes[work.delivery.destination], NOW + 5),
    lambda hand, work: hand.park(work.notification.config_id, "code", "reason"),
]


@given(st.lists(CLAIMS | st.sampled_from(MOVES), max_size=20))
def test_each_claim_is_given_back_once_and_no_delivery_is_told_of_twice(
    steps: list[Notification | Callable[[Hand, Work], object]],
) -> None:
    hand = new_hand()
    claims = 0
    for number, step in enumerate(steps):
        if isinstance(step, Notification):
            hand.take_in(numbered(step, number), NOW)
            claims += 1
        elif hand.anything_waits():
            step(hand, next(lane for lane in hand.lanes.values() if lane.waiting).waiting[-1])
        assert len(hand) + len(finished(hand)) == claims

    hand.release_all()
    assert not hand.anything_waits()
    assert len(hand) == 0
    assert len(set(finished(hand))) == len(finished(hand)) == claims
    assert len(dict(told(hand))) == len(told(hand))


def numbered(claim: Notification, number: int) -> Notification:
    """The same with names that no other has."""
    deliveries = [
        replace(one, id=f"{number}.{place}") for place, one in enumerate(claim.deliveries)
    ]
    return replace(claim, id=str(number), deliveries=tuple(deliveries))


@pytest.mark.parametrize(
    ("doubts", "in_doubt"),
    [({}, False), ({"look_first": True}, True), ({"possible_duplicate": True}, True)],
)
def test_what_is_told_says_whether_an_earlier_try_may_have_posted_it(
    doubts: dict[str, bool], in_doubt: bool
) -> None:
    hand = holding(notification("a"))
    for name, value in doubts.items():
        setattr(head(hand), name, value)
    hand.tell(start(hand), Outcome("wait"))
    assert hand.outbox.told[0].outcome == Outcome("wait", in_doubt=in_doubt)


def test_what_waits_for_its_destination_and_may_have_been_posted_says_so() -> None:
    hand = holding(notification("a", delivery("a", state="unknown", ready_in=LONGEST_WAIT + 1)))
    assert hand.outbox.told[0].outcome.in_doubt


def test_each_destination_has_a_lane_in_the_order_of_the_claims() -> None:
    hand = holding(
        notification("a", delivery("a1"), delivery("a2", destination="C2")),
        notification("b", delivery("b1"), delivery("b2", destination="C2")),
    )
    lanes = {
        lane.destination: [work.delivery.id for work in lane.waiting]
        for lane in hand.lanes.values()
    }
    assert lanes == {"C1": ["a1", "b1"], "C2": ["a2", "b2"]}
    assert len(hand) == 2
    assert not hand.outbox


def test_a_delivery_that_is_not_due_is_left_to_a_later_claim() -> None:
    hand = holding(notification("a", delivery("a1"), delivery("a2", due_in=0.1)))
    assert queued(hand) == ["a1"]
    hand.tell(start(hand), SENT)
    assert finished(hand) == ["a"]


def test_a_claim_with_nothing_due_goes_back_at_once() -> None:
    hand = holding(notification("a", delivery(due_in=1.0)))
    assert finished(hand) == ["a"]
    assert len(hand) == 0
    assert hand.lanes == {}


def test_what_may_have_been_posted_is_looked_for_first() -> None:
    hand = holding(notification("a", delivery("a1", state="unknown"), delivery("a2")))
    assert [work.look_first for work in hand.lanes["C1"].waiting] == [True, False]


def test_a_destination_is_waited_for_if_it_is_not_for_long() -> None:
    hand = holding(
        notification("a", delivery("a1", destination="C1", ready_in=LONGEST_WAIT)),
        notification("b", delivery("b1", destination="C2", ready_in=LONGEST_WAIT + 0.5)),
    )
    assert queued(hand) == ["a1"]
    assert hand.ready_at(NOW) == math.inf
    (told_of,) = hand.outbox.told
    assert told_of.work.delivery.id == "b1"
    assert told_of.outcome == Outcome(
        "wait", retry_in=LONGEST_WAIT + 0.5, error_code="destination_waits"
    )
    assert finished(hand) == ["b"]


def test_a_lane_keeps_the_conversation_that_is_known_of_it() -> None:
    hand = holding(
        notification("a", delivery("a", destination="U1")),
        notification("b", delivery("b", destination="U1", conversation_id="D1")),
        notification("c", delivery("c", destination="U1", conversation_id="D2")),
    )
    assert hand.lanes["U1"].conversation_id == "D1"


def test_the_pace_goes_on_from_the_last_post_of_an_earlier_run() -> None:
    hand = new_hand(rate=2.0)
    hand.take_in(notification("a", delivery(idle_for=0.1)), NOW)
    assert hand.lanes["C1"].ready_at(NOW) == pytest.approx(NOW + PACE_MARGIN / 2 - 0.1)


def test_a_channel_that_was_never_posted_to_is_ready() -> None:
    assert holding(notification("a")).lanes["C1"].ready_at(NOW) == NOW


@pytest.mark.parametrize(("rate", "share"), [(1.0, CONFIG_SHARE), (0.0, UNPACED_CONFIG_SHARE)])
def test_a_config_with_its_share_in_hand_claims_no_more_until_some_is_done(
    rate: float, share: int
) -> None:
    hand = new_hand(rate)
    hand.take_in(notification("other", config_id="other"), NOW)
    busy = []
    for number in range(share + 1):
        hand.take_in(notification(str(number)), NOW)
        busy.append(hand.busy_configs())
    assert busy == [[]] * (share - 1) + [["k"]] * 2
    for expected in (["k"], []):
        hand.drop(hand.lanes["C1"].waiting[-1])
        assert hand.busy_configs() == expected


def test_one_that_workers_died_over_is_alone_until_it_is_done() -> None:
    hand = holding(notification("a", lost_claims=LOST_CLAIMS_ALONE - 1))
    assert not hand.alone
    hand.drop(head(hand))
    hand.take_in(
        notification("b", delivery("b1"), delivery("b2"), lost_claims=LOST_CLAIMS_ALONE), NOW
    )
    hand.drop(head(hand))
    assert hand.alone
    hand.drop(head(hand))
    assert not hand.alone


def test_one_that_goes_back_at_once_keeps_no_other_from_being_claimed() -> None:
    hand = holding(notification("a", delivery(due_in=1.0), lost_claims=LOST_CLAIMS_ALONE))
    assert not hand.alone


def test_an_empty_hand_waits_for_nothing() -> None:
    hand = new_hand()
    assert hand.ready_at(NOW) == hand.announce_at(NOW) == math.inf
    assert not hand.anything_waits()


def test_the_first_lane_that_may_go_on_counts() -> None:
    hand = holding(
        notification("a", delivery(destination="C1", ready_in=9.0)),
        notification("b", delivery(destination="C2", ready_in=5.0)),
    )
    assert hand.announce_at(NOW) == NOW + 5.0 - LOOKAHEAD
    for lane in hand.lanes.values():
        lane.waiting[0].state = "announced"
    assert hand.ready_at(NOW) == NOW + 5.0
    assert hand.anything_waits()


def test_no_more_is_announced_than_there_is_room_for() -> None:
    hand = holding(
        notification(
            "a", *(delivery(f"a{number}", destination=f"C{number}") for number in range(4))
        )
    )
    head(hand, "C1").state = "announced"
    for room, announced in (
        (0.9, []),
        (1.0, ["a0"]),
        (2.9, ["a0"]),
        (3.0, ["a0", "a2"]),
        (math.inf, ["a0", "a2", "a3"]),
    ):
        assert [work.delivery.id for work in hand.to_announce(room, NOW)] == announced


def test_a_notification_is_given_back_with_its_last_delivery() -> None:
    hand = holding(notification("a", delivery("a1"), delivery("a2"), delivery("a3")))
    hand.tell(start(hand), SENT, posted_at=NOW + 1)
    hand.drop(head(hand))
    assert finished(hand) == []
    hand.drop(head(hand))
    assert finished(hand) == ["a"]
    (told_of,) = hand.outbox.told
    assert (told_of.work.delivery.id, told_of.posted_at) == ("a1", NOW + 1)


def test_what_was_never_announced_goes_back_without_a_word() -> None:
    report = Report("drained")
    hand = Hand(PACE_MARGIN, report)
    for name in ("a", "b"):
        hand.take_in(notification(name), NOW)
    head(hand).may_be_announced = True
    hand.release_all()
    assert told(hand) == [("a", "unstarted")]
    assert finished(hand) == ["a", "b"]
    assert report.counts == {"released": 2}


def test_what_is_being_posted_stays_in_hand() -> None:
    hand = holding(notification("a"), notification("b"))
    posting = start(hand)
    hand.drop(posting)
    hand.release([posting, head(hand)])
    assert not hand.settle_waiting(posting, SENT)
    assert finished(hand) == ["b"]
    assert len(hand) == 1
    hand.tell(posting, SENT)
    assert finished(hand) == ["b", "a"]


def test_what_was_found_posted_is_told_of() -> None:
    hand = holding(notification("a"))
    assert hand.settle_waiting(head(hand), SENT)
    assert told(hand) == [("a", "sent")]
    assert not hand.anything_waits()


def test_a_closed_destination_gives_back_its_queue_and_waits() -> None:
    hand = holding(notification("a"), notification("b", delivery("b", destination="C2")))
    hand.close(hand.lanes["C1"], NOW + 60)
    assert queued(hand) == ["b"]
    assert hand.lanes["C1"].pace.ready_at(NOW) == NOW + 60
    hand.take_in(notification("c"), NOW)
    assert told(hand) == [("c", "wait")]


def test_a_parked_config_gives_back_all_it_has_and_takes_in_no_more() -> None:
    hand = holding(
        notification("a", delivery("a1"), delivery("a2", destination="C2")),
        notification("b", config_id="other"),
    )
    hand.park("k", "is_archived", "It is archived.", "C1")
    hand.take_in(notification("c"), NOW)
    assert queued(hand) == ["b"]
    assert finished(hand) == ["a", "c"]


def test_a_config_is_parked_once() -> None:
    report = Report("drained")
    hand = Hand(PACE_MARGIN, report)
    hand.park("j", "is_archived", "It is archived.", "C1")
    hand.park("k", "unverifiable", "The bot cannot look.")
    hand.park("j", "not_in_channel", "The bot is not in it.")
    assert hand.outbox.parks == [
        {"config_id": "j", "code": "is_archived", "reason": "It is archived.", "destination": "C1"},
        {"config_id": "k", "code": "unverifiable", "reason": "The bot cannot look.",
         "destination": None},
    ]  # fmt: skip
    assert report.counts == {"parked": 2}
