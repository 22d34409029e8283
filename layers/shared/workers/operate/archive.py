"""The command that restores rows from the cold archive."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import date
from typing import Any, TextIO

from workers.composition.archive import open_bucket
from workers.composition.restore import Restored, restore_days
from workers.database import Database
from workers.errors import ConfigurationError
from workers.operate.command_line import verb
from workers.operate.output import as_json, say
from workers.settings import Settings


def add_subjects(subjects: Any) -> None:
    """`restore`."""
    one = verb(subjects, "restore", restore)
    one.add_argument("--since", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    one.add_argument("--until", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")


def restore(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Restore activity of these days (UTC) from the cold archive into archived_activity_log."""
    if options.until < options.since:
        sys.stderr.write("--until is before --since.\n")
        return 2
    archive = open_bucket(_bucket(settings))
    done = restore_days(database, archive, options.since, options.until, _show_progress)
    ignored, missed = done.ignored, done.missed
    _end_progress(done.read)
    for key in ignored:
        say(f"Skipped, because it has no manifest: {key}")
    for error in missed:
        say(f"Skipped: {error}")
    for one in done.refused:
        say(f"Refused by the table: {one.rows} rows, such as {one.example}: {one.reason}")
    for column, rows in done.leftovers.items():
        say(
            f"The table no longer has the column {column}: what {rows} rows had in it is kept in "
            "archived_activity_leftovers for 30 days."
        )
    if options.json:
        keys = [error.key for error in missed]
        refused = [asdict(one) for one in done.refused]
        odd = {"refused": refused, "leftovers": done.leftovers, "missed": keys}
        counts = {"read": done.read, "restored": done.restored, "ignored": ignored}
        out.write(as_json({**counts, **{name: one for name, one in odd.items() if one}}) + "\n")
    elif done.read:
        out.write(f"{done.restored} of {done.read} rows restored; {done.others}.\n")
    elif not missed:
        out.write("The cold archive has nothing for these days.\n")
    return 1 if missed or done.refused else 0


def _bucket(settings: Settings) -> str:
    """Raises ConfigurationError if none is set."""
    if settings.archive_bucket_name is None:
        raise ConfigurationError(
            "ARCHIVE_BUCKET_NAME is missing: the S3 bucket of the cold archive, as in the "
            "template's parameters"
        )
    return settings.archive_bucket_name


def _show_progress(day: date, done: Restored) -> None:
    """One line that is rewritten in a terminal, otherwise one line per request."""
    end = "\r" if sys.stderr.isatty() else "\n"
    sys.stderr.write(f"{day}: {done.read} rows read, {done.restored} restored{end}")
    sys.stderr.flush()


def _end_progress(read: int) -> None:
    if read and sys.stderr.isatty():
        sys.stderr.write("\n")
