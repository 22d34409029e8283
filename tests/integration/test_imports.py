"""Each function loads only what it needs at its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOAD = "import sys, app; print(*sorted(sys.modules), sep='\\n')"

# Packages and modules that only other functions need, by function.
STRANGERS = {
    "notifications": {"requests", "ijson", "sentry_sdk", "workers.metrics", "workers.retention"},
    "metrics_sync": {"requests", "slack_sdk", "sentry_sdk", "workers.notifications"},
    "connection_sync": {
        "slack_sdk", "sentry_sdk", "workers.metrics.sync_queue", "workers.notifications",
        "workers.retention",
    },
    "retention": {
        "requests", "slack_sdk", "ijson", "sentry_sdk", "workers.retention.archive",
        "workers.metrics", "workers.notifications",
    },
    "health": {
        "requests", "slack_sdk", "ijson", "sentry_sdk", "workers.metrics",
        "workers.notifications", "workers.retention",
    },
    "doctor": {"sentry_sdk", "workers.retention.archive", "workers.metrics.sync_queue"},
}  # fmt: skip


def loaded(function: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=ROOT / "functions" / function,
        env={"PYTHONPATH": str(ROOT / "layers" / "shared"), "AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_every_function_is_checked() -> None:
    assert set(STRANGERS) == {path.parent.name for path in ROOT.glob("functions/*/app.py")}


@pytest.mark.parametrize("function", STRANGERS)
def test_a_function_loads_nothing_of_the_others(function: str) -> None:
    modules = loaded(function)
    assert "workers.composition.container" in modules
    assert "supabase" in modules
    assert not STRANGERS[function] & modules
