"""What the commands print: tables for people, JSON for scripts; no secrets, and nothing that a
terminal would interpret as a command."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from workers.redaction import mask, mask_all
from workers.telemetry import logger

# Characters that move the cursor, colour, reorder or hide: controls, formats, surrogates, unusual
# line breaks.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_USUAL_COLUMNS: Final = 80

# A row to be shown, as SQL returned it.
Row = Mapping[str, object]


@contextmanager
def quiet_logger() -> Iterator[None]:
    """Keeps the workers' log out of the command's output: both go to stdout."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)


def plain(text: str) -> str:
    """`text` without secrets, on one line, with invisible characters escaped."""
    return "".join(map(_seen, " ".join(mask(text).split())))


def say(text: str) -> None:
    """Writes a line for the user to stderr."""
    sys.stderr.write(f"{plain(text)}\n")


def as_json(value: object, indent: int | None = None) -> str:
    """JSON that can be printed: invisible characters are escaped."""
    text = json.dumps(mask_all(value), ensure_ascii=False, indent=indent)
    return "".join(character if character == "\n" else _seen(character) for character in text)


def show(
    rows: Sequence[Row],
    columns: Sequence[str],
    options: argparse.Namespace,
    out: TextIO,
    *,
    empty: str,
) -> None:
    """Writes the rows as JSON, as a table, or, if that would be wider than the terminal, as blocks;
    `empty` if there are none."""
    if options.json:
        out.write(as_json(rows) + "\n")
    elif not rows:
        out.write(empty + "\n")
    else:
        cells = [[_cell(row[column]) for column in columns] for row in rows]
        out.write("\n".join(_table(columns, cells) or _blocks(columns, cells)) + "\n")


def show_page(
    rows: Sequence[Row],
    columns: Sequence[str],
    options: argparse.Namespace,
    out: TextIO,
    *,
    empty: str,
) -> None:
    """`show` for the rows up to `options.limit`. The caller asks for one more than that, which only
    shows that there are more."""
    show(rows[: options.limit], columns, options, out, empty=empty)
    if len(rows) > options.limit:
        say(f"There are more than these {options.limit}: use --limit to see more.")


def width_of(text: str) -> int:
    """The columns it takes: two for wide characters, none for combining ones."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def _table(columns: Sequence[str], cells: list[list[str]]) -> list[str] | None:
    """A line per row; None if it would be too wide."""
    lines = [list(columns), *cells]
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > _terminal_columns():
        return None
    return ["  ".join(map(_padded, line, widths)).rstrip() for line in lines]


def _blocks(columns: Sequence[str], cells: list[list[str]]) -> Iterator[str]:
    """The first cell of each row, and the others below it, wrapped."""
    label = max(map(width_of, columns[1:]))
    for number, (first, *rest) in enumerate(cells):
        if number:
            yield ""
        yield first
        for column, cell in zip(columns[1:], rest, strict=True):
            if cell == "-":
                continue
            room = max(20, _terminal_columns() - label - 4)
            name = column
            for line in _wrapped(cell, room):
                yield f"  {_padded(name, label)}  {line}".rstrip()
                name = ""


def _wrapped(text: str, room: int) -> Iterator[str]:
    """The text in lines of at most `room` columns, broken between words if possible."""
    line = ""
    for word in text.split(" "):
        for piece in _cut(word, room):
            longer = f"{line} {piece}" if line else piece
            if width_of(longer) <= room:
                line = longer
            else:
                yield line
                line = piece
    yield line


def _cut(word: str, room: int) -> Iterator[str]:
    """A word in pieces that fit."""
    piece = ""
    for character in word:
        if width_of(piece + character) > room:
            yield piece
            piece = ""
        piece += character
    yield piece


def _terminal_columns() -> int:
    return shutil.get_terminal_size((_USUAL_COLUMNS, 24)).columns


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(map(_cell, value)) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{_cell(name)} {_cell(each)}" for name, each in value.items()) or "-"
    return plain(str(value))


def _seen(character: str) -> str:
    """The character, or its JSON escape if it is invisible."""
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return json.dumps(character)[1:-1]
