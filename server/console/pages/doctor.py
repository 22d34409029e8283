"""What is wrong with the setup, each finding with its fix."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from server.console.examination import Examination
from server.console.rendering import page

PATH: Final = "/doctor"
NAME: Final = "Doctor"

_LEVELS: Final = ("failed", "warning", "ok")


def show(request: Request) -> Response:
    """The last examination, or the one that goes on; the first visit begins one."""
    examination: Examination = request.app.state.examination
    if examination.findings is None:
        examination.begin()
    found = examination.findings
    assert found is not None  # noqa: S101 - one was begun
    return page(request, "doctor.html", {"found": found, "counts": _counts(found.sections)})


def again(request: Request) -> Response:
    """Begins another, unless one is under way."""
    examination: Examination = request.app.state.examination
    examination.begin()
    return RedirectResponse(PATH, 303)


def _counts(sections: tuple[dict[str, Any], ...]) -> dict[str, int]:
    found = [one["level"] for section in sections for one in section["findings"]]
    return {level: found.count(level) for level in _LEVELS}


ROUTES: Final = [Route(PATH, show), Route(PATH, again, methods=["POST"])]
