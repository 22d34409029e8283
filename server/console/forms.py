"""Changes: forms that are posted from the console's own pages.

In addition to the guard, which checks the origin, a form has the token of its session, so that
a foreign page that makes the browser post one cannot act. A read-only console takes none.
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
# Enough for the selected notifications of a page, or for a template to try.
MOST_BYTES: Final = 1_000_000
# A form's values by the names of its fields.
Form = Mapping[str, list[str]]
Taker = Callable[[Request, Form], Response]


def posted(path: str, take: Taker, *, changes: bool = True) -> Route:
    """A route for a form; `take` is called in a thread, with the form's values. A form that
    `changes` nothing is also taken by a read-only console."""

    async def endpoint(request: Request) -> Response:
        if changes:
            refuse_where_read_only(request)
        form = _fields(await _body(request))
        (given,) = form.pop(TOKEN, [""])[:1]
        if not secrets.compare_digest(given.encode(), request.state.form_token.encode()):
            raise HTTPException(
                403, "Nothing was done: this page is from another session. Open it again."
            )
        return await run_in_threadpool(take, request, form)

    return Route(path, endpoint, methods=["POST"], name=take.__qualname__)


def refuse_where_read_only(request: Request) -> None:
    """Raises HTTPException (403) in a read-only console."""
    if not request.app.state.may_act:
        raise HTTPException(403, "Nothing was done: this console is read-only.")


def one(form: Form, name: str) -> str:
    """The field's only value, stripped; "" where it has none. Raises HTTPException
    (400) for several."""
    return text(form, name).strip()


def text(form: Form, name: str) -> str:
    """The same with the blanks around it, and with line breaks as they were before a browser sent
    them as CRLF."""
    values = form.get(name, [])
    if len(values) > 1:
        raise HTTPException(400, f"{name} is given more than once.")
    return values[0].replace("\r\n", "\n") if values else ""


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > MOST_BYTES:
            raise HTTPException(413, "The form is larger than any that the console sends.")
    return bytes(found)


def _fields(body: bytes) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=2_000, errors="strict"
        )
    except ValueError:
        raise HTTPException(400, "This is not a form of the console.") from None
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form
