"""The one clock: reading it, and waiting on it."""

from __future__ import annotations

import math
import queue
import threading
import time
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

# Of the eight seconds within which a process exits once it is asked to: the rest is for the records
# of its runs, and for those who wait for it.
STOP_SECONDS: Final = 5.0


class Clock(Protocol):
    """Seconds that only increase, from an arbitrary start."""

    # From this time on nothing new is started, because the process was asked to end; infinite until
    # then. What is in progress has STOP_SECONDS to end in order.
    stop_at: float

    def now(self) -> float: ...

    def wait(self, inbox: queue.SimpleQueue[T], until: float, *, busy: bool) -> T | None:
        """The next item of `inbox`, or None at the time `until`.

        `busy` says whether anything is in progress that will put an item.
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Returns after that many seconds, or at `stop_at`."""
        ...


def utc_now() -> datetime:
    """This machine's time, only for comparing it with other clocks."""
    return datetime.now(UTC)


class SystemClock:
    """Real time."""

    def __init__(self) -> None:
        self.stop_at = math.inf
        self._is_stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether it was asked to."""
        return self._is_stopped.is_set()

    def stop(self) -> None:
        """Sets `stop_at` to now, and ends all sleeps. Waits continue: they have inboxes."""
        self.stop_at = min(self.stop_at, self.now())
        self._is_stopped.set()

    def now(self) -> float:
        return time.monotonic()

    def wait(self, inbox: queue.SimpleQueue[T], until: float, *, busy: bool) -> T | None:
        try:
            return inbox.get(timeout=max(0.0, until - self.now()))
        except queue.Empty:
            return None

    def sleep(self, seconds: float) -> None:
        self._is_stopped.wait(seconds)
