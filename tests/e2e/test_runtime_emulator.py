"""The notifications function as Lambda runs it: with the deployed layer, AWS's runtime client, the
local Supabase and the fake Slack."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.emulator import Emulator, LambdaRuntime
from tests.integration.processes import eventually

ROOT = Path(__file__).resolve().parents[2]
NOTIFICATIONS = ROOT / "functions" / "notifications"
EVENT = json.loads((ROOT / "events" / "notifications.json").read_text())

# The template's settings for every function and for this one.
TEMPLATE_VARIABLES = {
    "POWERTOOLS_METRICS_NAMESPACE": "AgencyDashboardWorkers/some-stack",
    "POWERTOOLS_SERVICE_NAME": "notifications",
}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the Lambda emulator is a Linux program"
)


def notifications(
    runtime: LambdaRuntime, environment: dict[str, str], timeout: int = 120
) -> Emulator:
    return Emulator(
        NOTIFICATIONS,
        runtime,
        environment={**TEMPLATE_VARIABLES, **environment},
        timeout=timeout,
    )


def test_the_scheduled_event_delivers_what_is_queued(runtime: LambdaRuntime, stack: Any) -> None:
    with notifications(runtime, stack.environment()) as emulator:
        first = emulator.invoke(EVENT)
        second = emulator.invoke(EVENT)

    assert first["outcome"]
    assert first["sent"] > 0
    assert second["sent"] == 0


def test_logs_are_json_lines_that_name_the_service_and_the_request(
    runtime: LambdaRuntime, stack: Any
) -> None:
    with notifications(runtime, stack.environment()) as emulator:
        emulator.invoke(EVENT)
        lines = emulator.worker_lines()

    assert lines
    for line in lines:
        assert line["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert line["message"]
        assert line["service"] == "notifications"
        assert line["function_request_id"]


def test_logs_contain_no_secret(runtime: LambdaRuntime, stack: Any) -> None:
    environment = stack.environment()
    with notifications(runtime, environment) as emulator:
        emulator.invoke(EVENT)
        output = "\n".join(emulator.log_lines())

    for name in ("SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN"):
        assert environment[name] not in output, name


def test_metrics_go_to_the_namespace_of_the_template(runtime: LambdaRuntime, stack: Any) -> None:
    with notifications(runtime, stack.environment()) as emulator:
        emulator.invoke(EVENT)
        metrics = emulator.metric_lines()

    assert metrics
    for line in metrics:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == "AgencyDashboardWorkers/some-stack"
            for metric in directive["Metrics"]:
                assert metric["Name"] in line


def test_missing_settings_fail_the_invocation_and_are_all_named(runtime: LambdaRuntime) -> None:
    with notifications(runtime, {}) as emulator:
        body = emulator.invoke(EVENT)

    assert body["errorType"] == "ConfigurationError"
    assert "SUPABASE_URL" in body["errorMessage"]
    assert "SUPABASE_SERVICE_ROLE_KEY" in body["errorMessage"]
    assert "SLACK_BOT_TOKEN" in body["errorMessage"]


def test_a_run_ends_before_its_timeout_and_leaves_the_rest(
    runtime: LambdaRuntime, stack: Any
) -> None:
    # One channel takes one message per second, so 120 cannot be sent within 20 seconds.
    stack.queue_notifications(count=120, channels=1)

    with notifications(runtime, stack.environment(), timeout=20) as emulator:
        summary = emulator.invoke(EVENT)

    assert isinstance(summary, dict), summary
    assert "errorType" not in summary
    assert 0 < summary["sent"] < 120, summary
    # What was not sent is free for the next run, not kept by this run's leases.
    with notifications(runtime, stack.environment(), timeout=20) as emulator:
        # on a busy machine the drainer's lease may not be released: then it has to expire
        eventually(lambda: emulator.invoke(EVENT)["sent"] > 0, "nothing continues")
