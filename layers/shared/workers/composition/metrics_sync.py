"""The plan of the metrics sync with SQS, which delivers its sync requests."""

from __future__ import annotations

from workers.composition.container import InvocationContext, once_per_container, settings
from workers.composition.metrics_plan import run_plan
from workers.errors import ConfigurationError
from workers.metrics.sync_queue import SyncQueue


@once_per_container
def sync_queue() -> SyncQueue:
    url = settings().sync_queue_url
    if url is None:
        raise ConfigurationError(
            "SYNC_QUEUE_URL is missing: the SQS queue between the plan and the syncs, which the "
            "template sets"
        )
    return SyncQueue(url)


def run_metrics_sync(context: InvocationContext) -> dict[str, object]:
    """One pass of the plan; returns its summary, raises when it failed as a whole."""
    return run_plan(sync_queue)
