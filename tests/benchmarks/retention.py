"""Archiving and purging by the worker, compared with one statement for all rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from local.stack import Running, Stack
from tests.benchmarks.figures import Figure
from tests.benchmarks.sizes import Progress, Sizes
from workers.clock import SystemClock
from workers.database import Database
from workers.operate.output import quiet_logger
from workers.retention.run import Retention

TIMEOUT = 800.0
# At least half the rate of one unbounded statement, and no call longer than this.
MOST_TIMES_AS_LONG = 2.0
LONGEST_CALL = 2.0

_FILL = """
    truncate activity_log, archived_activity_log, retention_policies, worker_leases;
    insert into activity_log (entity_type, entity_id, action, details, created_at)
    select 'request', gen_random_uuid(), 'edited',
           jsonb_build_object('number', number, 'field', 'status', 'from', 'new', 'to', 'done'),
           now() - interval '100 days' - number * interval '1 second'
      from generate_series(1, {rows}) number;
    insert into retention_policies (entity_type, active_retention_days, archive_retention_days)
    values ('activity_log', 90, {archive_days});
    analyze activity_log;
"""
_AT_ONCE = """
    with gone as (
      delete from activity_log where created_at < now() - interval '90 days' returning *
    )
    insert into archived_activity_log
      (id, user_id, entity_type, entity_id, action, details, created_at)
    select id, user_id, entity_type, entity_id, action, details, created_at from gone
"""
_PURGED_AT_ONCE = "delete from archived_activity_log where created_at < now() - interval '90 days'"


def archive_and_purge(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Archive rows, then purge them; no latency added."""
    rows = sizes.rows
    with Stack(seed=False) as stack, psycopg.connect(stack.database_url, autocommit=True) as sql:
        progress(f"archiving {rows:,} rows at once")
        fill(sql, rows)
        floor = _timed(lambda: sql.execute(_AT_ONCE))
        progress("purging them at once")
        purge_floor = _timed(lambda: sql.execute(_PURGED_AT_ONCE))
        progress("archiving them by the worker")
        fill(sql, rows)
        archiving = _run(stack)
        progress("purging them by the worker")
        sql.execute("update retention_policies set archive_retention_days = 90")
        purging = _run(stack)
        left = sql.execute(
            "select (select count(*) from activity_log)"
            " + (select count(*) from archived_activity_log)"
        ).fetchone()
    longest = max(archiving.longest, purging.longest)
    kept = left[0] if left else None
    return [
        Figure(
            f"archive {rows:,} rows",
            archiving.seconds,
            "s",
            floor=floor,
            original=floor,
            target=f"at most {MOST_TIMES_AS_LONG:g} x one statement",
            met=archiving.seconds <= MOST_TIMES_AS_LONG * floor,
            note=_NOTE,
        ),
        Figure(
            f"purge {rows:,} archived rows",
            purging.seconds,
            "s",
            floor=purge_floor,
            original=purge_floor,
        ),
        Figure(
            "  data-API requests per 1,000 rows archived",
            archiving.calls / rows * 1000,
            "",
        ),
        Figure(
            "  longest request of archiving and purging",
            longest,
            "s",
            original=floor,
            target=f"at most {LONGEST_CALL:g} s",
            met=longest <= LONGEST_CALL,
        ),
        Figure(
            "  rows left of them", kept or 0, "", target="none", met=kept == 0, at_any_size=True
        ),
    ]


_NOTE = (
    "Archive and purge: no latency. Floor: one statement for all rows, which is also the "
    "original design; where the API's statement timeout (8 s) ends that, nothing is archived."
)


def fill(sql: psycopg.Connection[Any], rows: int) -> None:
    sql.execute(_FILL.format(rows=rows, archive_days=3650).encode())


def _timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@dataclass(frozen=True)
class _Run:
    """A whole run and its longest request, in seconds, and its number of requests."""

    seconds: float
    longest: float
    calls: int


class _Timed(Database):
    """Records how long its calls took."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self.took: list[float] = []

    def call(self, function: str, **arguments: Any) -> Any:
        begun = time.perf_counter()
        try:
            return super().call(function, **arguments)
        finally:
            self.took.append(time.perf_counter() - begun)


def _run(stack: Running) -> _Run:
    database = _Timed(stack.api_url, stack.keys.secret)
    clock = SystemClock()
    begun = time.perf_counter()
    with quiet_logger():
        report = Retention(database, clock).run(clock.now() + TIMEOUT)
    seconds = time.perf_counter() - begun
    database.close()
    if report.outcome != "complete":
        raise RuntimeError(f"the run did not complete: {report.summary()}")
    return _Run(seconds, max(database.took), len(database.took))
