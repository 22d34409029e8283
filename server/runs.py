"""The runs of this process: through the functions' own compositions, counted while they last."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from server.syncs import SyncPool
from workers.clock import SystemClock
from workers.composition.connection_sync import break_syncs_off, run_connection_sync
from workers.composition.container import settings
from workers.composition.metrics_plan import run_plan
from workers.composition.notifications import run_notifications
from workers.composition.retention import run_retention
from workers.errors import ConfigurationError
from workers.notifications.doorbell import Doorbell
from workers.telemetry import logger

WORKERS: Final = ("notifications", "metrics", "retention")
# As the timeouts of the functions, in seconds; notifications that linger have the longer one.
RUN_SECONDS: Final = {
    "notifications": 120.0,
    "metrics": 60.0,
    "connection_sync": 300.0,
    "retention": 900.0,
}
LINGERING_SECONDS: Final = 900.0
# So much later than it should have ended, a run hangs: the process is to be started again.
HANGS_AFTER: Final = 300.0
# How often reads that are under way are broken off while the process ends.
_BREAK_OFF_EVERY: Final = 0.2


@dataclass(frozen=True)
class Context:
    """What a run is given in place of Lambda's context."""

    clock: SystemClock
    end_at: float

    def get_remaining_time_in_millis(self) -> int:
        """What is left of its time."""
        return max(0, int((self.end_at - self.clock.now()) * 1000))


class Runs:
    """Starts runs and knows which are under way. Safe for threads."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.doorbell = Doorbell()
        self.syncs = SyncPool(self._sync)
        self._under_way: dict[str, tuple[str, float]] = {}
        self._changed = threading.Condition()
        self.failures: list[Exception] = []

    @property
    def is_stopped(self) -> bool:
        """Whether nothing is started any more."""
        return self.clock.now() >= self.clock.stop_at

    def run(self, worker: str) -> dict[str, Any] | None:
        """One run of one of WORKERS: its summary, or None where it failed or was not started.

        Why it failed is in the log, and the last of `failures`.
        """
        start: dict[str, Callable[[Context], dict[str, Any]]] = {
            "notifications": lambda context: run_notifications(context, self.clock, self.doorbell),
            "metrics": lambda _: self._plan(),
            "retention": lambda context: run_retention({}, context, self.clock),
        }
        try:
            with self._counted(worker, self._seconds_for(worker)) as context:
                return None if context is None else start[worker](context)
        except Exception as error:  # noqa: BLE001 - the run said so; the others go on
            self._failed(worker, error)
            return None

    def hanging(self) -> list[str]:
        """The workers with a run that should have ended long ago."""
        now = self.clock.now()
        with self._changed:
            return [name for name, end_at in self._under_way.values() if now > end_at + HANGS_AFTER]

    def stop(self, within: float) -> list[str]:
        """Start nothing more and give back what is in flight; the workers whose runs are still
        under way after so many seconds."""
        self.clock.stop()
        stopped_by = self.clock.now() + within
        giving_back = _in_thread(self.syncs.give_back)
        while (left := stopped_by - self.clock.now()) > 0:
            self.doorbell.ring()
            break_syncs_off()
            with self._changed:
                if not self._under_way and not giving_back.is_alive():
                    break
                self._changed.wait(min(left, _BREAK_OFF_EVERY))
        if self.syncs.has_failed:  # that were just about to begin
            _in_thread(self.syncs.give_back_failed).join(max(0.0, stopped_by - self.clock.now()))
        with self._changed:
            return sorted(name for name, _ in self._under_way.values())

    def _plan(self) -> dict[str, Any]:
        self.syncs.give_back_failed()
        return run_plan(lambda: self.syncs.of(settings().metrics_concurrency))

    def _sync(self, body: str) -> None:
        """One sync that was planned. Raises what ended it before it could end by itself."""
        with self._counted("connection_sync", RUN_SECONDS["connection_sync"]) as context:
            if context is None:
                raise InterruptedError
            try:
                run_connection_sync(body, context, self.clock)
            except Exception as error:
                self._failed("connection_sync", error)
                raise

    def _seconds_for(self, worker: str) -> float:
        try:
            lingers = worker == "notifications" and settings().notification_linger_seconds > 0
        except ConfigurationError:  # which the run itself reports
            lingers = False
        return LINGERING_SECONDS if lingers else RUN_SECONDS[worker]

    def _failed(self, worker: str, error: Exception) -> None:
        self.failures = [*self.failures[-9:], error]
        logger.debug("A run failed", exc_info=error, extra={"worker": worker})

    @contextmanager
    def _counted(self, worker: str, seconds: float) -> Iterator[Context | None]:
        """Its context, or None once nothing is started any more."""
        run_id = str(uuid.uuid4())
        context = Context(self.clock, self.clock.now() + seconds)
        with self._changed:
            is_stopped = self.is_stopped
            if not is_stopped:
                self._under_way[run_id] = (worker, context.end_at)
        if is_stopped:
            yield None
            return
        logger.thread_safe_clear_keys()
        logger.thread_safe_append_keys(service=worker, run_id=run_id)
        try:
            yield context
        finally:
            with self._changed:
                del self._under_way[run_id]
                self._changed.notify_all()


def _in_thread(what: Callable[[], None]) -> threading.Thread:
    """A call to the database that may hang: nobody has to wait for it."""
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread
