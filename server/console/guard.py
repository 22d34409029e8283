"""What guards every page: who asks, from where, and what a browser may do with the answer.

Anything else that is open in the same browser can request a page of this machine. So a request
needs a session's cookie, has to name this server as its host (a foreign name that resolves to it,
DNS rebinding, has no session and gets nothing), and must not come from another origin. Another
port of this machine is another origin, too: cookies ignore ports.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.console.sessions import Sessions

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_READING: Final = frozenset({"GET", "HEAD"})

# https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Content-Security-Policy
_POLICY: Final = "; ".join(
    [
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # a form that is posted would otherwise name no origin
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Shipped files have their hash in their address; nothing else may be cached.
_STATIC: Final = "/static/"
_FOR_EVER: Final = "private, max-age=31536000, immutable"

_NO_SESSION: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>No session</title>
<h1>No session</h1>
<p>Open the address that the console printed where it was started. Each works once; a new one
was just printed there.</p>
</html>
"""


class Guard:
    """ASGI middleware that passes on requests with a session that come from its own pages."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        *,
        names: Collection[str],
        cookie: str,
        announce: Callable[[], None],
    ) -> None:
        """`names`: the hosts that it may be asked by, without ports. `announce` is called when
        someone without a session asks and every token is used: it makes and prints another."""
        self._app, self._sessions = app, sessions
        self._names, self._cookie, self._announce = frozenset(names), cookie, announce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._refusal(scope) or self._entrance(scope) or self._app
            await answer(scope, receive, _with_headers(scope, send))
        # nothing else is spoken here: uvicorn closes what is not answered

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to those who may not ask at all."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._names:
            return _plain("The console is not served under this name: --name adds it.", 421)
        if not _is_own(headers, hosts[0], scope["method"]):
            return _plain("The console answers only its own pages.", 403)
        return None

    def _entrance(self, scope: Scope) -> Response | None:
        """The answer to a token, and to anyone without a session."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        headers = Headers(scope=scope)
        cookies = cookie_parser(headers.get("cookie", ""))
        own = cookies.get(self._cookie, "")
        has_session = self._sessions.is_valid(own)
        if tokens and scope["method"] == "GET":
            session = self._sessions.begin(tokens[0])
            if session is not None or has_session:
                rest = urlencode([pair for pair in query if pair[0] != "token"])
                response = _onward(scope["path"], rest)
                if session is not None:
                    # as a proxy with TLS reports it
                    is_encrypted = headers.get("x-forwarded-proto") == "https"
                    response.set_cookie(
                        self._cookie,
                        session,
                        httponly=True,
                        samesite="strict",
                        secure=is_encrypted,
                    )
                return response
        if has_session:
            known = {"session": own, "form_token": self._sessions.form_token(own)}
            scope.setdefault("state", {}).update(known)  # what a page finds in request.state
            return None
        if not self._sessions.has_token:
            self._announce()
        return HTMLResponse(_NO_SESSION, 401)


def _onward(path: str, query: str) -> Response:
    """To the same page without the token, so that it stays in no history."""
    # a path that begins with two slashes would be another host
    return RedirectResponse("/" + path.lstrip("/\\") + (f"?{query}" if query else ""), 303)


def _is_own(headers: Headers, host: str, method: str) -> bool:
    """Whether a browser asks for one of our pages, or for the person using it.

    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    """
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return False
    site = headers.get("sec-fetch-site")
    if site is None:  # not a modern browser: a change has to name its origin at least
        return method in _READING or origin is not None
    if site in ("same-origin", "none"):
        return True
    # a link from elsewhere may lead here; the cookie decides what it gets
    return method in _READING and headers.get("sec-fetch-mode") == "navigate"


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(f"{text}\n", status)


def _with_headers(scope: Scope, send: Send) -> Send:
    is_static = scope["path"].startswith(_STATIC)

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            is_kept = is_static and message["status"] == 200
            headers["Cache-Control"] = _FOR_EVER if is_kept else "no-store"
        await send(message)

    return sending
