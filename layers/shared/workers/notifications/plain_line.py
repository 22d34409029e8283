"""The line that replaces a missing template: what the event holds, in words.

`Status change: Spring launch film · Nordlys Outdoor · In progress → Needs review · by @ava`

Everything from the event is data: it is escaped, shortened and kept on one line. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Final, assert_never
from urllib.parse import quote

from workers.notifications.entities import Entities, Person
from workers.notifications.event_data import EventValues, NumberLiteral, as_text
from workers.notifications.locales import (
    LOCALES,
    Locale,
    date_text,
    is_number,
    money_text,
    number_text,
    percent_text,
)
from workers.notifications.mrkdwn import clean, escape, is_visible, shorten_value
from workers.notifications.times import DAY, epoch, time_of

FIELD_LIMIT: Final = 300
# More would be a table, which is the job of a template.
_MOST_FIGURES: Final = 6
_SEPARATOR: Final = " · "
_ID: Final = "{id}"

_SUBJECT_KEYS: Final = ("title", "name", "asset_name", "file_name", "file", "task_title")
_REQUEST_KEYS: Final = ("request_title", "request.title")
_CLIENT_KEYS: Final = ("client_name", "client.name", "client")
_PLATFORM_KEYS: Final = ("platform_name", "platform")
_ACCOUNT_KEYS: Final = ("account_name", "account_id")
_ACTOR_KEYS: Final = (
    "author", "author_name", "changed_by_name", "uploaded_by_name", "commented_by_name",
    "assigned_by_name", "actor", "actor.name", "actor_name", "user_name", "changed_by",
    "uploaded_by", "created_by",
)  # fmt: skip
_NOTE_KEYS: Final = (
    "message", "comment", "comment_text", "content", "text", "description", "reason", "error",
)  # fmt: skip
_MONEY: Final = frozenset(
    ("amount", "budget", "spend", "spent", "cost", "costs", "price", "value", "total", "revenue",
     "fee", "invoice", "cpc", "cpm")
)  # fmt: skip
_SHARE: Final = frozenset(("percent", "percentage", "pct", "ctr"))
# Numbers that are not figures.
_NO_FIGURE: Final = frozenset(("year", "id", "ids", "uuid", "version"))
_LIKE_AN_ID = re.compile(r"[0-9a-f-]*\d[0-9a-f-]*", re.IGNORECASE | re.ASCII)
_PERSON = re.compile(r"[UW][A-Z0-9]{2,20}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_CODE_WORD = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
_CODE_FENCE = re.compile(r"`{3,}")


@dataclass(frozen=True)
class Wording:
    """The agency's settings for texts: `request_url` is the address of a request in its app, with
    `{id}` where the request's id goes (None: no link); `locale` is a key of LOCALES."""

    request_url: str | None = None
    locale: str = "en-US"


PLAIN_WORDING: Final = Wording()


def with_request_url(entities: Entities, data: EventValues, wording: Wording) -> Entities:
    """The entities, with the address of the request: the one that was found, or at least the one
    that the event names."""
    request_id = entities.request.id or _first(data, ("request_id",))
    if not (wording.request_url and request_id):
        return entities
    url = wording.request_url.replace(_ID, quote(request_id, safe=""))
    return replace(entities, request=replace(entities.request, url=url))


def plain_line(event_type: str, data: EventValues, entities: Entities, wording: Wording) -> str:
    """The line as mrkdwn. `data` are the event's own values, which take precedence over
    `entities`, as `with_request_url` returns them."""
    headline = _first(data, ("headline",)) or in_words(event_type) or "Notification"
    parts = [part for part in _parts(data, entities, LOCALES[wording.locale]) if part]
    line = escape(headline) + (f": {_SEPARATOR.join(parts)}" if parts else "")
    note = _first(data, _NOTE_KEYS)
    return f"{line}{' — ' if parts else ': '}{escape(note)}" if note else line


class Form(StrEnum):
    """A way to write a value: the word before its key in a placeholder."""

    WORDS = "words"
    NUMBER = "number"
    PERCENT = "percent"
    MONEY = "money"
    DATE = "date"


FORMS: Final = frozenset(Form)


def written_as(form: Form, value: object, data: EventValues, wording: Wording) -> object:
    """A value in that form, as the plain line would write it; a value that does not have the form
    stays as it is. Money is in `data`'s `currency`."""
    if not isinstance(value, str | int | float | Decimal) or isinstance(value, bool):
        return value
    locale, text = LOCALES[wording.locale], as_text(value)
    match form:
        case Form.WORDS:
            return in_words(text) if isinstance(value, str) and _CODE_WORD.fullmatch(text) else text
        case Form.DATE:
            time = None if text.isdigit() else time_of(text.strip())
            return date_text(time.date(), locale) if time else text
        case Form.PERCENT:
            return percent_text(text, locale) if is_number(text) else text
        case Form.MONEY:
            currency = _first(data, ("currency",)).upper()
            is_money = is_number(text) and _CURRENCY.fullmatch(currency)
            return money_text(text, currency, locale) if is_money else number_text(text, locale)
        case Form.NUMBER:
            return number_text(text, locale)
        case _:
            assert_never(form)


