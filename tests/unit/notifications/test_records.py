"""What travels to the database in one call."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tests.unit.notifications.claimed import notification, work
from workers.notifications.outcomes import Outcome
from workers.notifications.records import Record, Told

SENT = Outcome("sent", message_ts="1.2")


def full(name: str) -> Record:
    """A record with one entry of each kind."""
    record = Record(
        told=[Told(work(name), SENT, 7.0)], finished=[notification(name)], released=[name]
    )
    record.park(name, "is_archived", "It is archived.", "C1")
    return record


def test_nothing_to_tell_is_no_record() -> None:
    assert not Record()


@pytest.mark.parametrize(
    "record",
    [
        Record(told=[Told(work(), SENT, None)]),
        Record(finished=[notification()]),
        Record(parks=[{"config_id": "k"}]),
        Record(released=["k"]),
        Record(resumed=True),
    ],
    ids=["told", "finished", "parks", "released", "resumed"],
)
def test_each_kind_of_news_makes_a_record(record: Record) -> None:
    assert record


def test_what_could_not_be_recorded_goes_before_what_came_since() -> None:
    earlier, later = full("a"), full("b")
    both = earlier.before(later)
    for kind in ("told", "finished", "parks", "released"):
        assert getattr(both, kind) == getattr(earlier, kind) + getattr(later, kind)


@pytest.mark.parametrize(
    ("earlier", "later", "both"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_delivery_that_was_resumed_stays_resumed(earlier: bool, later: bool, both: bool) -> None:
    assert Record(resumed=earlier).before(Record(resumed=later)).resumed is both


def test_the_call_says_whose_each_entry_is_and_how_long_ago_it_was() -> None:
    unposted = Outcome("wait", retry_in=30.0)
    record = full("a")
    record.told.append(Told(work("b"), unposted, None))
    record.stop("invalid_auth", "Slack refuses the token.")
    assert record.arguments([work("c")], now=10.0) == {
        "outcomes": [
            {"id": "a", "token": "t", "posted_ago": 3.0, **asdict(SENT)},
            {"id": "b", "token": "t", "posted_ago": None, **asdict(unposted)},
        ],
        "starting": [{"id": "c", "token": "t"}],
        "finished": [{"id": "a", "token": "t"}],
        "parks": [
            {"config_id": "a", "code": "is_archived", "reason": "It is archived.",
             "destination": "C1"},
            {"config_id": None, "code": "invalid_auth", "reason": "Slack refuses the token.",
             "destination": None},
        ],
        "released": ["a"],
        "resumed": False,
    }  # fmt: skip
