"""Every ten minutes: queues a sync for each ad account that is due."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.events import read_plain_event
from workers.composition.metrics_sync import run_metrics_sync
from workers.telemetry import logger


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes {} or a schedule's event; returns the plan's summary."""
    read_plain_event(event)
    return run_metrics_sync(context)
