"""What happened to a notification, and what happens next, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.console.answers.notifications import (
    Delivery,
    DeliveryState,
    Destination,
    Notification,
    Unrouted,
)
from server.console.notification_history import (
    Step,
    answer_in_words,
    delivery_step,
    next_steps,
)
from workers.notifications.entities import NO_ENTITIES
from workers.notifications.slack_codes import RULES

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
LATER = NOW + timedelta(minutes=3)
EARLIER = NOW - timedelta(minutes=3)
NO_DESTINATION = Destination(parked_at=None, park_reason=None, probe_at=None, not_before=None)


def delivery(**changes: Any) -> Delivery:
    return replace(
        Delivery(
            id="d1", destination="C1", state=DeliveryState.PENDING, due_at=EARLIER,
            ages_from=EARLIER, attempts=0, next_attempt_at=None, is_claimed=False, lost_claims=0,
            parent_ts=None, last_attempt_at=None, conversation_id=None, message_ts=None,
            request_id=None, error_code=None, error=None, in_doubt=False, possible_duplicate=False,
            history=(), failed_attempts=(), settled_at=None,
        ),
        **changes,
    )  # fmt: skip


def notification(*deliveries: Delivery, **changes: Any) -> Notification:
    return replace(
        Notification(
            id="n1", state="waiting", config=None, entity_type="request", entity_id="e1",
            event_data=None, entities=NO_ENTITIES, names={}, max_attempts=5, last_error=None,
            created_at=EARLIER, processed_at=None, next_attempt_at=EARLIER, claimed_until=None,
            deliveries=deliveries, destinations={}, unrouted=None, is_stopped=False,
            stop_reason=None, ahead={}, threads={},
        ),
        **changes,
    )  # fmt: skip


def destinations(**changes: Any) -> dict[str, Destination]:
    """What is known of C1."""
    return {"C1": replace(NO_DESTINATION, **changes)}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (notification(), "The next notifications run looks up its destinations."),
        (notification(next_attempt_at=LATER), "It is due, and its destinations are looked up,"),
        (notification(claimed_until=LATER), "The dashboard's own worker has claimed it until"),
        (notification(claimed_until=EARLIER), "The next notifications run looks up"),
        (notification(state="sent"), "It has ended: nothing comes next."),
        (notification(state="done"), "It has ended: nothing comes next."),
        (notification(state="dead"), "It will not be tried again."),
        (notification(state="expired"), "It will not be tried again."),
    ],
)
def test_steps_of_a_notification(one: Notification, words: str) -> None:
    (step,) = next_steps(one, NOW, DAY)
    assert step.text.startswith(words)


def test_a_dead_notification_shows_the_command_that_redrives_it() -> None:
    (step,) = next_steps(notification(state="dead"), NOW, DAY)
    assert step.fix == "python -m workers.operate dead redrive n1"


def test_while_all_delivery_is_stopped_nothing_else_is_shown() -> None:
    one = notification(delivery(), is_stopped=True, stop_reason="revoked")
    (step,) = next_steps(one, NOW, DAY)
    assert step.reason == "revoked"
    assert delivery_step(one.deliveries[0], one, NOW) is None


def test_a_notification_without_a_destination_shows_why_and_when_it_expires() -> None:
    unrouted = Unrouted(reason="no channel", lookup_at=LATER, ages_from=EARLIER)
    lookup, expires = next_steps(notification(unrouted=unrouted), NOW, DAY)
    assert (lookup.at, lookup.reason) == (LATER, "no channel")
    assert expires.at == EARLIER + DAY


def test_the_clock_of_a_parked_destination_is_paused() -> None:
    one = notification(
        delivery(),
        delivery(destination="C2", ages_from=LATER),
        destinations=destinations(parked_at=NOW),
    )
    (expires,) = next_steps(one, NOW, DAY)
    assert expires.at == LATER + DAY
    parked_alone = replace(one, deliveries=one.deliveries[:1])
    assert next_steps(parked_alone, NOW, DAY) == []


@pytest.mark.parametrize(
    ("changes", "place", "step"),
    [
        ({"state": DeliveryState.SENT}, {}, None),
        ({"state": DeliveryState.DEAD}, {}, None),
        ({"is_claimed": True}, {}, Step("A run has claimed it.")),
        ({}, {}, Step("The next run posts it, as the next one there.")),
        (
            {"next_attempt_at": LATER, "error": "no"},
            {},
            Step("It is tried again", LATER, reason="no"),
        ),
        (
            {"next_attempt_at": EARLIER},
            {"not_before": LATER},
            Step("Slack asked to wait with this destination; it continues", LATER),
        ),
        (
            {},
            {"parked_at": EARLIER, "park_reason": "archived", "probe_at": LATER},
            Step(
                "Its destination is parked; one message is tried there",
                LATER,
                reason="archived",
                fix="python -m workers.operate parked release C1",
            ),
        ),
        (
            {"state": DeliveryState.UNKNOWN, "next_attempt_at": LATER, "error": "lost"},
            {},
            Step(
                "It may have been posted: it is searched for in the conversation",
                LATER,
                reason="lost",
            ),
        ),
        (
            {"state": DeliveryState.UNKNOWN},
            {},
            Step(
                "It may have been posted: it is searched for in the conversation by the next run, "
                "and posted if it is not found."
            ),
        ),
    ],
)
def test_the_step_of_a_delivery(
    changes: dict[str, Any], place: dict[str, Any], step: Step | None
) -> None:
    one = delivery(**changes)
    assert delivery_step(one, notification(one, destinations=destinations(**place)), NOW) == step


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(0, ", as the next one there"), (7, ", after 7 that are ahead of it there"),
     (1000, ", after 1,000 or more that are ahead of it there")],
)  # fmt: skip
def test_its_place_in_the_channel(ahead: int, words: str) -> None:
    one = delivery()
    step = delivery_step(one, notification(one, ahead={"C1": ahead}), NOW)
    assert step == Step(f"The next run posts it{words}.")


def test_every_code_of_slack_has_words() -> None:
    codes = [code.replace("*", "x") for rule in RULES for code in rule.codes]
    for code in [*codes, "never_heard_of", "event_data_unreadable", "unrenderable"]:
        assert answer_in_words(code).endswith(".")
        assert answer_in_words(code, searching=True).endswith(".")
    assert answer_in_words(None) == ""
    assert "may have been sent" in answer_in_words("answer_lost")
    assert answer_in_words("ratelimited", searching=True) == (
        "Slack asked to wait with the search for it."
    )
