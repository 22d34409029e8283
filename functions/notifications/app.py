"""Every minute: drains the notification queue into Slack."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.events import read_plain_event
from workers.composition.notifications import run_notifications
from workers.telemetry import logger


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes {} or a schedule's event; returns the run's summary."""
    read_plain_event(event)
    return run_notifications(context)
