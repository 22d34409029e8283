"""Carries out the retention policies from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, TextIO

from workers.composition.manual_runs import carry_out_retention
from workers.database import Database
from workers.operate.command_line import confirmed, verb
from workers.operate.output import as_json, quiet_logger, show
from workers.retention.report import PolicyReport
from workers.settings import Settings


def add_subjects(subjects: Any) -> None:
    """`retention [--dry-run] [--yes]`."""
    one = verb(subjects, "retention", carry_out)
    either = one.add_mutually_exclusive_group()
    either.add_argument(
        "--dry-run", action="store_true", help="show what would be purged, change nothing"
    )
    either.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def carry_out(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Archive and purge now what the retention policies say."""
    if not options.dry_run and not confirmed(_question(settings), options):
        return 1
    with quiet_logger():
        report = carry_out_retention(database, settings, _progress(), dry_run=options.dry_run)
    if report.outcome == "busy":
        sys.stderr.write("Another run is active: try again in a minute.\n")
        return 1
    if options.json:
        out.write(as_json(report.summary()) + "\n")
    else:
        columns = (
            "entity_type",
            "status",
            "archived",
            "purged",
            "verified_bytes",
            "error",
            "remark",
        )
        rows = [{**dict.fromkeys(columns), **one.figures()} for one in report.policies]
        show(rows, columns, options, out, empty="There are no retention policies.")
    return 1 if report.outcome in ("failed", "incomplete") else 0


def _question(settings: Settings) -> str:
    # An engineer's .env need not have the bucket that the deployed worker archives to.
    copies = (
        "ARCHIVE_BUCKET_NAME is not set, so no copy is kept"
        if settings.archive_bucket_name is None
        else f"a copy of purged activity is kept in {settings.archive_bucket_name}"
    )
    return f"Archive and purge now what the retention policies say? Purged rows are gone; {copies}."


def _progress() -> Callable[[PolicyReport], None]:
    """A line per policy that is rewritten in a terminal; otherwise nothing."""
    if not sys.stderr.isatty():
        return lambda report: None
    shown: list[str] = []

    def show_report(report: PolicyReport) -> None:
        if shown and shown[-1] != report.entity_type:
            sys.stderr.write("\n")
        shown[:] = [report.entity_type]
        sys.stderr.write(
            f"\r{report.entity_type}: {report.archived} archived, {report.purged} purged, "
            f"{report.remaining or 0} remaining   "
        )
        sys.stderr.flush()

    return show_report
