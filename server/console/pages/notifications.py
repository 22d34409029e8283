"""Was it sent, and if not, why: the list of notifications, and a page for each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console.answers.notifications import (
    read_filter_choices,
    read_notification,
    read_page,
)
from server.console.notification_filter import CHOOSABLE, FILTERS, as_uuid, filter_of, row_id
from server.console.notification_history import answer_in_words, delivery_step, next_steps
from server.console.notification_message import first_line, shown_message, wording_of
from server.console.project import Project
from server.console.rendering import page
from workers.clock import utc_now

PATH: Final = "/notifications"
NAME: Final = "Notifications"

PAGE_SIZE: Final = 50
# The words for each state, and the class that it is shown with.
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "waiting": ("waiting", ""),
    "sent": ("sent", "ok"),
    "dead": ("dead", "failed"),
    "expired": ("expired", "warning"),
    "skipped": ("skipped", ""),
    "done": ("done, before these workers", ""),
    # states of a delivery
    "pending": ("waiting", ""),
    "sending": ("being posted", ""),
    "unknown": ("perhaps posted", "warning"),
}
_PLACE: Final = ("before", "before_id")


def show_list(request: Request) -> Response:
    """A page of the list, newest first, with the filters of the query."""
    project: Project = request.app.state.project
    chosen = _chosen(request)
    id_ = as_uuid(chosen.get("text", ""))
    if id_ is not None and project.call("console_notification", id=id_) is not None:
        return RedirectResponse(f"{PATH}/{id_}", 303)
    found = read_page(
        project.answer("console_notifications", **_arguments(chosen), row_limit=PAGE_SIZE)
    )
    wording = wording_of(project.settings)
    filters = {name: value for name, value in chosen.items() if name not in _PLACE}
    context = {
        "rows": [(row, first_line(row, found.names, wording)) for row in found.rows],
        "names": found.names,
        "choices": read_filter_choices(project.answer("console_notification_filters")),
        "states": STATES,
        "choosable": CHOOSABLE,
        "chosen": {name: chosen.get(name) for name in FILTERS},
        "is_chosen": bool(filters),
        "filters": filters,
        "next_page": _address({**filters, **found.next}) if found.next else None,
        "first_page": _address(filters) if "before" in chosen else None,
        # a search reads many rows, and older pages do not change
        "is_live": "text" not in chosen and "before" not in chosen,
    }
    return page(request, "notifications.html", context)


def show(request: Request) -> Response:
    """One notification: its message, its deliveries, and what happens next."""
    project: Project = request.app.state.project
    found = project.optional_answer("console_notification", id=str(request.path_params["id"]))
    if found is None:
        raise HTTPException(404)
    notification = read_notification(found)
    now = utc_now()
    expires_after = timedelta(hours=project.settings.notification_expiry_hours)
    deliveries = [(one, delivery_step(one, notification, now)) for one in notification.deliveries]
    context = {
        "one": notification,
        "config": notification.config,
        "deliveries": deliveries,
        "message": shown_message(
            notification,
            wording_of(project.settings),
            is_repeat=any(one.possible_duplicate for one in notification.deliveries),
        ),
        "steps": next_steps(notification, now, expires_after),
        "states": STATES,
        "words": answer_in_words,
        "now": now,
    }
    return page(request, "notification.html", context)


ROUTES: Final = [Route(PATH, show_list), Route(f"{PATH}/{{id:uuid}}", show)]


def _chosen(request: Request) -> dict[str, str]:
    """The filters and the place in the query, by name, without empty ones."""
    names = (*FILTERS, *_PLACE)
    given = {name: request.query_params.get(name, "").strip() for name in names}
    return {name: value for name, value in given.items() if value}


def _arguments(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Of `console_notifications`. Raises HTTPException that names an invalid value."""
    return {
        **filter_of(chosen),
        # as the list returned it: it may be -infinity
        "before": chosen.get("before") if "before_id" in chosen else None,
        "before_id": row_id(chosen["before_id"]) if "before_id" in chosen else None,
    }


def _address(query: Mapping[str, str]) -> str:
    return f"{PATH}?{urlencode(query)}" if query else PATH
