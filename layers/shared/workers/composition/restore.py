"""Restores rows from the cold archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from workers.answers import Answer
from workers.database import Database
from workers.errors import ArchivedObjectError

if TYPE_CHECKING:  # it imports boto3, which only a bucket needs
    from workers.retention.archive import ColdArchive

# This many lines at a time stay well within the API's statement timeout, and this many characters
# within the size of a request.
MOST_LINES = 1000
MOST_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class Refused:
    """Rows that the table refused for the same reason; `example` is the id of one."""

    code: str
    reason: str
    rows: int
    example: str | None


@dataclass
class Restored:
    """The lines so far: read, restored, refused, and by lost column how many rows had it; the keys
    that were ignored because they have no manifest, and the objects that cannot be read."""

    read: int = 0
    restored: int = 0
    refused: list[Refused] = field(default_factory=list)
    leftovers: dict[str, int] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    missed: list[ArchivedObjectError] = field(default_factory=list)

    def add(self, lines: int, value: object) -> None:
        """Adds what restore_archived_activity returned for that many lines."""
        answer = Answer.of("restore_archived_activity", value)
        self.read += lines
        self.restored += answer.whole("restored")
        self.refused += map(_refused, answer.inners("refused"))
        for column, rows in answer.wholes("leftovers").items():
            self.leftovers[column] = self.leftovers.get(column, 0) + rows

    @property
    def others(self) -> str:
        """What became of the rows that were not restored."""
        if self.refused:
            return "the others already existed or were refused"
        return "the others already existed"


def _refused(answer: Answer) -> Refused:
    return Refused(
        answer.text("code"),
        answer.text("reason"),
        answer.whole("rows"),
        answer.optional_text("example"),
    )


def restore_days(
    database: Database,
    archive: ColdArchive,
    since: date,
    until: date,
    progress: Callable[[date, Restored], None],
) -> Restored:
    """Restores activity of these days (UTC) into archived_activity_log. Rows that exist are not
    changed, so that it can be repeated. `progress` is called with each request's day and what is
    done so far."""
    done = Restored()
    for chunk in archive.read(since, until, done.ignored.append, done.missed.append):
        for lines in in_requests(chunk.lines):
            done.add(len(lines), database.call("restore_archived_activity", lines=lines))
            progress(chunk.manifest.date, done)
    return done


def in_requests(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines in pieces for one call each; a line that is too long is a piece of its own."""
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
