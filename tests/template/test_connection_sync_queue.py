"""The queue between the plan and the syncs: who sends and reads, how often, for how long."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict

from tests.template.deployed import ROOT, Resource, functions, of_type
from workers.metrics import ledger, planning
from workers.metrics.sync_requests import SyncRequest


def test_the_plan_sends_to_the_queue_that_the_syncs_read(resources: Resource) -> None:
    plan = functions(resources)["MetricsSyncFunction"]["Environment"]["Variables"]
    (source,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()

    assert plan["SYNC_QUEUE_URL"] == {"Ref": "ConnectionSyncQueue"}
    assert source["EventSourceArn"] == {"Fn::GetAtt": ["ConnectionSyncQueue", "Arn"]}
    assert source["FunctionName"] == {"Ref": "ConnectionSyncFunction"}
    assert source["BatchSize"] == 1
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_plan_and_the_queue_know_the_same_concurrency(template: Resource) -> None:
    resources = template["Resources"]
    (source,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    plan = functions(resources)["MetricsSyncFunction"]["Environment"]["Variables"]
    parameter = template["Parameters"]["MetricsConcurrency"]

    assert source["ScalingConfig"]["MaximumConcurrency"] == {"Ref": "MetricsConcurrency"}
    assert plan["METRICS_CONCURRENCY"] == {"Ref": "MetricsConcurrency"}
    # AWS's own bounds of MaximumConcurrency
    taken = [n for n in range(1200) if re.fullmatch(parameter["AllowedPattern"], str(n))]
    assert taken == list(range(2, 1001))


# Of a new AWS account.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LEAST_CONCURRENT_EXECUTIONS = 10


def test_syncs_leave_half_of_a_new_account_to_the_other_functions(template: Resource) -> None:
    default = int(template["Parameters"]["MetricsConcurrency"]["Default"])
    assert default <= LEAST_CONCURRENT_EXECUTIONS / 2


def test_no_function_takes_from_the_concurrency_of_the_account(resources: Resource) -> None:
    for name, function in functions(resources).items():
        assert "ReservedConcurrentExecutions" not in function, name


def test_a_message_is_hidden_while_it_is_handled_and_lives_no_longer_than_its_lease(
    resources: Resource,
) -> None:
    queue = resources["ConnectionSyncQueue"]["Properties"]
    timeout = functions(resources)["ConnectionSyncFunction"]["Timeout"]
    attempts = queue["RedrivePolicy"]["maxReceiveCount"]

    assert timeout < queue["VisibilityTimeout"]
    assert queue["MessageRetentionPeriod"] <= planning.LEASE_SECONDS
    assert attempts * queue["VisibilityTimeout"] <= queue["MessageRetentionPeriod"]


def test_the_code_knows_how_long_a_sync_may_take(resources: Resource) -> None:
    timeout = functions(resources)["ConnectionSyncFunction"]["Timeout"]

    assert timeout == planning.SYNC_SECONDS
    assert timeout < ledger.LEASE_SECONDS


def test_a_message_that_fails_again_and_again_is_kept_as_evidence(resources: Resource) -> None:
    policy = resources["ConnectionSyncQueue"]["Properties"]["RedrivePolicy"]
    kept = resources["ConnectionSyncDeadLetterQueue"]["Properties"]

    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["ConnectionSyncDeadLetterQueue", "Arn"]}
    assert policy["maxReceiveCount"] == 3
    assert kept["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_the_sample_event_of_the_syncs_is_a_message_that_no_plan_has_sent() -> None:
    (record,) = json.loads((ROOT / "events" / "connection_sync.json").read_text())["Records"]
    body = record["body"]

    assert record["eventSource"] == "aws:sqs"
    assert record["md5OfBody"] == hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    sync_request = SyncRequest.from_body(body)
    assert json.loads(body) == asdict(sync_request)
    # nothing random starts like that
    assert sync_request.token.startswith("00000000-0000-4000-8000-")
