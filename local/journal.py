"""The requests that a fake received and its answers, with secrets shortened."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from local.wire import Request

SECRET_HEADERS = ("authorization", "apikey", "developer-token")
_SECRET_FIELDS = "token|access_token|input_token|refresh_token|client_secret|appsecret_proof"  # noqa: S105 - names
_SECRET_FIELD = re.compile(rf'(\b(?:{_SECRET_FIELDS})=|"(?:{_SECRET_FIELDS})"\s*:\s*")([^&"]+)')


@dataclass
class Exchange:
    """One request and its answer. `status` is None until an answer is sent.

    Of a secret in the query, the body or a header only the name and the last characters are kept.
    """

    number: int
    at: float
    monotonic: float
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: str
    status: int | None = None
    fault: str | None = None
    seconds: float | None = None


class Journal:
    """The exchanges of one server in order of arrival. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: list[Exchange] = []

    def record(self, request: Request) -> Exchange:
        """Record a request that just arrived."""
        body = _SECRET_FIELD.sub(_shorten, request.body.decode("utf-8", "replace"))
        query = _SECRET_FIELD.sub(_shorten, request.query)
        headers = {name: _redacted(name, value) for name, value in request.headers.items()}
        now, monotonic = time.time(), time.monotonic()
        with self._lock:
            number = len(self._exchanges) + 1
            exchange = Exchange(
                number, now, monotonic, request.method, request.path, query, headers, body
            )
            self._exchanges.append(exchange)
        return exchange

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._exchanges.clear()

    def count(self, path: str = "") -> int:
        """How many requests came in for paths that end with `path`."""
        with self._lock:
            return sum(exchange.path.endswith(path) for exchange in self._exchanges)

    def listing(self, path: str = "") -> list[dict[str, Any]]:
        """The exchanges as data, those for paths that end with `path`."""
        with self._lock:
            return [asdict(one) for one in self._exchanges if one.path.endswith(path)]


def _redacted(name: str, value: str) -> str:
    if name not in SECRET_HEADERS:
        return value
    scheme, space, _ = value.rpartition(" ")
    return f"{scheme}{space}...{value[-4:]}"


def _shorten(match: re.Match[str]) -> str:
    return f"{match.group(1)}...{match.group(2)[-4:]}"
