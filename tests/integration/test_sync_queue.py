"""How SQS accepts messages or fails to: moto's SQS, and a fake with faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from local.control import Control
from local.fakes.sqs import FakeSqs, queue_url
from local.faults import Fault, close, failing, hang, redirect, reset, truncate
from local.http_server import HttpServer
from workers.errors import ConfigurationError, TransientError, UnknownError
from workers.metrics.sync_queue import SyncQueue


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Peer:
    """The fake, and a queue that sends to it."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.control = Control(server.url)
        self.queue = SyncQueue(queue_url(server))

    def bodies(self) -> list[str]:
        return [message["body"] for message in self.server.app.state()]

    def calls(self) -> int:
        return self.server.journal.count()

    def fails(self, fault: Fault) -> None:
        self.server.faults.add(fault)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    with HttpServer(FakeSqs()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.url)
        yield Peer(server)


def numbered(count: int) -> list[str]:
    return [f"<{number}>" for number in range(count)]


def aws_error(code: str, status: int = 400) -> Fault:
    kind = {"Content-Type": "application/x-amz-json-1.0"}
    body = f'{{"__type": "com.amazonaws.sqs#{code}", "message": "of the test"}}'
    return Fault("answer", status=status, body=body, headers=kind, times=None)


def test_moto_accepts_messages_in_batches_of_ten() -> None:
    with mock_aws():
        sqs = boto3.client("sqs")
        url = sqs.create_queue(QueueName="syncs")["QueueUrl"]

        assert SyncQueue(url).send(numbered(25)) == []

        received: list[str] = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            received += [message["Body"] for message in messages]
        assert sorted(received) == sorted(numbered(25))


def test_all_are_sent_in_order_with_as_few_calls_as_possible(peer: Peer) -> None:
    assert peer.queue.send(numbered(25)) == []
    assert peer.bodies() == numbered(25)
    assert peer.calls() == 3


def test_without_messages_nothing_is_called(peer: Peer) -> None:
    assert peer.queue.send([]) == []
    assert peer.calls() == 0


def test_calls_do_not_wait_long(peer: Peer) -> None:
    config = peer.queue._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}


def test_what_sqs_did_not_accept_is_sent_again(peer: Peer) -> None:
    peer.control.configure(
        refuse=[{"contains": "<3>", "times": 1}, {"contains": "<14>", "times": 1}]
    )
    assert peer.queue.send(numbered(20)) == []
    assert sorted(peer.bodies()) == sorted(numbered(20))
    assert peer.calls() == 4


def test_what_sqs_refuses_twice_is_returned_and_the_rest_is_sent(peer: Peer) -> None:
    peer.control.configure(refuse=[{"contains": "<3>"}, {"contains": "<14>", "times": 2}])
    assert peer.queue.send(numbered(30)) == [3, 14]
    assert len(peer.bodies()) == 28


def test_what_sqs_refuses_for_good_is_not_sent_again(peer: Peer) -> None:
    peer.control.configure(
        refuse=[{"contains": "<0>", "sender_fault": True}, {"contains": "<1>", "times": 1}]
    )
    assert peer.queue.send(numbered(3)) == [0]
    assert peer.bodies() == ["<2>", "<1>"]


def test_a_retry_that_fails_as_a_whole_loses_only_its_own_messages(peer: Peer) -> None:
    peer.control.configure(refuse=[{"contains": "<1>"}])
    peer.fails(failing(503, skip=1, times=2))
    assert peer.queue.send(numbered(12)) == [1]
    assert len(peer.bodies()) == 11


def test_messages_that_a_response_leaves_out_were_not_accepted() -> None:
    class Forgetful:
        def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:  # noqa: N803
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries if entry["Id"] != "1"]}

    assert SyncQueue("https://sqs.example/1/q", Forgetful()).send(numbered(3)) == [1]


@pytest.mark.parametrize(
    "fault",
    [
        failing(500, times=None),
        failing(503, times=None),
        failing(429, times=None),
        aws_error("RequestThrottled"),
        aws_error("ThrottlingException"),
        aws_error("InternalFailure", 500),
        reset(times=None),
        close(times=None),
    ],
    ids=lambda fault: f"{fault.how} {fault.status} {fault.body[28:50]}",
)
def test_a_passing_failure_is_transient_after_one_more_call(peer: Peer, fault: Fault) -> None:
    peer.fails(fault)
    with pytest.raises(TransientError):
        peer.queue.send(numbered(15))
    assert peer.calls() == 2


