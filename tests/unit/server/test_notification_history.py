"""Where a notification goes next, and why, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.console.notification_history import (
    Step,
    answer_in_words,
    delivery_step,
    next_steps,
)
from workers.notifications.slack_codes import RULES

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
LATER = (NOW + timedelta(minutes=3)).isoformat()
EARLIER = (NOW - timedelta(minutes=3)).isoformat()


def delivery(**changes: Any) -> dict[str, Any]:
    return {
        "destination": "C1", "state": "pending", "next_attempt_at": None, "claimed_by": None,
        "error": None, "ages_from": EARLIER, **changes,
    }  # fmt: skip


def notification(*deliveries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "n1", "state": "waiting", "deliveries": list(deliveries), "destinations": [],
        "unrouted": None, "workspace": None, "claimed_until": None, "next_attempt_at": EARLIER,
        "ahead": {}, **changes,
    }  # fmt: skip


def known(**changes: Any) -> dict[str, Any]:
    """Of a destination."""
    return {"destination": "C1", "parked_at": None, "park_reason": None, "probe_at": None,
            "not_before": None, **changes}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (notification(), "The next run of the notifications looks up where it goes."),
        (notification(next_attempt_at=LATER), "It is due, and its destinations are looked up,"),
        (notification(claimed_until=LATER), "The dashboard's own worker holds it until"),
        (notification(claimed_until=EARLIER), "The next run of the notifications looks up"),
        (notification(state="sent"), "It has ended: nothing comes next."),
        (notification(state="done"), "It has ended: nothing comes next."),
        (notification(state="dead"), "It goes nowhere by itself."),
        (notification(state="expired"), "It goes nowhere by itself."),
    ],
)
def test_of_the_whole(one: dict[str, Any], words: str) -> None:
    (step,) = next_steps(one, NOW, DAY)
    assert step.text.startswith(words)


def test_what_ended_unsent_names_the_command() -> None:
    (step,) = next_steps(notification(state="dead"), NOW, DAY)
    assert step.mend == "python -m workers.operate dead redrive n1"


def test_while_all_delivery_stands_still_nothing_else_is_said() -> None:
    stopped = {"stopped_at": EARLIER, "stop_code": "token_revoked", "stop_reason": "revoked"}
    one = notification(delivery(), workspace=stopped)
    (step,) = next_steps(one, NOW, DAY)
    assert step.why == "revoked"
    assert delivery_step(one["deliveries"][0], one, NOW) is None


def test_what_has_nowhere_to_go_says_what_it_lacks_and_when_it_expires() -> None:
    unrouted = {"reason": "no channel", "lookup_at": LATER, "ages_from": EARLIER}
    lacks, expires = next_steps(notification(unrouted=unrouted), NOW, DAY)
    assert (lacks.at, lacks.why) == (LATER, "no channel")
    assert expires.at == (datetime.fromisoformat(EARLIER) + DAY).isoformat()


def test_the_clock_of_a_parked_destination_stands_still() -> None:
    one = notification(
        delivery(), delivery(destination="C2", ages_from=LATER), destinations=[known(parked_at=NOW)]
    )
    (expires,) = next_steps(one, NOW, DAY)
    assert expires.at == (datetime.fromisoformat(LATER) + DAY).isoformat()
    one["deliveries"].pop()
    assert next_steps(one, NOW, DAY) == []


@pytest.mark.parametrize(
    ("changes", "place", "step"),
    [
        ({"state": "sent"}, {}, None),
        ({"state": "dead"}, {}, None),
        ({"claimed_by": "run"}, {}, Step("A run has it in hand.")),
        ({}, {}, Step("The next run posts it, as the next one there.")),
        (
            {"next_attempt_at": LATER, "error": "no"},
            {},
            Step("It is tried again", LATER, why="no"),
        ),
        (
            {"next_attempt_at": EARLIER},
            {"not_before": LATER},
            Step("Slack asked to leave this destination alone; it goes on", LATER),
        ),
        (
            {},
            {"parked_at": EARLIER, "park_reason": "archived", "probe_at": LATER},
            Step(
                "Its destination is parked; one message is tried there",
                LATER,
                why="archived",
                mend="python -m workers.operate parked release C1",
            ),
        ),
        (
            {"state": "unknown", "next_attempt_at": LATER, "error": "lost"},
            {},
            Step(
                "It may have been posted: it is looked for in the conversation", LATER, why="lost"
            ),
        ),
        (
            {"state": "unknown"},
            {},
            Step(
                "It may have been posted: it is looked for in the conversation by the next run, "
                "and posted if it is not found."
            ),
        ),
    ],
)
def test_of_a_delivery(changes: dict[str, Any], place: dict[str, Any], step: Step | None) -> None:
    one = delivery(**changes)
    assert delivery_step(one, notification(one, destinations=[known(**place)]), NOW) == step


@pytest.mark.parametrize(
    ("before", "words"),
    [(0, ", as the next one there"), (7, ", after 7 that stand before it there"),
     (1000, ", after 1,000 or more that stand before it there")],
)  # fmt: skip
def test_its_place_in_the_channel(before: int, words: str) -> None:
    one = delivery()
    step = delivery_step(one, notification(one, ahead={"C1": before}), NOW)
    assert step == Step(f"The next run posts it{words}.")


def test_every_answer_of_slack_has_words() -> None:
    codes = [code.replace("*", "x") for rule in RULES for code in rule.codes]
    for code in [*codes, "never_heard_of", "event_data_unreadable", "unrenderable"]:
        assert answer_in_words(code).endswith(".")
        assert answer_in_words(code, looking=True).endswith(".")
    assert answer_in_words(None) == ""
    assert "may have been sent" in answer_in_words("answer_lost")
    assert answer_in_words("ratelimited", looking=True) == (
        "Slack asked to wait with looking for it."
    )
