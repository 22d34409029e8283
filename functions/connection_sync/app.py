"""Per message of the sync queue: the metrics of one ad account, fetched and stored."""

from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from workers.composition.connection_sync import run_connection_sync
from workers.composition.events import read_messages
from workers.telemetry import logger

processor = BatchProcessor(event_type=EventType.SQS)


# without what the sync before in this container said of itself
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Takes SQS's event or {}; returns the messages that are to come back.

    Raises when all of them are, so that Lambda counts an error.
    """
    if not read_messages(event):
        return {"batchItemFailures": []}
    return process_partial_response(event, sync, processor, context)


def sync(record: SQSRecord, lambda_context: LambdaContext) -> dict[str, Any]:
    """One message's sync: its summary. Raises when the message is to come back."""
    return run_connection_sync(record.body, lambda_context)
