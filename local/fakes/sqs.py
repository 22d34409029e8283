"""A fake SQS: one queue, kept in memory, over the JSON protocol that boto3 speaks.

boto3 finds it by AWS_ENDPOINT_URL_SQS. What it refuses and how follows
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/; failures on the
way come from the fault script, and a setting says which messages of a batch are refused.
"""

from __future__ import annotations

import copy
import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from local.http_server import HttpServer
from local.wire import Request, Response

QUEUE = "/000000000000/connection-sync"

BATCH_LIMIT = 10
SIZE_LIMIT = 1024 * 1024
ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
TARGET = "AmazonSQS."
KIND = {"Content-Type": "application/x-amz-json-1.0"}

# The codes of the older query protocol, which boto3 shows if they are sent.
OLDER_CODES = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
}


class SqsRefusal(Exception):
    """A call that is refused as a whole."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


def queue_url(server: HttpServer) -> str:
    """The URL of the queue of a server with a FakeSqs."""
    return server.url + QUEUE


class FakeSqs:
    """The application behind an HttpServer.

    Settings: `time` (epoch seconds; None: the real time), `visibility` (seconds for which a
    message that was received stays hidden), `refuse`: a list of `{"contains": text, "times": n,
    "sender_fault": bool}`, each of which makes messages with that text fail within their batch
    that many times (without `times`: always).
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._settings: dict[str, Any] = {}
        self._messages: list[dict[str, Any]] = []
        self.reset()

    def handle(self, request: Request) -> Response:
        """Answer one call."""
        headers = {**KIND, "x-amzn-RequestId": str(uuid.uuid4())}
        try:
            return Response.of_json(self._answer(request), headers=headers)
        except SqsRefusal as refusal:
            body = {"__type": f"com.amazonaws.sqs#{refusal.code}", "message": refusal.message}
            if older := OLDER_CODES.get(refusal.code):
                headers["x-amzn-query-error"] = f"{older};Sender"
            return Response.of_json(body, refusal.status, headers)

    def _answer(self, request: Request) -> dict[str, Any]:
        action = _ACTIONS.get(request.headers.get("x-amz-target", "").removeprefix(TARGET))
        if action is None:
            raise SqsRefusal("UnknownOperationException", "There is no such action here.", 404)
        if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            raise SqsRefusal("MissingAuthenticationToken", "The request is not signed.", 403)
        if not str(request.fields.get("QueueUrl", "")).endswith(QUEUE):
            raise SqsRefusal("QueueDoesNotExist", "The specified queue does not exist.")
        with self._lock:
            return action(self, request.fields)

    def settings(self) -> dict[str, Any]:
        """The current settings."""
        with self._lock:
            return copy.deepcopy(self._settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change some settings. Raises ValueError for an unknown name."""
        unknown = set(settings) - set(self._settings)
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        with self._lock:
            self._settings.update(copy.deepcopy(dict(settings)))

    def state(self) -> Any:
        """The messages in order of arrival, including those that were received and not deleted.

        Each: `id`, `body`, `sent_at`, `visible_at`, `receive_count`, `receipt`.
        """
        with self._lock:
            return copy.deepcopy(self._messages)

    def replace_state(self, state: Any) -> None:
        """Replace the messages by those in the form that `state` returns."""
        with self._lock:
            self._messages = copy.deepcopy(state)

    def reset(self) -> None:
        """Empty the queue, and restore the settings of the start."""
        with self._lock:
            self._messages = []
            self._settings = {"time": None, "visibility": 30.0, "refuse": []}

    def close(self) -> None:
        """Nothing to release."""

    def _send_one(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        body = str(fields.get("MessageBody", ""))
        if not body:
            raise SqsRefusal("MissingParameter", "The request must contain MessageBody.")
        return self._accept(body)

    def _send_batch(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        entries = fields.get("Entries") or []
        _check_batch(entries)
        successful: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for entry in entries:
            if refusal := self._refusal(entry["MessageBody"]):
                failed.append({"Id": entry["Id"], **refusal})
            else:
                successful.append({"Id": entry["Id"], **self._accept(entry["MessageBody"])})
        # like the real one, without a key for an empty list
        answer = {"Successful": successful, "Failed": failed}
        return {key: listed for key, listed in answer.items() if listed}

    def _receive(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """As many visible messages as requested, without waiting."""
        now = self._now()
        hidden = float(fields.get("VisibilityTimeout", self._settings["visibility"]))
        visible = [message for message in self._messages if message["visible_at"] <= now]
        taken = visible[: int(fields.get("MaxNumberOfMessages", 1))]
        for message in taken:
            message["receive_count"] += 1
            message["visible_at"] = now + hidden
            message["receipt"] = uuid.uuid4().hex
        return {"Messages": [_received(message) for message in taken]} if taken else {}

    def _delete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        receipt = fields.get("ReceiptHandle")
        self._messages = [each for each in self._messages if each["receipt"] != receipt]
        return {}

    def _now(self) -> float:
        return time.time() if self._settings["time"] is None else float(self._settings["time"])

    def _accept(self, body: str) -> dict[str, Any]:
        now = self._now()
        message = {
            "id": str(uuid.uuid4()),
            "body": body,
            "sent_at": now,
            "visible_at": now,
            "receive_count": 0,
            "receipt": None,
        }
        self._messages.append(message)
        return {"MessageId": message["id"], "MD5OfMessageBody": md5(body)}

    def _refusal(self, body: str) -> dict[str, Any] | None:
        for rule in self._settings["refuse"]:
            if rule["contains"] not in body or rule.get("times") == 0:
                continue
            if "times" in rule:
                rule["times"] -= 1
            sender_fault = bool(rule.get("sender_fault"))
            code = "InvalidMessageContents" if sender_fault else "InternalError"
            return {"SenderFault": sender_fault, "Code": code, "Message": "It was not taken."}
        return None


_ACTIONS: dict[str, Callable[[FakeSqs, Mapping[str, Any]], dict[str, Any]]] = {
    "SendMessage": FakeSqs._send_one,
    "SendMessageBatch": FakeSqs._send_batch,
    "ReceiveMessage": FakeSqs._receive,
    "DeleteMessage": FakeSqs._delete,
}


def _check_batch(entries: list[dict[str, Any]]) -> None:
    ids = [str(entry.get("Id", "")) for entry in entries]
    if not entries:
        raise SqsRefusal("EmptyBatchRequest", "There should be at least one entry.")
    if len(entries) > BATCH_LIMIT:
        raise SqsRefusal("TooManyEntriesInBatchRequest", f"At most {BATCH_LIMIT} are permitted.")
    if not all(ENTRY_ID.fullmatch(each) for each in ids):
        raise SqsRefusal("InvalidBatchEntryId", "An entry's id has characters that none may have.")
    if len(set(ids)) < len(ids):
        raise SqsRefusal("BatchEntryIdsNotDistinct", "Two entries have the same id.")
    if not all(entry.get("MessageBody") for entry in entries):
        raise SqsRefusal("MissingParameter", "Each entry must contain MessageBody.")
    if sum(len(entry["MessageBody"].encode()) for entry in entries) > SIZE_LIMIT:
        raise SqsRefusal("BatchRequestTooLong", f"It is longer than {SIZE_LIMIT} bytes.")


def _received(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "MessageId": message["id"],
        "ReceiptHandle": message["receipt"],
        "MD5OfBody": md5(message["body"]),
        "Body": message["body"],
        "Attributes": {"ApproximateReceiveCount": str(message["receive_count"])},
    }


def md5(body: str) -> str:
    """The digest that SQS returns for a body; boto3 compares it."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
