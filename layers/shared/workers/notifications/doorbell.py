"""Wakes a run that waits: something was queued, or the process is asked to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# The channel on which Postgres notifies of what was queued, once `operate listen --on` set it up.
CHANNEL: Final = "agency_dashboard_workers"


class Doorbell:
    """Rung from any thread; each run that is listening reacts in its own way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def ring(self) -> None:
        """Runs that have polled for the last time are called too, and do nothing."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Within the block each ring calls `listener`, in the thread that rings."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)
