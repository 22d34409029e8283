"""Did it go out, and if not, why: the notifications, and each of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console.notification_course import answer_in_words, delivery_step, next_steps
from server.console.notification_filter import CHOOSABLE, FILTERS, as_uuid, filter_of, row_id
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
_PLACE: Final = ("before", "before_id")


def show_list(request: Request) -> Response:
    """A page of the list, newest first, by the filters of the query."""
    project: Project = request.app.state.project
    chosen = _chosen(request)
    named = as_uuid(chosen.get("text", ""))
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
        "choosable": CHOOSABLE,
        "chosen": {name: chosen.get(name) for name in FILTERS},
        "is_chosen": bool(filters),
        "filters": filters,
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
    names = (*FILTERS, *_PLACE)
    given = {name: request.query_params.get(name, "").strip() for name in names}
    return {name: value for name, value in given.items() if value}


def _arguments(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Raises HTTPException that names what cannot be understood."""
    return {
        **filter_of(chosen),
        # as it came out of the list: it may be the beginning of time
        "before": chosen.get("before") if "before_id" in chosen else None,
        "before_id": row_id(chosen["before_id"]) if "before_id" in chosen else None,
    }


def _address(query: Mapping[str, str]) -> str:
    return f"{PATH}?{urlencode(query)}" if query else PATH
