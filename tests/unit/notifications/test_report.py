from __future__ import annotations

from collections import Counter

from workers.notifications.report import COUNTS, Report


def test_a_run_that_did_nothing_has_zero_counts() -> None:
    assert Report("busy").summary() == {
        "outcome": "busy", **dict.fromkeys(COUNTS, 0), "longest_waited_seconds": 0.0,
        "oldest_due_seconds": None, "parked_destinations": 0,
    }  # fmt: skip


def test_a_summary_has_each_count_under_its_name() -> None:
    counts = {name: number for number, name in enumerate(COUNTS, start=1)}
    report = Report(
        "drained", counts=Counter(counts), longest_waited=12.3456, oldest_due=7.0, parked=2
    )
    assert report.summary() == {
        "outcome": "drained", **counts, "longest_waited_seconds": 12.3,
        "oldest_due_seconds": 7.0, "parked_destinations": 2,
    }  # fmt: skip


def test_the_first_reason_to_end_stays() -> None:
    report = Report()
    assert not report.has_ended
    error = RuntimeError()
    report.end("deadline")
    report.end("failed", error)
    assert (report.outcome, report.failure) == ("deadline", error)
