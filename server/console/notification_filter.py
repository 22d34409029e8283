"""The filters of the list of notifications: from a page's address to the arguments of SQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from starlette.exceptions import HTTPException

CHOOSABLE: Final = ("waiting", "sent", "dead", "expired", "skipped", "done")
FILTERS: Final = ("state", "event", "config", "channel", "since", "until", "text")


def filter_of(chosen: Mapping[str, str]) -> dict[str, Any]:
    """The filters as arguments of `console_notifications`. Raises HTTPException (400) that names an
    invalid value."""
    state, config = chosen.get("state"), chosen.get("config")
    if state is not None and state not in CHOOSABLE:
        raise HTTPException(400, f"{state} is not a state; the states are {', '.join(CHOOSABLE)}.")
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
    """The id as Postgres writes it. Raises HTTPException (400) for anything else."""
    found = as_uuid(text)
    if found is None:
        raise HTTPException(400, f"{text:.60} is not a valid id.")
    return found


def as_uuid(text: str) -> str | None:
    """The id as Postgres writes it; None for anything else."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _moment(text: str | None) -> str | None:
    """A time as a browser sends it, or with a time zone; UTC without one."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise HTTPException(400, f"{text} is not a time such as 2026-11-28T09:00.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
