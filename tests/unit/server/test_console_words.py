"""Outcomes in words, and when a worker is due next."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.console.outcomes import WORKERS, outcome_of
from server.console.schedules import next_runs
from server.settings import ServerSettings
from workers.composition.notifications import DID_ITS_WORK

WORKERS_FOLDER = Path(__file__).resolve().parents[3] / "layers" / "shared" / "workers"
NOW = datetime(2025, 3, 11, 12, tzinfo=UTC)  # a Tuesday


def run(outcome: str, *, succeeded: bool = True, error_class: str | None = None) -> dict[str, Any]:
    return {"outcome": outcome, "succeeded": succeeded, "error_class": error_class}


def test_every_outcome_of_the_notifications_has_words() -> None:
    text = "".join(path.read_text() for path in (WORKERS_FOLDER / "notifications").glob("*.py"))
    outcomes = set(re.findall(r'report\.end\((?:\n\s+)?"(\w+)"', text)) | {"deadline"}
    assert outcomes >= {"drained", "busy", "token_refused"}
    for outcome in outcomes - {"failed"}:
        told = outcome_of("notifications", run(outcome))
        assert " " in told.words, outcome
        assert (told.level in ("ok", "warning")) >= (outcome in DID_ITS_WORK)


def test_every_outcome_of_retention_has_words() -> None:
    text = (WORKERS_FOLDER / "retention" / "report.py").read_text()
    (told,) = re.findall(r"`outcome`: ([^.]+)\.", text)
    for outcome in re.findall(r"(\w+)(?: \([^)]*\))?(?:,|$)", " ".join(told.split())):
        assert " " in outcome_of("retention", run(outcome, succeeded=False)).words, outcome


def test_a_run_that_failed_as_a_whole_says_so_and_an_unknown_outcome_stands_for_itself() -> None:
    failed = outcome_of("retention", run("failed", succeeded=False, error_class="TransientError"))
    assert (failed.level, failed.sign) == ("failed", "✕")
    assert "TransientError" in failed.words
    assert outcome_of("retention", run("moved_on")).words == "moved on"
    assert outcome_of("elsewhere", run("odd", succeeded=False)).level == "failed"


def test_an_interval_begins_with_the_last_run_and_a_time_of_day_waits_for_its_turn() -> None:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WORKERS}
    known = ServerSettings(retention_time_zone="Europe/Berlin")
    due = next_runs(known, runs, NOW)
    assert due["notifications"] == due["metrics_sync"] == NOW
    assert due["retention"] == datetime(2025, 3, 16, 1, tzinfo=UTC)

    runs["metrics_sync"] = [{"ended_at": "2025-03-11T11:55:00+00:00", "seconds": 60.0}]
    assert next_runs(known, runs, NOW)["metrics_sync"] == datetime(2025, 3, 11, 12, 4, tzinfo=UTC)
    assert "connection_sync" not in due, "it has no schedule of its own"
