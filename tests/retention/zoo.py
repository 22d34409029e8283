"""Activity tables as dashboards have them: changed in every way, and put back afterwards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.archive_bucket import Bucket
from tests.retention.world import World, days_ago

TABLES = ("activity_log", "archived_activity_log")
# Rows of activity_log and of the archive: days old, and how many.
ACTIVE = ((400, 4), (100, 6), (80, 3))
ARCHIVED = ((401, 4), (200, 3))

Row = dict[str, Any]


@contextmanager
def changed_tables(world: World) -> Iterator[None]:
    """Copies of both tables in their place, for a test to change as it likes."""
    for table in TABLES:
        world.connection.execute(
            f"alter table {table} rename to kept_{table};"
            f"create table {table} (like kept_{table} including all);"
            f"grant select, insert, update, delete on {table} to service_role"
        )
    try:
        yield
    finally:
        world.connection.execute("drop table if exists child; truncate archived_activity_leftovers")
        for table in TABLES:
            world.connection.execute(
                f"drop table {table} cascade; alter table kept_{table} rename to {table}"
            )


def fill(world: World) -> None:
    """Rows of every age: to be archived, purged or both, and to be kept."""
    world.policy("activity_log", 90, 365)
    for table, ages in zip(TABLES, (ACTIVE, ARCHIVED), strict=True):
        for days, count in ages:
            world.activity(count, days_ago(days), table)


def rows_of(world: World, table: str) -> list[Row]:
    """Each row as JSON, numbers exactly as text."""
    found = world.rows(f"select to_jsonb(t)::text as line from {table} t")  # noqa: S608
    return [read(row["line"]) for row in found]


def read(line: str) -> Row:
    return dict(json.loads(line, parse_float=str, parse_int=str))


def stored(bucket: Bucket) -> list[Row]:
    """All rows of the cold archive."""
    return [read(line) for line in bucket.all_lines()]


def key(row: Row, columns: Iterable[str]) -> str:
    """The row in these columns, to be compared."""
    return json.dumps({name: row.get(name) for name in sorted(columns)})


def bag(rows: Iterable[Row], columns: Iterable[str]) -> Counter[str]:
    """The rows in these columns, each as often as it is there."""
    wanted = list(columns)
    return Counter(key(row, wanted) for row in rows)


def restore(world: World, bucket: Bucket) -> dict[str, Any]:
    """What the call answers for all that the cold archive holds."""
    answer = world.database.call("restore_archived_activity", lines=bucket.all_lines())
    assert isinstance(answer, dict)
    return answer
