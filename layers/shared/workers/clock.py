"""The one clock: reading it, and waiting on it."""

from __future__ import annotations

import queue
import time
from datetime import UTC, datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Seconds that only go forward, from an arbitrary start."""

    def now(self) -> float: ...

    def wait(self, inbox: queue.SimpleQueue[T], until: float, *, busy: bool) -> T | None:
        """The next item of `inbox`, or None at the time `until`.

        `busy` tells whether anything is under way that will put an item.
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Return that much later."""
        ...


def utc_now() -> datetime:
    """The time of day here, for comparing with others' only."""
    return datetime.now(UTC)


class SystemClock:
    """Real time."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, inbox: queue.SimpleQueue[T], until: float, *, busy: bool) -> T | None:
        try:
            return inbox.get(timeout=max(0.0, until - self.now()))
        except queue.Empty:
            return None

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
