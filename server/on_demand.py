"""Runs on demand, when something was queued."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from workers.clock import Clock

# Seconds until the next try after finding another run active.
_RETRY_AFTER: Final = 1.0


class OnDemand:
    """After each `request` a whole run, one at a time, in its own thread. A run in progress may
    already have polled for the last time, so it does not satisfy a request made meanwhile."""

    def __init__(self, run: Callable[[], bool], clock: Clock) -> None:
        """`run` returns whether it could poll: it cannot while another run has the lease."""
        self._run = run
        self._clock = clock
        self._requested = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="on demand", daemon=True)

    def request(self) -> None:
        """Thread-safe; may be called before `start`."""
        self._requested.set()

    def start(self) -> None:
        """Serve requests until the clock stops."""
        self._thread.start()

    @property
    def _has_time(self) -> bool:
        return self._clock.now() < self._clock.stop_at

    def _serve(self) -> None:
        while self._has_time:
            self._requested.wait()
            self._requested.clear()
            while self._has_time and not self._run():
                self._clock.sleep(_RETRY_AFTER)
