"""The retention worker and its clients."""

from __future__ import annotations

from workers.clock import Clock, SystemClock
from workers.composition.archive import open_bucket
from workers.composition.container import (
    InvocationContext,
    database,
    deadline,
    once_per_container,
    settings,
)
from workers.composition.events import read_retention_event
from workers.composition.runs import recorded_run
from workers.retention.report import RetentionReport
from workers.retention.run import ColdStore, Retention
from workers.settings import Settings
from workers.telemetry import emit_metrics, logger

WORKER = "retention"


def open_archive(settings: Settings) -> ColdStore | None:
    """None if no bucket is set: then S3's client is not even imported."""
    if settings.archive_bucket_name is None:
        return None
    return open_bucket(settings.archive_bucket_name)


@once_per_container
def cold_archive() -> ColdStore | None:
    return open_archive(settings())


def run_retention(
    event: object, context: InvocationContext, clock: Clock | None = None
) -> dict[str, object]:
    """One run, or with {"dry_run": true} what one would do; returns its summary.

    Raises ConfigurationError for an event of another form, and an error if the run as a whole
    failed; a failed policy is in the summary.
    """
    clock = clock or SystemClock()
    run_until = deadline(context, clock)
    dry_run = read_retention_event(event).dry_run
    with recorded_run(WORKER, clock) as record:
        retention = Retention(database(), clock, cold_archive())
        report = retention.dry_run() if dry_run else retention.run(run_until)
        _log(report)
        summary = report.summary()
        record.end(report.outcome, succeeded=report.outcome == "complete", counts=summary)
    return summary


def _log(report: RetentionReport) -> None:
    summary = report.summary()
    needs_attention = report.outcome in ("failed", "incomplete")
    say = logger.warning if needs_attention else logger.info
    say(f"The retention run ended: {report.outcome}", extra={"action": "retention", **summary})
    if report.outcome not in ("busy", "dry_run"):
        emit_metrics(WORKER, {"RetentionFailed": needs_attention})
