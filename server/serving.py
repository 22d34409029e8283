"""The long-running process: schedules, endpoints, signals, shutdown."""

from __future__ import annotations

import queue
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]
from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]

from server.endpoints import Answer, Endpoints, as_json, as_metrics
from server.listening import Listener
from server.on_demand import OnDemand
from server.prometheus import PrometheusMetrics
from server.runs import Runs, Worker
from server.schedules import read_schedule
from server.settings import ServerSettings, server_settings
from workers.clock import utc_now
from workers.composition.container import database, forget_clients, read_secret, settings
from workers.composition.health import run_health
from workers.doctor.health import WELL_FOR, hours_since_retention, read_worker_health
from workers.errors import ConfigurationError, WorkerError
from workers.redaction import redact
from workers.settings import environment_settings
from workers.telemetry import logger

if TYPE_CHECKING:
    from server.console.serving import ConsoleServer

ConsoleMode = Literal["acting", "read-only"]

# Seconds. PM2, Docker and others kill after a grace period: by then all is released, and the
# process has had a moment to end, also on a busy machine.
STOP_WITHIN: Final = 6.5
# The workers' names in health and in their records.
RECORDED_AS: Final[dict[Worker, str]] = {
    "notifications": "notifications",
    "metrics": "metrics_sync",
    "retention": "retention",
}
# Seconds until a retention run that failed as a whole is retried, as in Lambda.
_RETENTION_RETRIES: Final = (60, 120)
_HOUR: Final = 3600


class Serving:
    """One process with its workers, from `run` to shutdown."""

    def __init__(
        self,
        workers: Sequence[Worker],
        known: ServerSettings,
        metrics: PrometheusMetrics,
        *,
        console: ConsoleMode | None = None,
    ) -> None:
        """Raises ConfigurationError if an address is taken or a library is missing."""
        self._workers = tuple(workers)
        self._known = known
        self._metrics = metrics
        self._runs = Runs()
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._disabled_here = frozenset(RECORDED_AS.values()) - {
            RECORDED_AS[one] for one in workers
        }
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": {"type": "threadpool", "max_workers": 2 + len(workers)}},
            job_defaults={"coalesce": True, "misfire_grace_time": _HOUR},
        )
        self._endpoints = Endpoints(
            known.server_host,
            known.port,
            {"/health": self._health, "/live": self._live, "/metrics": self._scrape},
        )
        self._console = None if console is None else _console(known.console_port, console)
        self._on_demand = OnDemand(self._poll, self._runs.clock)
        self._listener: Listener | None = None
        if known.database_url is not None and "notifications" in workers:
            self._listener = Listener(
                lambda: server_settings().database_url, self._ring, self._runs.clock
            )

    def run(self) -> int:
        """Serve until a signal ends it; returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self._signals.put(number))
        signal.signal(signal.SIGHUP, lambda number, _: self._signals.put(number))
        self._endpoints.start()
        for worker in self._workers:
            self._schedule(worker)
        self._scheduler.start()
        if self._listener is not None:
            self._on_demand.start()
            self._listener.start()
        if "retention" in self._workers:
            self._catch_up_on_retention()
        if self._console is not None:
            self._console.start()
            self._console.announce()
        logger.info("Ready", extra={"action": "ready", "address": self._endpoints.address})
        while (caught := self._signals.get()) == signal.SIGHUP:
            reload_settings()
        return self._stop(signal.Signals(caught).name)

    def _stop(self, why: str) -> int:
        logger.info("Stopping", extra={"action": "stopping", "signal": why})
        self._scheduler.shutdown(wait=False)
        if self._console is not None:
            self._console.end()
        left = self._runs.stop(STOP_WITHIN)
        if left:
            logger.warning(
                "Stopped while calls were still unanswered; what they hold is free once its lease "
                "expires",
                extra={"action": "stopped", "left": left},
            )
        else:
            logger.info("Stopped", extra={"action": "stopped"})
        return 0

    # --- schedules ---

    def _schedule(self, worker: Worker) -> None:
        trigger = read_schedule(
            getattr(self._known, f"{worker}_schedule"), self._known.retention_time_zone
        )
        # an interval starts with a run, a time of day waits
        first = {"next_run_time": utc_now()} if isinstance(trigger, IntervalTrigger) else {}
        self._scheduler.add_job(
            self._run,
            trigger,
            args=[worker],
            id=worker,
            **first,
            # the next run requests the lease of the one that lingers
            max_instances=2 if worker == "notifications" else 1,
        )

    def _run(self, worker: Worker, tries: Sequence[int] = _RETENTION_RETRIES) -> None:
        outcome = self._runs.run(worker)
        if outcome is None and worker == "retention" and tries and not self._runs.is_stopped:
            self._later(tries[0], worker, tries[1:])

    def _later(self, seconds: float, worker: Worker, tries: Sequence[int]) -> None:
        self._scheduler.add_job(
            self._run,
            "date",
            run_date=utc_now() + timedelta(seconds=seconds),
            args=[worker, tries],
            id=f"{worker} retry",
            replace_existing=True,
        )

    def _catch_up_on_retention(self) -> None:
        """Catch up on the weekly run that the process missed, once health would call it overdue."""
        try:
            hours = hours_since_retention(read_worker_health(database().call("worker_health")))
        except WorkerError as error:
            logger.warning("The workers' state is unknown", extra={"error": redact(str(error))})
            return
        if hours * _HOUR > WELL_FOR["retention"].total_seconds():
            self._later(1, "retention", _RETENTION_RETRIES)

    def _ring(self) -> None:
        """Something was queued: wake the lingering run, or request one where runs do not linger."""
        self._runs.doorbell.ring()
        try:
            lingers = settings().notification_linger_seconds > 0
        except ConfigurationError:
            return
        if not lingers:
            self._on_demand.request()

    def _poll(self) -> bool:
        return self._runs.run("notifications") != "busy"

    # --- endpoints ---

    def _health(self) -> Answer:
        answer: dict[str, Any] = run_health(self._disabled_here)
        return answer["statusCode"], "application/json", answer["body"].encode()

    def _live(self) -> Answer:
        hanging = self._runs.hanging()
        is_live = self._scheduler.running and not hanging
        body = {"status": "live" if is_live else "hanging", "hanging": hanging}
        return as_json(200 if is_live else 503, body)

    def _scrape(self) -> Answer:
        return as_metrics(self._metrics.text())


def _console(port: int, mode: ConsoleMode) -> ConsoleServer:
    """The console of this project. Raises ConfigurationError as `Serving` does."""
    try:
        from server.console.project import Project  # noqa: PLC0415 - an extra
        from server.console.serving import ConsoleServer  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--console: {error.name} is not installed: pip install .[console]"
        ) from None
    read_only = mode == "read-only"
    return ConsoleServer(Project(), "127.0.0.1", port, _say, read_only=read_only)


def _say(line: str) -> None:
    """Not in the log, which must not hold what grants access."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def reload_settings() -> None:
    """Make every later run re-read settings and secrets, unless they are malformed."""
    try:
        environment_settings(read_secret)
    except ConfigurationError as error:
        logger.error(
            "The new settings are invalid; the old ones stay in force",
            extra={"action": "settings_refused", "error": redact(str(error))},
        )
        return
    forget_clients()
    logger.info("Settings and secrets were re-read", extra={"action": "settings_read"})
