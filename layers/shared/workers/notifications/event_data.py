"""Reads `event_data` from its JSON text, so that no number in it changes or fails a batch.

Postgres keeps a JSON number digit by digit, of any length; Python's own numbers would show
1250.00 as 1250.0, and refuse to read a number of some thousand digits at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

from workers.errors import PermanentError

# Text within text within text: deeper nesting is not a quoting mistake.
_MOST_QUOTING: Final = 3
# A Decimal of a few characters may stand for more digits than memory holds.
_MOST_DIGITS: Final = 100_000


# A JSON object whose keys and values the producer of an event chose.
EventValues: TypeAlias = Mapping[str, object]


class NumberLiteral(str):
    """A number as written in the JSON text."""

    __slots__ = ()


def parse_event_data(text: str | None) -> object:
    """The value of a jsonb column's text: dicts, lists, strings, bools, None, and each number
    as a `NumberLiteral`. None for a null column.

    A JSON object that arrives as a JSON string, because the producer serialised it twice, is read
    as that object. Raises PermanentError for what cannot be read.
    """
    if text is None:
        return None
    try:
        return unquoted(_loads(text))
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = "not JSON"
    raise PermanentError(
        f"event_data is {problem} and cannot be read: correct it in the row, then redrive the "
        "notification.",
        code="event_data_unreadable",
    )


def unquoted(value: object) -> object:
    """The object that a string holds as JSON text; any other value unchanged."""
    inner = value
    for _ in range(_MOST_QUOTING):
        if not isinstance(inner, str) or isinstance(inner, NumberLiteral):
            break
        try:
            inner = _loads(inner)
        except (RecursionError, ValueError):
            break
    return inner if isinstance(inner, dict) else value


def as_text(value: object) -> str:
    """How a value is shown: a string as it is, None as nothing, booleans in lower case, numbers
    without exponents, lists and objects as compact JSON.

    Raises RecursionError for what is nested too deeply to be written.
    """
    if isinstance(value, str):
        return value
    written: list[str] = []
    if value is not None:
        _write(value, written)
    return "".join(written)


def _loads(text: str) -> object:
    return json.loads(
        text, parse_int=NumberLiteral, parse_float=NumberLiteral, parse_constant=NumberLiteral
    )


def _write(value: object, out: list[str]) -> None:
    if isinstance(value, dict):
        _write_members(value, out)
    elif isinstance(value, list | tuple):
        _write_items(value, out)
    elif isinstance(value, NumberLiteral):
        out.append(value)
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        out.append(_number(value))
    else:
        out.append(json.dumps(value, ensure_ascii=False, default=str))


def _write_members(members: Mapping[object, object], out: list[str]) -> None:
    separator = "{"
    for key, value in members.items():
        out += (separator, json.dumps(str(key), ensure_ascii=False), ":")
        _write(value, out)
        separator = ","
    out.append("}" if members else "{}")


def _write_items(items: Sequence[object], out: list[str]) -> None:
    separator = "["
    for value in items:
        out.append(separator)
        _write(value, out)
        separator = ","
    out.append("]" if items else "[]")


def _number(value: int | float | Decimal) -> str:
    # Through Decimal an int may have any length: str() refuses one of more than 4,300 digits.
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return f"{exact:f}" if abs(exact.adjusted()) <= _MOST_DIGITS else str(value)


def changes_status(event_type: str, data: object) -> bool:
    """Whether an event reports that a request changed its status: by its name, or by its data."""
    if event_type == "status_change":
        return True
    if not isinstance(data, Mapping):
        return False
    return data.get("new_status") not in (None, data.get("old_status"))
