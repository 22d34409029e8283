"""Slack's mrkdwn as HTML, as a reader in Slack sees it.

A text becomes markup only where Slack would format it, and then only the markup written here. https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

# By the id of a person, a channel or a group of people.
Names = Mapping[str, str]

_FENCE = re.compile(r"```(.+?)```", re.DOTALL)
_QUOTED = re.compile(r"[ \t]*(?:>|&gt;)[ \t]?")
_QUOTE_OF_THE_REST = re.compile(r"[ \t]*(?:>|&gt;){3}[ \t]?")
_PIECE = re.compile(
    r"(?P<code>(?<!`)`[^`\n]+`(?!`))"
    r"|<(?P<token>[^<>\n]+)>"
    r"|(?P<emoji>:[a-z0-9_+'-]{0,50}[a-z][a-z0-9_+'-]{0,50}:)"
    r"|(?P<url>https?://[^\s<>|]+)"
    r"|(?P<mark>[*_~])"
)
_TOKEN = re.compile(r"<([^<>\n]+)>")
_ENTITY = re.compile(r"&(amp|lt|gt);")
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">"}
WEB_ADDRESS: Final = re.compile(r"https?://[^\s<>\"\x00-\x20\x7f-\x9f]+", re.IGNORECASE)
_OTHER_ADDRESS = re.compile(r"(?:mailto|tel):(.+)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.,;:!?)\]'\"*_~]*$")
_BROADCASTS: Final = frozenset({"here", "channel", "everyone"})
_EPOCH = re.compile(r"\d{1,11}", re.ASCII)
_DATE_TOKEN = re.compile(r"\{([a-z_]+)\}")
# Of the name of a day or month, what strftime calls it; {day} has an ending in English.
_DATES: Final = {
    "date_num": "%Y-%m-%d",
    "date_slash": "%d/%m/%Y",
    "date": "%B {day}, %Y",
    "date_pretty": "%B {day}, %Y",
    "date_short": "%b {number}, %Y",
    "date_short_pretty": "%b {number}, %Y",
    "date_long": "%A, %B {day}, %Y",
    "date_long_pretty": "%A, %B {day}, %Y",
    "date_long_full": "%B {number}, %Y",
    "day_divider_pretty": "%A, %B {day}, %Y",
    "time": "%H:%M UTC",
    "time_secs": "%H:%M:%S UTC",
}

_FORMATS: Final = {
    "*": Markup("<strong>{}</strong>"),
    "_": Markup("<em>{}</em>"),
    "~": Markup("<s>{}</s>"),
}
_LINK = Markup('<a href="{}" rel="noopener noreferrer nofollow" target="_blank">{}</a>')
_MENTION = Markup('<span class="slack-mention" title="{}">{}</span>')
_BROADCAST = Markup('<span class="slack-mention slack-broadcast">@{}</span>')
_EMOJI = Markup('<span class="slack-emoji">{}</span>')
_BREAK = Markup("<br>")
_NOTHING = Markup("")

# Control characters become their symbols; others that are invisible or invalid, U+FFFD.
_SYMBOLS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}


def visible(text: str) -> str:
    """The text with symbols in place of control characters; line feeds and tabs stay."""
    return text if text.isprintable() else text.translate(_SYMBOLS)


def mrkdwn(text: str, names: Names, *, verbatim: bool = True) -> Markup:
    """A text in Slack's markup. Without `verbatim` Slack also links bare addresses."""
    return _lines(text, lambda line: _inline(line, names, verbatim), names)


def plain(text: str) -> Markup:
    """A plain text of Slack's, in which only entities mean something."""
    return _BREAK.join(_literal(line, None) for line in text.split("\n"))


# --- quotes, fences, lines ---

_Render = Callable[[str], Markup]


def _lines(text: str, render: _Render, names: Names) -> Markup:
    """With quotes and code fences; `render` is for lines outside of fences."""
    made: list[Markup] = []
    rest: list[str] = text.split("\n")
    while rest:
        taken = _take(rest)
        first, lines, rest = rest[0], rest[:taken], rest[taken:]
        if opening := _QUOTE_OF_THE_REST.match(first):
            body = "\n".join([first[opening.end() :], *rest])
            lines, rest = [], []
            made.append(_quote(_fenced(body, render, names)))
        elif _QUOTED.match(first):
            body = "\n".join(_QUOTED.sub("", line, count=1) for line in lines)
            made.append(_quote(_fenced(body, render, names)))
        else:
            made.append(_fenced("\n".join(lines), render, names))
    return _joined(made)


def _take(lines: list[str]) -> int:
    """How many of the lines belong together: those of a quote, or those up to the next quote."""
    if _QUOTED.match(lines[0]):
        ends = (number for number, line in enumerate(lines) if number and not _goes_on(line))
        return next(ends, len(lines))
    is_open = False  # a `>` within a fence is code
    for number, line in enumerate(lines):
        if not is_open and _QUOTED.match(line):
            return number
        is_open ^= line.count("```") % 2 == 1
    return len(lines)


def _goes_on(line: str) -> bool:
    return bool(_QUOTED.match(line)) and not _QUOTE_OF_THE_REST.match(line)


def _fenced(text: str, render: _Render, names: Names) -> Markup:
    made: list[Markup] = []
    end = 0
    for fence in _FENCE.finditer(text):
        made.append(_rendered(text[end : fence.start()].removesuffix("\n"), render))
        code = fence[1].removeprefix("\n").removesuffix("\n")
        made.append(Markup("<pre><code>{}</code></pre>").format(_literal(code, names)))
        end = fence.end() + text[fence.end() :].startswith("\n")
    made.append(_rendered(text[end:], render))
    return _joined(made)


