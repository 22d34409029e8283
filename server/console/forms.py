"""What changes something: a form that is posted from one of the console's own pages.

On top of the guard, which looks at the origin, a form has the token of its session, so that whoever
can only make a browser ask cannot make it act. A console that is read-only takes none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TOKEN: Final = "form_token"  # noqa: S105 - the name of a field
# Of a form as it is sent: a page's notifications are chosen, or a template is tried.
MOST_BYTES: Final = 200_000
# What a form says, all values of a name.
Form = Mapping[str, list[str]]
Taker = Callable[[Request, Form], Response]


def posted(path: str, take: Taker, *, changes: bool = True) -> Route:
    """A route for a form; `take` is called in a thread, with what the form says. One that `changes`
    nothing is taken by a read-only console too."""

    async def endpoint(request: Request) -> Response:
        if changes:
            refuse_where_read_only(request)
        form = _fields(await _body(request))
        (given,) = form.pop(TOKEN, [""])[:1]
        if not secrets.compare_digest(given.encode(), request.state.form_token.encode()):
            raise HTTPException(
                403, "This page is of another session: open it again, and nothing was done."
            )
        return await run_in_threadpool(take, request, form)

    return Route(path, endpoint, methods=["POST"], name=take.__qualname__)


def refuse_where_read_only(request: Request) -> None:
    """Raises HTTPException (403) where this console only shows."""
    if not request.app.state.may_act:
        raise HTTPException(403, "This console is read-only: nothing was done.")


def one(form: Form, name: str) -> str:
    """The field's only value, without spaces around it; "" where it has none. Raises HTTPException
    (400) for several."""
    values = form.get(name, [])
    if len(values) > 1:
        raise HTTPException(400, f"{name} is there more than once.")
    return values[0].strip() if values else ""


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > MOST_BYTES:
            raise HTTPException(413, "That is more than a page of the console sends.")
    return bytes(found)


def _fields(body: bytes) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=2_000, errors="strict"
        )
    except ValueError:
        raise HTTPException(400, "That is no form of the console.") from None
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form
