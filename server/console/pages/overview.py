"""What an operator asks first: is all well, what ran, what waits."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.project import Project
from server.console.rendering import page
from workers.doctor.health import assess

PATH: Final = "/"
NAME: Final = "Overview"


def show(request: Request) -> Response:
    """The overview."""
    project: Project = request.app.state.project
    health = assess(project.call("worker_health"), project.settings.switched_off)
    runs = project.call("list_worker_runs", row_limit=10)
    return page(request, "overview.html", {"health": health, "runs": runs})


ROUTES: Final = [Route("/", show)]
