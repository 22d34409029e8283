"""Slack's mrkdwn as text: how long it is, where it may be cut, and what a cut leaves open.

All of it deals with rendered text, in which every `<` opens a link or mention and every `&`
outside of them an entity. https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

ELLIPSIS: Final = "…"
FENCE: Final = "```"
# The beginning of a quoted line. `&gt;` is what a client sends for a `>` that was typed.
QUOTE: Final = re.compile(r"[ \t]*(?:>|&gt;)(?!(?:>|&gt;){2})[ \t]?")
# Quotes everything that follows, not only its line.
_QUOTE_OF_THE_REST = re.compile(r"^[ \t]*(?:>|&gt;){3}[ \t]?", re.MULTILINE)

# How far a cut may be moved so that it falls between two elements.
_REACH: Final = 32
# How far after a cut to look for the mark that would have ended a format.
_AHEAD: Final = 12_000
# A mark opens after a space or the like and before a visible character, and closes the other way
# round; one that could do both closes what is open.
_OPENING: Final = r"(?<![^\W_])[*_~](?=\S)"
_FORMAT = re.compile(
    r"(?P<fence>```.*?```|```)|(?P<code>(?<!`)`[^`\n]+`(?!`))|<[^<>\n]*>"
    rf"|(?P<closing>(?<=\S)[*_~](?![^\W_]))|(?P<opening>{_OPENING})",
    re.DOTALL,
)
_OPENS = re.compile(_OPENING)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """The text without control characters (line feed and tab stay) and lone surrogates."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", text))


def escape(text: str) -> str:
    """Text that Slack is to show as it is.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def is_visible(text: str) -> bool:
    """Whether a reader would see any of it."""
    return any(
        unicodedata.category(char) not in _INVISIBLE_CATEGORIES and char not in _BLANKS
        for char in text.strip()
    )


_INVISIBLE_CATEGORIES: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Me"})
# Letters and symbols by category that look blank: Hangul fillers, the empty Braille cell.
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def units(text: str) -> int:
    """Length in UTF-16 code units, the largest count that Slack might use."""
    return len(text.encode("utf-16-le")) // 2


def sections(text: str, limit: int) -> Iterator[str]:
    """The text in parts of at most `limit` units, cut after a line, else after a word, else
    anywhere.

    A code fence, bold and the like, or a quote that continues beyond a cut is closed before it and
    reopened after it. Parts of which nothing is visible are left out.
    """
    formats = _formats(text) if units(text) > limit else []
    start, before = 0, _Open()
    while start < len(text):
        end, after = _part_end(text, start, limit - before.size, formats, _section_end)
        if is_visible(text[start:end]):
            yield before.reopen(after.close(text[start:end]))
        start, before = end, after


def shorten(text: str, limit: int, marker: str) -> str:
    """The text in at most `limit` units, ending with the marker if it was longer. What the cut
    leaves open is closed."""
    if units(text) <= limit:
        return text
    formats = _formats(text[: limit + _AHEAD], is_whole=False)
    end, after = _part_end(text, 0, limit - units(marker), formats, _hard_end)
    return after.close(text[:end]) + marker


def shorten_value(text: str, limit: int) -> str:
    """The same for text that is not yet escaped and whose formatting is ignored."""
    if units(text) <= limit:
        return text
    return text[: _cluster_start(text, _prefix(text, limit - units(ELLIPSIS)))] + ELLIPSIS


class _Format(NamedTuple):  # cheaper than a dataclass, and a text may have thousands
    """A formatted part of a text, including its marks."""

    start: int
    end: int
    mark: str

    def contains(self, place: int) -> bool:
        return self.start < place < self.end


@dataclass(frozen=True)
class _Open:
    """What is open where a text is cut: the quote, and the marks from the outermost inwards."""

    quote: str = ""
    marks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Of what reopens it, in units."""
        return units(self.quote) + self.closing_size

    @property
    def closing_size(self) -> int:
        return sum(map(len, self.marks))

    def close(self, part: str) -> str:
        """The part with its marks closed: right after a visible character, as Slack requires."""
        if FENCE in self.marks:
            return part + FENCE
        body = part.rstrip()
        return body + "".join(reversed(self.marks)) + part[len(body) :]

    def reopen(self, part: str) -> str:
        """The following part, reopened."""
        body = part if FENCE in self.marks else part.lstrip()
        blank = part[: len(part) - len(body)]
        return self.quote + blank + "".join(self.marks) + body


