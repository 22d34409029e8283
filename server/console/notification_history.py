"""What happened to a notification, and what happens to it next, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from server.console.answers.notifications import (
    Delivery,
    DeliveryState,
    Destination,
    Notification,
)
from workers.notifications.slack_codes import HISTORY, POST, CodeClass, classify

_REDRIVE: Final = "python -m workers.operate dead redrive"
_MOST_COUNTED: Final = 1000

# What Slack's answer to a post means.
_OF_A_POST: Final[Mapping[CodeClass, str]] = {
    CodeClass.RATE: "Slack asked to wait; nothing was sent, and it does not count as an attempt.",
    CodeClass.RATE_WORKSPACE: "Slack asked the whole workspace to wait; nothing was sent.",
    CodeClass.AMBIGUOUS: "It may have been sent: it is searched for before it is posted again.",
    CodeClass.TRANSIENT: "Slack was not reached; nothing was sent.",
    CodeClass.TOKEN: "Slack refuses the token or the app: nothing can be posted.",
    CodeClass.DESTINATION: "Slack refuses this channel or person; nothing was sent.",
    CodeClass.THREAD: "Slack does not take replies in its thread; nothing was sent.",
    CodeClass.MESSAGE: "Slack refuses this message, and would refuse it again.",
    CodeClass.MESSAGE_FORMAT: "Slack refuses the format of this message, also as plain text.",
    CodeClass.CANNOT_READ: "Slack refuses this; nothing was sent.",
    CodeClass.UNKNOWN: "Slack refuses it for an unknown reason; nothing was sent.",
}
_OF_A_SEARCH: Final = "It could not be searched for in the conversation."
_OWN: Final[Mapping[str, str]] = {
    "event_data_unreadable": "Its data cannot be read; nothing was sent.",
    "unrenderable": "Its template and data cannot be rendered; nothing was sent.",
}


@dataclass(frozen=True)
class Step:
    """What comes next, as a sentence; `at` is when, `reason` why it waits, in the words of Slack or
    the workers, and `fix` the command that helps."""

    text: str
    at: datetime | None = None
    reason: str | None = None
    fix: str | None = None


def answer_in_words(code: str | None, *, searching: bool = False) -> str:
    """What a code of Slack, or of the workers, means for a post (or a search in the history)."""
    if not code:
        return ""
    if code in _OWN:
        return _OWN[code]
    if searching:
        is_limited = classify(code, HISTORY) is CodeClass.RATE
        return "Slack asked to wait with the search for it." if is_limited else _OF_A_SEARCH
    return _OF_A_POST[classify(code, POST)]


def next_steps(notification: Notification, now: datetime, expires_after: timedelta) -> list[Step]:
    """For the notification as a whole; `delivery_step` is about each of its deliveries."""
    if notification.state in ("dead", "expired"):
        command = f"{_REDRIVE} {notification.id}"
        return [Step("It will not be tried again. To deliver it after all:", fix=command)]
    if notification.state != "waiting":
        return [Step("It has ended: nothing comes next.")]
    if notification.is_stopped:
        return [
            Step(
                "All delivery has stopped because Slack refuses the token, and expiry is paused. "
                "The next run after the token is fixed continues.",
                reason=notification.stop_reason,
            )
        ]
    return [*_routing(notification, now), *_expiry(notification, expires_after)]


def _routing(notification: Notification, now: datetime) -> list[Step]:
    """While no destination is known."""
    unrouted = notification.unrouted
    if unrouted is not None:
        text = "It has no destination; its destinations are looked up again"
        return [Step(text, unrouted.lookup_at, reason=unrouted.reason)]
    if notification.deliveries:
        return []
    held, due = notification.claimed_until, notification.next_attempt_at
    if held is not None and held > now:
        return [Step("The dashboard's own worker has claimed it until", held)]
    if due is not None and due > now:
        return [Step("It is due, and its destinations are looked up,", due)]
    return [Step("The next notifications run looks up its destinations.")]


def _expiry(notification: Notification, expires_after: timedelta) -> list[Step]:
    """By the clocks of its destinations, without parked ones, whose clocks are paused."""
    parked = {name for name, known in notification.destinations.items() if known.parked_at}
    ages = [
        delivery.ages_from
        for delivery in notification.deliveries
        if delivery.state in (DeliveryState.PENDING, DeliveryState.UNKNOWN)
        and delivery.destination not in parked
    ]
    if notification.unrouted is not None:
        ages.append(notification.unrouted.ages_from)
    known_ages = [age for age in ages if age is not None]
    if not known_ages:
        return []
    return [Step("If it is not delivered by then, it expires", min(known_ages) + expires_after)]


def delivery_step(delivery: Delivery, notification: Notification, now: datetime) -> Step | None:
    """What comes next for one of its deliveries; None once that has ended."""
    match delivery.state:
        case (
            DeliveryState.SENT | DeliveryState.SKIPPED | DeliveryState.EXPIRED | DeliveryState.DEAD
        ):
            return None
        case DeliveryState.SENDING:
            return Step(
                "A run is posting it. If that run ends without recording the result, the next one "
                "searches for it in the conversation before it is posted again."
            )
        case DeliveryState.PENDING | DeliveryState.UNKNOWN:
            return _waiting_step(delivery, notification, now)
        case _:
            assert_never(delivery.state)


def _waiting_step(delivery: Delivery, notification: Notification, now: datetime) -> Step | None:
    known = notification.destinations.get(delivery.destination, _UNKNOWN)
    again = delivery.next_attempt_at
    if notification.is_stopped:
        return None
    if known.parked_at is not None:
        return Step(
            "Its destination is parked; one message is tried there",
            known.probe_at,
            reason=known.park_reason,
            fix=f"python -m workers.operate parked release {delivery.destination}",
        )
    if delivery.state is DeliveryState.UNKNOWN:
        text = "It may have been posted: it is searched for in the conversation"
        if again is not None and again > now:
            return Step(text, again, reason=delivery.error)
        text += " by the next run, and posted if it is not found."
        return Step(text, reason=delivery.error)
    if again is not None and again > now:
        return Step("It is tried again", again, reason=delivery.error)
    if known.not_before is not None and known.not_before > now:
        return Step("Slack asked to wait with this destination; it continues", known.not_before)
    if delivery.is_claimed:
        return Step("A run has claimed it.")
    return Step(f"The next run posts it{_place(delivery, notification)}.")


_UNKNOWN: Final = Destination(parked_at=None, park_reason=None, probe_at=None, not_before=None)


def _place(delivery: Delivery, notification: Notification) -> str:
    ahead = notification.ahead.get(delivery.destination, 0)
    if not ahead:
        return ", as the next one there"
    count = f"{_MOST_COUNTED:,} or more" if ahead >= _MOST_COUNTED else f"{ahead:,}"
    return f", after {count} that are ahead of it there"
