"""On request: whether the workers are healthy, with 200 or 503, as JSON or a page for a browser."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.events import read_request, wants_page
from workers.composition.health import run_health
from workers.telemetry import logger


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers a function URL's request, whatever its path, or {}."""
    read_request(event)
    return run_health(as_page=wants_page(event))
