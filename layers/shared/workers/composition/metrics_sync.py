"""The plan of the metrics sync and its clients."""

from __future__ import annotations

from typing import Any

from workers.clock import SystemClock
from workers.composition.container import (
    InvocationContext,
    database,
    note_refusal,
    once_per_container,
    settings,
)
from workers.composition.runs import recorded_run
from workers.errors import ConfigurationError, CredentialsError
from workers.metrics.planning import plan_syncs
from workers.platforms import NAMES
from workers.sync_queue import SyncQueue
from workers.telemetry import emit_metrics, logger

WORKER = "metrics_sync"


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
        try:
            plan = plan_syncs(database(), queue, NAMES, settings().metrics_concurrency)
        except CredentialsError as error:
            note_refusal(WORKER, error)
            raise
        summary = plan.summary()
        logger.info("The syncs were planned", extra={"action": "metrics_plan", **summary})
        emit_metrics(WORKER, {"SyncsPlanned": plan.planned, "CredentialsRefused": 0})
        record.end("planned", succeeded=True, counts=summary)
    return summary
