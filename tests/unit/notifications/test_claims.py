"""What the database returns for a claim, as the run knows it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.notifications.claimed import delivery
from workers.notifications.claims import Delivery, Notification, read_claim

FRESH = {
    "id": "d1", "destination": "C1", "state": "pending", "attempts": 0, "due_in": 0,
    "conversation_id": None, "ready_in": None, "idle_for": None, "first_attempt": None,
    "error_code": None,
}  # fmt: skip
TRIED = {
    "id": "d2", "destination": "U2", "state": "unknown", "attempts": 3, "due_in": 12,
    "conversation_id": "D2", "ready_in": 7.5, "idle_for": 0, "first_attempt": 1.7e9,
    "error_code": "answer_lost",
}  # fmt: skip
ROW = {
    "id": "n", "claim_token": "t", "config_id": "k", "event_type": "e", "template": "{{a}}",
    "event_data": {"a": 1}, "max_attempts": 5, "lost_claims": 2, "waited": 4,
    "deliveries": [FRESH, TRIED], "entity_id": "more than is needed",
}  # fmt: skip


def test_a_row_is_a_notification_with_its_deliveries() -> None:
    assert read_claim(ROW) == Notification(
        id="n", token="t", config_id="k", event_type="e", template="{{a}}", event_data={"a": 1},
        max_attempts=5, lost_claims=2, waited=4.0,
        deliveries=(
            Delivery(
                id="d1", destination="C1", state="pending", attempts=0, due_in=0.0,
                conversation_id=None, ready_in=0.0, idle_for=None, first_attempt=None,
                error_code=None,
            ),
            Delivery(
                id="d2", destination="U2", state="unknown", attempts=3, due_in=12.0,
                conversation_id="D2", ready_in=7.5, idle_for=0.0, first_attempt=1.7e9,
                error_code="answer_lost",
            ),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["due_in", "ready_in"])
def test_no_wait_is_a_wait_of_zero_seconds(name: str) -> None:
    row: dict[str, Any] = {**ROW, "deliveries": [{**TRIED, name: None}]}
    assert getattr(read_claim(row).deliveries[0], name) == 0.0


def test_only_an_unknown_delivery_may_have_been_posted() -> None:
    unknown = [
        state
        for state in ("pending", "sending", "unknown", "sent")
        if delivery(state=state).is_unknown
    ]
    assert unknown == ["unknown"]
