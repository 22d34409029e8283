"""A forwarding proxy that gives another server latency, faults and a journal.

It stands in front of the data API where a test or a benchmark wants to count requests, to lose
answers, or to see the time that a real network takes.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import threading
from collections.abc import Mapping
from io import BufferedReader
from typing import Any
from urllib.parse import urlsplit

from local.http_server import HttpServer, serve_forever
from local.wire import Request, Response, read_response

UPSTREAM_TIMEOUT_SECONDS = 120.0
# They belong to one connection, or are made anew for each side.
HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Forwarder:
    """The application: every request goes to the upstream and its answer comes back."""

    def __init__(self, upstream: str) -> None:
        """`upstream` is an http:// base URL; a path in it is put before each request's path."""
        parts = urlsplit(upstream)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the upstream must be an http:// URL, not {upstream!r}")
        self._address = (parts.hostname, parts.port or 80)
        self._prefix = parts.path.rstrip("/")
        self._lock = threading.Lock()
        self._idle: list[_Upstream] = []
        self._closed = False

    def handle(self, request: Request) -> Response:
        """Forward one request. 502 when the upstream gives no answer."""
        try:
            upstream = self._connection()
            response = upstream.exchange(self._forwarded(request), request.method)
        except OSError as error:
            return Response(502, f"no answer from the upstream: {error}".encode())
        with self._lock:
            if self._closed:
                upstream.close()
            else:
                self._idle.append(upstream)
        headers = {k: v for k, v in response.headers.items() if k not in HOP_HEADERS}
        if request.method == "HEAD" and "content-length" in response.headers:
            headers["content-length"] = response.headers["content-length"]
        return Response(response.status, response.body, headers)

    def settings(self) -> dict[str, Any]:
        """None of its own."""
        return {}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError for any name, as there are no settings."""
        if settings:
            raise ValueError(f"unknown settings: {', '.join(sorted(settings))}")

    def state(self) -> Any:
        """Nothing is kept."""
        return None

    def replace_state(self, state: Any) -> None:
        """Nothing is kept."""

    def reset(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def _connection(self) -> _Upstream:
        while True:
            with self._lock:
                if not self._idle:
                    break
                upstream = self._idle.pop()
            if upstream.is_usable():
                return upstream
            upstream.close()
        return _Upstream(self._address)

    def _forwarded(self, request: Request) -> bytes:
        headers = {k: v for k, v in request.headers.items() if k not in HOP_HEADERS}
        headers["host"] = f"{self._address[0]}:{self._address[1]}"
        headers["content-length"] = str(len(request.body))
        lines = [f"{request.method} {self._prefix}{request.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + request.body


class _Upstream:
    """One kept connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, UPSTREAM_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream: BufferedReader = self._socket.makefile("rb")

    def is_usable(self) -> bool:
        # An idle connection with something to read has been closed by the other side. A request
        # is never sent twice, so this is looked at before, not mended after.
        poll = select.poll()  # select() cannot look at descriptors above 1023
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def exchange(self, message: bytes, method: str) -> Response:
        try:
            self._socket.sendall(message)
            return read_response(self._stream, method)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()
            self._socket.close()


def proxy(upstream: str, *, port: int = 0, latency: float = 0.0) -> HttpServer:
    """A proxy server in this process, not yet started."""
    return HttpServer(Forwarder(upstream), port=port, latency=latency)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.services.proxy", description=__doc__)
    parser.add_argument("--upstream", required=True, help="base URL to forward to")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added per request")
    options = parser.parse_args(arguments)
    serve_forever(proxy(options.upstream, port=options.port, latency=options.latency))


if __name__ == "__main__":
    main()
