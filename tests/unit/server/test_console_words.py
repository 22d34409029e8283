"""Outcomes in words, and when a worker runs next."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from server.console.answers.overview import LastRun
from server.console.outcomes import WORKERS, is_fault, outcome_of
from server.console.schedules import next_runs
from server.settings import ServerSettings
from workers.composition.notifications import DID_ITS_WORK
from workers.errors import WorkerError

WORKERS_FOLDER = Path(__file__).resolve().parents[3] / "layers" / "shared" / "workers"
NOW = datetime(2025, 3, 11, 12, tzinfo=UTC)  # a Tuesday


def run(
    outcome: str,
    *,
    succeeded: bool = True,
    error_class: str | None = None,
    ended_at: datetime = NOW,
    seconds: float = 1.0,
) -> LastRun:
    return LastRun("r1", ended_at, seconds, outcome, succeeded, error_class, about=None)


def test_every_outcome_of_the_notifications_has_words() -> None:
    text = "".join(path.read_text() for path in (WORKERS_FOLDER / "notifications").glob("*.py"))
    outcomes = set(re.findall(r'report\.end\((?:\n\s+)?"(\w+)"', text)) | {"deadline"}
    assert outcomes >= {"drained", "busy", "token_refused"}
    for outcome in outcomes - {"failed"}:
        found = outcome_of("notifications", run(outcome))
        assert " " in found.words, outcome
        assert (found.level in ("ok", "warning")) >= (outcome in DID_ITS_WORK)


def test_every_outcome_of_retention_has_words() -> None:
    text = (WORKERS_FOLDER / "retention" / "report.py").read_text()
    (listed,) = re.findall(r"`outcome`: ([^.]+)\.", text)
    for outcome in re.findall(r"(\w+)(?: \([^)]*\))?(?:,|$)", " ".join(listed.split())):
        assert " " in outcome_of("retention", run(outcome, succeeded=False)).words, outcome


def test_a_failed_run_says_what_its_error_means_and_an_unknown_outcome_is_shown_as_it_is() -> None:
    failed = outcome_of("retention", run("failed", succeeded=False, error_class="TransientError"))
    assert (failed.level, failed.sign) == ("failed", "✕")
    assert failed.words == "failed: something did not answer, so the next run tries again"
    fault = run("failed", succeeded=False, error_class="KeyError")
    assert outcome_of("retention", fault).words == "failed: an error in the worker itself"
    assert is_fault(fault)
    assert outcome_of("retention", run("moved_on")).words == "moved on"
    assert outcome_of("elsewhere", run("odd", succeeded=False)).level == "failed"


def test_every_error_of_the_workers_has_words() -> None:
    tree = [WorkerError]
    for one in tree:
        tree += one.__subclasses__()
    known = [one for one in tree[1:] if one.__module__ == "workers.errors"]
    assert len(known) > 10
    for one in known:
        assert not is_fault(run("failed", succeeded=False, error_class=one.__name__)), one


def test_an_interval_begins_with_the_last_run_and_a_time_of_day_is_waited_for() -> None:
    runs: dict[str, list[LastRun]] = {name: [] for name in WORKERS}
    known = ServerSettings(retention_time_zone="Europe/Berlin")
    due = next_runs(known, runs, NOW)
    assert due["notifications"] == due["metrics_sync"] == NOW
    assert due["retention"] == datetime(2025, 3, 16, 1, tzinfo=UTC)

    runs["metrics_sync"] = [
        run("planned", ended_at=datetime(2025, 3, 11, 11, 55, tzinfo=UTC), seconds=60.0)
    ]
    assert next_runs(known, runs, NOW)["metrics_sync"] == datetime(2025, 3, 11, 12, 4, tzinfo=UTC)
    assert "connection_sync" not in due, "it has no schedule of its own"
