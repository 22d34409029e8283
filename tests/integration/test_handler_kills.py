"""Handlers that are killed (SIGKILL) once the work is done and only has to be reported.

What comes before is `tests/notifications/test_crashes.py`'s, `tests/metrics/test_plan_kills.py`'s,
`test_sync_kills.py`'s and `tests/retention/test_crashes.py`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from local.distribute import LocalQueue
from local.fakes.sqs import FakeSqs
from local.http_server import HttpServer
from local.invoke import REGION
from tests import forked
from tests.conftest import LocalStack
from tests.notifications.killed_run import kinds_of

MODULE = "tests.integration.killed_handler"
# The calls of the data API that a run over the sample agency makes.
CALLS = {
    "notifications": (
        "start_notification_run", "claim_notifications", "record_notification_progress",
        "finish_notification_run", "record_worker_run",
    ),
    "metrics_sync": (
        "refresh_ad_links", "settle_ad_links", "plan_metric_syncs", "record_worker_run",
        "worker_health",
    ),
    "retention": (
        "take_worker_lease", "list_retention_policies", "count_retention",
        "archive_activity_batch", "purge_archived_batch", "purge_notification_batch",
        "complete_retention_policies", "record_retention_progress", "purge_worker_runs",
        "renew_worker_lease", "record_worker_run",
    ),
}  # fmt: skip
# Of these, what comes when the work is done.
CALLED = (
    ("notifications", "record_worker_run"),
    ("metrics_sync", "record_worker_run"),
    ("metrics_sync", "worker_health"),
    ("retention", "record_worker_run"),
)


@pytest.fixture
def queue() -> Iterator[LocalQueue]:
    with HttpServer(FakeSqs()) as server:
        yield LocalQueue(server)


def run(stack: LocalStack, queue: LocalQueue, function: str, kill_at: str | None) -> list[str]:
    """The steps that the handler took until it was killed, or to its end."""
    environment = queue.environment({**stack.environment(), "AWS_REGION": REGION})
    more = {
        "POWERTOOLS_SERVICE_NAME": function,
        "POWERTOOLS_METRICS_NAMESPACE": "AgencyDashboardWorkers/some-stack",
    }
    order = {"function": function, "kill_at": kill_at}
    return forked.killed_run(MODULE, order, {**environment, **more})


def effects(stack: LocalStack, queue: LocalQueue) -> dict[str, Any]:
    """What the world has seen of the workers."""
    messages = stack.running.slack.state()["messages"]
    tables = ("activity_log", "archived_activity_log", "notification_queue")
    return {
        "messages": Counter(
            (channel, message["text"]) for channel, posted in messages.items() for message in posted
        ),
        "orders": sorted(message["body"] for message in queue.server.app.state()),
        **{table: count(stack, table) for table in tables},
    }


def count(stack: LocalStack, table: str) -> int:
    found = stack.connection.execute(f"select count(*) from {table}".encode()).fetchone()  # noqa: S608
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("function", CALLS)
def test_the_calls_of_a_handler_are_these(
    stack: LocalStack, queue: LocalQueue, function: str
) -> None:
    taken = kinds_of(run(stack, queue, function, None))
    assert taken == {f"{when} {call}" for call in CALLS[function] for when in ("before", "after")}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("function", "call"), CALLED)
def test_a_kill_when_the_work_is_done_repeats_nothing(
    stack: LocalStack, queue: LocalQueue, function: str, call: str, when: str
) -> None:
    step = f"{when} {call} 1"
    assert run(stack, queue, function, step)[-1] == step
    done = effects(stack, queue)
    recorded = count(stack, "worker_runs")
    assert recorded == (step != "before record_worker_run 1")

    run(stack, queue, function, None)
    assert effects(stack, queue) == done
    assert count(stack, "worker_runs") == recorded + 1
