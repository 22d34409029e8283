"""The functions of the metrics sync as Lambda runs them: with the deployed layer, AWS's runtime
client, the local Supabase, and fakes of SQS and the ad platforms."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.distribute import sqs_event
from local.fakes.sqs import FakeSqs, queue_url
from local.http_server import HttpServer
from tests.conftest import LocalStack
from tests.e2e.emulator import REGION, Emulator, LambdaRuntime

ROOT = Path(__file__).resolve().parents[2]
SCHEDULED = json.loads((ROOT / "events" / "metrics_sync.json").read_text())
SAMPLE = json.loads((ROOT / "events" / "connection_sync.json").read_text())
ACKNOWLEDGED = {"batchItemFailures": []}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the Lambda emulator is a Linux program"
)


@pytest.fixture
def sqs() -> Iterator[HttpServer]:
    with HttpServer(FakeSqs()) as server:
        yield server


def emulated(function: str, runtime: LambdaRuntime, environment: dict[str, str]) -> Emulator:
    """With the template's settings for every function and for this one."""
    template = {
        "POWERTOOLS_METRICS_NAMESPACE": "AgencyDashboardWorkers/some-stack",
        "POWERTOOLS_SERVICE_NAME": function,
    }
    folder = ROOT / "functions" / function
    return Emulator(folder, runtime, environment={**template, **environment})


def plan(runtime: LambdaRuntime, stack: LocalStack, sqs: HttpServer) -> Emulator:
    queue = {"SYNC_QUEUE_URL": queue_url(sqs), "AWS_ENDPOINT_URL_SQS": sqs.url}
    return emulated("metrics_sync", runtime, {**stack.environment(), **queue})


def sync(runtime: LambdaRuntime, stack: LocalStack) -> Emulator:
    return emulated("connection_sync", runtime, stack.environment())


def events(sqs: HttpServer) -> list[dict[str, Any]]:
    """The events that Lambda makes of the sent messages."""
    return [sqs_event(message, REGION) for message in sqs.app.state()]


def column(stack: LocalStack, query: str) -> list[Any]:
    return [row[0] for row in stack.connection.execute(query.encode())]


def secrets(stack: LocalStack) -> set[str]:
    """The keys, and whatever looks like one in the connections' credentials."""
    found = {stack.environment()["SUPABASE_SERVICE_ROLE_KEY"]}
    for credentials in column(stack, "select credentials from platform_connections"):
        found |= {
            value
            for name, value in (credentials or {}).items()
            if isinstance(value, str) and any(part in name for part in ("token", "secret", "key"))
        }
    return found


def test_the_plan_sends_a_message_for_each_connection_that_it_leases(
    runtime: LambdaRuntime, stack: LocalStack, sqs: HttpServer
) -> None:
    with plan(runtime, stack, sqs) as emulator:
        first = emulator.invoke(SCHEDULED)
        again = emulator.invoke(SCHEDULED)

    bodies = [json.loads(message["body"]) for message in sqs.app.state()]
    leased = column(
        stack,
        "select account_id from metric_accounts where leased_until > now()",
    )
    assert first["planned"] == len(bodies) > 0, first
    assert sorted(body["account_id"] for body in bodies) == sorted(leased)
    assert again["planned"] == 0, again


def test_planned_messages_are_synced_and_acknowledged(
    runtime: LambdaRuntime, stack: LocalStack, sqs: HttpServer
) -> None:
    with plan(runtime, stack, sqs) as emulator:
        emulator.invoke(SCHEDULED)
    stack.connection.execute("delete from performance_metrics")

    with sync(runtime, stack) as emulator:
        answers = [emulator.invoke(event) for event in events(sqs)]
        lines, metrics, output = (
            emulator.worker_lines(),
            emulator.metric_lines(),
            "\n".join(emulator.log_lines()),
        )

    assert answers
    assert all(answer == ACKNOWLEDGED for answer in answers), answers
    assert column(stack, "select count(*) from performance_metrics")[0] > 0
    assert "success" in column(stack, "select status from metric_sync_logs")
    assert "in_progress" not in column(stack, "select status from metric_sync_logs")
    assert metrics
    assert len(lines) >= len(answers)
    for line in lines:
        assert line["message"]
        assert line["service"] == "connection_sync"
        assert line["function_request_id"]
    assert not [secret for secret in secrets(stack) if secret in output]


def test_a_repeated_message_is_synced_once(
    runtime: LambdaRuntime, stack: LocalStack, sqs: HttpServer
) -> None:
    with plan(runtime, stack, sqs) as emulator:
        emulator.invoke(SCHEDULED)
    event = events(sqs)[0]

    with sync(runtime, stack) as emulator:
        assert emulator.invoke(event) == ACKNOWLEDGED
        assert emulator.invoke(event) == ACKNOWLEDGED

    (account,) = [json.loads(record["body"])["account_id"] for record in event["Records"]]
    count = (
        "select count(*) from metric_sync_logs log join metric_connections() way "
        "on way.id = log.platform_connection_id where way.account_id = '{}' and {}"
    )
    assert column(stack, count.format(account, "start_time > now() - interval '1 hour'")) == [1]


def test_the_sample_message_is_acknowledged_and_does_nothing(
    runtime: LambdaRuntime, stack: LocalStack
) -> None:
    before = column(stack, "select count(*) from metric_sync_logs")
    with sync(runtime, stack) as emulator:
        assert emulator.invoke(SAMPLE) == ACKNOWLEDGED
    assert column(stack, "select count(*) from metric_sync_logs") == before


def test_the_logs_of_the_plan_are_json_without_secrets(
    runtime: LambdaRuntime, stack: LocalStack, sqs: HttpServer
) -> None:
    with plan(runtime, stack, sqs) as emulator:
        emulator.invoke(SCHEDULED)
        lines, output = emulator.worker_lines(), "\n".join(emulator.log_lines())

    assert lines
    for line in lines:
        assert line["message"]
        assert line["service"] == "metrics_sync"
        assert line["function_request_id"]
    assert not [secret for secret in secrets(stack) if secret in output]


def test_an_unreadable_message_returns_to_the_queue(
    runtime: LambdaRuntime, stack: LocalStack
) -> None:
    (record,) = SAMPLE["Records"]
    with sync(runtime, stack) as emulator:
        body = emulator.invoke({"Records": [{**record, "body": "no JSON"}]})

    # with one message per batch a raised error returns it, and Lambda counts the error
    assert body["errorType"] == "BatchProcessingError"


def test_only_the_bad_message_of_several_returns(runtime: LambdaRuntime, stack: LocalStack) -> None:
    (record,) = SAMPLE["Records"]
    bad = {**record, "messageId": "bad", "body": "no JSON"}
    with sync(runtime, stack) as emulator:
        body = emulator.invoke({"Records": [record, bad]})

    assert body == {"batchItemFailures": [{"itemIdentifier": "bad"}]}


def test_an_event_that_is_not_from_sqs_is_refused_with_a_message(
    runtime: LambdaRuntime, stack: LocalStack
) -> None:
    with sync(runtime, stack) as emulator:
        body = emulator.invoke(SCHEDULED)

    assert body["errorType"] == "ConfigurationError"
    assert "SQS" in body["errorMessage"]


def test_a_plan_without_its_queue_fails_and_names_it(
    runtime: LambdaRuntime, stack: LocalStack
) -> None:
    with emulated("metrics_sync", runtime, stack.environment()) as emulator:
        body = emulator.invoke(SCHEDULED)

    assert body["errorType"] == "ConfigurationError"
    assert "SYNC_QUEUE_URL" in body["errorMessage"]
