"""Every week: archives and purges old rows, as the retention policies say."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.retention import run_retention
from workers.telemetry import logger


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes {}, a schedule's event or {"dry_run": true}, which counts and changes nothing; returns
    the run's summary."""
    return run_retention(event, context)
