"""The format of the cold archive.

Rows of `archived_activity_log` are lines: each is the JSON that Postgres made of one row, never
serialised again, so that no number loses a digit. The lines of one UTC day of `created_at` are
kept together, a few thousand to a gzip object, next to a manifest that describes the object.

    activity_log/date=2026-03-01/<24 hex digits>.jsonl.gz
    activity_log/date=2026-03-01/<the same>.manifest.json

The digits are the first of the object's SHA-256: the same content overwrites itself, and different
content never does.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, Final

from workers.errors import DamagedArchiveError, PermanentError

ENTITY_TYPE: Final = "activity_log"
FORMAT: Final = 1

_DIGITS: Final = 24
_OBJECT: Final = ".jsonl.gz"
_MANIFEST: Final = ".manifest.json"
_KEY: Final = re.compile(
    rf"{ENTITY_TYPE}/date=(\d{{4}}-\d\d-\d\d)/[0-9a-f]{{{_DIGITS}}}"
    rf"({re.escape(_OBJECT)}|{re.escape(_MANIFEST)})",
    re.ASCII,
)


# The brackets and commas of a JSON text, and its strings.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]')


@dataclass(frozen=True, order=True)
class RowKey:
    """The sort key of rows; `created_at` is in UTC."""

    created_at: datetime
    id: str

    def as_json(self) -> dict[str, str]:
        """The inverse of `from_json`."""
        return {"created_at": self.created_at.isoformat(), "id": self.id}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RowKey:
        """From a row or a manifest. Raises ValueError, TypeError or KeyError if it is not one."""
        created_at = datetime.fromisoformat(value["created_at"])
        # null is possible in a table without a primary key
        identity = value["id"] or ""
        if created_at.tzinfo is None or not isinstance(identity, str):
            raise ValueError("no time with a time zone, or no id")
        return cls(created_at.astimezone(UTC), identity)


@dataclass(frozen=True)
class Manifest:
    """Describes an object: its key, rows, size in bytes, SHA-256, and the range of its rows."""

    date: date
    object_key: str
    rows: int
    size: int
    sha256: str
    first: RowKey
    last: RowKey

    @property
    def key(self) -> str:
        """The key of the manifest itself."""
        return manifest_of(self.object_key)

    def overlaps(self, first: RowKey, last: RowKey) -> bool:
        """Whether it may hold rows of that range, both ends included."""
        return self.first <= last and first <= self.last

    def body(self) -> bytes:
        """As it is stored; equal manifests give equal bytes."""
        value = {
            "format": FORMAT,
            "entity_type": ENTITY_TYPE,
            "date": self.date.isoformat(),
            "object": self.object_key,
            "rows": self.rows,
            "bytes": self.size,
            "sha256": self.sha256,
            "first": self.first.as_json(),
            "last": self.last.as_json(),
        }
        return json.dumps(value, indent=2).encode() + b"\n"


@dataclass(frozen=True)
class Chunk:
    """One object: its manifest, its bytes and the lines in them."""

    manifest: Manifest
    body: bytes
    lines: tuple[str, ...]


def row_key(line: str) -> RowKey:
    """The key of a row. Raises PermanentError for a line that is not a row with an id and a
    time."""
    try:
        return RowKey.from_json(_top_level(line))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise PermanentError(
            f"A row cannot be archived: it is not a JSON object with an id and a created_at that "
            f"is a time ({type(error).__name__}).",
            code="unreadable_row",
        ) from None


def _top_level(line: str) -> Any:
    """The JSON of a line; if it is nested too deeply for Python, its top-level texts."""
    try:
        # Whole numbers stay text: Python refuses thousands of digits, Postgres does not.
        return json.loads(line, parse_int=str)
    except RecursionError:
        return _top_level_texts(line)


def _top_level_texts(line: str) -> dict[str, str]:
    """The members of an object that are texts, however deeply the others are nested."""
    found: dict[str, str] = {}
    depth = 0
    key: str | None = None
    for token in _TOKEN.finditer(line):
        text = token[0]
        if text in "{[":
            depth += 1
        elif text in "}]":
            depth -= 1
        elif depth == 1 and text == ",":
            key = None
        elif depth == 1 and text[0] == '"':
            value = json.loads(text)
            if key is None:
                key = value
            else:
                found[key] = value
    return found


def by_date(lines: Iterable[str]) -> dict[date, list[str]]:
    """The lines by the UTC day of their row, oldest day first. Raises as `row_key` does."""
    days: dict[date, list[str]] = {}
    for line in lines:
        days.setdefault(row_key(line).created_at.date(), []).append(line)
    return dict(sorted(days.items()))


def build_chunk(day: date, lines: Iterable[str]) -> Chunk:
    """The lines of one day as an object; their order does not matter.

    Raises PermanentError if there are none, or one is not a row of that day.
    """
    keyed = sorted((row_key(line), line) for line in lines)
    problem = _problem(day, keyed)
    if problem is not None:
        raise PermanentError(f"Rows cannot be archived: {problem}.", code="unreadable_row")
    ordered = tuple(line for _, line in keyed)
    text = "".join(f"{line}\n" for line in ordered)
    body = gzip.compress(text.encode(), mtime=0)
    sha256 = hashlib.sha256(body).hexdigest()
    key = f"{day_prefix(day)}{sha256[:_DIGITS]}{_OBJECT}"
    manifest = Manifest(day, key, len(ordered), len(body), sha256, keyed[0][0], keyed[-1][0])
    return Chunk(manifest, body, ordered)


def parse_manifest(key: str, body: bytes) -> Manifest:
    """The manifest stored at `key`. Raises DamagedArchiveError naming the key and the problem."""
    try:
        return _parse_manifest(key, body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        detail = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise DamagedArchiveError(key, f"it is not a valid manifest ({detail:.100})") from None


def _parse_manifest(key: str, body: bytes) -> Manifest:
    value = json.loads(body)
    if (value["format"], value["entity_type"]) != (FORMAT, ENTITY_TYPE):
        raise ValueError("its format or entity type is another")
    rows, size, sha256 = value["rows"], value["bytes"], value["sha256"]
    if type(rows) is not int or type(size) is not int or rows < 1 or size < 1:
        raise ValueError("rows and bytes must be whole numbers")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError("no SHA-256")
    day = date.fromisoformat(value["date"])
    if value["object"] != f"{day_prefix(day)}{sha256[:_DIGITS]}{_OBJECT}":
        raise ValueError("its date and SHA-256 are not those of its object")
    first, last = RowKey.from_json(value["first"]), RowKey.from_json(value["last"])
    manifest = Manifest(day, value["object"], rows, size, sha256, first, last)
    if manifest.key != key:
        raise ValueError("it belongs to another object")
    return manifest


def check_object(manifest: Manifest, body: bytes) -> Chunk:
    """The lines of an object, after checking that it matches the manifest.

    Raises DamagedArchiveError naming the object and what is wrong with it.
    """
    if len(body) != manifest.size:
        problem = f"it has {len(body)} bytes, not {manifest.size}"
        raise DamagedArchiveError(manifest.object_key, problem)
    if hashlib.sha256(body).hexdigest() != manifest.sha256:
        raise DamagedArchiveError(manifest.object_key, "its SHA-256 does not match")
    lines = _unpacked(manifest, body)
    if len(lines) != manifest.rows:
        problem = f"it has {len(lines)} rows, not {manifest.rows}"
        raise DamagedArchiveError(manifest.object_key, problem)
    try:
        keyed = [(row_key(line), line) for line in lines]
    except PermanentError as error:
        raise DamagedArchiveError(manifest.object_key, str(error)) from None
    problem_of_rows = _problem(manifest.date, keyed)
    if problem_of_rows is not None:
        raise DamagedArchiveError(manifest.object_key, problem_of_rows)
    if (keyed[0][0], keyed[-1][0]) != (manifest.first, manifest.last):
        raise DamagedArchiveError(manifest.object_key, "the range of its rows does not match")
    return Chunk(manifest, body, lines)


def _unpacked(manifest: Manifest, body: bytes) -> tuple[str, ...]:
    try:
        text = gzip.decompress(body).decode()
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedArchiveError(manifest.object_key, f"it is not a gzip file ({error})") from None
    except UnicodeDecodeError:
        raise DamagedArchiveError(manifest.object_key, "it is not UTF-8") from None
    # Not splitlines, which also splits at other characters that JSON may hold.
    *lines, rest = text.split("\n")
    if rest:
        raise DamagedArchiveError(manifest.object_key, "its last line is cut off")
    return tuple(lines)


def _problem(day: date, keyed: Sequence[tuple[RowKey, str]]) -> str | None:
    """Why these rows cannot be an object of that day; None if they can."""
    if not keyed:
        return "there are none"
    if any("\n" in line for _, line in keyed):
        return "one takes more than one line"
    if any(key.created_at.date() != day for key, _ in keyed):
        return f"one is not of {day}"
    if any(one[0] > other[0] for one, other in pairwise(keyed)):
        return "they are not in order"
    return None


def day_prefix(day: date) -> str:
    """What the keys of that day begin with."""
    return f"{all_days_prefix()}{day.isoformat()}/"


def all_days_prefix() -> str:
    """What all keys begin with."""
    return f"{ENTITY_TYPE}/date="


def day_of(key: str) -> date | None:
    """The day in the key of an object or a manifest; None for any other key."""
    match = _KEY.fullmatch(key)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def is_manifest(key: str) -> bool:
    """Whether it is the key of a manifest, not of an object."""
    return key.endswith(_MANIFEST)


def manifest_of(object_key: str) -> str:
    """The key of an object's manifest."""
    return object_key.removesuffix(_OBJECT) + _MANIFEST


def object_of(manifest_key: str) -> str:
    """The key of a manifest's object."""
    return manifest_key.removesuffix(_MANIFEST) + _OBJECT
