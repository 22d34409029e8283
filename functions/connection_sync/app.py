"""For each message of the sync queue: fetches and stores the metrics of one ad account."""

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
from workers.composition.events import has_messages
from workers.telemetry import logger

processor = BatchProcessor(event_type=EventType.SQS)


# without the log fields of the previous sync in this container
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Takes SQS's event or {}; returns the messages that are to be delivered again.

    Raises if that is all of them, so that Lambda counts an error.
    """
    if not has_messages(event):
        return {"batchItemFailures": []}
    return process_partial_response(event, sync, processor, context)


def sync(record: SQSRecord, lambda_context: LambdaContext) -> dict[str, Any]:
    """Runs one message's sync; returns its summary. Raises if the message is to be delivered
    again."""
    return run_connection_sync(record.body, lambda_context)
