"""Every week: old rows, archived and purged as the retention policies say."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.retention import run_retention
from workers.telemetry import logger


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Returns the run's summary. `{"dry_run": true}` has it count, and change nothing."""
    return run_retention(event, context)
