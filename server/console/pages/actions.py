"""What people did from here, and the page that asks before something is done."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console import asked
from server.console.acting import Action, Arguments, Confirmation
from server.console.actions import ACTIONS, NOUNS
from server.console.forms import Form, one, posted, refuse_where_read_only
from server.console.project import Project
from server.console.rendering import counted, number, page
from workers.errors import TransientError
from workers.findings import failed
from workers.redaction import redact

PATH: Final = "/actions"
NAME: Final = "Actions"

PAGE_SIZE: Final = 50
# What the form has besides what the action is done to.
_OWN: Final = ("key", "fingerprint", "who")
_LONGEST_NAME: Final = 100


def show_list(request: Request) -> Response:
    """The newest first."""
    project: Project = request.app.state.project
    after = asked.cursor(request, before=asked.moment, before_id=UUID) or {}
    found = project.call("list_console_actions", **after, row_limit=PAGE_SIZE)
    return page(
        request,
        "actions.html",
        {
            "rows": [told(row) for row in found["rows"]],
            "onward": asked.onward(request, found["next"]),
            "is_first": not after,
        },
    )


def show(request: Request) -> Response:
    """One of them, how far it is while it goes on."""
    project: Project = request.app.state.project
    row = project.call("console_action", id=str(request.path_params["id"]))
    if row is None:
        raise HTTPException(404, "There is no such action: retention keeps them for a year.")
    return page(
        request, "action.html", {"one": told(row), "is_repeat": "again" in request.query_params}
    )


def confirm(request: Request) -> Response:
    """Asks, and says in numbers what will be touched. Does nothing."""
    refuse_where_read_only(request)
    said = {name: request.query_params.getlist(name) for name in request.query_params}
    name, _ = _action(request)
    return _asking(request, name, said)


def act(request: Request, form: Form) -> Response:
    """Does what was confirmed, once; shows what came of it, or asks anew where that is another
    thing by now."""
    project: Project = request.app.state.project
    name, action = _action(request)
    said = {field: values for field, values in form.items() if field not in _OWN}
    arguments = _arguments(action, said)
    confirmation = Confirmation(
        _key(one(form, "key")),
        one(form, "fingerprint"),
        action.subject(arguments),
        arguments,
        _who(one(form, "who")),
        hashlib.sha256(request.state.session.encode()).hexdigest()[:8],
    )
    request.app.state.sessions.call(request.state.session, confirmation.who)
    try:
        outcome = action.work.act(project, name, confirmation)
    except TransientError as error:  # it may have been done unseen
        finding = failed(
            f"Whether it was done is not known: {redact(str(error))}",
            "Send it again by reloading this page: it is done once, and the page says so",
        )
        return page(request, "error.html", {"finding": finding}, 503)
    if outcome in ("stale", "busy"):
        return _asking(request, name, said, outcome)
    again = "?again" if outcome == "repeated" else ""
    return RedirectResponse(f"{PATH}/{confirmation.key}{again}", 303)


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its words."""
    action = ACTIONS.get(row["action"])
    return {
        **row,
        "title": row["action"].replace("_", " ").capitalize(),
        "back": _back(action, row["arguments"]),
        "was_to_touch": in_words(row["confirmed"]),
        "has_touched": in_words(row["touched"]),
    }


def in_words(numbers: Mapping[str, int]) -> list[str]:
    """Numbers of what is touched."""
    return [
        counted(count, *NOUNS[name]) if name in NOUNS else f"{name}: {number(count)}"
        for name, count in numbers.items()
    ]


def _back(action: Action | None, arguments: Arguments) -> str | None:
    return None if action is None else action.back(arguments)


def _asking(
    request: Request, name: str, said: Mapping[str, list[str]], refused: str = ""
) -> Response:
    project: Project = request.app.state.project
    action = ACTIONS[name]
    arguments = _arguments(action, said)
    scope = action.work.scope(project, name, arguments)
    return page(
        request,
        "confirm.html",
        {
            "name": name,
            "action": action,
            "subject": _account(project, arguments) or action.subject(arguments),
            "text": action.text(arguments),
            "fields": [(field, value) for field, values in said.items() for value in values],
            "scope": scope,
            "numbers": in_words(scope.numbers),
            "key": str(uuid4()),
            "who": request.app.state.sessions.name(request.state.session) or _login(),
            "back": action.back(arguments),
            "refused": refused,
        },
        409 if refused else 200,
    )


def _account(project: Project, arguments: Arguments) -> str:
    """What people call the account of the connection, "" where it is of none."""
    known = project.call("list_connections") if "connection_id" in arguments else []
    return next(
        (
            f"{row['account']} ({row['platform']} {row['account_id']})"
            for row in known
            if row["id"] == arguments["connection_id"]
        ),
        "",
    )


def _action(request: Request) -> tuple[str, Action]:
    name = request.path_params["action"]
    if name not in ACTIONS:
        raise HTTPException(404, "There is no such action.")
    return name, ACTIONS[name]


def _arguments(action: Action, said: Mapping[str, list[str]]) -> Arguments:
    try:
        return action.read(said)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _key(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise HTTPException(400, "This page has no key: open it again.") from None


def _who(text: str) -> str:
    if not text:
        raise HTTPException(400, "Say who you are: it is recorded with what is done.")
    return text[:_LONGEST_NAME]


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""


ROUTES: Final = [
    Route(PATH, show_list),
    Route(f"{PATH}/{{id:uuid}}", show),
    Route(f"{PATH}/confirm/{{action}}", confirm),
    posted(f"{PATH}/confirm/{{action}}", act),
]
