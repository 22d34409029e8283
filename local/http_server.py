"""The HTTP server behind every fake: an application, a journal, latency and a fault script.

It runs as threads within a test or as its own process (`serve_forever`); either way it is
controlled over HTTP under `/__control/`, with `local.control.Control` as the client. Control
requests and pages for people are never recorded, delayed or disturbed.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

from local.faults import Fault, FaultScript
from local.journal import Exchange, Journal
from local.services.readiness import announce
from local.wire import Request, Response, read_request

CONTROL_PREFIX = "/__control/"
TRICKLE_PIECES = 20


# A page for people, or None for what the application has to answer.
Look = Callable[[Request], Response | None]


class App(Protocol):
    """What a fake implements; all methods are called from many threads at once."""

    def handle(self, request: Request) -> Response:
        """Answer one request."""

    def settings(self) -> dict[str, Any]:
        """The current settings, as JSON values."""

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change some settings. Raises ValueError for an unknown name."""

    def state(self) -> Any:
        """The current state, as JSON values."""

    def replace_state(self, state: Any) -> None:
        """Replace the state by one in the form that `state` returns."""

    def reset(self) -> None:
        """Restore the state and settings of the start."""

    def close(self) -> None:
        """Release resources at the end."""


class Stateless:
    """An `App` without settings and state; `handle` is missing."""

    def settings(self) -> dict[str, Any]:
        """None."""
        return {}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError for any setting."""
        if settings:
            raise ValueError(f"unknown settings: {', '.join(sorted(settings))}")

    def state(self) -> Any:
        """None."""

    def replace_state(self, state: Any) -> None:
        """There is none."""

    def reset(self) -> None:
        """It is as at the start."""

    def close(self) -> None:
        """Nothing is held."""


class HttpServer:
    """One fake on one loopback port. A context manager; `start` and `stop` do the same."""

    def __init__(
        self, app: App, *, port: int = 0, latency: float = 0.0, look: Look = lambda _: None
    ) -> None:
        """Bind the port (0: a free one). `latency` in seconds is added to every request. `look`
        answers with pages for people, in addition to what is faked."""
        self.app = app
        self.look = look
        self.journal = Journal()
        self.faults = FaultScript()
        self.latency = latency
        self._first_latency = latency
        self._stopping = threading.Event()
        self._listener = _Listener(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.server_address[1])

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start answering, in threads of this process."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, wake up hanging requests and drop open connections."""
        self._stopping.set()
        with contextlib.suppress(OSError):  # wakes the thread that accepts
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.server_close()
        self._listener.drop_connections()
        self.app.close()

    def __enter__(self) -> HttpServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        # Not socketserver's own loop, which wakes up many times a second to check whether it has to
        # end: a test run has dozens of servers.
        while not self._stopping.is_set():
            with contextlib.suppress(OSError):  # the client disconnected
                self._listener.process_request(*self._listener.get_request())

    def pause(self, seconds: float) -> None:
        """Sleep, but not longer than the server runs."""
        if seconds > 0:
            self._stopping.wait(seconds)

    def reset(self) -> None:
        """Restore everything to the start."""
        self.faults.clear()
        self.app.reset()
        self.latency = self._first_latency
        self.journal.clear()

    def control(self, request: Request) -> Response:
        """Answer a request below the control prefix."""
        name = request.path.removeprefix(CONTROL_PREFIX)
        action = _CONTROL.get((request.method, name))
        if action is None:
            return Response.of_json({"error": "no such control"}, 404)
        try:
            return Response.of_json(action(self, request))
        except (ValueError, TypeError, KeyError) as error:
            return Response.of_json({"error": str(error)}, 400)

    def settings(self) -> dict[str, Any]:
        """The application's settings and the latency."""
        return {"latency": self.latency, **self.app.settings()}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change some settings. Raises ValueError for an unknown name."""
        rest = dict(settings)
        if "latency" in rest:
            self.latency = float(rest.pop("latency"))
        self.app.configure(rest)


def serve_forever(*servers: HttpServer) -> None:
    """Run these servers in this process: print "ready <port>" for each and answer until SIGINT or
    SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.ExitStack() as running:
        for server in servers:
            announce(running.enter_context(server).port)
        ended.wait()


