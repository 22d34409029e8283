"""The cold archive for viewing: what it contains, and whether a day is as it was stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby, islice
from typing import TYPE_CHECKING

from workers.errors import ArchivedObjectError, ConfigurationError
from workers.redaction import redact

if TYPE_CHECKING:
    from workers.composition.restore import Restored
    from workers.database import Database
    from workers.retention.archive import ColdArchive


@dataclass(frozen=True)
class ArchivedDay:
    """A day as the bucket lists it: its objects, their bytes, when the newest was written; how many
    objects have no manifest and so do not count, and how many manifests have no object."""

    day: date
    objects: int
    size: int
    written_at: datetime
    without_manifest: int
    without_object: int


@dataclass(frozen=True)
class VerifiedObject:
    """An object that was read back: its rows and bytes, or the problem with it."""

    key: str
    rows: int | None = None
    size: int | None = None
    problem: str | None = None


def open_bucket(bucket: str) -> ColdArchive:
    """The archive in that bucket. S3's client takes a while to import: only if there is a bucket.
    Raises ConfigurationError if boto3 is not installed or finds no region."""
    try:
        from workers.retention.archive import ColdArchive  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"ARCHIVE_BUCKET_NAME is set, and {error.name} is not installed: pip install .[aws]"
        ) from None
    return ColdArchive(bucket)


class ArchiveView:
    """One bucket, by its name; read-only and thread-safe."""

    def __init__(self, bucket: str) -> None:
        """Raises ConfigurationError as `open_bucket` does."""
        self._archive = open_bucket(bucket)

    def restore(
        self,
        database: Database,
        since: date,
        until: date,
        progress: Callable[[date, Restored], None],
    ) -> Restored:
        """Activity of these days, back into the database."""
        from workers.composition.restore import restore_days  # noqa: PLC0415 - as above

        return restore_days(database, self._archive, since, until, progress)

    def days(self, since: date, until: date) -> list[ArchivedDay]:
        """The days that have anything, both ends included, oldest first; reads no object.
        Raises TransientError and ConfigurationError."""
        found = []
        for day, group in groupby(self._archive.listed(since, until), key=lambda each: each.day):
            listed = list(group)
            objects = {each.key: each for each in listed if each.of is None}
            described = {each.of for each in listed if each.of is not None}
            found.append(
                ArchivedDay(
                    day,
                    objects=len(objects),
                    size=sum(each.size for each in objects.values()),
                    written_at=max(each.written_at for each in listed),
                    without_manifest=len(objects.keys() - described),
                    without_object=len(described - objects.keys()),
                )
            )
        return found

    def verify(self, day: date, most: int) -> tuple[list[VerifiedObject], bool]:
        """Reads back at most that many of a day's objects; returns whether these are all, too.

        An object is verified if it matches its manifest: bytes, SHA-256, number and range of its
        rows. Raises TransientError and ConfigurationError.
        """
        found = list(islice(self._read(day), most + 1))
        return found[:most], len(found) <= most

    def _read(self, day: date) -> Iterator[VerifiedObject]:
        waiting: list[VerifiedObject] = []

        def ignore(key: str) -> None:
            waiting.append(VerifiedObject(key, problem="it has no manifest, so it does not count"))

        def miss(error: ArchivedObjectError) -> None:
            waiting.append(VerifiedObject(error.key, problem=redact(str(error))))

        for chunk in self._archive.read(day, day, ignore, miss):
            yield from waiting
            waiting.clear()
            manifest = chunk.manifest
            yield VerifiedObject(manifest.object_key, manifest.rows, manifest.size)
        yield from waiting
