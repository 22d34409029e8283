"""How a container comes by its clients, with AWS as moto gives it and a real local stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.faults import Fault, slack_error
from local.services.proxy import proxy
from tests.conftest import LocalStack
from workers.clock import SystemClock
from workers.composition import health
from workers.composition.container import database, forget_clients
from workers.composition.notifications import run_notifications
from workers.composition.runs import recorded_run
from workers.errors import (
    ConfigurationError,
    CredentialsError,
    PermanentError,
    TransientError,
)

SECRET = "agency-dashboard-workers/test"


@dataclass
class Context:
    """Lambda's context, as far as it is used."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("WORKERS_SECRET_NAME", SECRET)
    monkeypatch.chdir(tmp_path)  # away from a developer's .env
    forget_clients()
    # moto replaces AWS; requests to this machine's own servers pass through
    with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1.*"]}}}):
        yield
    forget_clients()


def store(stack: LocalStack, **changes: str) -> None:
    """Write the secret, as the engineer would."""
    names = ("SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN")
    value = {name: stack.environment()[name] for name in names} | changes
    manager = boto3.client("secretsmanager")
    try:
        manager.put_secret_value(SecretId=SECRET, SecretString=json.dumps(value))
    except manager.exceptions.ResourceNotFoundException:
        manager.create_secret(Name=SECRET, SecretString=json.dumps(value))


@pytest.fixture
def _plain(monkeypatch: pytest.MonkeyPatch, stack: LocalStack) -> None:
    """What the template sets in plain: addresses, no keys."""
    for name in ("SUPABASE_URL", "SLACK_API_URL"):
        monkeypatch.setenv(name, stack.environment()[name])


@pytest.mark.usefixtures("_plain")
def test_the_keys_come_from_the_secret(stack: LocalStack) -> None:
    store(stack)
    assert run_notifications(Context())["sent"] == 8
    made = database()
    assert run_notifications(Context())["outcome"] == "drained"
    assert database() is made, "made once per container"


@pytest.mark.usefixtures("_plain")
def test_a_rotated_token_is_read_after_a_refusal(
    stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    store(stack, SLACK_BOT_TOKEN="xoxb-of-yesterday")
    with pytest.raises(CredentialsError):
        run_notifications(Context())
    store(stack)
    assert run_notifications(Context())["sent"] == 8
    output = capsys.readouterr().out
    assert '"CredentialsRefused":[1.0]' in output
    assert "xoxb-of-yesterday" not in output


KEY_REFUSALS = (
    "Invalid API key", "Unregistered API key", "Legacy API keys are disabled", "Unauthorized",
    "No API key found in request", "Invalid authentication credentials",
)  # fmt: skip
TOKEN_REFUSALS = (
    "invalid_auth", "token_revoked", "token_expired", "account_inactive", "not_authed",
)  # fmt: skip


@pytest.fixture
def used(stack: LocalStack, _plain: None, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """The stack whose keys this container has used: it posted all that was queued."""
    for name in ("SLACK_CHANNEL_RATE", "SLACK_WORKSPACE_RATE"):
        monkeypatch.setenv(name, "0")
    store(stack)
    stack.queue_notifications(3, 3)
    assert run_notifications(Context())["sent"] == 11
    return stack


def queue_three_more(stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into notification_queue (config_id, entity_id, entity_type, event_data) "
        "select id, gen_random_uuid(), entity_type, '{}' "
        "from notification_config where event_type = 'load'"
    )


def test_a_rotated_supabase_key_is_read_after_a_refusal_in_any_wording(
    used: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)  # it keeps an answer for some seconds
    with proxy(used.running.api_url) as gateway:
        monkeypatch.setenv("SUPABASE_URL", gateway.url)
        forget_clients()
        assert run_notifications(Context())["outcome"] == "drained", "with the key as it was"
        for words in KEY_REFUSALS:
            queue_three_more(used)
            store(used, SUPABASE_SERVICE_ROLE_KEY="sb_secret_of_tomorrow")  # not in force yet
            refusal = json.dumps({"message": words, "hint": "Double check your key."})
            gateway.faults.add(Fault("answer", status=401, body=refusal, times=None))
            with pytest.raises(CredentialsError):
                run_notifications(Context())
            assert health.run_health()["statusCode"] == 503, words

            store(used)
            gateway.faults.clear()
            assert run_notifications(Context())["sent"] == 3, words
            assert "queue" in json.loads(health.run_health()["body"]), words


def test_a_rotated_slack_token_is_read_after_a_refusal_in_any_wording(used: LocalStack) -> None:
    for code in TOKEN_REFUSALS:
        queue_three_more(used)
        used.running.slack.add_faults(slack_error(code, path="chat.postMessage", times=None))
        with pytest.raises(CredentialsError):
            run_notifications(Context())
        used.running.slack.clear_faults()
        summaries = [run_notifications(Context()) for _ in range(2)]
        assert sum(summary.get("sent", 0) for summary in summaries) == 3, code


@pytest.mark.usefixtures("_plain")
def test_a_missing_secret_is_named() -> None:
    with pytest.raises(ConfigurationError, match=SECRET):
        run_notifications(Context())


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize("text", ["xoxb-not-json", '["a list"]'])
def test_a_malformed_secret_is_named_and_not_shown(text: str) -> None:
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=text)
    with pytest.raises(ConfigurationError, match=SECRET) as caught:
        run_notifications(Context())
    assert "xoxb" not in str(caught.value)


@pytest.mark.usefixtures("_plain")
def test_what_is_missing_from_the_secret_is_named(stack: LocalStack) -> None:
    store(stack, SLACK_BOT_TOKEN="")
    with pytest.raises(ConfigurationError, match="SLACK_BOT_TOKEN is missing"):
        run_notifications(Context())


def recorded(stack: LocalStack) -> list[tuple[Any, ...]]:
    return stack.connection.execute(
        "select worker, outcome, succeeded, error_class from worker_runs order by ended_at"
    ).fetchall()


@pytest.mark.usefixtures("_plain")
def test_every_run_is_recorded_also_one_that_fails(stack: LocalStack) -> None:
    store(stack, SLACK_BOT_TOKEN="xoxb-of-yesterday")
    with pytest.raises(CredentialsError):
        run_notifications(Context())
    store(stack)
    run_notifications(Context())
    assert recorded(stack) == [
        ("notifications", "failed", False, "CredentialsError"),
        ("notifications", "drained", True, None),
    ]


@pytest.mark.usefixtures("_plain")
def test_a_failure_that_quotes_a_secret_is_reported_without_it(
    stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    store(stack)
    secret = stack.environment()["SLACK_BOT_TOKEN"]
    with (
        pytest.raises(PermanentError),
        recorded_run("notifications", SystemClock()),
    ):
        raise PermanentError(f"refused {secret}", code="odd")
    assert stack.connection.execute("select error from worker_runs").fetchall() == [
        ("refused [redacted]",)
    ]
    assert secret not in capsys.readouterr().out


@pytest.mark.usefixtures("_plain")
def test_a_database_that_is_down_does_not_hide_the_error(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stack)
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    with pytest.raises(TransientError, match="start_notification_run"):
        run_notifications(Context())
    assert recorded(stack) == []
