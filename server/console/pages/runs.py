"""One run of a worker."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.outcomes import WORKERS, outcome_of
from server.console.project import Project
from server.console.rendering import page


def show(request: Request) -> Response:
    """What it did, how it ended, and the runs before and after it."""
    project: Project = request.app.state.project
    found = project.call("console_run", run_id=str(request.path_params["run_id"]))
    if found is None:
        raise HTTPException(404, "There is no such run: retention keeps them for 30 days.")
    run = found["run"]
    return page(
        request,
        "run.html",
        {
            **found,
            "title": WORKERS.get(run["worker"], run["worker"]),
            "means": outcome_of(run["worker"], run),
            "counts": sorted(run["counts"].items()),
        },
    )


ROUTES: Final = [Route("/runs/{run_id:uuid}", show)]
