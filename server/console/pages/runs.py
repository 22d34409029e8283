"""One run of a worker."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.answers.overview import read_run
from server.console.outcomes import WORKERS, is_fault, outcome_of
from server.console.project import Project
from server.console.rendering import page


def show(request: Request) -> Response:
    """What it did, how it ended, and links to the runs before and after it."""
    project: Project = request.app.state.project
    found = project.optional_answer("console_run", run_id=str(request.path_params["run_id"]))
    if found is None:
        raise HTTPException(404, "There is no such run: retention keeps runs for 30 days.")
    run = read_run(found)
    return page(
        request,
        "run.html",
        {
            "run": run,
            "title": WORKERS.get(run.worker, run.worker),
            "means": outcome_of(run.worker, run),
            "is_fault": is_fault(run),
            "counts": sorted(run.counts.items()),
        },
    )


ROUTES: Final = [Route("/runs/{run_id:uuid}", show)]
