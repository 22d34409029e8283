"""The message of a notification: rendered as the worker does, shown as in Slack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from server.console.answers.notifications import ListedNotification, Notification
from server.console.slack_message import message_html
from server.console.slack_text import Names, mrkdwn
from workers.errors import PermanentError
from workers.notifications.entities import Entities
from workers.notifications.event_data import parse_event_data
from workers.notifications.plain_line import PLAIN_WORDING, Wording
from workers.notifications.rendering import Message, mark_repeat, render
from workers.settings import Settings

_LINE_LIMIT: Final = 160
# What masking leaves of a number that looked like a secret, which is then not JSON.
_MASKED: Final = ": [redacted]"


@dataclass(frozen=True)
class Shown:
    """The message as HTML, or the problem why there is none, and what was done to render it."""

    html: Markup
    problem: str | None = None
    unknown_keys: tuple[str, ...] = ()
    is_shortened: bool = False


def shown_message(
    notification: Notification, wording: Wording = PLAIN_WORDING, *, is_repeat: bool
) -> Shown:
    """The message of a notification; `is_repeat`: with the note that it may be a duplicate."""
    config, entities = notification.config, notification.entities
    try:
        message = render(
            None if config is None else config.template,
            data_of(notification.event_data),
            event_type=_event_type(None if config is None else config.event_type),
            entities=entities,
            wording=wording,
        )
    except PermanentError as error:
        return Shown(Markup(""), str(error))
    if is_repeat:
        message = mark_repeat(message)
    return Shown(
        message_html(message.text, message.blocks, with_people(notification.names, entities)),
        unknown_keys=message.unknown_keys,
        is_shortened=message.shortened,
    )


def first_line(row: ListedNotification, names: Names, wording: Wording = PLAIN_WORDING) -> str:
    """The first line of a listed notification as plain text; empty where it cannot be rendered."""
    try:
        message: Message = render(
            row.template,
            data_of(row.event_data),
            event_type=_event_type(row.event_type),
            entities=row.entities,
            wording=wording,
        )
    except PermanentError:
        return ""
    line = message.text.partition("\n")[0]
    return mrkdwn(line[:_LINE_LIMIT], with_people(names, row.entities)).striptags()


def wording_of(settings: Settings) -> Wording:
    """The worker's wording."""
    return Wording(settings.app_request_url, settings.notification_locale)


def with_people(names: Names, entities: Entities) -> Names:
    """`names`, and those of the people that the event's ids refer to."""
    people = (entities.actor, entities.assignee)
    return {**names, **{one.slack_id: one.name for one in people if one.slack_id and one.name}}


def _event_type(name: str | None) -> str:
    return name or "notification"


def data_of(text: str | None) -> object:
    """Parses JSON in which numbers that looked like secrets may be masked. Raises
    PermanentError."""
    return parse_event_data(None if text is None else unmasked(text))


def unmasked(text: str) -> str:
    """JSON in which a masked number is a string; any other text unchanged."""
    try:
        parse_event_data(text)
    except PermanentError:
        return text.replace(_MASKED, f': "{_MASKED[2:]}"')
    return text
