"""What a notification says: its template and data as the worker renders them, shown as in Slack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from server.console.slack_message import message_html
from server.console.slack_text import Names, mrkdwn
from workers.errors import PermanentError
from workers.notifications.entities import NO_ENTITIES, read_entities
from workers.notifications.event_data import parse_event_data
from workers.notifications.plain_line import PLAIN_WORDING, Wording
from workers.notifications.rendering import Message, mark_repeat, render
from workers.settings import Settings

_LINE_LIMIT: Final = 160
# In place of a value in JSON as Postgres writes it.
_MASKED: Final = ": [redacted]"


@dataclass(frozen=True)
class Shown:
    """The message as HTML, or why there is none; and what the reader should know of it."""

    html: Markup
    problem: str | None = None
    unknown_keys: tuple[str, ...] = ()
    is_shortened: bool = False


def shown_message(
    notification: Mapping[str, Any], wording: Wording = PLAIN_WORDING, *, is_repeat: bool
) -> Shown:
    """Of what console_notification returns; `is_repeat`: with the note that a copy may stand."""
    config = notification["config"] or {}
    try:
        message = _rendered(config.get("template"), notification, config.get("event_type"), wording)
    except PermanentError as error:
        return Shown(Markup(""), str(error))
    if is_repeat:
        message = mark_repeat(message)
    return Shown(
        message_html(
            message.text, message.blocks, with_people(notification["names"], notification)
        ),
        unknown_keys=message.unknown_keys,
        is_shortened=message.shortened,
    )


def first_line(row: Mapping[str, Any], names: Names, wording: Wording = PLAIN_WORDING) -> str:
    """The first line of a row of the list as plain text; empty where its data is not there."""
    try:
        message = _rendered(row["template"], row, row["event_type"], wording)
    except PermanentError:
        return ""
    line = message.text.partition("\n")[0]
    return mrkdwn(line[:_LINE_LIMIT], with_people(names, row)).striptags()


def wording_of(settings: Settings) -> Wording:
    """As the worker has it."""
    return Wording(settings.app_request_url, settings.notification_locale)


def with_people(names: Names, row: Mapping[str, Any]) -> Names:
    """`names`, and those whom the event's ids lead to."""
    known = row.get("known") or {}
    people = [known.get(role) or {} for role in ("actor", "assignee")]
    return {
        **names,
        **{one["slack_id"]: one["name"] for one in people if one and all(one.values())},
    }


def _rendered(
    template: str | None, row: Mapping[str, Any], event_type: str | None, wording: Wording
) -> Message:
    """Raises PermanentError where it cannot be rendered."""
    return render(
        template,
        data_of(row["event_data"]),
        event_type=event_type or "notification",
        entities=read_entities("known_of_event", row["known"]) if row.get("known") else NO_ENTITIES,
        wording=wording,
    )


def data_of(text: str | None) -> object:
    """Of JSON in which numbers that looked like secrets may be masked. Raises PermanentError."""
    try:
        return parse_event_data(text)
    except PermanentError:
        if text is None or _MASKED not in text:
            raise
        # a number that looked like a secret: what stands in its place is no JSON
        return parse_event_data(text.replace(_MASKED, f': "{_MASKED[2:]}"'))
