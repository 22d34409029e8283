"""The findings of the doctor, each with its fix."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.examination import Findings
from server.console.project import Project
from server.console.rendering import page
from workers.clock import utc_now
from workers.doctor.sections import Section

PATH: Final = "/doctor"
NAME: Final = "Doctor"

RENEWED_AFTER: Final = timedelta(minutes=15)
_LEVELS: Final = ("failed", "warning", "ok")


def show(request: Request) -> Response:
    """The last examination, or the one that is running. The first visit begins one; in a read-only
    console, where no one can ask for another, so does a visit once the last one is old."""
    project: Project = request.app.state.project
    examination = project.examination
    found = examination.findings
    if found is None or (not request.app.state.may_act and _is_old(found)):
        examination.begin()
        found = examination.findings
    assert found is not None  # noqa: S101 - one was begun
    return page(request, "doctor.html", {"found": found, "counts": _counts(found.sections)})


def _is_old(found: Findings) -> bool:
    return found.ended_at is not None and utc_now() - found.ended_at > RENEWED_AFTER


def _counts(sections: Iterable[Section]) -> dict[str, int]:
    found = [one.level for section in sections for one in section.findings]
    return {level: found.count(level) for level in _LEVELS}


ROUTES: Final = [Route(PATH, show)]
