"""The client side of a fake's `/__control/`: the same for threads and processes."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode, urlsplit

from local.faults import Fault

TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.01

# A proxy from the environment must never be used between a test and its own machine.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ControlError(RuntimeError):
    """The fake refused a control request, or an awaited event did not happen."""


class Control:
    """Controls and inspects one fake."""

    def __init__(self, url: str) -> None:
        """`url` is any URL of the fake; its path does not matter."""
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._base = f"{self.url}/__control"

    def is_up(self) -> bool:
        """Whether the fake answers."""
        try:
            self.call("GET", "/health")
        except OSError:
            return False
        return True

    def journal(self, path: str = "") -> list[dict[str, Any]]:
        """The exchanges so far, those for paths that end with `path`; see journal.Exchange."""
        answer: list[dict[str, Any]] = self.call("GET", f"/journal?{urlencode({'path': path})}")
        return answer

    def count(self, path: str = "") -> int:
        """How many requests came in for paths that end with `path`."""
        return int(self.call("GET", f"/journal/count?{urlencode({'path': path})}"))

    def clear_journal(self) -> None:
        """Forget the exchanges so far."""
        self.call("DELETE", "/journal")

    def wait_for_requests(self, count: int, path: str = "", timeout: float = 120.0) -> None:
        """Return once `count` requests have come in. Raises ControlError after `timeout`."""
        deadline = time.monotonic() + timeout
        while (seen := self.count(path)) < count:
            if time.monotonic() > deadline:
                raise ControlError(f"{seen} of {count} requests to {path!r} in {timeout} s")
            time.sleep(POLL_SECONDS)

    def add_faults(self, *faults: Fault) -> None:
        """Put faults at the end of the script."""
        self.call("POST", "/faults", [asdict(fault) for fault in faults])

    def faults(self) -> list[dict[str, Any]]:
        """The script as data, each fault with `struck`, the number of requests it hit."""
        answer: list[dict[str, Any]] = self.call("GET", "/faults")
        return answer

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.call("DELETE", "/faults")

    def settings(self) -> dict[str, Any]:
        """Latency in seconds, and the fake's other settings."""
        answer: dict[str, Any] = self.call("GET", "/settings")
        return answer

    def configure(self, **settings: Any) -> dict[str, Any]:
        """Change some settings; returns all. Raises ControlError for an unknown one."""
        answer: dict[str, Any] = self.call("POST", "/settings", settings)
        return answer

    def state(self) -> Any:
        """The data that the fake holds."""
        return self.call("GET", "/state")

    def replace_state(self, state: Any) -> None:
        """Replace the fake's data."""
        self.call("PUT", "/state", state)

    def reset(self) -> None:
        """Restore state, settings, faults and journal to the start."""
        self.call("POST", "/reset")

    def call(self, method: str, path: str, value: Any = None) -> Any:
        """One control request. Raises ControlError when refused, OSError when none answers."""
        body = None if value is None else json.dumps(value).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, body, headers, method=method)
        try:
            with direct.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ControlError(f"{method} {path}: {error.read().decode()}") from error
