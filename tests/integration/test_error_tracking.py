"""What the real SDK sends to Sentry, at a server that keeps it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.http_server import HttpServer, Stateless
from local.wire import Request, Response

ROOT = Path(__file__).resolve().parents[2]
SECRET = "EAALOCALsecretOfSomebody0001"

# In a process of its own, because the SDK changes the process that it is in.
RUN = f"""
import sys
from workers.clock import SystemClock
from workers.composition.container import settings
from workers.composition.runs import recorded_run
from workers.errors import TransientError
settings()
try:
    with recorded_run("notifications", SystemClock()):
        password = "{SECRET}"
        raise TransientError("refused access_token={SECRET} of Ava", code="57P03")
except TransientError:
    print("raised")
print("sentry_sdk" in sys.modules)
"""


class Envelopes(Stateless):
    """Keeps the events that it is sent."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def handle(self, request: Request) -> Response:
        body = request.body
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        lines = [json.loads(line) for line in body.splitlines() if line]
        self.events += [line for line in lines if "exception" in line]
        return Response.of_json({})

    def state(self) -> Any:
        return self.events

    def reset(self) -> None:
        self.events.clear()


@pytest.fixture
def sentry() -> Iterator[HttpServer]:
    with HttpServer(Envelopes()) as server:
        yield server


def run(dsn: str | None) -> list[str]:
    environment = {
        "SUPABASE_URL": "http://127.0.0.1:9",
        "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_x",
        "SLACK_BOT_TOKEN": "xoxb-x",
        "NO_PROXY": "127.0.0.1",
        **({"SENTRY_DSN": dsn} if dsn else {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=ROOT / "layers",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("{")]


def test_an_error_is_sent_once_and_without_secrets(sentry: HttpServer) -> None:
    assert run(f"http://key@127.0.0.1:{sentry.port}/7") == ["raised", "True"]
    (event,) = sentry.app.state()
    (exception,) = event["exception"]["values"]
    assert exception["type"] == "TransientError"
    assert exception["value"] == "refused access_token=[redacted] of Ava"
    assert event["tags"] == {"worker": "notifications", "code": "57P03"}
    shown = json.dumps(event)
    assert SECRET not in shown.replace(f'raise TransientError("refused access_token={SECRET}', "")
    assert not {"request", "user", "breadcrumbs", "extra", "modules"} & event.keys()
    assert "vars" not in shown


def test_without_a_dsn_it_is_not_loaded(sentry: HttpServer) -> None:
    assert run(None) == ["raised", "False"]
    assert sentry.app.state() == []


def test_a_run_does_not_suffer_when_sentry_is_down() -> None:
    assert run("http://key@127.0.0.1:9/7") == ["raised", "True"]
