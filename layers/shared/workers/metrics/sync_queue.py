"""The SQS queue between the plan of the metrics sync and the syncs: sending, and how it can fail.

Lambda itself receives. A message that arrives twice, or late, does no harm: its token shows whether
the plan is still valid. So whatever may have failed may be sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as AwsConnectionError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from workers.errors import (
    ConfigurationError,
    TransientError,
    UnknownError,
    WorkerError,
    unreachable_since,
)

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
_BATCH: Final = 10

# botocore retries a failed call once; we retry the entries of a batch that SQS did not accept once,
# of which botocore knows nothing.
_CONFIG: Final = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)

_UNREACHABLE: Final = (AwsConnectionError, HTTPClientError, ResponseParserError)
_NOT_SET_UP: Final = (
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
_TRANSIENT_CODES: Final = frozenset(
    {"RequestThrottled", "RequestTimeout", "Throttling", "ThrottlingException", "KmsThrottled"}
)
# What needs fixing in the setup: the role, the queue's name or the region.
_REFUSALS: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidAddress",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "KmsAccessDenied",
        "MissingAuthenticationToken",
        "QueueDoesNotExist",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class SyncQueue:
    """One queue, by its URL."""

    def __init__(self, url: str, client: Any = None) -> None:
        """`client` is boto3's for SQS; created when not given.

        Raises ConfigurationError when boto3 finds no region.
        """
        self._url = url
        with _translated():
            self._client = client or boto3.client("sqs", config=_CONFIG)

    def send(self, bodies: Sequence[str]) -> list[int]:
        """Send one message per body; returns the indices of those that SQS did not confirm.

        Stops at a call that fails as a whole. Raises TransientError or ConfigurationError for it
        when nothing was sent before.
        """
        waiting = list(range(len(bodies)))
        unsent: list[int] = []
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            try:
                unsent += self._send_with_retry(bodies, batch)
            except (TransientError, ConfigurationError):
                left = sorted([*unsent, *batch, *waiting])
                if len(left) == len(bodies):
                    raise
                return left
        return unsent

    def _send_with_retry(self, bodies: Sequence[str], batch: list[int]) -> list[int]:
        """The indices of the batch that SQS did not accept, tried twice."""
        hopeless, failed = self._send_batch(bodies, batch)
        if failed:
            try:
                refused, failed = self._send_batch(bodies, failed)
            except (TransientError, ConfigurationError):
                refused = []  # the rest of the batch has been sent
            hopeless += refused
        return sorted(hopeless + failed)

    def _send_batch(self, bodies: Sequence[str], batch: list[int]) -> tuple[list[int], list[int]]:
        """One call: the indices that SQS refuses for good, and those that may be tried again."""
        entries = [{"Id": str(index), "MessageBody": bodies[index]} for index in batch]
        with _translated():
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        sent = {entry["Id"] for entry in answer.get("Successful", [])}
        refused = {entry["Id"] for entry in answer.get("Failed", []) if entry["SenderFault"]}
        return (
            [index for index in batch if str(index) in refused],
            [index for index in batch if str(index) not in sent | refused],
        )


@contextmanager
def _translated() -> Iterator[None]:
    """Raises the workers' own errors for boto3's."""
    try:
        yield
    except _NOT_SET_UP as error:
        raise _not_set_up(error) from error
    except _UNREACHABLE as error:
        raise TransientError(
            f"SQS cannot be reached: {unreachable_since(error)}. If it persists, check the "
            "network, SYNC_QUEUE_URL and AWS's status page.",
            code="sqs_unreachable",
        ) from error
    except ClientError as error:
        raise _own_error(error) from error
    except BotoCoreError as error:  # such as a sign-in that has expired
        raise _not_set_up(error) from error


def _not_set_up(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"AWS cannot be called: {str(error).rstrip('.')}. Check the region, and the credentials "
        "that this process has for AWS.",
        code="sqs_not_set_up",
    )


def _own_error(error: ClientError) -> WorkerError:
    """The workers' own error for one that SQS returned."""
    code = str(error.response["Error"].get("Code") or "unknown")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _TRANSIENT_CODES or status == 429 or status >= 500:
        return TransientError(f"SQS answered {code} (status {status}).", code=code)
    if code in _REFUSALS or 300 <= status < 400:  # SQS never redirects
        return ConfigurationError(
            f"SQS answered {code}: the queue of SYNC_QUEUE_URL must exist and the function's role "
            "must be allowed to send to it.",
            code=code,
        )
    said = str(error.response["Error"].get("Message") or "").rstrip(".")
    return UnknownError(
        f"SQS answered {code} (status {status}){f': {said}' if said else ''}. Its meaning: "
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html",
        code=code,
    )
