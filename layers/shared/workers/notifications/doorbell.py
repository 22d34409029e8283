"""Wakes a run that waits: something was queued, or the process is asked to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# On which Postgres says that something was queued, where `operate listen --on` has it do so.
CHANNEL: Final = "agency_dashboard_workers"


class Doorbell:
    """Rung from any thread; each run that is listening hears it in its own way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: list[Callable[[], None]] = []

    def ring(self) -> None:
        """Those that have looked for the last time hear it, too, and do nothing."""
        with self._lock:
            answers = list(self._answers)
        for answer in answers:
            answer()

    @contextmanager
    def answered_by(self, answer: Callable[[], None]) -> Iterator[None]:
        """Within the block each ring calls `answer`, in the thread that rings."""
        with self._lock:
            self._answers.append(answer)
        try:
            yield
        finally:
            with self._lock:
                self._answers.remove(answer)
