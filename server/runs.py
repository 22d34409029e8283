"""The runs of this process: composed as in the functions, and tracked while they last."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, assert_never

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

Worker = Literal["notifications", "metrics", "retention"]
WORKERS: Final[tuple[Worker, ...]] = ("notifications", "metrics", "retention")
# The functions' timeouts, in seconds; lingering notifications get the longer one.
RUN_SECONDS: Final = {
    "notifications": 120.0,
    "metrics": 60.0,
    "connection_sync": 300.0,
    "retention": 900.0,
}
LINGERING_SECONDS: Final = 900.0
# A run that is this many seconds overdue hangs: the process has to be restarted.
HANGS_AFTER: Final = 300.0
# How often, in seconds, reads in progress are interrupted while the process stops.
_INTERRUPT_EVERY: Final = 0.2


@dataclass(frozen=True)
class Context:
    """What a run gets in place of Lambda's context."""

    clock: SystemClock
    end_at: float

    def get_remaining_time_in_millis(self) -> int:
        """The time it has left."""
        return max(0, int((self.end_at - self.clock.now()) * 1000))


class Runs:
    """Starts runs and tracks those in progress. Thread-safe."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.doorbell = Doorbell()
        self.syncs = SyncPool(self._sync)
        self._in_progress: dict[str, tuple[str, float]] = {}
        self._changed = threading.Condition()
        self.failures: list[Exception] = []

    @property
    def is_stopped(self) -> bool:
        """Whether no more runs are started."""
        return self.clock.now() >= self.clock.stop_at

    def run(self, worker: Worker) -> str | None:
        """One run of a worker: its outcome, or None if it failed or was not started.

        The log says why it failed, and so does the last of `failures`.
        """
        try:
            with self._counted(worker, self._seconds_for(worker)) as context:
                return None if context is None else self._started(worker, context)
        except Exception as error:  # noqa: BLE001 - the run logged it; the others continue
            self._failed(worker, error)
            return None

    def _started(self, worker: Worker, context: Context) -> str:
        match worker:
            case "notifications":
                return str(run_notifications(context, self.clock, self.doorbell)["outcome"])
            case "metrics":
                self._plan()
                return "planned"
            case "retention":
                return str(run_retention({}, context, self.clock)["outcome"])
            case _:
                assert_never(worker)

    def hanging(self) -> list[str]:
        """The workers with a run that is long overdue."""
        now = self.clock.now()
        with self._changed:
            return [
                name for name, end_at in self._in_progress.values() if now > end_at + HANGS_AFTER
            ]

    def stop(self, within: float) -> list[str]:
        """Start no more runs and release what is in flight.

        Returns the workers whose runs are still in progress after `within` seconds.
        """
        self.clock.stop()
        stopped_by = self.clock.now() + within
        releasing = _in_thread(self.syncs.release_waiting)
        while (left := stopped_by - self.clock.now()) > 0:
            self.doorbell.ring()
            break_syncs_off()
            with self._changed:
                if not self._in_progress and not releasing.is_alive():
                    break
                self._changed.wait(min(left, _INTERRUPT_EVERY))
        if self.syncs.has_failed:  # those that were about to start
            _in_thread(self.syncs.release_failed).join(max(0.0, stopped_by - self.clock.now()))
        with self._changed:
            return sorted(name for name, _ in self._in_progress.values())

    def _plan(self) -> None:
        self.syncs.release_failed()
        run_plan(lambda: self.syncs.resized(settings().metrics_concurrency))

    def _sync(self, body: str) -> None:
        """One planned sync. Raises what kept it from ending by itself."""
        with self._counted("connection_sync", RUN_SECONDS["connection_sync"]) as context:
            if context is None:
                raise InterruptedError
            try:
                run_connection_sync(body, context, self.clock)
            except Exception as error:
                self._failed("connection_sync", error)
                raise

    def _seconds_for(self, worker: Worker) -> float:
        try:
            lingers = worker == "notifications" and settings().notification_linger_seconds > 0
        except ConfigurationError:  # the run itself reports it
            lingers = False
        return LINGERING_SECONDS if lingers else RUN_SECONDS[worker]

    def _failed(self, worker: str, error: Exception) -> None:
        self.failures = [*self.failures[-9:], error]
        logger.debug("A run failed", exc_info=error, extra={"worker": worker})

    @contextmanager
    def _counted(self, worker: str, seconds: float) -> Iterator[Context | None]:
        """Its context, or None once no more runs are started."""
        run_id = str(uuid.uuid4())
        context = Context(self.clock, self.clock.now() + seconds)
        with self._changed:
            is_stopped = self.is_stopped
            if not is_stopped:
                self._in_progress[run_id] = (worker, context.end_at)
        if is_stopped:
            yield None
            return
        logger.thread_safe_clear_keys()
        logger.thread_safe_append_keys(service=worker, run_id=run_id)
        try:
            yield context
        finally:
            with self._changed:
                del self._in_progress[run_id]
                self._changed.notify_all()


def _in_thread(what: Callable[[], None]) -> threading.Thread:
    """A call to the database that may hang, so nothing has to wait for it."""
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    return thread
