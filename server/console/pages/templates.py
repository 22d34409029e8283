"""A template tried out with data: what Slack would show. Nothing is posted, and saving is an action
that has to be confirmed."""

from __future__ import annotations

import json
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.answers.notifications import (
    Notification,
    read_notification,
)
from server.console.dry_render import Tried, try_out
from server.console.forms import Form, one, posted, text
from server.console.notification_filter import as_uuid, row_id
from server.console.notification_message import with_people, wording_of
from server.console.project import Project
from server.console.rendering import page
from server.console.slack_text import Names
from workers.doctor.template_checks import read_templates
from workers.notifications.entities import NO_ENTITIES, Entities, read_entities

PATH: Final = "/notifications/try"

_EXAMPLE: Final = "*{{request_title}}* is now {{words.new_status}}"
_EXAMPLE_DATA: Final = '{"request_title": "Menu & window signs", "new_status": "in_review"}'


def show(request: Request) -> Response:
    """An example, or a real notification's template and data."""
    id_ = request.query_params.get("notification", "")
    if not id_:
        return _shown(request, _EXAMPLE, _EXAMPLE_DATA, "status_change", "", "")
    found = _notification(request.app.state.project, row_id(id_))
    if found is None:
        raise HTTPException(404)
    config = found.config
    template, event, config_id = "", "", ""
    if config is not None:
        template, event, config_id = config.template or "", config.event_type, config.id
    return _shown(request, template, found.event_data or "", event, config_id, found.id)


def try_it(request: Request, form: Form) -> Response:
    """The template and data that were typed."""
    return _shown(
        request,
        text(form, "template"),
        *(one(form, name) for name in ("data", "event", "config", "notification")),
    )


def _shown(
    request: Request, template: str, data: str, event: str, config: str, notification: str
) -> Response:
    project: Project = request.app.state.project
    templates = read_templates(project.call("config_templates"))
    own = next((one for one in templates if one.id == as_uuid(config)), None)
    entities, names = _entities(project, data, notification)
    tried = Tried(template, data, event, entities, names, own, wording_of(project.settings))
    trial = try_out(tried)
    may_save = (
        own is not None
        and own.is_whole  # what is cut or hidden here would be lost
        and not trial.problem
        and template != own.template.replace("\r\n", "\n")
    )
    return page(
        request,
        "try.html",
        {
            "tried": tried,
            "trial": trial,
            "config": config,
            "notification": notification,
            "may_save": may_save,
            "is_partial": own is not None and not own.is_whole,
        },
    )


def _entities(project: Project, data: str, notification: str) -> tuple[Entities, Names]:
    """What ids in the data refer to, and the names of people and channels there."""
    try:
        # its numbers refer to nothing, and may be greater than JSON can be sent with
        carried = json.loads(data, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return NO_ENTITIES, {}
    id_ = as_uuid(notification)
    found = None if id_ is None else _notification(project, id_)
    known = project.call(
        "known_of_event",
        event_data=carried if isinstance(carried, dict) else None,
        entity_type=None if found is None else found.entity_type,
        entity_id=None if found is None else found.entity_id,
    )
    entities = read_entities("known_of_event", known)
    return entities, with_people({} if found is None else found.names, entities)


def _notification(project: Project, id_: str) -> Notification | None:
    found = project.optional_answer("console_notification", id=id_)
    return None if found is None else read_notification(found)


ROUTES: Final = [Route(PATH, show), posted(PATH, try_it, changes=False)]
