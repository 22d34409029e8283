"""What the SQL functions of a run return, read into the run's own types."""

from __future__ import annotations

from typing import Any

import pytest

from workers.errors import ConfigurationError
from workers.notifications.answers import (
    Claimed,
    Delivery,
    Ended,
    Finished,
    Polled,
    Probe,
    Recorded,
    read_claimed,
    read_finished,
    read_polled,
    read_recorded,
    read_started,
)
from workers.notifications.entities import Client, Entities
from workers.notifications.throttle import Handover

KNOWN = {"request": None, "client": {"name": "Nordlys"}, "actor": None, "assignee": None}
ROW: dict[str, Any] = {
    "id": "d1", "token": "t", "notification_id": "n", "destination": "U2", "state": "unknown",
    "attempts": 3, "max_attempts": 5, "in_doubt": True, "possible_duplicate": False, "moved": True,
    "lost_claims": 2, "error_code": "answer_lost", "post_id": "p", "parent_ts": "1.2",
    "thread": "r", "thread_ts": "3.4", "event_type": "e", "template": "{{a}}",
    "event_data": '{"a": 1}', "known": KNOWN, "waited": 4,
    "first_attempt": 1.7e9, "last_attempt": 1.8e9, "looked_for": 61, "looked_down_to": "1.2",
    "conversation_id": "D2", "ready_in": None, "idle_for": 0,
}  # fmt: skip
ENDED = {"dead": 1, "skipped": 2, "expired": 3}


def claimed(**values: Any) -> Delivery:
    answer = {"held": True, "more": False, "ended": ENDED, "deliveries": [{**ROW, **values}]}
    return read_claimed(answer).deliveries[0]


def test_a_claimed_row_is_a_delivery() -> None:
    assert claimed() == Delivery(
        id="d1", token="t", notification_id="n", destination="U2", is_unknown=True, attempts=3,
        max_attempts=5, in_doubt=True, possible_duplicate=False, moved=True, lost_claims=2,
        error_code="answer_lost", post_id="p", parent_ts="1.2", thread="r", thread_ts="3.4",
        event_type="e", template="{{a}}", event_data={"a": "1"},
        entities=Entities(client=Client("Nordlys")), unreadable=None, waited=4.0,
        first_attempt=1.7e9, last_attempt=1.8e9, looked_for=61.0, looked_down_to="1.2",
        conversation_id="D2", ready_in=0.0, idle_for=0.0,
    )  # fmt: skip


def test_unreadable_data_fails_its_row_alone() -> None:
    deep = "[" * 5000 + "]" * 5000
    answer = {
        "held": True, "more": True, "ended": ENDED,
        "deliveries": [{**ROW, "event_data": deep}, {**ROW, "id": "d2"}],
    }  # fmt: skip
    first, second = read_claimed(answer).deliveries
    assert first.unreadable is not None
    assert (first.event_data, second.event_data) == (None, {"a": "1"})


def test_a_number_of_any_size_is_read() -> None:
    data = claimed(event_data='{"n": 1' + "0" * 6000 + "}").event_data
    assert data == {"n": "1" + "0" * 6000}


def test_only_an_unknown_delivery_is_searched_for() -> None:
    assert claimed(state="unknown").is_unknown
    assert not claimed(state="pending").is_unknown


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"state": "sent"}, "state, which is a text, not one of pending, unknown"),
        ({"attempts": "3"}, "attempts, which is a text, not a whole number"),
        ({"known": None}, "null, not an object"),
        ({"known": {**KNOWN, "actor": "Ava"}}, "actor, which is a text, not an object"),
    ],
)
def test_a_malformed_row_is_an_error_that_names_the_function(
    change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"claim_notifications returned {problem}"):
        claimed(**change)


def test_a_missing_field_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigurationError, match="poll_notifications returned no due"):
        read_polled({"held": True, "wanted": False})


def test_a_claim_without_the_lease_has_no_deliveries() -> None:
    answer = {"held": False, "more": False, "ended": {}, "deliveries": []}
    assert read_claimed(answer) == Claimed(held=False, more=False, ended=Ended(), deliveries=())


def test_a_start_while_another_run_drains_shows_whether_that_one_lingers() -> None:
    started = read_started({"acquired": False, "lingers": True})
    assert (started.acquired, started.lingers, started.probes) == (False, True, ())


def test_a_start_in_several_calls_keeps_what_the_first_one_learnt() -> None:
    def start(**values: Any) -> dict[str, Any]:
        return {
            "acquired": True, **ENDED, "more": True, "handover": None, "handover_age": 0,
            "stopped": None, "probes": [], "suspects": False, **values,
        }  # fmt: skip

    first = read_started(
        start(
            handover={"tokens": 3, "hold": 0, "failing": True}, handover_age=7,
            probes=[{"destination": "C1", "code": "is_archived"}],
        )
    )  # fmt: skip
    both = read_started(start(more=False, suspects=True)).after(first)
    assert both.handover == Handover(tokens=3.0, failing=True, age=7.0)
    assert both.probes == (Probe("C1", "is_archived"),)
    assert (both.more, both.suspects, both.ended) == (False, True, Ended(1, 2, 3))


def test_the_short_answers_are_read() -> None:
    assert read_recorded(
        {"held": True, "wanted": False, "started": ["a"], "postponed": ["b"], "stale": 1}
    ) == Recorded(True, False, frozenset("a"), frozenset("b"), 1)
    assert read_polled({"held": True, "wanted": True, "due": False}) == Polled(True, True, False)
    assert read_finished({"oldest_due": None, "parked": 2}) == Finished(None, 2)