def _rendered(text: str, render: _Render) -> Markup:
    return _BREAK.join(render(line) for line in text.split("\n"))


def _quote(content: Markup) -> Markup:
    return Markup("<blockquote>{}</blockquote>").format(content)


def _joined(parts: list[Markup]) -> Markup:
    """Quotes and fences begin on a new line."""
    return _NOTHING.join(part for part in parts if part)


# --- within a line ---


def _inline(line: str, names: Names, verbatim: bool) -> Markup:
    flow = _Flow(line)
    end = 0
    for found in _PIECE.finditer(line):
        flow.add(_entities(line[end : found.start()]))
        end = found.end()
        if found["mark"]:
            flow.mark(found["mark"], found.start())
        elif found["code"]:
            code = _literal(found["code"][1:-1], names)
            flow.add(Markup("<code>{}</code>").format(code))
        elif found["token"]:
            flow.add(_token(found["token"], names))
        elif found["emoji"]:
            flow.add(_EMOJI.format(found["emoji"]))
        else:
            flow.add(_entities(found["url"]) if verbatim else _bare_address(found["url"]))
    flow.add(_entities(line[end:]))
    return _NOTHING.join(flow.pieces)


class _Flow:
    """A line's pieces, and its open marks. No format nests in one of its own kind, so that each
    piece is joined three times at most."""

    def __init__(self, line: str) -> None:
        self.pieces: list[Markup] = []
        self._line = line
        self._opened: dict[str, tuple[int, int]] = {}

    def add(self, piece: Markup) -> None:
        if piece:
            self.pieces.append(piece)

    def mark(self, mark: str, place: int) -> None:
        """A mark opens between a space (or similar) and a visible character, and closes the other
        way round; one that could do both closes an open one."""
        before, after = self._line[place - 1 : place], self._line[place + 1 : place + 2]
        if mark in self._opened and before.strip() and not after.isalnum():
            start, index = self._opened[mark]
            if place - start > 1:
                self._close(mark, index)
                return
        if after.strip() and not before.isalnum():
            self._opened[mark] = place, len(self.pieces)
        self.pieces.append(Markup.escape(mark))

    def _close(self, mark: str, index: int) -> None:
        content = _NOTHING.join(self.pieces[index + 1 :])
        self.pieces[index:] = [_FORMATS[mark].format(content)]
        self._opened = {kind: at for kind, at in self._opened.items() if at[1] < index}


def _literal(text: str, names: Names | None) -> Markup:
    """Text in which only entities and, with `names`, links and mentions mean something."""
    if names is None:
        return _entities(text)
    made: list[Markup] = []
    end = 0
    for found in _TOKEN.finditer(text):
        made += [_entities(text[end : found.start()]), _token(found[1], names)]
        end = found.end()
    return _NOTHING.join([*made, _entities(text[end:])])


def _entities(text: str) -> Markup:
    return Markup.escape(visible(_decoded(text)))


def _decoded(text: str) -> str:
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], text)


# --- links, mentions, dates ---


def _token(content: str, names: Names) -> Markup:
    """What is between angle brackets; shown as it is where it means nothing to Slack."""
    target, _, label = content.partition("|")
    made: Markup | None = None
    if target[0] in "@#":
        name = names.get(target[1:]) or _decoded(label) or target[1:]
        made = _MENTION.format(visible(target[1:]), visible(target[0] + name.lstrip("@#")))
    elif target[0] == "!":
        made = _command(target[1:], label, names)
    elif WEB_ADDRESS.fullmatch(address := _decoded(target)):
        made = _LINK.format(address, _entities(label.strip()) or visible(address))
    elif other := _OTHER_ADDRESS.fullmatch(target):
        made = _entities(label.strip() or other[1])
    return _entities(f"<{content}>") if made is None else made


def _command(command: str, label: str, names: Names) -> Markup | None:
    name, *parts = command.split("^", 3)
    if name in _BROADCASTS:
        return _BROADCAST.format(name)
    if name == "subteam" and parts:
        shown = names.get(parts[0]) or _decoded(label) or parts[0]
        return _MENTION.format(visible(parts[0]), visible("@" + shown.lstrip("@")))
    if name == "date":
        return _date(parts, label) or (_entities(label) if label else None)
    return None


def _date(parts: list[str], label: str) -> Markup | None:
    """In UTC, which is shown: a reader in Slack sees their own time zone."""
    if len(parts) < 2 or not _EPOCH.fullmatch(parts[0]):
        return None
    try:
        moment = datetime.fromtimestamp(int(parts[0]), UTC)
    except (OverflowError, ValueError, OSError):
        return None
    shown = _DATE_TOKEN.sub(lambda token: _written(token, moment), _decoded(parts[1]))
    made = Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), visible(_decoded(label)), visible(shown)
    )
    if len(parts) > 2 and WEB_ADDRESS.fullmatch(address := _decoded(parts[2])):
        return _LINK.format(address, made)
    return made


def _written(token: re.Match[str], moment: datetime) -> str:
    form = _DATES.get(token[1])
    if form is None:
        return token[0]
    number = moment.day
    ending = "th" if 10 < number < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return moment.strftime(form).format(day=f"{number}{ending}", number=number)


def _bare_address(url: str) -> Markup:
    body = _SENTENCE_END.sub("", url)
    address = _decoded(body)
    if not WEB_ADDRESS.fullmatch(address):
        return _entities(url)
    return _LINK.format(address, visible(address)) + _entities(url[len(body) :])
