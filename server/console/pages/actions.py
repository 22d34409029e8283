"""What people did in the console, and the page that asks before an action."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never
from uuid import UUID, uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console import asked
from server.console.acting import Action, Arguments, Confirmation
from server.console.actions import ACTIONS, COUNTED_IN_PART, COUNTED_TO, NOUNS
from server.console.answers.accounts import read_connections
from server.console.answers.actions import (
    Acceptance,
    ActionRecord,
    Numbers,
    read_action,
    read_action_page,
)
from server.console.forms import Form, one, posted, refuse_where_read_only
from server.console.project import Project
from server.console.rendering import counted, number, page
from workers.errors import TransientError
from workers.findings import failed
from workers.redaction import redact

PATH: Final = "/actions"
NAME: Final = "Actions"

PAGE_SIZE: Final = 50
# The fields of the form that are not arguments of the action.
_OWN: Final = ("key", "fingerprint", "who")
_LONGEST_NAME: Final = 100


def show_list(request: Request) -> Response:
    """A page of the list, newest first."""
    project: Project = request.app.state.project
    after = asked.cursor(request, before=asked.moment, before_id=UUID) or {}
    found = read_action_page(project.answer("list_console_actions", **after, row_limit=PAGE_SIZE))
    return page(
        request,
        "actions.html",
        {
            "rows": [shown(one) for one in found.rows],
            "onward": asked.onward(request, found.next),
            "is_first": not after,
        },
    )


def show(request: Request) -> Response:
    """One action, with its progress while it runs."""
    project: Project = request.app.state.project
    found = project.optional_answer("console_action", id=str(request.path_params["id"]))
    if found is None:
        raise HTTPException(404, "There is no such action: retention keeps actions for a year.")
    record = read_action(found)
    return page(
        request,
        "action.html",
        {
            "one": shown(record),
            "is_repeat": "again" in request.query_params,
            "is_stopping": project.running.is_stopping(record.id),
            "can_stop": record.ended_at is None and project.running.has(record.id),
        },
    )


def confirm(request: Request) -> Response:
    """Asks for confirmation, showing in numbers what will be affected. Does nothing."""
    refuse_where_read_only(request)
    values = {name: request.query_params.getlist(name) for name in request.query_params}
    name, _ = _action(request)
    return _asking(request, name, values)


def act(request: Request, form: Form) -> Response:
    """Carries out what was confirmed, once, and shows the result; asks again where it would affect
    something else by now."""
    project: Project = request.app.state.project
    name, action = _action(request)
    values = {field: each for field, each in form.items() if field not in _OWN}
    arguments = _arguments(action, values)
    confirmation = Confirmation(
        _key(one(form, "key")),
        one(form, "fingerprint"),
        action.subject(arguments),
        arguments,
        _who(one(form, "who")),
        hashlib.sha256(request.state.session.encode()).hexdigest()[:8],
    )
    request.app.state.sessions.set_name(request.state.session, confirmation.who)
    try:
        acceptance = action.work.act(project, name, confirmation)
    except TransientError as error:  # it may have been done, without an answer
        finding = failed(
            f"It is unknown whether it was done: {redact(str(error))}",
            "Reload this page to send it again: it is done only once, and the page shows it",
        )
        return page(request, "error.html", {"finding": finding}, 503)
    record = f"{PATH}/{confirmation.key}"
    match acceptance:
        case Acceptance.STALE | Acceptance.BUSY:
            return _asking(request, name, values, acceptance)
        case Acceptance.REPEATED:
            return RedirectResponse(f"{record}?again", 303)
        case Acceptance.DONE | Acceptance.BEGUN:
            return RedirectResponse(record, 303)
        case _:
            assert_never(acceptance)


@dataclass(frozen=True)
class ShownAction:
    """A record, with words for it; `back` is the page that shows its result."""

    record: ActionRecord
    title: str
    back: str | None
    confirmed: list[str]
    affected: list[str]


def shown(record: ActionRecord) -> ShownAction:
    """A record with words for it."""
    action = ACTIONS.get(record.action)
    return ShownAction(
        record,
        title=record.action.replace("_", " ").capitalize(),
        back=None if action is None else action.back(record.arguments),
        confirmed=in_words(record.confirmed),
        affected=in_words(record.touched),
    )


def in_words(numbers: Numbers) -> list[str]:
    """What is affected, each number with its noun."""
    return [_in_words(name, count) for name, count in numbers.items()]


def _in_words(name: str, count: int) -> str:
    if name not in NOUNS:
        return f"{name}: {number(count)}"
    if name in COUNTED_IN_PART and count >= COUNTED_TO:
        return f"{number(COUNTED_TO)} or more {NOUNS[name][1]}"
    return counted(count, *NOUNS[name])


def _asking(
    request: Request,
    name: str,
    values: Mapping[str, list[str]],
    refused: Acceptance | None = None,
) -> Response:
    project: Project = request.app.state.project
    action = ACTIONS[name]
    # what was due when the page was opened is that of this page
    values = {field: each for field, each in values.items() if field != "as_of"}
    arguments = _arguments(action, values)
    fields = [(field, value) for field, each in values.items() for value in each]
    if "as_of" in arguments:
        fields.append(("as_of", arguments["as_of"]))
    scope = action.work.scope(project, name, arguments)
    return page(
        request,
        "confirm.html",
        {
            "name": name,
            "action": action,
            "subject": _account(project, arguments) or action.subject(arguments),
            "text": action.text(arguments),
            "fields": fields,
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
    """The name of the connection's account; "" where the action is not about one."""
    if "connection_id" not in arguments:
        return ""
    connections = read_connections(project.answers("list_connections"))
    return next(
        (
            f"{one.account} ({one.platform} {one.account_id})"
            for one in connections
            if one.id == arguments["connection_id"]
        ),
        "",
    )


def _action(request: Request) -> tuple[str, Action]:
    name = request.path_params["action"]
    if name not in ACTIONS:
        raise HTTPException(404, "There is no such action.")
    return name, ACTIONS[name]


def _arguments(action: Action, values: Mapping[str, list[str]]) -> Arguments:
    try:
        return action.read(values)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _key(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise HTTPException(400, "This page has no valid key: open it again.") from None


def _who(text: str) -> str:
    if not any(one.isprintable() and not one.isspace() for one in text):
        raise HTTPException(400, "Enter your name: it is recorded with the action.")
    return redact(text[:_LONGEST_NAME])


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