def _read_journal(server: HttpServer, request: Request) -> Any:
    return server.journal.listing(request.fields.get("path", ""))


def _count_journal(server: HttpServer, request: Request) -> Any:
    return server.journal.count(request.fields.get("path", ""))


def _add_faults(server: HttpServer, request: Request) -> Any:
    # all are read before the first is added, so that a mistake in one changes nothing
    for fault in [Fault(**one) for one in json.loads(request.body)]:
        server.faults.add(fault)


def _configure(server: HttpServer, request: Request) -> Any:
    server.configure(request.fields)
    return server.settings()


_CONTROL: dict[tuple[str, str], Callable[[HttpServer, Request], Any]] = {
    ("GET", "health"): lambda server, request: {"ok": True},
    ("GET", "journal"): _read_journal,
    ("GET", "journal/count"): _count_journal,
    ("DELETE", "journal"): lambda server, request: server.journal.clear(),
    ("GET", "faults"): lambda server, request: server.faults.listing(),
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): lambda server, request: server.faults.clear(),
    ("GET", "settings"): lambda server, request: server.settings(),
    ("POST", "settings"): _configure,
    ("GET", "state"): lambda server, request: server.app.state(),
    ("PUT", "state"): lambda server, request: server.app.replace_state(json.loads(request.body)),
    ("POST", "reset"): lambda server, request: server.reset(),
}


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], owner: HttpServer) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Connection)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def drop_connections(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Hangup(Exception):
    """Closes the connection without another byte."""


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(_Hangup, OSError):
            while request := read_request(self.rfile, self._proceed):
                if request.path.startswith(CONTROL_PREFIX):
                    self._send(self.server.owner.control(request), request)
                elif shown := self.server.owner.look(request):
                    self._send(shown, request)
                else:
                    self._exchange(request)
                if not request.keep_alive:
                    return

    def _proceed(self) -> None:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _exchange(self, request: Request) -> None:
        owner = self.server.owner
        started = time.monotonic()
        exchange = owner.journal.record(request)
        fault = owner.faults.take(request)
        try:
            if fault:
                exchange.fault = f"{fault.how} {fault.when}"
            owner.pause(owner.latency)
            self._answer(request, exchange, fault)
        finally:
            exchange.seconds = time.monotonic() - started

    def _answer(self, request: Request, exchange: Exchange, fault: Fault | None) -> None:
        app = self.server.owner.app
        if fault is None:
            response = app.handle(request)
        elif fault.how == "hang":
            response = self._answer_late(request, fault)
        else:
            response = fault.answer() if fault.when == "before" else app.handle(request)
            response = self._disturb(response, fault, exchange)
        # before the bytes go out, so that a client with its answer finds the status in the journal
        exchange.status = response.status
        self._send(response, request)

    def _answer_late(self, request: Request, fault: Fault) -> Response:
        owner = self.server.owner
        if fault.when == "before":
            owner.pause(fault.seconds)
            return owner.app.handle(request)
        response = owner.app.handle(request)
        owner.pause(fault.seconds)
        return response

    def _disturb(self, response: Response, fault: Fault, exchange: Exchange) -> Response:
        """The answer to send after all; raises _Hangup if there is nothing to send."""
        if fault.how == "answer":
            return fault.answer()
        if fault.how == "reset":
            self._reset()
        elif fault.how == "truncate":
            exchange.status = response.status
            self.wfile.write(response.head() + response.body[: len(response.body) // 2])
        elif fault.how == "trickle":
            exchange.status = response.status
            self._trickle(response.head() + response.body, fault.seconds)
        raise _Hangup

    def _reset(self) -> None:
        # lingering for no time makes the kernel send RST instead of FIN
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # the streams hold the socket open as well; it closes with the last of them
        self.rfile.close()
        self.connection.close()

    def _trickle(self, data: bytes, seconds: float) -> None:
        size = max(1, len(data) // TRICKLE_PIECES)
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        for piece in pieces:
            self.server.owner.pause(seconds / len(pieces))
            self.wfile.write(piece)

    def _send(self, response: Response, request: Request) -> None:
        head = response.head(to_head_request=request.method == "HEAD")
        self.wfile.write(head if request.method == "HEAD" else head + response.body)
