"""The plan of the metrics sync and its clients."""

from __future__ import annotations

from typing import Any

from workers.clock import SystemClock
from workers.composition.container import (
    InvocationContext,
    database,
    once_per_container,
    settings,
)
from workers.composition.runs import recorded_run
from workers.doctor.health import hours_since_retention
from workers.errors import ConfigurationError, WorkerError
from workers.metrics.planning import plan_syncs
from workers.metrics.platforms import MAPPING_KEYS
from workers.metrics.sync_queue import SyncQueue
from workers.redaction import redact
from workers.telemetry import emit_metrics, logger

WORKER = "metrics_sync"


def _tell_of_all() -> None:
    """What no run of its own would tell: a weekly worker that is missing, what is parked."""
    try:
        found = database().call("worker_health")
    except WorkerError as error:  # the plan itself succeeded
        logger.warning("The workers' state is not known", extra={"error": redact(str(error))})
        return
    emit_metrics(
        WORKER,
        {
            "HoursSinceRetention": hours_since_retention(found),
            "ConnectionsParked": found["parked_connections"],
        },
    )


@once_per_container
def sync_queue() -> SyncQueue:
    url = settings().sync_queue_url
    if url is None:
        raise ConfigurationError(
            "SYNC_QUEUE_URL is missing: the SQS queue between the plan and the syncs, which the "
            "template sets"
        )
    return SyncQueue(url)


def run_metrics_sync(context: InvocationContext) -> dict[str, Any]:
    """One pass of the plan; returns its summary, raises when it failed as a whole."""
    with recorded_run(WORKER, SystemClock()) as record:
        queue = sync_queue()
        plan = plan_syncs(database(), queue, MAPPING_KEYS, settings().metrics_concurrency)
        summary = plan.summary()
        logger.info("The syncs were planned", extra={"action": "metrics_plan", **summary})
        record.end("planned", succeeded=True, counts=summary)
    _tell_of_all()
    return summary
