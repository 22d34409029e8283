"""Whether the workers are healthy, judged by when each last succeeded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from workers.answers import Answer

# How long a worker counts as healthy after a successful run: for notifications the original's five
# minutes, for each other its interval and some slack.
WELL_FOR: Final[Mapping[str, timedelta]] = {
    "notifications": timedelta(minutes=5),
    "metrics_sync": timedelta(minutes=25),
    "retention": timedelta(days=8),
}
_SYNCS: Final = "connection_sync"


@dataclass(frozen=True)
class LastRun:
    """When a worker last succeeded, and how its last run ended."""

    succeeded_at: datetime | None
    outcome: str | None
    error: str | None


@dataclass(frozen=True)
class Waiting:
    """What waits in the queue; `due` and `dead` are counted up to 10,000."""

    due: int
    oldest_due_seconds: float | None
    dead: int
    parked_destinations: int
    without_destination: int


@dataclass(frozen=True)
class WorkerHealth:
    """As worker_health returns it."""

    now: datetime
    first_run_at: datetime | None
    workers: Mapping[str, LastRun]
    queue: Waiting
    parked_connections: int
    failing_connections: int


@dataclass(frozen=True)
class WorkerState:
    """One worker; `reason` says why it is unhealthy, `last_outcome` and `last_error` how its last
    run ended then."""

    status: Literal["healthy", "unhealthy", "off"]
    succeeded_at: datetime | None
    reason: str | None = None
    last_outcome: str | None = None
    last_error: str | None = None

    def as_json(self) -> dict[str, object]:
        """Without what is unknown, except for the time."""
        optional = {
            "reason": self.reason, "lastOutcome": self.last_outcome, "lastError": self.last_error,
        }  # fmt: skip
        return {
            "status": self.status,
            "lastProcessedAt": _shown(self.succeeded_at),
            **{name: value for name, value in optional.items() if value},
        }


@dataclass(frozen=True)
class Health:
    """Every worker's state and what it was judged by, or the `reason` why it is unknown. Names no
    one."""

    workers: Mapping[str, WorkerState]
    found: WorkerHealth | None
    reason: str | None = None

    @property
    def status(self) -> int:
        """An HTTP status: 200 or 503."""
        is_unhealthy = any(one.status == "unhealthy" for one in self.workers.values())
        return 503 if self.found is None or is_unhealthy else 200

    @property
    def body(self) -> dict[str, object]:
        """JSON-able."""
        found = self.found
        if found is None:
            return {"status": "unhealthy", "lastProcessedAt": None, "reason": self.reason}
        return {
            "status": "healthy" if self.status == 200 else "unhealthy",
            "lastProcessedAt": _shown(self.workers["notifications"].succeeded_at),
            "workers": {name: state.as_json() for name, state in self.workers.items()},
            "queue": {
                "due": found.queue.due,
                "oldestDueSeconds": found.queue.oldest_due_seconds,
                "dead": found.queue.dead,
                "parkedDestinations": found.queue.parked_destinations,
                "withoutDestination": found.queue.without_destination,
            },
            "connections": {
                "parked": found.parked_connections,
                "failing": found.failing_connections,
                "lastSyncedAt": _shown(found.workers[_SYNCS].succeeded_at),
            },
        }


def read_worker_health(value: object) -> WorkerHealth:
    """As worker_health returns it. Raises ConfigurationError for anything else."""
    answer = Answer.of("worker_health", value)
    workers = answer.inner("workers")
    return WorkerHealth(
        now=answer.time("now"),
        first_run_at=answer.optional_time("first_run_at"),
        workers={name: _last_run(workers.inner(name)) for name in (*WELL_FOR, _SYNCS)},
        queue=Waiting(
            due=answer.whole("due"),
            oldest_due_seconds=answer.optional_number("oldest_due_seconds"),
            dead=answer.whole("dead"),
            parked_destinations=answer.whole("parked"),
            without_destination=answer.whole("unrouted"),
        ),
        parked_connections=answer.whole("parked_connections"),
        failing_connections=answer.whole("failing_connections"),
    )


def assess(found: WorkerHealth, off: Collection[str] = ()) -> Health:
    """Whether each worker is healthy; those that are switched `off` are neither."""
    workers = {
        name: WorkerState("off", found.workers[name].succeeded_at)
        if name in off
        else _state(found.workers[name], found, well_for)
        for name, well_for in WELL_FOR.items()
    }
    return Health(workers, found)


def hours_since_retention(found: WorkerHealth) -> float:
    """Since retention was last complete; since the first run of any worker, if it never was."""
    last = found.workers["retention"].succeeded_at or found.first_run_at
    return 0.0 if last is None else (found.now - last).total_seconds() / 3600


def unknown_health(reason: str) -> Health:
    """If nothing can be said, because the database does not answer."""
    return Health({}, None, reason)


def _last_run(answer: Answer) -> LastRun:
    return LastRun(
        succeeded_at=answer.optional_time("last_success_at"),
        outcome=answer.optional_text("last_outcome"),
        error=answer.optional_text("last_error"),
    )


def _state(run: LastRun, found: WorkerHealth, well_for: timedelta) -> WorkerState:
    # a worker that has never run is given its interval, from the first of all runs
    since = run.succeeded_at or found.first_run_at
    if since is not None and found.now - since <= well_for:
        return WorkerState("healthy", run.succeeded_at)
    return WorkerState(
        "unhealthy",
        run.succeeded_at,
        f"no successful run for {_span(well_for)}" if run.succeeded_at else "no successful run yet",
        run.outcome,
        run.error,
    )


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _span(time: timedelta) -> str:
    return f"{time.days} days" if time.days else f"{time.seconds // 60} minutes"
