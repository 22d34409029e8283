"""The command that brings rows back from the cold archive."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TextIO

from workers.database import Database
from workers.errors import ArchivedObjectError, ConfigurationError
from workers.operate.command_line import verb
from workers.operate.output import as_json, say
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
    missed: list[ArchivedObjectError] = []
    done = _Restored()
    archive = ColdArchive(_bucket(settings))
    for chunk in archive.read(options.since, options.until, ignored.append, missed.append):
        for lines in in_requests(chunk.lines):
            done.add(len(lines), database.call("restore_archived_activity", lines=lines))
            _tell_progress(chunk.manifest.date, done)
    _end_progress(done.read)
    for key in ignored:
        say(f"Left out, for it has no manifest: {key}")
    for error in missed:
        say(f"Left out: {error}")
    for one in done.refused:
        say(f"Refused by the table: {one['rows']} rows, such as {one['example']}: {one['reason']}")
    for column, rows in done.leftovers.items():
        say(
            f"The table has no column {column} any more: what {rows} rows had in it is kept in "
            "archived_activity_leftovers for 30 days."
        )
    if options.json:
        keys = [error.key for error in missed]
        odd = {"refused": done.refused, "leftovers": done.leftovers, "missed": keys}
        counts = {"read": done.read, "restored": done.restored, "ignored": ignored}
        out.write(as_json({**counts, **{name: one for name, one in odd.items() if one}}) + "\n")
    elif done.read:
        out.write(f"{done.restored} of {done.read} rows restored; {done.others}.\n")
    elif not missed:
        out.write("Nothing of these days is in the cold archive.\n")
    return 1 if missed or done.refused else 0


@dataclass
class _Restored:
    """What came of the lines so far: read, put back, refused, and what no column takes any more."""

    read: int = 0
    restored: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)
    leftovers: dict[str, int] = field(default_factory=dict)

    def add(self, lines: int, answer: Mapping[str, Any]) -> None:
        """What one call of restore_archived_activity says."""
        self.read += lines
        self.restored += answer["restored"]
        self.refused += answer["refused"]
        for column, rows in answer["leftovers"].items():
            self.leftovers[column] = self.leftovers.get(column, 0) + rows

    @property
    def others(self) -> str:
        """What became of the rows that were not put back."""
        return "the others were there" if not self.refused else "the others were there or refused"


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


def _tell_progress(day: date, done: _Restored) -> None:
    """A line that renews itself in a terminal, one line per request elsewhere."""
    end = "\r" if sys.stderr.isatty() else "\n"
    sys.stderr.write(f"{day}: {done.read} rows read, {done.restored} restored{end}")
    sys.stderr.flush()


def _end_progress(read: int) -> None:
    if read and sys.stderr.isatty():
        sys.stderr.write("\n")
