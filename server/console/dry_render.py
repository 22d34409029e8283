"""A template tried out: the message that the worker would make of it, and what it did with each
placeholder. Pure; nothing is posted or saved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from server.console.notification_message import data_of
from server.console.slack_message import message_html
from server.console.slack_text import Names
from workers.answers import Answer
from workers.doctor.template_checks import ConfigTemplate, flaws_for, read_template
from workers.errors import PermanentError
from workers.notifications.entities import NO_ENTITIES, read_entities
from workers.notifications.plain_line import Wording
from workers.notifications.rendering import PLACEHOLDER, SHORTENED, Message, render

# Placeholders of one template that are told about.
MOST_TOLD: Final = 100
# Before a value, so that an empty one is not taken for an empty template.
_BEFORE: Final = "·"
_ESCAPED: Final = re.compile(r"&(?:amp|lt|gt);")
_TAG: Final = re.compile(r"(<[^>]*>)")
_STATES: Final[Mapping[str, str]] = {
    "unknown": "the data has no such key: it stays as it is",
    "empty": "empty: nothing stands there",
    "cut": "too long: cut",
    "escaped": "has characters of Slack's markup: they are shown, and do nothing",
    "filled": "filled in",
}


@dataclass(frozen=True)
class Placeholder:
    """`state`: a key of the states above, `words` what that means; `value` as Slack is sent it."""

    key: str
    state: str
    words: str
    value: str


@dataclass(frozen=True)
class Trial:
    """`html`: the message, with what is unknown, cut or escaped marked; `problem`: why there is
    none; `flaws`: what the doctor would say of the template."""

    html: Markup
    problem: str | None = None
    placeholders: tuple[Placeholder, ...] = ()
    flaws: tuple[str, ...] = ()
    is_shortened: bool = False


@dataclass(frozen=True)
class Tried:
    """What is tried: `data` is JSON as somebody typed it; `known` and `names` are what the ids in
    it stand for; `config` a row of config_templates where the template is one's, else empty."""

    template: str
    data: str
    event_type: str
    known: Mapping[str, Any]
    names: Names
    config: Mapping[str, Any]
    wording: Wording


def try_out(tried: Tried) -> Trial:
    """The message, or why there is none."""
    flaws = tuple(flaws_for(_config(tried)))
    try:
        data = data_of(tried.data or None)
    except PermanentError as error:
        return Trial(Markup(), str(error), flaws=flaws)
    message = _rendered(tried.template, data, tried)
    drawn = message_html(message.text, message.blocks, tried.names)
    return Trial(
        marked(drawn, message.unknown_keys),
        placeholders=tuple(_placeholders(tried, data)),
        flaws=flaws,
        is_shortened=message.shortened,
    )


_BARE_CONFIG: Final[Mapping[str, Any]] = {
    "id": "", "entity_type": "", "event_type": "", "carried": {}, "events": 0,
}  # fmt: skip


def _config(tried: Tried) -> ConfigTemplate:
    row = {**_BARE_CONFIG, **tried.config, "template": tried.template}
    return read_template(Answer.of("config_templates", row))


def _placeholders(tried: Tried, data: object) -> Iterator[Placeholder]:
    """Of each, once, what the worker makes of it where it stands alone."""
    keys = dict.fromkeys(found[1] for found in PLACEHOLDER.finditer(tried.template))
    for key in list(keys)[:MOST_TOLD]:
        message = _rendered(f"{_BEFORE}{{{{{key}}}}}", data, tried)
        value = message.text.removeprefix(_BEFORE)
        if message.unknown_keys:
            state = "unknown"
        elif message.shortened:
            state = "cut"
        elif not value.strip():
            state = "empty"
        else:
            state = "escaped" if _ESCAPED.search(value) else "filled"
        yield Placeholder(key, state, _STATES[state], value)


def _rendered(template: str, data: object, tried: Tried) -> Message:
    known = tried.known
    return render(
        template,
        data,
        event_type=tried.event_type or "notification",
        entities=read_entities("known_of_event", known) if known else NO_ENTITIES,
        wording=tried.wording,
    )


def marked(drawn: Markup, unknown_keys: tuple[str, ...]) -> Markup:
    """The same HTML with marks around what is unknown, cut or escaped in its texts, tags aside."""
    pieces = _TAG.split(str(drawn))
    return Markup("").join(
        Markup(piece) if number % 2 else _marked_text(piece, unknown_keys)  # noqa: S704 - as given
        for number, piece in enumerate(pieces)
    )


def _marked_text(text: str, unknown_keys: tuple[str, ...]) -> Markup:
    def mark(found: re.Match[str]) -> str:
        key = found["key"]
        if key is not None and key not in unknown_keys:
            return found[0]
        state = "unknown" if key else "escaped" if found[0].startswith("&") else "cut"
        return f'<mark class="{state}" title="{state}">{found[0]}</mark>'

    # safe: what was escaped stays so, and the marks have words of ours only
    return Markup(_MARKED.sub(mark, text))  # noqa: S704


_MARKED: Final = re.compile(
    rf"{PLACEHOLDER.pattern.replace('(', '(?P<key>', 1)}|{_ESCAPED.pattern}"
    rf"|{re.escape(SHORTENED.strip())}|…"
)
