"""Calls that run alongside the loop of a run and report to it through one inbox."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Jobs(Protocol):
    """Runs what takes time for the parts of a run."""

    def submit(
        self,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run `job` elsewhere; the loop then calls `done` or `failed` with its result."""
        ...


class Pool:
    """Threads whose results the loop takes from its inbox."""

    def __init__(
        self, threads: int, name: str, inbox: queue.SimpleQueue[Callable[[], None]]
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._inbox = inbox

    def submit(
        self,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """As in `Jobs`."""

        def task() -> None:
            try:
                result = job()
            except Exception as caught:  # noqa: BLE001 - carried to the loop, which decides
                error = caught
                self._inbox.put(lambda: failed(error))
            else:
                self._inbox.put(lambda: done(result))

        self._executor.submit(task)

    def close(self) -> None:
        """A call that hangs is left to its timeout; nothing waits for it."""
        self._executor.shutdown(wait=False, cancel_futures=True)
