"""Which notifications are meant: the filters of their list, as a page's address has them and as SQL
takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from starlette.exceptions import HTTPException

CHOOSABLE: Final = ("waiting", "sent", "dead", "expired", "skipped", "done")
FILTERS: Final = ("state", "event", "config", "channel", "since", "until", "text")


def filter_of(chosen: Mapping[str, str]) -> dict[str, Any]:
    """The filters' arguments of console_notifications. Raises HTTPException (400) that names what
    cannot be understood."""
    state, config = chosen.get("state"), chosen.get("config")
    if state is not None and state not in CHOOSABLE:
        raise HTTPException(400, f"{state} is no state; there are {', '.join(CHOOSABLE)}.")
    return {
        "state": state,
        "config_id": None if config is None else row_id(config),
        "event_type": chosen.get("event"),
        "destination": chosen.get("channel"),
        "since": _moment(chosen.get("since")),
        "until": _moment(chosen.get("until")),
        "search": chosen.get("text"),
    }


def row_id(text: str) -> str:
    """Raises HTTPException (400) for what is no id."""
    found = as_uuid(text)
    if found is None:
        raise HTTPException(400, f"{text:.60} is no id.")
    return found


def as_uuid(text: str) -> str | None:
    """An id as Postgres writes it; None for what is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _moment(text: str | None) -> str | None:
    """A time as a browser's field gives it, or with a time zone; UTC where it names none."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise HTTPException(400, f"{text} is no time such as 2026-11-28T09:00.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
