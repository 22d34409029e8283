"""Every minute: the notification queue, drained into Slack."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.notifications import run_notifications
from workers.telemetry import logger


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Returns the run's summary. The event, a schedule's, says nothing that is needed."""
    return run_notifications(context)
