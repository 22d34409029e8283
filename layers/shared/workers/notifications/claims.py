"""A claimed notification and its deliveries, as `claim_notifications` returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """One notification to one destination.

    Durations are seconds. `due_in` is the wait of this delivery, `ready_in` that of its
    destination; `idle_for` is the time since the destination's last post, None when there was
    none. `first_attempt` is in epoch seconds.
    """

    id: str
    destination: str
    state: str
    attempts: int
    due_in: float
    conversation_id: str | None
    ready_in: float
    idle_for: float | None
    first_attempt: float | None
    error_code: str | None

    @property
    def is_unknown(self) -> bool:
        """Whether an earlier try may have posted it."""
        return self.state == "unknown"


@dataclass(frozen=True)
class Notification:
    """A claimed row of notification_queue with its open deliveries.

    `waited` is in seconds, since it was first due; `lost_claims` says over how many claims a
    worker died.
    """

    id: str
    token: str
    config_id: str
    event_type: str
    template: str | None
    event_data: object
    max_attempts: int
    lost_claims: int
    waited: float
    deliveries: tuple[Delivery, ...]


def read_claim(row: Mapping[str, Any]) -> Notification:
    """A row of `claim_notifications`, with types checked where SQL cannot vouch."""
    return Notification(
        id=row["id"],
        token=row["claim_token"],
        config_id=row["config_id"],
        event_type=row["event_type"],
        template=row["template"],
        event_data=row["event_data"],
        max_attempts=row["max_attempts"],
        lost_claims=row["lost_claims"],
        waited=float(row["waited"]),
        deliveries=tuple(_read_delivery(delivery) for delivery in row["deliveries"]),
    )


def _read_delivery(delivery: Mapping[str, Any]) -> Delivery:
    def seconds(name: str) -> float | None:
        value = delivery[name]
        return None if value is None else float(value)

    return Delivery(
        id=delivery["id"],
        destination=delivery["destination"],
        state=delivery["state"],
        attempts=delivery["attempts"],
        due_in=seconds("due_in") or 0.0,
        conversation_id=delivery["conversation_id"],
        ready_in=seconds("ready_in") or 0.0,
        idle_for=seconds("idle_for"),
        first_attempt=seconds("first_attempt"),
        error_code=delivery["error_code"],
    )
