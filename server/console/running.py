"""The actions that this process carries out, each with a clock of its own that can be stopped."""

from __future__ import annotations

import threading

from workers.clock import SystemClock


class Running:
    """Clocks by the keys of the actions. Safe for threads.

    Whether an action is stopped or ends by itself is decided once: `stop` is False after `end`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clocks: dict[str, SystemClock] = {}

    def begin(self, key: str) -> SystemClock:
        """The clock of an action that begins."""
        with self._lock:
            self._clocks[key] = SystemClock()
            return self._clocks[key]

    def end(self, key: str) -> None:
        """The action has ended."""
        with self._lock:
            self._clocks.pop(key, None)

    def has(self, key: str) -> bool:
        """Whether this process carries it out, and nobody has asked it to stop."""
        with self._lock:
            return key in self._clocks and not self._clocks[key].is_stopped

    def is_stopping(self, key: str) -> bool:
        """Whether someone has asked it to stop, and it has not ended yet."""
        with self._lock:
            return key in self._clocks and self._clocks[key].is_stopped

    def stop(self, key: str) -> bool:
        """Ask it to stop once what is in progress is done; False where it has ended."""
        with self._lock:
            if key not in self._clocks:
                return False
            self._clocks[key].stop()
            return True
