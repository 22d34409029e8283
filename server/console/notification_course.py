"""Where a notification goes next, and why: what the run that comes next does with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from workers.notifications.slack_codes import HISTORY, POST, CodeClass, classify

Row = Mapping[str, Any]

_REDRIVE: Final = "python -m workers.operate dead redrive"
_MOST_COUNTED: Final = 1000

# What follows from Slack's answer to a post.
_OF_A_POST: Final[Mapping[CodeClass, str]] = {
    CodeClass.RATE: "Slack asked to wait; nothing was sent, and no attempt is counted.",
    CodeClass.RATE_WORKSPACE: "Slack asked to wait with the whole workspace; nothing was sent.",
    CodeClass.AMBIGUOUS: "It may have been sent: it is looked for before it is posted again.",
    CodeClass.TRANSIENT: "Slack was not reached; nothing was sent.",
    CodeClass.TOKEN: "Slack refuses the token or the app: nothing can be posted by anybody.",
    CodeClass.DESTINATION: "Slack refuses this channel or person; nothing was sent.",
    CodeClass.THREAD: "Its thread takes no reply; nothing was sent.",
    CodeClass.MESSAGE: "Slack refuses this message, and would each time.",
    CodeClass.MESSAGE_FORMAT: "Slack refuses the form of this message, also as plain text.",
    CodeClass.CANNOT_READ: "Slack refuses this; nothing was sent.",
    CodeClass.UNKNOWN: "A refusal that the workers do not know; nothing was sent.",
}
_OF_A_LOOK: Final = "It could not be looked for in the conversation."
_OWN: Final[Mapping[str, str]] = {
    "event_data_unreadable": "Its data cannot be read; nothing was sent.",
    "unrenderable": "Its template and data cannot be rendered; nothing was sent.",
}


@dataclass(frozen=True)
class Step:
    """What comes next, a sentence; `at` is when, `why` what it waits for in another's words, and
    `mend` the command or the deed that helps."""

    text: str
    at: str | None = None
    why: str | None = None
    mend: str | None = None


def answer_in_words(code: str | None, *, looking: bool = False) -> str:
    """What a code of Slack's, or of ours, means for a post (or for a look at the history)."""
    if not code:
        return ""
    if code in _OWN:
        return _OWN[code]
    if looking:
        asked = classify(code, HISTORY)
        return "Slack asked to wait with looking for it." if asked is CodeClass.RATE else _OF_A_LOOK
    return _OF_A_POST[classify(code, POST)]


def next_steps(notification: Row, now: datetime, expires_after: timedelta) -> list[Step]:
    """Of the whole of it, by what console_notification returns; `delivery_step` is about each of
    its deliveries."""
    if notification["state"] in ("dead", "expired"):
        command = f"{_REDRIVE} {notification['id']}"
        return [Step("It goes nowhere by itself. To have it delivered after all:", mend=command)]
    if notification["state"] != "waiting":
        return [Step("It has ended: nothing comes next.")]
    stop = notification["workspace"]
    if stop is not None:
        return [
            Step(
                "All delivery stands still, because Slack refuses the token, and so does its "
                "expiry; the next run after the token is set right goes on.",
                why=stop["stop_reason"],
            )
        ]
    return [*_routing(notification, now), *_expiry(notification, expires_after)]


def _routing(notification: Row, now: datetime) -> list[Step]:
    """Where no destination is known yet."""
    unrouted = notification["unrouted"]
    if unrouted is not None:
        return [
            Step(
                "It has nowhere to go; its destinations are looked up again",
                unrouted["lookup_at"],
                why=unrouted["reason"],
            )
        ]
    if notification["deliveries"]:
        return []
    held, due = _moment(notification["claimed_until"]), _moment(notification["next_attempt_at"])
    if held is not None and held > now:
        return [Step("The dashboard's own worker holds it until", notification["claimed_until"])]
    if due is not None and due > now:
        return [
            Step("It is due, and its destinations are looked up,", notification["next_attempt_at"])
        ]
    return [Step("The next run of the notifications looks up where it goes.")]


def _expiry(notification: Row, expires_after: timedelta) -> list[Step]:
    """By the clocks of its destinations, those that stand still aside."""
    standing = {
        known["destination"] for known in notification["destinations"] if known["parked_at"]
    }
    ages = [
        delivery["ages_from"]
        for delivery in notification["deliveries"]
        if delivery["state"] in ("pending", "unknown") and delivery["destination"] not in standing
    ]
    if notification["unrouted"] is not None:
        ages.append(notification["unrouted"]["ages_from"])
    moments = [moment for age in ages if (moment := _moment(age)) is not None]
    if not moments:
        return []
    expires = min(moments) + expires_after
    return [Step("If it is not delivered by then, it expires", expires.isoformat())]


def delivery_step(delivery: Row, notification: Row, now: datetime) -> Step | None:
    """What comes next for one of its deliveries; None once that has ended."""
    known: Row = next(
        (one for one in notification["destinations"]
         if one["destination"] == delivery["destination"]), {},
    )  # fmt: skip
    state, again = delivery["state"], _moment(delivery["next_attempt_at"])
    if state == "sending":
        return Step(
            "It was announced and is being posted. If that run ends without a word, the next one "
            "looks for it in the conversation before it is posted again."
        )
    if state not in ("pending", "unknown") or notification["workspace"] is not None:
        return None
    if known.get("parked_at"):
        return Step(
            "Its destination is parked; one message is tried there",
            known["probe_at"],
            why=known["park_reason"],
            mend=f"python -m workers.operate parked release {delivery['destination']}",
        )
    if state == "unknown":
        text = "It may have been posted: it is looked for in the conversation"
        return _later(text, delivery, again, now)
    if again is not None and again > now:
        return Step("It is tried again", delivery["next_attempt_at"], why=delivery["error"])
    not_before = _moment(known.get("not_before"))
    if not_before is not None and not_before > now:
        return Step("Slack asked to leave this destination alone; it goes on", known["not_before"])
    if delivery["claimed_by"] is not None:
        return Step("A run has it in hand.")
    return Step(f"The next run posts it{_place(delivery, notification)}.")


def _later(text: str, delivery: Row, again: datetime | None, now: datetime) -> Step:
    if again is not None and again > now:
        return Step(text, delivery["next_attempt_at"], why=delivery["error"])
    return Step(f"{text} by the next run, and posted if it is not found.", why=delivery["error"])


def _place(delivery: Row, notification: Row) -> str:
    before = notification["ahead"].get(delivery["destination"], 0)
    if not before:
        return ", as the next one there"
    many = f"{_MOST_COUNTED:,} or more" if before >= _MOST_COUNTED else f"{before:,}"
    return f", after {many} that stand before it there"


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
