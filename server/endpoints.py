"""/health, /live and /metrics over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import SO_REUSEADDR as _SO_REUSEADDR
from socket import SOL_SOCKET as _SOL_SOCKET
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST

from workers.errors import ConfigurationError
from workers.telemetry import logger

# Seconds before a silent client is disconnected.
_CLIENT_TIMEOUT: Final = 5.0
_AT_ONCE: Final = 4

# Status, content type, body.
Answer = tuple[int, str, bytes]


class Endpoints:
    """Answers in its own threads until `close`."""

    def __init__(self, host: str, port: int, answers: dict[str, Callable[[], Answer]]) -> None:
        """Raises ConfigurationError where the address cannot be bound."""
        try:
            self._server = _Server((host, port), _handler(answers))
        except OSError as error:
            raise ConfigurationError(
                f"{host}:{port} (SERVER_HOST, PORT) cannot be bound: {error.strerror or error}"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="endpoints", daemon=True
        )

    @property
    def address(self) -> str:
        """host:port, as bound."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def as_json(status: int, body: Any) -> Answer:
    """A JSON answer."""
    return status, "application/json", json.dumps(body).encode()


def as_metrics(text: bytes) -> Answer:
    """An answer for a scrape."""
    return 200, CONTENT_TYPE_LATEST, text


class _Server(HTTPServer):
    """A few requests at once; the others wait in the listening socket's queue."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="endpoint")
        self._room = threading.Semaphore(_AT_ONCE)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # the parent class looks up this machine's name, which may take seconds
        self.socket.setsockopt(_SOL_SOCKET, _SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._room.acquire()
        self._threads.submit(self._process, request, client_address)

    def _process(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception as error:  # noqa: BLE001 - a client that disconnected is not an error here
            logger.debug("A request could not be answered", exc_info=error)
        finally:
            self.shutdown_request(request)
            self._room.release()

    def server_close(self) -> None:
        super().server_close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _handler(answers: dict[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT
        server_version = "agency-workers"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].rstrip("/")
            answer = answers.get(path)
            if answer is None:
                self._send(as_json(404, {"error": f"not found; available: {', '.join(answers)}"}))
            else:
                self._send(answer())

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

        def _send(self, answer: Answer) -> None:
            status, content_type, body = answer
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: probes come every few seconds."""

    return Handler