def _formats(text: str, *, is_whole: bool = True) -> list[_Format]:
    """The formatted parts by where they start: fences, inline code, `*`, `_` and `~`.

    A mark without its counterpart is a character like any other; only in a text that continues
    beyond its end (`is_whole` false) a fence without one is open up to there.
    """
    found: list[_Format] = []
    opened: dict[str, int] = {}
    for match in _FORMAT.finditer(text):
        (start, end), kind = match.span(), match.lastgroup
        if kind == "fence":
            opened.clear()
            if end - start > len(FENCE):
                found.append(_Format(start, end, FENCE))
            elif not is_whole:
                found.append(_Format(start, len(text) + len(FENCE), FENCE))
                break
        elif kind == "code":
            found.append(_Format(start, end, "`"))
        elif kind == "closing" and start - opened.get(match[0], start) > 1:
            found.append(_Format(opened.pop(match[0]), end, match[0]))
        elif kind == "opening" or (kind == "closing" and _OPENS.match(text, start)):
            opened[match[0]] = start
    return sorted(found)


def _open_at(text: str, place: int, formats: Sequence[_Format]) -> _Open:
    if place >= len(text):
        return _Open()
    marks = tuple(one.mark for one in formats if one.start < place < one.end)
    return _Open(_quote_at(text, place, formats), marks)


def _quote_at(text: str, place: int, formats: Sequence[_Format]) -> str:
    """What the rest of the text must begin with to be quoted as it is now; mostly nothing."""
    rest = _QUOTE_OF_THE_REST.search(text)
    while rest and _in_fence(rest.start(), formats):
        rest = _QUOTE_OF_THE_REST.search(text, rest.end())
    if rest and rest.end() <= place:
        return rest[0]
    start = text.rfind("\n", 0, place) + 1
    return _quote_of_line(text, start, formats) if place > start else ""


def _quote_of_line(text: str, start: int, formats: Sequence[_Format]) -> str:
    fence = _in_fence(start, formats)
    if fence and not QUOTE.match(text, text.rfind("\n", 0, fence.start) + 1):
        return ""  # a `>` in code
    found = QUOTE.match(text, start)
    return found[0] if found else ""


def _in_fence(place: int, formats: Sequence[_Format]) -> _Format | None:
    return next((one for one in formats if one.mark == FENCE and one.contains(place)), None)


_Cut = Callable[[str, int, int], int]


def _part_end(
    text: str, start: int, room: int, formats: Sequence[_Format], cut: _Cut
) -> tuple[int, _Open]:
    """Where the part that begins at `start` ends, so that it has at most `room` units once closed;
    and what is open there. `cut` finds the place for a number of units."""
    spare = 0
    while True:
        end = _next_to_marks(text, start, cut(text, start, room - spare), formats)
        after = _open_at(text, end, formats)
        if units(text[start:end]) + after.closing_size <= room:
            return end, after
        spare = max(spare + 1, after.closing_size)


def _next_to_marks(text: str, start: int, end: int, formats: Sequence[_Format]) -> int:
    """`end`, or the nearest place that leaves no empty formatting on either side."""
    if end == len(text):
        return end
    around = [one for one in formats if one.start < end < one.end]
    for one in reversed(around):  # an enclosing one comes after what it encloses
        size = len(one.mark)
        if not one.contains(end):
            continue
        if not text[one.start + size : end].strip() and one.start > start:
            end = one.start
        elif not text[end : one.end - size].strip() and one.end - end <= _REACH:
            end = one.end
    line = text.rfind("\n", 0, end) + 1
    prefix = _quote_of_line(text, line, formats)
    return line if start < line < end <= line + len(prefix) else end


def _section_end(text: str, start: int, size: int) -> int:
    """Where the first section ends: after a line, else after a word, else anywhere."""
    limit = start + _prefix(text[start:], size)
    if limit == len(text):
        return limit
    for separator in ("\n", " "):
        # Searching only the second half keeps the sections few.
        end = text.rfind(separator, (start + limit) // 2, limit) + 1
        if end and _unbroken(text, end) == end:
            return end
    return _unbroken(text, limit)


def _hard_end(text: str, start: int, size: int) -> int:
    return _unbroken(text, start + _prefix(text[start:], size))


def _prefix(text: str, limit: int) -> int:
    """How many characters from the start take up at most `limit` UTF-16 units."""
    head = text[:limit].encode("utf-16-le")
    return len(head[: 2 * limit].decode("utf-16-le", "ignore"))


def _unbroken(text: str, end: int) -> int:
    """The last place up to `end` that does not cut a link, mention, entity or character."""
    if end >= len(text):
        return end
    end = _cluster_start(text, end)
    opened, closed = text.rfind("<", 0, end), text.rfind(">", 0, end)
    if opened > closed:
        end = opened
    entity = text.rfind("&", closed + 1, end)
    return end if entity < 0 or ";" in text[entity:end] else entity


def _cluster_start(text: str, end: int) -> int:
    """The last place up to `end`, within reason, that does not cut what a reader sees as one
    character: a letter with its accents, a family or flag emoji. `end` is inside the text."""
    for place in range(end, max(0, end - _REACH), -1):
        if not _joined(text, place):
            return place
    return end


def _joined(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    if "\u200d" in (before, after) or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True  # skin tones; the letters of regional flags
    if not _flag_letter(after):
        return False
    run = 0
    while place > run and _flag_letter(text[place - 1 - run]):
        run += 1
    return run % 2 == 1


def _flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
