"""Whether the workers are healthy: what the doctor and the health function say."""

from __future__ import annotations

import json

import pytest

from tests.conftest import LocalStack
from tests.integration.examination import Examine, failed
from workers.composition import health
from workers.composition.container import forget_clients


def test_a_worker_that_keeps_failing(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, error_class) "
        "values ('notifications', now() - interval '1 hour', now() - interval '1 hour', "
        "'drained', true, null), "
        "('notifications', now(), now(), 'failed', false, 'CredentialsError')"
    )
    _, sections = examine()
    shown = failed(sections["Workers"])
    assert any("CredentialsError" in text and "ScheduleState" in fix for text, fix in shown)


def test_a_worker_that_is_not_due_yet(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded) "
        "values ('notifications', now(), now(), 'drained', true)"
    )
    _, sections = examine()
    assert "retention is not due yet" in [one["text"] for one in sections["Workers"]]


def test_health_reads_a_rotated_key_after_a_refusal(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine(SUPABASE_SERVICE_ROLE_KEY="sb_secret_of_yesterday")
    forget_clients()
    assert "cannot be queried" in health.run_health()["body"]
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", stack.running.keys.secret)
    assert "cannot be queried" in health.run_health()["body"], "the same answer, for a few seconds"
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)
    assert "queue" in json.loads(health.run_health()["body"])


@pytest.mark.parametrize("part", ["NOTIFICATIONS_ENABLED", "METRICS_ENABLED", "RETENTION_ENABLED"])
def test_a_worker_that_is_switched_off_is_not_missed(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    stack.connection.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded) "
        "select name, now() - interval '20 days', now() - interval '20 days', 'done', true "
        "from unnest(array['notifications', 'metrics_sync', 'retention']) name"
    )
    worker = {"METRICS_ENABLED": "metrics_sync"}.get(part, part.removesuffix("_ENABLED").lower())
    _, sections = examine(**{part: "false"})
    assert len(failed(sections["Workers"])) == 2
    assert f"{worker} is switched off" in [one["text"] for one in sections["Workers"]]
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)
    forget_clients()
    body = json.loads(health.run_health()["body"])
    assert body["workers"][worker]["status"] == "off"
    for each in ("NOTIFICATIONS_ENABLED", "METRICS_ENABLED", "RETENTION_ENABLED"):
        monkeypatch.setenv(each, "false")
    forget_clients()
    answer = health.run_health()
    assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (200, "healthy")


def test_health_answers_503_in_json_whatever_goes_wrong(
    examine: Examine, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine()
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)

    def broken(*arguments: object) -> None:
        raise KeyError(f"no {stack.running.keys.secret}")

    monkeypatch.setattr(health, "assess", broken)
    answer = health.run_health()
    assert answer["statusCode"] == 503
    body = json.loads(answer["body"])
    assert (body["status"], body["reason"]) == (
        "unhealthy",
        "health could not be determined: KeyError",
    )
    assert stack.running.keys.secret not in answer["body"]
    monkeypatch.delenv("SUPABASE_URL")
    forget_clients()
    assert "configuration" in health.run_health()["body"]
