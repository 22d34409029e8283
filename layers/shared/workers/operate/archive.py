"""The command that brings rows back from the cold archive."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, TextIO

from workers.database import Database
from workers.errors import ConfigurationError
from workers.operate.command_line import verb
from workers.retention.archive import ColdArchive
from workers.settings import Settings

# So many at a time stay well within the API's statement timeout; so many characters, within the
# size of a request.
MOST_LINES = 1000
MOST_CHARACTERS = 1_000_000


def add_subjects(subjects: Any) -> None:
    """`restore`."""
    one = verb(subjects, "restore", restore)
    one.add_argument("--since", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    one.add_argument("--until", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")


def restore(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Bring activity of these days (UTC) back into archived_activity_log, from the cold archive."""
    if options.until < options.since:
        sys.stderr.write("--until is before --since.\n")
        return 2
    ignored: list[str] = []
    read = restored = 0
    archive = ColdArchive(_bucket(settings))
    for chunk in archive.read(options.since, options.until, ignored.append):
        for lines in in_requests(chunk.lines):
            restored += database.call("restore_archived_activity", lines=lines)
            read += len(lines)
            _tell_progress(chunk.manifest.date, read, restored)
    _end_progress(read)
    for key in ignored:
        sys.stderr.write(f"Left out, for it has no manifest: {key}\n")
    if options.json:
        counts = {"read": read, "restored": restored, "ignored": ignored}
        out.write(json.dumps(counts) + "\n")
    elif read:
        out.write(f"{restored} of {read} rows restored; the others were there.\n")
    else:
        out.write("Nothing of these days is in the cold archive.\n")
    return 0


def in_requests(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines in pieces that one call takes; a line that is too long is a piece of its own."""
    piece: list[str] = []
    characters = 0
    for line in lines:
        if piece and (len(piece) == MOST_LINES or characters + len(line) > MOST_CHARACTERS):
            yield piece
            piece, characters = [], 0
        piece.append(line)
        characters += len(line)
    if piece:
        yield piece


def _bucket(settings: Settings) -> str:
    """Raises ConfigurationError when none is set."""
    if settings.archive_bucket_name is None:
        raise ConfigurationError(
            "ARCHIVE_BUCKET_NAME is missing: the S3 bucket of the cold archive, as it was given "
            "to the template"
        )
    return settings.archive_bucket_name


def _tell_progress(day: date, read: int, restored: int) -> None:
    """A line that renews itself in a terminal, one line per request elsewhere."""
    end = "\r" if sys.stderr.isatty() else "\n"
    sys.stderr.write(f"{day}: {read} rows read, {restored} restored{end}")
    sys.stderr.flush()


def _end_progress(read: int) -> None:
    if read and sys.stderr.isatty():
        sys.stderr.write("\n")
