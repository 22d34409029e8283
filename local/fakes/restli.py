"""The part of Rest.li's query syntax that the fake LinkedIn needs.

https://linkedin.github.io/rest.li/spec/protocol: objects are (key:value,...), arrays are
List(value,...). Plain brackets, commas and colons are syntax; percent-encoded ones are part of a
value.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote


class RestliProblem(Exception):
    """An invalid query."""


def read_query(query: str) -> dict[str, Any]:
    """The parameters: texts, lists and objects of these. Raises RestliProblem."""
    found = {}
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        found[unquote(name)] = read_value(value)
    return found


def read_value(text: str) -> Any:
    """One value. Raises RestliProblem for anything else."""
    value, rest = _value(text)
    if rest.startswith(","):  # at the top, commas separate as in fields=a,b
        return [value, *(read_value(part) for part in rest[1:].split(","))]
    if rest:
        raise RestliProblem(f"unexpected {rest[:20]!r}")
    return value


def _value(text: str) -> tuple[Any, str]:
    if text.startswith("List("):
        return _items(text.removeprefix("List("))
    if text.startswith("("):
        return _members(text[1:])
    plain = re.match(r"[^(),:]*", text)
    end = plain.end() if plain else 0
    return unquote(text[:end]), text[end:]


def _items(rest: str) -> tuple[list[Any], str]:
    items: list[Any] = []
    while not rest.startswith(")"):
        value, rest = _value(rest)
        items.append(value)
        rest = _after(rest)
    return items, rest[1:]


def _members(rest: str) -> tuple[dict[str, Any], str]:
    members: dict[str, Any] = {}
    while not rest.startswith(")"):
        name, colon, rest = rest.partition(":")
        if not colon or not re.fullmatch(r"\w+", name):
            raise RestliProblem(f"not a key: {name[:20]!r}")
        members[name], rest = _value(rest)
        rest = _after(rest)
    return members, rest[1:]


def _after(rest: str) -> str:
    """What follows one of several values: past a comma, or the closing bracket."""
    if rest.startswith(","):
        return rest[1:]
    if rest.startswith(")"):
        return rest
    raise RestliProblem(f"unexpected {rest[:20]!r}")
