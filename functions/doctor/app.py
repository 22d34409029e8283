"""On request: what is wrong with the deployment, and how to fix it."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.doctor import run_doctor
from workers.telemetry import logger


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes {} or {"post": CHANNEL}; returns the findings by section."""
    return run_doctor(event, context)
