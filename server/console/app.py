"""The console's application: its routes, and its answers to errors."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from server.console import rendering
from server.console.guard import Guard
from server.console.pages import (
    actions,
    doctor,
    metrics,
    notifications,
    overview,
    retention,
    runs,
    spend,
    templates,
)
from server.console.project import Project
from server.console.sessions import Sessions
from workers.doctor.sections import of_error
from workers.errors import WorkerError
from workers.findings import Finding, failed
from workers.redaction import redact
from workers.telemetry import logger

# A module per subject: its PATH and NAME in the navigation, and its ROUTES.
SUBJECTS = (overview, notifications, metrics, retention, doctor, actions)
# Pages without a place in the navigation: other pages link to them.
LINKED = (runs, spend, templates)


def console_app(
    project: Project,
    sessions: Sessions,
    *,
    names: Collection[str],
    cookie: str,
    announce: Callable[[], None],
    may_act: bool = True,
) -> ASGIApp:
    """All pages behind their `Guard`, which documents the arguments. Without `may_act` the console
    is read-only."""
    rendering.NAVIGATION[:] = [(subject.PATH, subject.NAME) for subject in SUBJECTS]
    routes: list[BaseRoute] = [route for one in (*SUBJECTS, *LINKED) for route in one.ROUTES]
    app = Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=rendering.STATIC))],
        exception_handlers={
            WorkerError: _project_error,
            HTTPException: _request_error,
            Exception: _own_error,
        },
    )
    app.state.project, app.state.sessions, app.state.may_act = project, sessions, may_act
    return Guard(app, sessions, names=names, cookie=cookie, announce=announce)


def _project_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WorkerError)  # noqa: S101 - see where this is registered
    return _error_page(request, 503, of_error("The project cannot be shown", error))


def _request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - see where this is registered
    text = "There is no such page." if error.status_code == 404 else str(error.detail)
    return _error_page(request, error.status_code, failed(text, ""))


def _own_error(request: Request, error: Exception) -> Response:
    logger.error(
        "A page failed",
        extra={"action": "console", "path": request.url.path, "error": redact(repr(error))},
    )
    text = f"An error in the console itself, {type(error).__name__}: {redact(str(error))}"
    return _error_page(request, 500, failed(text, "Please report it with this line"))


def _error_page(request: Request, status: int, finding: Finding) -> Response:
    try:
        return rendering.page(request, "error.html", {"finding": finding}, status)
    except WorkerError:  # not even its name is known
        return Response(f"{finding.text}\n{finding.fix}\n", status, media_type="text/plain")
