"""A server as a process: started, read line by line, queried over HTTP, ended by signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from local.control import direct
from local.environment import bare
from local.stack import ROOT
from tests.integration.processes import LONG, eventually

# It exits within this many seconds, whatever it was doing: PM2, Docker and others rely on it.
EXITS_WITHIN = 8.0
# No test here depends on a schedule: what it waits for happens, or it fails.
NEVER = "rate(300 day)"


class ServerProcess:
    """`python -m server` with what it has logged so far."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "layers" / "shared")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", *arguments],
            env={**bare(), "PYTHONPATH": path, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def actions(self) -> list[str]:
        """What it has logged, by action."""
        return [line.get("action", "") for line in self.lines]

    def of(self, action: str) -> list[dict[str, Any]]:
        """The lines with that action."""
        return [line for line in self.lines if line.get("action") == action]

    def wait_for(self, action: str, count: int = 1) -> list[dict[str, Any]]:
        """The lines with that action, once there are `count`."""

        def is_there() -> bool:
            return len(self.of(action)) >= count or self.process.poll() is not None

        eventually(is_there, f"no {action!r} in {self.lines[-10:]}")
        found = self.of(action)
        assert len(found) >= count, self.lines[-10:]
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its endpoints."""
        address = self.wait_for("ready")[0]["address"]
        try:
            with direct.open(f"http://{address}{path}", timeout=LONG) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status after that signal. Raises TimeoutExpired if it takes too long."""
        self.process.send_signal(number)
        return self._ended(EXITS_WITHIN)

    def wait(self) -> int:
        """The exit status, once it has ended by itself."""
        return self._ended(LONG)

    def _ended(self, within: float) -> int:
        status = self.process.wait(within)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@contextmanager
def server(environment: Mapping[str, str], *arguments: str) -> Iterator[ServerProcess]:
    """A server on a free port, killed at the end if it is still running."""
    started = ServerProcess({"PORT": "0", **environment}, *arguments)
    try:
        yield started
    finally:
        started.process.kill()
        started.wait()


def once(environment: Mapping[str, str], *workers: str) -> ServerProcess:
    """A finished `--once` pass."""
    started = ServerProcess(environment, *workers, "--once")
    started.wait()
    return started
