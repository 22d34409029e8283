"""A template tried out with data: what Slack would show. Nothing is posted; it is saved only
through the page that asks for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.dry_render import Tried, try_out
from server.console.forms import Form, one, posted
from server.console.notification_filter import as_uuid, row_id
from server.console.notification_message import with_people, wording_of
from server.console.project import Project
from server.console.rendering import page
from server.console.slack_text import Names

PATH: Final = "/notifications/try"

_EXAMPLE: Final = "*{{request_title}}* is now {{words.new_status}}"
_EXAMPLE_DATA: Final = '{"request_title": "Menu & window signs", "new_status": "in_review"}'


def show(request: Request) -> Response:
    """An example, or a real notification's template and data."""
    project: Project = request.app.state.project
    notification = request.query_params.get("notification", "")
    if not notification:
        return _shown(request, _EXAMPLE, _EXAMPLE_DATA, "status_change", "", "")
    found = project.call("console_notification", id=row_id(notification))
    if found is None:
        raise HTTPException(404)
    config = found["config"] or {}
    return _shown(
        request,
        config.get("template") or "",
        found["event_data"] or "",
        config.get("event_type") or "",
        config.get("id") or "",
        found["id"],
    )


def try_it(request: Request, form: Form) -> Response:
    """What was typed."""
    return _shown(
        request,
        one(form, "template").replace("\r\n", "\n"),
        *(one(form, name) for name in ("data", "event", "config", "notification")),
    )


def _shown(
    request: Request, template: str, data: str, event: str, config: str, notification: str
) -> Response:
    project: Project = request.app.state.project
    own: Mapping[str, Any] = next(
        (row for row in project.call("config_templates") if row["id"] == as_uuid(config)), {}
    )
    known, names = _known(project, data, notification)
    tried = Tried(
        template, data, event, known, names, own, wording_of(project.settings)
    )  # fmt: skip
    trial = try_out(tried)
    may_save = bool(own) and not trial.problem and template != own["template"]
    return page(
        request,
        "try.html",
        {
            "tried": tried,
            "trial": trial,
            "config": config,
            "notification": notification,
            "may_save": may_save,
        },
    )


def _known(project: Project, data: str, notification: str) -> tuple[Mapping[str, Any], Names]:
    """What ids in the data stand for, and the names of people and channels there."""
    try:
        carried = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return {}, {}
    found = None
    if as_uuid(notification) is not None:
        found = project.call("console_notification", id=as_uuid(notification))
    entity = {} if found is None else found
    known = project.call(
        "known_of_event",
        event_data=carried if isinstance(carried, dict) else None,
        entity_type=entity.get("entity_type"),
        entity_id=entity.get("entity_id"),
    )
    return known or {}, with_people(entity.get("names") or {}, {"known": known})


ROUTES: Final = [Route(PATH, show), posted(PATH, try_it, changes=False)]
