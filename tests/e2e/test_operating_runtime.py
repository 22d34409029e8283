"""Health and the doctor as Lambda runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LocalStack
from tests.e2e.emulator import Emulator, LambdaRuntime

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the Lambda emulator is a Linux program"
)


def emulator(
    function: str, runtime: LambdaRuntime, environment: dict[str, str], timeout: int = 30
) -> Emulator:
    usual = {
        "POWERTOOLS_METRICS_NAMESPACE": "AgencyDashboardWorkers/some-stack",
        "POWERTOOLS_SERVICE_NAME": function,
    }
    folder = ROOT / "functions" / function
    return Emulator(folder, runtime, environment={**usual, **environment}, timeout=timeout)


def event(function: str) -> Any:
    return json.loads((ROOT / "events" / f"{function}.json").read_text())


def runs(stack: LocalStack, *workers: str) -> None:
    for worker in workers:
        stack.connection.execute(
            "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded) "
            "values (%s, now(), now(), 'done', true)",
            (worker,),
        )


def test_health_returns_status_and_json(runtime: LambdaRuntime, stack: LocalStack) -> None:
    with emulator("health", runtime, stack.environment()) as function:
        before = function.invoke(event("health"))
        assert before["statusCode"] == 503
        assert json.loads(before["body"])["status"] == "unhealthy"

    runs(stack, "notifications", "metrics_sync", "retention")
    with emulator("health", runtime, stack.environment()) as function:
        answer = function.invoke(event("health"))
        output = "\n".join(function.log_lines())
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "application/json"
    body = json.loads(answer["body"])
    assert body["status"] == "healthy"
    assert body["lastProcessedAt"]
    assert body["queue"]["due"] > 0
    for private in ("Nordlys", "Ava", "EAALOCAL", stack.running.keys.secret):
        assert private not in answer["body"] + output


def test_health_answers_when_the_database_hangs(
    runtime: LambdaRuntime, stack: LocalStack, hanging_api: str
) -> None:
    environment = {**stack.environment(), "SUPABASE_URL": hanging_api}
    # waiting for the database would run into the function's timeout
    with emulator("health", runtime, environment, timeout=10) as function:
        answer = function.invoke(event("health"))
    assert answer["statusCode"] == 503
    assert "cannot be queried" in json.loads(answer["body"])["reason"]


def test_the_doctor_reports(runtime: LambdaRuntime, stack: LocalStack) -> None:
    runs(stack, "notifications", "metrics_sync", "retention")
    with emulator("doctor", runtime, stack.environment(), timeout=60) as function:
        report = function.invoke(event("doctor"))
        output = "\n".join(function.log_lines())
    assert report["status"] == "ok", report
    assert [one["section"] for one in report["sections"]][:3] == ["Settings", "Database", "Access"]
    text = json.dumps(report) + output
    for secret in ("EAALOCAL", "GOCSPX", "xoxb-", stack.running.keys.secret):
        assert secret not in text
