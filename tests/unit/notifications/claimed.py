"""Claimed notifications, for the tests of what a run does with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workers.notifications.claims import Delivery, Notification
from workers.notifications.lanes import Work

_DELIVERY = Delivery(
    id="d", destination="C1", state="pending", attempts=0, due_in=0.0, conversation_id=None,
    ready_in=0.0, idle_for=None, first_attempt=None, error_code=None,
)  # fmt: skip
_NOTIFICATION = Notification(
    id="n", token="t", config_id="k", event_type="e", template=None, event_data={},
    max_attempts=5, lost_claims=0, waited=0.0, deliveries=(),
)  # fmt: skip


def delivery(id: str = "d", **values: Any) -> Delivery:
    """One to C1 that is due and was never tried, but for what is given."""
    return replace(_DELIVERY, id=id, **values)


def notification(id: str = "n", *deliveries: Delivery, **values: Any) -> Notification:
    """One of the config k with these deliveries, or a due one of its own name."""
    return replace(_NOTIFICATION, id=id, deliveries=deliveries or (delivery(id),), **values)


def work(id: str = "d", **values: Any) -> Work:
    """A delivery in hand, of a notification of its own."""
    one = delivery(id)
    return Work(
        **{"notification": notification(id, one), "delivery": one, "look_first": False, **values}
    )
