"""The plan of the metrics sync, wherever its sync requests go."""

from __future__ import annotations

from collections.abc import Callable

from workers.clock import SystemClock
from workers.composition.container import database, settings
from workers.composition.runs import recorded_run
from workers.doctor.health import hours_since_retention, read_worker_health
from workers.errors import WorkerError
from workers.metrics.planning import Outbox, plan_syncs
from workers.metrics.platforms import MAPPING_KEYS
from workers.redaction import redact
from workers.telemetry import emit_metrics, logger

WORKER = "metrics_sync"


def run_plan(outbox: Callable[[], Outbox]) -> dict[str, object]:
    """One pass of the plan; returns its summary, raises when it failed as a whole.

    `outbox` is called within the run, so that its errors are the run's.
    """
    with recorded_run(WORKER, SystemClock()) as record:
        plan = plan_syncs(
            database(),
            outbox(),
            MAPPING_KEYS,
            settings().metrics_concurrency,
            settings().metrics_figures,
        )
        summary = plan.summary()
        logger.info("The syncs were planned", extra={"action": "metrics_plan", **summary})
        record.end("planned", succeeded=True, counts=summary)
    _report_standing()
    return summary


def _report_standing() -> None:
    """Reports what no run of its own would: a missing weekly run, and parked connections."""
    try:
        found = read_worker_health(database().call("worker_health"))
    except WorkerError as error:  # the plan itself succeeded
        logger.warning("The workers' state is unknown", extra={"error": redact(str(error))})
        return
    emit_metrics(
        WORKER,
        {
            "HoursSinceRetention": hours_since_retention(found),
            "ConnectionsParked": found.parked_connections,
        },
    )
