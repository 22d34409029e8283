"""HTTP/1.1 messages on a socket, as much of them as the fakes need.

The standard library's server and client parse headers as e-mail does, which costs more than all
the rest of a small exchange. These few functions do not, and leave every byte of an answer
under the control of a fault script.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qsl

MAX_LINE = 65536
BODILESS = frozenset({204, 304})


class WireError(ConnectionError):
    """The peer disconnected in the middle of a message, or sent something that is not HTTP."""


@dataclass
class Request:
    """One request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def target(self) -> str:
        """Path and query, as on the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def keep_alive(self) -> bool:
        """Whether the client will send another request on this connection."""
        return self.headers.get("connection", "").lower() != "close"

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Named values from the query, and from a form or JSON object in the body."""
        return {**dict(parse_qsl(self.query, keep_blank_values=True)), **self._body_fields()}

    def _body_fields(self) -> dict[str, Any]:
        kind = self.headers.get("content-type", "")
        try:
            if "json" in kind:
                value = json.loads(self.body or b"{}")
                return value if isinstance(value, dict) else {}
            if "x-www-form-urlencoded" in kind:
                return dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        except ValueError:
            pass
        return {}


@dataclass
class Response:
    """One answer; Content-Length is added when it is written."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(
        cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """An answer with `value` as its JSON body."""
        kind = {"Content-Type": "application/json; charset=utf-8"}
        return cls(status, json.dumps(value).encode(), {**kind, **(headers or {})})

    def head(self, *, to_head_request: bool = False) -> bytes:
        """Everything before the body. The answer to HEAD keeps its length."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        headers = dict(self.headers)
        if self.status not in BODILESS and not to_head_request:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_request(
    stream: BufferedIOBase, proceed: Callable[[], None] = lambda: None
) -> Request | None:
    """The next request of a connection, or None when the client closed it.

    `proceed` is called if the client waits for permission to send the body. Raises WireError if
    the request is incomplete or malformed.
    """
    line = stream.readline(MAX_LINE)
    if not line:
        return None
    try:
        method, target, _ = line.decode("latin-1").split()
    except ValueError:
        raise WireError("not an HTTP request line") from None
    headers = read_headers(stream)
    if headers.get("expect", "").lower() == "100-continue":
        proceed()
    body = read_body(stream, headers)
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body)


def read_response(stream: BufferedIOBase, method: str) -> Response:
    """The answer to a request of the given method. Raises WireError if it is incomplete."""
    line = stream.readline(MAX_LINE)
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[1].isdigit():
        raise WireError("no HTTP status line")
    status = int(parts[1])
    headers = read_headers(stream)
    bodiless = method == "HEAD" or status in BODILESS
    return Response(status, b"" if bodiless else read_body(stream, headers), headers)


def read_headers(stream: BufferedIOBase) -> dict[str, str]:
    """The header fields up to the empty line. Raises WireError if they are incomplete."""
    headers: dict[str, str] = {}
    while (line := stream.readline(MAX_LINE)) not in (b"\r\n", b"\n"):
        if not line:
            raise WireError("the connection closed within the headers")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def read_body(stream: BufferedIOBase, headers: Mapping[str, str]) -> bytes:
    """The body that the headers announce. Raises WireError if it is incomplete."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _read_chunks(stream)
    return _read_exactly(stream, int(headers.get("content-length") or 0))


def _read_chunks(stream: BufferedIOBase) -> bytes:
    chunks = []
    while size := _chunk_size(stream):
        chunks.append(_read_exactly(stream, size))
        stream.readline(MAX_LINE)
    read_headers(stream)  # trailers
    return b"".join(chunks)


def _chunk_size(stream: BufferedIOBase) -> int:
    try:
        return int(stream.readline(MAX_LINE).split(b";")[0], 16)
    except ValueError:
        raise WireError("not a chunk size") from None


def _read_exactly(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size) if size else b""
    if len(data) < size:
        raise WireError("the connection closed within the body")
    return data
