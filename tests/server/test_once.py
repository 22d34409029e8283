"""`python -m server --once`: one pass and its exit status."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import boto3

from local.faults import Fault
from local.http_server import HttpServer
from local.services.proxy import proxy
from tests.conftest import LocalStack
from tests.integration.moto_s3 import CREDENTIALS, REGION, MotoS3
from tests.server.process import ServerProcess, once

MISSING = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN")


def test_a_pass_does_the_work_of_all_three(stack: LocalStack) -> None:
    ended = once(stack.environment())
    assert ended.process.returncode == 0
    first = ended.lines[0]
    assert stack.running.api_url in first["message"], "the project is named first"
    assert all(line["severity"] == line["level"] for line in ended.lines)
    [run] = ended.of("notifications_run")
    assert (run["outcome"], run["sent"]) == ("drained", 8)
    [plan] = ended.of("metrics_plan")
    assert plan["planned"] == 4
    assert [one["status"] for one in ended.of("connection_sync")] == ["success"] * 4
    [retention] = ended.of("retention")
    assert retention["outcome"] == "complete"
    recorded = stack.connection.execute("select worker from worker_runs").fetchall()
    assert sorted(name for (name,) in recorded) == [
        "connection_sync", "connection_sync", "connection_sync", "connection_sync",
        "metrics_sync", "notifications", "retention",
    ]  # fmt: skip


def test_only_named_and_enabled_workers_run(stack: LocalStack) -> None:
    off = {"METRICS_ENABLED": "false"}
    ended = once({**stack.environment(), **off}, "metrics", "notifications")
    assert ended.process.returncode == 0
    assert ended.actions() == ["serving", "notifications_run"]
    ended = once({**stack.environment(), **off}, "metrics")
    assert ended.process.returncode == 2
    assert "METRICS_ENABLED is false" in ended.lines[-1]["message"]


def test_missing_settings_are_reported_at_once() -> None:
    ended = once({})
    assert ended.process.returncode == 2
    [line] = ended.lines
    for name in MISSING:
        assert name in line["message"]


def test_an_unreachable_database_is_a_failure(stack: LocalStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    ended = once({**stack.environment(), "SUPABASE_URL": url})
    assert ended.process.returncode == 1
    assert len(ended.of("run_failed")) == 3, "one failure does not stop the others"


def test_a_refused_token_is_a_failure_and_does_not_count_as_an_attempt(stack: LocalStack) -> None:
    ended = once({**stack.environment(), "SLACK_BOT_TOKEN": "xoxb-of-yesterday"}, "notifications")
    assert ended.process.returncode == 1
    assert ended.of("run_failed")[0]["error_class"] == "CredentialsError"
    assert "xoxb-of-yesterday" not in json.dumps(ended.lines)
    spent = stack.connection.execute("select sum(attempts) from notification_deliveries")
    assert spent.fetchone() == (0,)


def test_a_database_without_the_migrations_is_a_configuration_error(stack: LocalStack) -> None:
    with proxy(stack.running.api_url) as gateway:
        body = json.dumps({"code": "PGRST202", "message": "no function start_notification_run"})
        gateway.faults.add(Fault("answer", status=404, body=body, times=None))
        ended = once({**stack.environment(), "SUPABASE_URL": gateway.url}, "notifications")
    assert ended.process.returncode == 2
    assert "apply the migrations" in json.dumps(ended.lines)


def test_keys_are_read_from_files(stack: LocalStack, tmp_path: Path) -> None:
    environment = dict(stack.environment())
    for name in ("SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN"):
        file = tmp_path / name.lower()
        file.write_text(f"{environment.pop(name)}\n", encoding="utf-8")
        environment[f"{name}_FILE"] = str(file)
    ended = once(environment, "notifications")
    assert ended.process.returncode == 0
    assert ended.of("notifications_run")[0]["sent"] == 8


class MotoSecrets(MotoS3):
    """moto's Secrets Manager, found through AWS_ENDPOINT_URL_SECRETS_MANAGER."""

    service = "secretsmanager"


def test_keys_are_read_from_secrets_manager(stack: LocalStack) -> None:
    environment = dict(stack.environment())
    names = ("SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN")
    keys = {name: environment.pop(name) for name in names}
    with HttpServer(MotoSecrets()) as aws:
        secrets = boto3.client(
            "secretsmanager", endpoint_url=aws.url, region_name=REGION,
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        secrets.create_secret(Name="agency/workers", SecretString=json.dumps(keys))
        environment |= {**CREDENTIALS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.url}
        ended = once({**environment, "WORKERS_SECRET_NAME": "agency/workers"}, "notifications")
        assert ended.process.returncode == 0
        assert ended.of("notifications_run")[0]["sent"] == 8
        ended = once({**environment, "WORKERS_SECRET_NAME": "agency/other"}, "notifications")
    assert ended.process.returncode == 2
    assert "the secret agency/other (WORKERS_SECRET_NAME)" in ended.lines[-1]["message"]
    assert not any(key in json.dumps(ended.lines) for key in keys.values())


def test_a_pass_that_is_asked_to_stop_releases_what_it_holds(stack: LocalStack) -> None:
    stack.queue_notifications(200, 2)
    pass_ = ServerProcess(stack.environment(), "notifications", "--once")
    stack.running.slack.wait_for_requests(4, "chat.postMessage")
    assert pass_.end(signal.SIGINT) == 0
    [run] = pass_.of("notifications_run")
    assert run["released"] > 0
    left = stack.connection.execute(
        "select count(*) from notification_deliveries where state = 'sending'"
    ).fetchone()
    assert left == (0,)