def test_a_truncated_response_is_not_believed(peer: Peer) -> None:
    peer.fails(truncate(times=None))
    assert peer.queue.send(numbered(3)) == [0, 1, 2]


def test_a_failure_that_passes_quickly_goes_unnoticed(peer: Peer) -> None:
    peer.fails(failing(503))
    assert peer.queue.send(numbered(15)) == []


def test_an_unreachable_host_is_transient(peer: Peer) -> None:
    peer.server.stop()
    with pytest.raises(TransientError, match="cannot be reached"):
        peer.queue.send(["x"])


def test_a_name_that_dns_does_not_resolve_is_transient() -> None:
    impatient = Config(retries={"total_max_attempts": 1})
    elsewhere = boto3.client("sqs", config=impatient, endpoint_url="http://sqs.invalid")
    with pytest.raises(TransientError, match="no connection could be made"):
        SyncQueue("http://sqs.invalid/1/syncs", elsewhere).send(["x"])


def test_a_timeout_is_transient(peer: Peer) -> None:
    impatient = Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    queue = SyncQueue(queue_url(peer.server), boto3.client("sqs", config=impatient))
    peer.fails(hang(30))
    with pytest.raises(TransientError, match="no answer in time"):
        queue.send(["x"])


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "InvalidClientTokenId"])
def test_a_refusal_is_a_configuration_error(peer: Peer, code: str) -> None:
    peer.fails(aws_error(code, 403))
    with pytest.raises(ConfigurationError, match=f"{code}.*SYNC_QUEUE_URL"):
        peer.queue.send(["x"])
    assert peer.calls() == 1


def test_a_queue_that_does_not_exist_is_a_configuration_error(peer: Peer) -> None:
    queue = SyncQueue(f"{peer.server.url}/1/other")
    with pytest.raises(ConfigurationError, match="NonExistentQueue"):
        queue.send(["x"])


def test_a_redirect_is_a_configuration_error_and_not_followed(peer: Peer) -> None:
    peer.fails(redirect(f"{peer.server.url}/elsewhere"))
    with pytest.raises(ConfigurationError, match=r"302.*SYNC_QUEUE_URL"):
        peer.queue.send(["x"])
    assert peer.calls() == 1


def test_moto_reports_a_missing_queue_too() -> None:
    with mock_aws(), pytest.raises(ConfigurationError, match="NonExistentQueue"):
        SyncQueue("https://sqs.eu-west-1.amazonaws.com/123456789012/none").send(["x"])


def test_missing_credentials_are_a_configuration_error(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigurationError, match="credentials"):
        SyncQueue(queue_url(peer.server)).send(["x"])


def test_a_missing_region_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigurationError, match="region"):
        SyncQueue("https://sqs.eu-west-1.amazonaws.com/123456789012/q")


def test_unknown_errors_are_quoted_with_where_to_look_them_up(peer: Peer) -> None:
    peer.fails(aws_error("SomethingOfNextYear"))
    with pytest.raises(UnknownError, match=r"answered SomethingOfNextYear .*https://docs"):
        peer.queue.send(["x"])


def test_after_a_partial_failure_the_unsent_indices_are_returned(peer: Peer) -> None:
    peer.control.configure(refuse=[{"contains": "<4>"}])
    # two calls for the first batch, of which one repeats <4>; then nothing gets through
    peer.fails(failing(503, skip=2, times=None))
    assert peer.queue.send(numbered(35)) == [4, *range(10, 35)]
    assert len(peer.bodies()) == 9
    assert peer.calls() == 4, "no further batch is tried"


def test_no_error_contains_a_body_or_a_key(peer: Peer) -> None:
    peer.fails(aws_error("AccessDenied", 403))
    with pytest.raises(ConfigurationError) as caught:
        peer.queue.send(["the body"])
    assert "the body" not in str(caught.value)
    assert "testing" not in str(caught.value)
