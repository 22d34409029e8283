"""Whether the workers are well, judged by when each last did its work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

# A worker is well for so long after a run that did its work: the original's five minutes for
# notifications, each other's interval and some slack.
WELL_FOR: Final = {
    "notifications": timedelta(minutes=5),
    "metrics_sync": timedelta(minutes=25),
    "retention": timedelta(days=8),
}


@dataclass(frozen=True)
class Health:
    """`status` is an HTTP status, 200 or 503; `body` is JSON-able and names nobody."""

    status: int
    body: dict[str, Any]


def assess(found: Mapping[str, Any], off: Collection[str] = ()) -> Health:
    """From what worker_health returns; what is switched off is neither well nor ill."""
    now = datetime.fromisoformat(found["now"])
    first = _moment(found["first_run_at"])
    workers = {
        name: {"status": "off", "lastProcessedAt": found["workers"][name]["last_success_at"]}
        if name in off
        else _worker(found["workers"][name], now, first, well_for)
        for name, well_for in WELL_FOR.items()
    }
    is_well = all(worker["status"] != "unhealthy" for worker in workers.values())
    body = {
        "status": "healthy" if is_well else "unhealthy",
        "lastProcessedAt": workers["notifications"]["lastProcessedAt"],
        "workers": workers,
        "queue": {
            "due": found["due"],
            "oldestDueSeconds": found["oldest_due_seconds"],
            "dead": found["dead"],
            "parkedDestinations": found["parked"],
            "withoutDestination": found["unrouted"],
        },
        "connections": {
            "parked": found["parked_connections"],
            "failing": found["failing_connections"],
            "lastSyncedAt": found["workers"]["connection_sync"]["last_success_at"],
        },
    }
    return Health(200 if is_well else 503, body)


def hours_since_retention(found: Mapping[str, Any]) -> float:
    """Since retention was last complete; since the first run of any worker, if it never was."""
    last = _moment(found["workers"]["retention"]["last_success_at"]) or _moment(
        found["first_run_at"]
    )
    now = datetime.fromisoformat(found["now"])
    return 0.0 if last is None else (now - last).total_seconds() / 3600


def out_of_reach(reason: str) -> Health:
    """When nothing can be said, because the database does not answer."""
    return Health(503, {"status": "unhealthy", "lastProcessedAt": None, "reason": reason})


def _worker(
    run: Mapping[str, Any], now: datetime, first: datetime | None, well_for: timedelta
) -> dict[str, Any]:
    last = _moment(run["last_success_at"])
    told: dict[str, Any] = {"status": "healthy", "lastProcessedAt": run["last_success_at"]}
    # one that has not had its turn yet, since the first of all runs, is given it
    since = last or first
    if since is None or now - since > well_for:
        told["status"] = "unhealthy"
        told["reason"] = (
            f"no run has done its work for {_span(well_for)}"
            if last
            else "no run has done its work yet"
        )
        if run["last_outcome"]:
            told["lastOutcome"] = run["last_outcome"]
        if run["last_error"]:
            told["lastError"] = run["last_error"]
    return told


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _span(time: timedelta) -> str:
    return f"{time.days} days" if time.days else f"{time.seconds // 60} minutes"
