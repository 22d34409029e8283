"""Did it go out, and if not, why: the notifications, and each of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console.notification_course import answer_in_words, delivery_step, next_steps
from server.console.notification_message import first_line, shown_message, wording_of
from server.console.project import Project
from server.console.rendering import page
from workers.clock import utc_now

PATH: Final = "/notifications"
NAME: Final = "Notifications"

PAGE_SIZE: Final = 50
# Each with the words for it and how it is shown.
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "waiting": ("waiting", ""),
    "sent": ("sent", "ok"),
    "dead": ("dead", "failed"),
    "expired": ("expired", "warning"),
    "skipped": ("skipped", ""),
    "done": ("done, before these workers", ""),
    # of a delivery
    "pending": ("waiting", ""),
    "sending": ("being posted", ""),
    "unknown": ("perhaps posted", "warning"),
}
_CHOOSABLE: Final = ("waiting", "sent", "dead", "expired", "skipped", "done")
_FILTERS: Final = ("state", "event", "config", "channel", "since", "until", "text")
_PLACE: Final = ("before", "before_id")


def show_list(request: Request) -> Response:
    """A page of the list, newest first, by the filters of the query."""
    project: Project = request.app.state.project
    chosen = _chosen(request)
    named = _uuid(chosen.get("text", ""))
    if named is not None and project.call("console_notification", id=named) is not None:
        return RedirectResponse(f"{PATH}/{named}", 303)
    found = project.call("console_notifications", **_arguments(chosen), row_limit=PAGE_SIZE)
    names, wording = found["names"], wording_of(project.settings)
    for row in found["rows"]:
        row["line"] = first_line(row, names, wording)
    filters = {name: value for name, value in chosen.items() if name not in _PLACE}
    context = {
        "rows": found["rows"],
        "names": names,
        "choices": project.call("console_notification_filters"),
        "states": STATES,
        "choosable": _CHOOSABLE,
        "chosen": {name: chosen.get(name) for name in _FILTERS},
        "is_chosen": bool(filters),
        "next_page": _address({**filters, **found["next"]}) if found["next"] else None,
        "first_page": _address(filters) if "before" in chosen else None,
        # a text is looked for in many rows, and what is further down does not change
        "is_live": "text" not in chosen and "before" not in chosen,
    }
    return page(request, "notifications.html", context)


def show(request: Request) -> Response:
    """One notification: what it says, where it went, where it goes."""
    project: Project = request.app.state.project
    notification = project.call("console_notification", id=str(request.path_params["id"]))
    if notification is None:
        raise HTTPException(404)
    now = utc_now()
    expires_after = timedelta(hours=project.settings.notification_expiry_hours)
    deliveries = notification["deliveries"]
    for delivery in deliveries:
        delivery["step"] = delivery_step(delivery, notification, now)
    context = {
        "one": notification,
        "config": notification["config"] or {},
        "message": shown_message(
            notification,
            wording_of(project.settings),
            is_repeat=any(one["possible_duplicate"] for one in deliveries),
        ),
        "steps": next_steps(notification, now, expires_after),
        "states": STATES,
        "words": answer_in_words,
        "now": now,
    }
    return page(request, "notification.html", context)


ROUTES: Final = [Route(PATH, show_list), Route(f"{PATH}/{{id:uuid}}", show)]


def _chosen(request: Request) -> dict[str, str]:
    """What the query chooses, by name; what is empty is not chosen."""
    names = (*_FILTERS, *_PLACE)
    given = {name: request.query_params.get(name, "").strip() for name in names}
    return {name: value for name, value in given.items() if value}


def _arguments(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Raises HTTPException that names what cannot be understood."""
    state, config = chosen.get("state"), chosen.get("config")
    if state is not None and state not in _CHOOSABLE:
        raise HTTPException(400, f"{state} is no state; there are {', '.join(_CHOOSABLE)}.")
    return {
        "state": state,
        "config_id": None if config is None else _id(config),
        "event_type": chosen.get("event"),
        "destination": chosen.get("channel"),
        "since": _moment(chosen.get("since")),
        "until": _moment(chosen.get("until")),
        "search": chosen.get("text"),
        # as it came out of the list: it may be the beginning of time
        "before": chosen.get("before") if "before_id" in chosen else None,
        "before_id": _id(chosen["before_id"]) if "before_id" in chosen else None,
    }


def _address(query: Mapping[str, str]) -> str:
    return f"{PATH}?{urlencode(query)}" if query else PATH


def _id(text: str) -> str:
    found = _uuid(text)
    if found is None:
        raise HTTPException(400, f"{text} is no id.")
    return found


def _uuid(text: str) -> str | None:
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
