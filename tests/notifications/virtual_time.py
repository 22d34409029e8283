"""Time that passes only when nothing is under way, for the worker, the database and Slack."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from workers.database import Database

T = TypeVar("T")

# No single call of a test takes this long in real time; if one does, it hangs.
REAL_PATIENCE = 300.0


class VirtualClock:
    """A `workers.clock.Clock` that jumps. `moved` is called with each new time."""

    def __init__(self, start: datetime, moved: Callable[[datetime], None]) -> None:
        self._start = start
        self._seconds = 0.0
        self.stop_at = math.inf
        self._lock = threading.Lock()
        self._moved = moved
        moved(start)

    def now(self) -> float:
        return self._seconds

    def as_of(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:  # several threads may wait at once: then one after another
            self._jump_to(self._seconds + seconds)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def _jump_to(self, seconds: float) -> None:
        self._seconds = seconds
        self._moved(self.as_of())

    def wait(self, inbox: queue.SimpleQueue[T], until: float, *, busy: bool) -> T | None:
        if busy:
            return inbox.get(timeout=REAL_PATIENCE)
        if until > self._seconds:
            self._jump_to(until)
        return None


class TimedDatabase(Database):
    """Passes the time to every SQL function."""

    def __init__(
        self, url: str, key: str, as_of: Callable[[], datetime], timeout: float = REAL_PATIENCE
    ) -> None:
        super().__init__(url, key, timeout=timeout)
        self._as_of = as_of

    def call(self, function: str, **arguments: Any) -> Any:
        return super().call(function, as_of=self._as_of().isoformat(), **arguments)
