"""The retention function as Lambda runs it: with the deployed layer, AWS's runtime client, the
local Supabase and moto's S3."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.http_server import HttpServer
from tests.conftest import LocalStack
from tests.e2e.emulator import Emulator, LambdaRuntime
from tests.integration.moto_s3 import CREDENTIALS, REGION, MotoS3, client
from workers.operate.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
SCHEDULED = json.loads((ROOT / "events" / "retention-scheduled.json").read_text())
DRY_RUN = json.loads((ROOT / "events" / "retention.json").read_text())
BUCKET = "agency-archive"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the Lambda emulator is a Linux program"
)


@pytest.fixture
def s3() -> Iterator[HttpServer]:
    with HttpServer(MotoS3()) as server:
        client(server).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield server


@pytest.fixture
def rows(stack: LocalStack) -> LocalStack:
    """Activity of three ages, of which the sample policies archive two and purge one."""
    stack.connection.execute(
        """
        insert into activity_log (user_id, entity_type, entity_id, action, details, created_at)
        select null, 'request', gen_random_uuid(), 'updated', '{"n": 1.50}',
               now() - age - number * interval '1 second'
          from generate_series(1, 20) number,
               unnest(array[interval '2 days', interval '200 days', interval '500 days']) age
        """
    )
    return stack


def retention(
    runtime: LambdaRuntime, stack: LocalStack, s3: HttpServer | None = None, timeout: int = 120
) -> Emulator:
    """With the template's settings; without `s3` there is no archive."""
    environment = {
        "POWERTOOLS_METRICS_NAMESPACE": "AgencyDashboardWorkers/some-stack",
        "POWERTOOLS_SERVICE_NAME": "retention",
        "ARCHIVE_BUCKET_NAME": "",
        **stack.environment(),
    }
    if s3 is not None:
        environment |= {"ARCHIVE_BUCKET_NAME": BUCKET, "AWS_ENDPOINT_URL_S3": s3.url}
    folder = ROOT / "functions" / "retention"
    return Emulator(folder, runtime, environment=environment, timeout=timeout)


def ages(stack: LocalStack, table: str) -> list[int]:
    """How many rows of each of the fixture's three ages a table has."""
    found = stack.connection.execute(
        f"""
        select count(*) filter (where age < '90 days'),
               count(*) filter (where age between '90 days' and '365 days'),
               count(*) filter (where age > '365 days')
          from (select now() - created_at as age from {table} where action = 'updated'
                   and user_id is null and details = '{{"n": 1.50}}') aged
        """.encode()  # noqa: S608 - the test's own tables
    ).fetchone()
    assert found is not None
    return list(found)


def of(summary: dict[str, Any], entity_type: str) -> dict[str, Any]:
    (found,) = [one for one in summary["policies"] if one["entity_type"] == entity_type]
    return dict(found)


def test_the_scheduled_event_archives_and_purges(runtime: LambdaRuntime, rows: LocalStack) -> None:
    with retention(runtime, rows) as emulator:
        first = emulator.invoke(SCHEDULED)
        second = emulator.invoke(SCHEDULED)

    assert first["outcome"] == "complete", first
    assert of(first, "activity_log")["archived"] >= 40
    assert of(first, "activity_log")["purged"] >= 20
    assert ages(rows, "activity_log") == [20, 0, 0]
    assert ages(rows, "archived_activity_log") == [0, 20, 0]
    assert (second["outcome"], second["archived"], second["purged"]) == ("complete", 0, 0)


def test_a_dry_run_counts_and_changes_nothing(runtime: LambdaRuntime, rows: LocalStack) -> None:
    with retention(runtime, rows) as emulator:
        summary = emulator.invoke(DRY_RUN)

    assert summary["outcome"] == "dry_run", summary
    assert of(summary, "activity_log")["archived"] >= 40
    assert of(summary, "activity_log")["purged"] >= 20
    assert ages(rows, "activity_log") == [20, 20, 20]
    assert ages(rows, "archived_activity_log") == [0, 0, 0]


def test_with_an_archive_purged_rows_are_kept_and_can_be_restored(
    runtime: LambdaRuntime,
    rows: LocalStack,
    s3: HttpServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with retention(runtime, rows, s3) as emulator:
        summary = emulator.invoke(SCHEDULED)
        output = "\n".join(emulator.log_lines())

    assert of(summary, "activity_log")["status"] == "complete", summary
    assert of(summary, "activity_log")["verified_bytes"] > 0
    assert ages(rows, "archived_activity_log") == [0, 20, 0]
    assert rows.environment()["SUPABASE_SERVICE_ROLE_KEY"] not in output

    environment = {**rows.environment(), **CREDENTIALS, "ARCHIVE_BUCKET_NAME": BUCKET}
    for name, value in {**environment, "AWS_ENDPOINT_URL_S3": s3.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    days = ["--since", "2000-01-01", "--until", "2100-01-01"]
    assert main(["restore", *days, "--json"], out) == 0
    assert json.loads(out.getvalue())["restored"] == of(summary, "activity_log")["purged"]
    assert ages(rows, "archived_activity_log") == [0, 20, 20]


def test_without_the_bucket_nothing_is_purged_and_the_rest_continues(
    runtime: LambdaRuntime, rows: LocalStack, s3: HttpServer
) -> None:
    client(s3).delete_bucket(Bucket=BUCKET)
    with retention(runtime, rows, s3) as emulator:
        summary = emulator.invoke(SCHEDULED)

    activity = of(summary, "activity_log")
    assert summary["outcome"] == "failed"
    assert activity["status"] == "failed"
    assert "NoSuchBucket" in activity["error"]
    assert ages(rows, "archived_activity_log") == [0, 20, 20], "archived but not purged"
    others = [one for one in summary["policies"] if one["entity_type"] != "activity_log"]
    assert all(one["status"] == "complete" for one in others), summary


def test_logs_are_json_lines_that_name_the_service_and_the_request(
    runtime: LambdaRuntime, rows: LocalStack
) -> None:
    with retention(runtime, rows) as emulator:
        emulator.invoke(SCHEDULED)
        lines, metrics = emulator.worker_lines(), emulator.metric_lines()

    assert metrics
    assert lines
    for line in lines:
        assert line["message"]
        assert line["service"] == "retention"
        assert line["function_request_id"]


def test_an_event_with_an_invalid_dry_run_is_refused_with_a_message(
    runtime: LambdaRuntime, rows: LocalStack
) -> None:
    with retention(runtime, rows) as emulator:
        body = emulator.invoke({"dry_run": "yes"})

    assert body["errorType"] == "ConfigurationError"
    assert "dry_run" in body["errorMessage"]
    assert ages(rows, "activity_log") == [20, 20, 20]
