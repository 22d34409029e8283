"""Runs that are asked for when something was queued."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from workers.clock import Clock

# After a run that found another one at it.
_AGAIN: Final = 1.0


class OnDemand:
    """After each `ask` a whole run, one at a time, in a thread of its own. A run that is under way
    may have looked for the last time, so that it does not count for what is asked meanwhile."""

    def __init__(self, run: Callable[[], bool], clock: Clock) -> None:
        """`run` says whether it could look: not so while another one has the lease."""
        self._run = run
        self._clock = clock
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="on demand", daemon=True)

    def ask(self) -> None:
        """Safe for threads, and before `start`."""
        self._asked.set()

    def start(self) -> None:
        """Do so until the clock stops."""
        self._thread.start()

    @property
    def _has_time(self) -> bool:
        return self._clock.now() < self._clock.stop_at

    def _serve(self) -> None:
        while self._has_time:
            self._asked.wait()
            self._asked.clear()
            while self._has_time and not self._run():
                self._clock.sleep(_AGAIN)
