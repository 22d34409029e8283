"""The fake SQS, used by boto3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local.control import Control
from local.fakes.sqs import FakeSqs, queue_url
from local.http_server import HttpServer


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(FakeSqs()) as started:
        yield started


@pytest.fixture
def url(server: HttpServer) -> str:
    return queue_url(server)


@pytest.fixture
def sqs(server: HttpServer) -> Iterator[Any]:
    made = client(server)
    yield made
    made.close()


def client(server: HttpServer, **config: Any) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=server.url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def entries(*bodies: str) -> list[dict[str, str]]:
    return [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]


def refused_with(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_what_is_sent_is_received_and_deleted(sqs: Any, url: str, server: HttpServer) -> None:
    sent = sqs.send_message(QueueUrl=url, MessageBody="première")
    sqs.send_message_batch(QueueUrl=url, Entries=entries("second", "third"))

    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2)["Messages"]
    assert [message["Body"] for message in received] == ["première", "second"]
    assert received[0]["MessageId"] == sent["MessageId"]
    for message in received:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    assert [message["body"] for message in server.app.state()] == ["third"]


def test_an_undeleted_message_returns_after_its_visibility_timeout(
    sqs: Any, url: str, server: HttpServer
) -> None:
    control = Control(server.url)
    control.configure(time=1000.0, visibility=60)
    sqs.send_message(QueueUrl=url, MessageBody="once more")

    (first,) = sqs.receive_message(QueueUrl=url)["Messages"]
    control.configure(time=1059.9)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    control.configure(time=1060.0)
    (again,) = sqs.receive_message(QueueUrl=url)["Messages"]

    assert again["MessageId"] == first["MessageId"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    # the first one's receipt is no longer valid
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert len(control.state()) == 1


def test_part_of_a_batch_fails_as_configured(sqs: Any, url: str, server: HttpServer) -> None:
    refuse = [{"contains": "bad", "sender_fault": True}, {"contains": "late", "times": 1}]
    Control(server.url).configure(refuse=refuse)

    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries("good", "bad", "late"))
    again = sqs.send_message_batch(QueueUrl=url, Entries=entries("bad", "late"))

    assert [entry["Id"] for entry in answer["Successful"]] == ["0"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [
        ("1", True), ("2", False)
    ]  # fmt: skip
    assert [entry["Id"] for entry in again["Failed"]] == ["0"]
    assert [message["body"] for message in server.app.state()] == ["good", "late"]


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        ([], "AWS.SimpleQueueService.EmptyBatchRequest"),
        (entries(*"abcdefghijk"), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        (entries("a") + entries("b"), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "AWS.SimpleQueueService.InvalidBatchEntryId"),
        (entries(""), "MissingParameter"),
        (entries("x" * 600_000, "y" * 600_000), "AWS.SimpleQueueService.BatchRequestTooLong"),
    ],
)
def test_a_batch_that_breaks_the_rules_is_refused(
    sqs: Any, url: str, server: HttpServer, batch: list[Any], code: str
) -> None:
    assert refused_with(sqs.send_message_batch, QueueUrl=url, Entries=batch) == code
    assert server.app.state() == []


def test_another_queue_does_not_exist(sqs: Any, server: HttpServer) -> None:
    code = refused_with(sqs.send_message, QueueUrl=f"{server.url}/1/other", MessageBody="x")
    assert code == "AWS.SimpleQueueService.NonExistentQueue"


def test_an_unsigned_request_is_refused(server: HttpServer, url: str) -> None:
    unsigned = client(server, signature_version=UNSIGNED)
    code = refused_with(unsigned.send_message, QueueUrl=url, MessageBody="x")
    assert code == "MissingAuthenticationToken"
    unsigned.close()


def test_an_unsupported_action_is_refused(sqs: Any, server: HttpServer) -> None:
    assert refused_with(sqs.list_queues) == "UnknownOperationException"


def test_it_is_reset_and_given_another_state(sqs: Any, url: str, server: HttpServer) -> None:
    control = Control(server.url)
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"a": 1}))
    kept = control.state()
    control.reset()
    assert control.state() == []
    control.replace_state(kept)
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["MessageId"] == kept[0]["id"]
