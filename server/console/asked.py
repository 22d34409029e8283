"""The values in a request's query; an invalid one is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request

T = TypeVar("T")


def asked(request: Request, name: str, kind: Callable[[str], T], default: T) -> T:
    """The query's value of that name, `default` where there is none. Raises HTTPException (400)
    where `kind` raises ValueError for it."""
    text = request.query_params.get(name, "").strip()
    return default if not text else _as(name, kind, text)


def needed(request: Request, name: str) -> str:
    """A value that the page requires. Raises HTTPException (400) where it is missing."""
    text = request.query_params.get(name, "")
    if not text:
        raise HTTPException(400, f"{name} is missing.")
    return text


def day(text: str) -> date:
    """A date as YYYY-MM-DD, in the range that everything here can handle. Raises ValueError."""
    found = date.fromisoformat(text)
    if not 1970 <= found.year <= 9000:
        raise ValueError(f"{text} is out of range")
    return found


def moment(text: str) -> datetime:
    """A time with its zone, in ISO 8601. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found


def cursor(request: Request, **kinds: Callable[[str], Any]) -> dict[str, str] | None:
    """The key, as texts, of the row after which the page of a list begins; None for the first page.

    Raises HTTPException (400) for anything but such a key.
    """
    text = request.query_params.get("after")
    if not text:
        return None
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict) or set(key) != set(kinds):
        raise HTTPException(400, "after is not the key of a row.")
    for name, kind in kinds.items():
        _as(name, kind, str(key[name]))
    return {name: str(value) for name, value in key.items()}


def onward(request: Request, after: Mapping[str, Any] | None) -> str | None:
    """The address of the next page of a list; None where the list ends."""
    if after is None:
        return None
    return with_query(request, after=json.dumps(after, separators=(",", ":")))


def with_query(request: Request, **changes: str | None) -> str:
    """The address of this page with these values in its query; None removes one."""
    query = {**dict(request.query_params), **changes}
    kept = {name: value for name, value in query.items() if value}
    return request.url.path + (f"?{urlencode(kept)}" if kept else "")


def _as(name: str, kind: Callable[[str], T], text: str) -> T:
    try:
        return kind(text)
    except (ValueError, ArithmeticError):
        raise HTTPException(400, f"{name} cannot be {text!r:.60}.") from None
