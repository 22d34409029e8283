"""The console's HTTP server: in this thread, or in one of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection
from typing import Final

import uvicorn

from server.console.app import console_app
from server.console.guard import LOOPBACK
from server.console.project import Project
from server.console.sessions import Sessions
from workers.clock import SystemClock
from workers.errors import ConfigurationError

# Seconds that requests in progress get to finish when the server ends.
_GRACE: Final = 2


class ConsoleServer:
    """The console of one project at an address."""

    def __init__(
        self,
        project: Project,
        host: str,
        port: int,
        announce: Callable[[str], None],
        names: Collection[str] = (),
        *,
        read_only: bool | None = None,
    ) -> None:
        """`announce` gets each line with an address that lets one person in; `names`: further hosts
        that it may be asked by; `read_only`: by default, where others than this machine can reach
        it. Raises ConfigurationError where it cannot be bound."""
        self._project, self._host, self._write = project, host, announce
        self._socket = _bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.is_read_only = host not in LOOPBACK or bool(names) if read_only is None else read_only
        self._sessions = Sessions(SystemClock().now)
        app = console_app(
            project,
            self._sessions,
            names=LOOPBACK.union([host.lower()], (name.lower() for name in names)),
            # cookies ignore ports, and there may be a console for each project
            cookie=f"console-{self.port}",
            announce=self.announce,
            may_act=not self.is_read_only,
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                http="h11",
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers, without a token."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "") else self._host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def announce(self) -> None:
        """Write an address that can be used once."""
        token = self._sessions.new_token()
        self._write(f"Console of {self._project.name}: {self.url}/?token={token}")

    def run(self) -> None:
        """Answer until SIGINT or SIGTERM."""
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Answer in a thread of its own until `close`."""
        self._thread = threading.Thread(target=self.run, name="console", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop taking requests."""
        self._server.should_exit = True

    def close(self) -> None:
        """Stop, after answering the requests in progress."""
        self.end()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"the console's address {host}:{port} cannot be bound: {error.strerror or error}; "
            "CONSOLE_PORT names another port"
        ) from None
    return bound
