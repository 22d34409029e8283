"""How requests reach Slack: one connection each, a deadline, a size limit, and no retries.

Whether a request went out decides whether someone reads a message twice, so it is determined here,
below slack_sdk.
"""

from __future__ import annotations

import base64
import logging
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import Request, proxy_bypass

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from workers.errors import AmbiguousError, TransientError, unreachable_since

# Also exported: what the client's calls return and raise.
__all__ = ["SlackApiError", "SlackClient", "SlackResponse"]

# A page of history with a hundred of the largest messages that we post takes a few MB.
_ANSWER_LIMIT: Final = 8 * 1024 * 1024
# A host that does not answer is tried address by address, each for this long (seconds).
_CONNECT_TIMEOUT: Final = 5.0

# slack_sdk logs failures that are reported here anyway, and whole message bodies at debug level; it
# also formats these on each call unless its logger has its own level.
_QUIET = logging.getLogger("workers.notifications.slack.sdk")
_QUIET.setLevel(logging.CRITICAL + 1)


class _Until(RawIOBase):
    """The bytes that a socket receives, none later than the deadline.

    A socket's own timeout applies to each wait, so an answer that trickles in could take forever.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, _mode: str) -> BufferedReader:
        """As a file, which http.client asks a socket for."""
        return BufferedReader(self)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """What has arrived. Raises TimeoutError when nothing arrives in time."""
        self._sock.settimeout(_time_left(self._deadline))
        return self._sock.recv_into(buffer)


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


class SlackClient(WebClient):
    """slack_sdk's client with a transport that knows whether a request went out.

    urllib's, which it replaces, reports failures to connect and failures to send in the same way,
    and follows a redirect of a POST with a GET that sends the token to wherever it points. This one
    opens a connection per request, on purpose: when the other side has just closed a connection
    that was kept, the failure looks the same as for a message that was accepted.
    """

    def __init__(self, token: str, api_url: str, timeout: float) -> None:
        # Reading the certificates takes as long as dozens of requests: once, not each time, and
        # not for http, which is a fake on this machine.
        context = ssl.create_default_context() if api_url.startswith("https:") else None
        super().__init__(
            token=token,
            base_url=api_url,
            timeout=timeout,  # type: ignore[arg-type]  # sockets accept any number
            ssl=context,
            logger=_QUIET,
            # The queue retries; by default slack_sdk would send again after a lost connection.
            retry_handlers=[],
        )
        self._context = context
        self._api = urlsplit(self.base_url)
        self._tunnel = self._find_tunnel()

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        """One request, one answer of any status, no redirects; slack_sdk calls this method.

        Raises TransientError if nothing was sent, AmbiguousError if no complete answer came.
        """
        deadline = time.monotonic() + self.timeout
        connection = self._connect(deadline)
        try:
            connection.request("POST", urlsplit(url).path, req.data, dict(req.header_items()))
            source: Any = _Until(connection.sock, deadline)
            with HTTPResponse(source, method="POST") as answer:
                answer.begin()
                body = _body(answer)
        except (OSError, HTTPException) as error:
            raise _lost(error) from error
        finally:
            connection.close()
        return {
            "status": answer.status,
            "headers": {name.lower(): value for name, value in answer.getheaders()},
            "body": _object_or_nothing(body),
        }

    def _connect(self, deadline: float) -> HTTPConnection:
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(_time_left(deadline))
        except (OSError, HTTPException, UnicodeError) as error:
            connection.close()
            raise TransientError(
                f"Slack cannot be reached: {_named(error)}.", code="connect_failed"
            ) from error
        return connection

    def _connection(self) -> HTTPConnection:
        host, port = self._api.hostname or "", self._api.port
        timeout = min(self.timeout, _CONNECT_TIMEOUT)
        if self._api.scheme == "http":  # a fake on this machine
            return HTTPConnection(host, port, timeout=timeout)
        if self._tunnel is None:
            return HTTPSConnection(host, port, timeout=timeout, context=self._context)
        proxy, headers = self._tunnel
        connection = HTTPSConnection(
            proxy.hostname or "", proxy.port, timeout=timeout, context=self._context
        )
        connection.set_tunnel(host, port or 443, headers)
        return connection

    def _find_tunnel(self) -> tuple[SplitResult, dict[str, str]] | None:
        """The proxy that slack_sdk found in the environment, unless Slack is exempt from it."""
        if not self.proxy or proxy_bypass(self._api.hostname or ""):
            return None
        proxy = urlsplit(self.proxy if "://" in self.proxy else f"http://{self.proxy}")
        if proxy.username is None:
            return proxy, {}
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        return proxy, {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _body(answer: HTTPResponse) -> bytes:
    """The whole body. Raises AmbiguousError when it is longer than any answer from Slack."""
    size = answer.length
    if size is None:  # in chunks, or until the connection ends
        body = answer.read(_ANSWER_LIMIT + 1)
        size = len(body)
    elif size <= _ANSWER_LIMIT:
        return answer.read()
    if size > _ANSWER_LIMIT:
        raise AmbiguousError(
            "Slack's answer is longer than any answer should be.", code="answer_unusable"
        )
    return body


def _object_or_nothing(body: bytes) -> str:
    """The answer if it may be a JSON object, else an empty one, which never looks like a success.

    slack_sdk assumes objects and fails in other ways on a list, for example.
    """
    text = body.decode("utf-8", "replace")
    return text if text.lstrip().startswith("{") else "{}"


def _lost(error: Exception) -> AmbiguousError:
    code = "answer_timeout" if isinstance(error, TimeoutError) else "answer_lost"
    return AmbiguousError(f"Slack's answer did not arrive: {_named(error)}.", code=code)


def _named(error: Exception) -> str:
    text = str(error)
    return f"{unreachable_since(error)} ({text})" if text else unreachable_since(error)
