"""Brings rows back from the cold archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from workers.database import Database
from workers.errors import ArchivedObjectError
from workers.retention.archive import ColdArchive

# So many at a time stay well within the API's statement timeout; so many characters, within the
# size of a request.
MOST_LINES = 1000
MOST_CHARACTERS = 1_000_000


@dataclass
class Restored:
    """What came of the lines so far: read, put back, refused, and what no column takes any more;
    the keys that were left out, for they have no manifest, and the objects that cannot be read."""

    read: int = 0
    restored: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)
    leftovers: dict[str, int] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    missed: list[ArchivedObjectError] = field(default_factory=list)

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


def restore_days(
    database: Database,
    archive: ColdArchive,
    since: date,
    until: date,
    tell: Callable[[date, Restored], None],
) -> Restored:
    """Activity of these days (UTC), back into archived_activity_log; what is there stays as it is,
    so that it can be done again. `tell` is given each request's day and what is done so far."""
    done = Restored()
    for chunk in archive.read(since, until, done.ignored.append, done.missed.append):
        for lines in in_requests(chunk.lines):
            done.add(len(lines), database.call("restore_archived_activity", lines=lines))
            tell(chunk.manifest.date, done)
    return done


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