def in_words(code: str) -> str:
    """`needs_review` as `Needs review`; what is not such a code word stays as it is."""
    text = _one_line(code)
    if not _CODE_WORD.fullmatch(text):
        text = _one_line(re.sub(r"[_.-]+", " ", code)) if "_" in text else text
        return text[:1].upper() + text[1:]
    return re.sub(r"[_-]", " ", text).capitalize()


def _parts(data: EventValues, entities: Entities, locale: Locale) -> Iterator[str]:
    url = entities.request.url
    title = _first(data, _REQUEST_KEYS) or _one_line(entities.request.title or "")
    subject = _first(data, _SUBJECT_KEYS)
    if not title and url:
        title, subject = subject or "Open the request", ""
    if subject != title:
        yield escape(subject)
    yield f"<{escape(url)}|{escape(title)}>" if title and url else escape(title)
    client = _first(data, _CLIENT_KEYS) or _one_line(entities.client.name or "")
    yield escape(client)
    yield escape(_account(data))
    yield escape(_change(data))
    yield from islice(_figures(data, locale), _MOST_FIGURES)
    if "assigned_to" in data:
        yield _person("to", entities.assignee, "")
    yield _person("by", entities.actor, _actor_name(data))


def _account(data: EventValues) -> str:
    """`Meta: Nordlys Outdoor (act_1203300000000001)`"""
    platform = _first(data, _PLATFORM_KEYS)
    if not platform:
        return ""
    name, identity = (_first(data, (key,)) for key in _ACCOUNT_KEYS)
    account = f"{name} ({identity})" if name and identity else name or identity
    connections = _first(data, ("connections",))
    if connections not in ("", "1"):
        account = f"{account}, {connections} connections"
    written = in_words(platform) if _CODE_WORD.fullmatch(platform) else platform
    return ": ".join(filter(None, (written, account)))


def _change(data: EventValues) -> str:
    old, new = (in_words(_first(data, (key,))) for key in ("old_status", "new_status"))
    return f"{old} → {new}" if old and new else new or in_words(_first(data, ("status",)))


def _person(word: str, person: Person, name: str) -> str:
    """A mention if the profile has a Slack id, else a name: the event's, or the profile's."""
    if person.slack_id and _PERSON.fullmatch(person.slack_id):
        return f"{word} <@{person.slack_id}>"
    name = name or _one_line(person.name or "")
    return f"{word} {escape(name)}" if name else ""


def _actor_name(data: EventValues) -> str:
    names = (_first(data, (key,)) for key in _ACTOR_KEYS)
    return next((name for name in names if name and not _LIKE_AN_ID.fullmatch(name)), "")


# --- figures and dates ---


def _figures(data: EventValues, locale: Locale) -> Iterator[str]:
    """Numbers and times of the event, each with its key in words: `Spent: $1,250.00`."""
    currency = _first(data, ("currency",)).upper()
    for key, value in data.items():
        words = set(re.split(r"[\W_]+", key.lower()))
        if key in _SHOWN or words & _NO_FIGURE:
            continue
        label = escape(in_words(key))
        if isinstance(value, NumberLiteral | int | float | Decimal) and not isinstance(value, bool):
            yield f"{label}: {escape(_figure(_one_line(as_text(value)), words, currency, locale))}"
        elif isinstance(value, str) and (shown := _time(value, locale)):
            yield f"{label}: {shown}"


_SHOWN: Final = frozenset(
    (*_SUBJECT_KEYS, *_REQUEST_KEYS, *_CLIENT_KEYS, *_PLATFORM_KEYS, *_ACCOUNT_KEYS, *_NOTE_KEYS,
     *_ACTOR_KEYS, "headline", "connections", "old_status", "new_status", "status")
)  # fmt: skip


def _figure(written: str, words: set[str], currency: str, locale: Locale) -> str:
    if words & _SHARE:
        return percent_text(written, locale)
    if words & _MONEY and _CURRENCY.fullmatch(currency):
        return money_text(written, currency, locale)
    return number_text(written, locale)


def _time(text: str, locale: Locale) -> str:
    """A day as the locale writes it; a time in the reader's own time zone, which Slack knows.

    https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    """
    text = text.strip()
    time = None if text.isdigit() else time_of(text)
    if time is None:
        return ""
    day = date_text(time.date(), locale)
    seconds = epoch(text)
    if DAY.fullmatch(text) or seconds is None:
        return escape(day)
    return f"<!date^{seconds}^{{date_short}} {{time}}|{escape(day)}>"


# --- values ---


def _first(data: EventValues, paths: Iterable[str]) -> str:
    """The first of these values that is a text or a number and visible."""
    for path in paths:
        value: object = data
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        known = isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)
        if known and (text := _one_line(as_text(value))):
            return text
    return ""


def _one_line(text: str) -> str:
    """The text on one line, shortened; empty if nothing of it is visible."""
    line = shorten_value(" ".join(_CODE_FENCE.sub("`", clean(text)).split()), FIELD_LIMIT)
    return line if is_visible(line) else ""
