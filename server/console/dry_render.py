"""A template tried out: the message that the worker would render, and the result of each
placeholder. Pure; nothing is posted or saved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from markupsafe import Markup

from server.console.notification_message import data_of
from server.console.slack_message import message_html
from server.console.slack_text import Names
from workers.doctor.template_checks import ConfigTemplate, flaws_for
from workers.errors import PermanentError
from workers.notifications.entities import Entities
from workers.notifications.plain_line import Wording
from workers.notifications.rendering import PLACEHOLDER, SHORTENED, Message, render

# Placeholders of a template that are listed.
MOST_LISTED: Final = 100
# Before a value, so that an empty value does not make an empty template.
_BEFORE: Final = "·"
_ESCAPED: Final = re.compile(r"&(?:amp|lt|gt);")
_TAG: Final = re.compile(r"(<[^>]*>)")
_STATES: Final[Mapping[str, str]] = {
    "unknown": "the data has no such key: the placeholder stays",
    "empty": "the value is empty",
    "cut": "the value is too long and was cut",
    "escaped": "characters of Slack's markup are shown as plain text",
    "filled": "filled in",
}


@dataclass(frozen=True)
class Placeholder:
    """`state` is a key of the states above, `words` what it means; `value` is sent to Slack."""

    key: str
    state: str
    words: str
    value: str


@dataclass(frozen=True)
class Trial:
    """`html`: the message, with unknown, cut and escaped parts marked; `problem`: why there is no
    message; `flaws`: what the doctor would report about the template."""

    html: Markup
    problem: str | None = None
    placeholders: tuple[Placeholder, ...] = ()
    flaws: tuple[str, ...] = ()
    is_shortened: bool = False


@dataclass(frozen=True)
class Tried:
    """What is tried: `data` is JSON as typed; `entities` and `names` are what its ids refer to;
    `config` is the config that the template is from, None where it is from none."""

    template: str
    data: str
    event_type: str
    entities: Entities
    names: Names
    config: ConfigTemplate | None
    wording: Wording


def try_out(tried: Tried) -> Trial:
    """The message, or why there is none."""
    flaws = tuple(flaws_for(replace(tried.config or _NO_CONFIG, template=tried.template)))
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


_NO_CONFIG: Final = ConfigTemplate(
    id="", entity_type="", event_type="", template="", events=0, carried={}
)


def _placeholders(tried: Tried, data: object) -> Iterator[Placeholder]:
    """Each placeholder once, rendered by itself."""
    keys = dict.fromkeys(found[1] for found in PLACEHOLDER.finditer(tried.template))
    for key in list(keys)[:MOST_LISTED]:
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
    return render(
        template,
        data,
        event_type=tried.event_type or "notification",
        entities=tried.entities,
        wording=tried.wording,
    )


def marked(drawn: Markup, unknown_keys: tuple[str, ...]) -> Markup:
    """The HTML with marks around unknown, cut and escaped parts of its texts."""
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

    # safe: escaped text stays escaped, and the marks hold none of it
    return Markup(_MARKED.sub(mark, text))  # noqa: S704


_MARKED: Final = re.compile(
    rf"{PLACEHOLDER.pattern.replace('(', '(?P<key>', 1)}|{_ESCAPED.pattern}"
    rf"|{re.escape(SHORTENED.strip())}|…"
)
