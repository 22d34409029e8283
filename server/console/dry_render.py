"""A template tried out: the message that the worker would render, and the result of each
placeholder. Pure; nothing is posted or saved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from markupsafe import Markup

from server.console.notification_message import data_of, unmasked
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
    problem = _problem(tried.data)
    if problem is not None:
        return Trial(Markup(), problem, flaws=flaws)
    data = data_of(tried.data or None)
    message = _rendered(tried.template, data, tried)
    drawn = message_html(message.text, message.blocks, tried.names)
    placeholders = tuple(_placeholders(tried, data))
    is_cut = message.shortened or any(one.state == "cut" for one in placeholders)
    return Trial(
        marked(drawn, message.unknown_keys, is_cut=is_cut),
        placeholders=placeholders,
        flaws=flaws,
        is_shortened=message.shortened,
    )


def _problem(data: str) -> str | None:
    """Why `data` is not the JSON of an event; None where it is, or is empty."""
    if not data:
        return None
    try:
        data_of(data)
        json.loads(unmasked(data), parse_int=str, parse_float=str, parse_constant=_refuse)
    except PermanentError:
        return _place(data)
    except ValueError as error:
        return f"The event data is not JSON: {error}."
    return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number there")


def _place(data: str) -> str:
    """Where data that cannot be read is wrong."""
    try:
        json.loads(data, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return f"The event data is not JSON: {error.msg}, {where}."
    except RecursionError:
        pass
    return "The event data is nested too deeply."


_NO_CONFIG: Final = ConfigTemplate(
    id="", entity_type="", event_type="", template="", digest="", events=0, carried={}
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


def marked(drawn: Markup, unknown_keys: tuple[str, ...], *, is_cut: bool) -> Markup:
    """The HTML with marks around unknown, cut and escaped parts of its texts. An ellipsis is only
    a mark of what was cut where something was."""
    pieces = _TAG.split(str(drawn))
    return Markup("").join(
        Markup(piece) if number % 2 else _marked_text(piece, unknown_keys, is_cut)  # noqa: S704
        for number, piece in enumerate(pieces)
    )


def _marked_text(text: str, unknown_keys: tuple[str, ...], is_cut: bool) -> Markup:
    def mark(found: re.Match[str]) -> str:
        key = found["key"]
        if key is not None and key not in unknown_keys:
            return found[0]
        if found[0] == "…" and not is_cut:
            return found[0]
        state = "unknown" if key else "escaped" if found[0].startswith("&") else "cut"
        return f'<mark class="{state}" title="{state}">{found[0]}</mark>'

    # safe: escaped text stays escaped, and the marks hold none of it
    return Markup(_MARKED.sub(mark, text))  # noqa: S704


_MARKED: Final = re.compile(
    rf"{PLACEHOLDER.pattern.replace('(', '(?P<key>', 1)}|{_ESCAPED.pattern}"
    rf"|{re.escape(SHORTENED.strip())}|…"
)
