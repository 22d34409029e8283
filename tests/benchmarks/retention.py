"""Archiving and purging through the worker, against one statement that does it all at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

from local.stack import Running, Stack
from tests.benchmarks.figures import Figure
from workers.clock import SystemClock
from workers.database import Database
from workers.operate.output import quiet_logger
from workers.retention.run import Retention

ROWS = 200_000
TIMEOUT = 800.0
# At least half of the rate of one unbounded statement, and no call longer than that.
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

Progress = Callable[[str], None]


def archive_and_purge(progress: Progress) -> list[Figure]:
    """200,000 rows archived, then purged; no latency added."""
    with Stack(seed=False) as stack, psycopg.connect(stack.database_url, autocommit=True) as sql:
        progress(f"archiving {ROWS:,} rows at once")
        _fill(sql)
        floor = _timed(lambda: sql.execute(_AT_ONCE))
        progress("purging them at once")
        purge_floor = _timed(lambda: sql.execute(_PURGED_AT_ONCE))
        progress("archiving them by the worker")
        _fill(sql)
        archiving, longest = _run(stack)
        progress("purging them by the worker")
        sql.execute("update retention_policies set archive_retention_days = 90")
        purging, longest_purge = _run(stack)
    return [
        Figure(
            f"archive {ROWS:,} rows",
            archiving,
            "s",
            floor=floor,
            target=f"at most {MOST_TIMES_AS_LONG:g} x one statement",
            met=archiving <= MOST_TIMES_AS_LONG * floor,
        ),
        Figure(f"purge {ROWS:,} archived rows", purging, "s", floor=purge_floor),
        Figure(
            "longest call of archiving and purging",
            max(longest, longest_purge),
            "s",
            target=f"at most {LONGEST_CALL:g} s",
            met=max(longest, longest_purge) <= LONGEST_CALL,
        ),
    ]


def _fill(sql: psycopg.Connection[Any]) -> None:
    sql.execute(_FILL.format(rows=ROWS, archive_days=3650).encode())


def _timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class _Timed(Database):
    """Keeps how long the longest call took."""

    longest = 0.0

    def call(self, function: str, **arguments: Any) -> Any:
        begun = time.perf_counter()
        try:
            return super().call(function, **arguments)
        finally:
            self.longest = max(self.longest, time.perf_counter() - begun)


def _run(stack: Running) -> tuple[float, float]:
    """Seconds of a whole run, and of its longest call."""
    database = _Timed(stack.api_url, stack.keys.secret)
    clock = SystemClock()
    begun = time.perf_counter()
    with quiet_logger():
        report = Retention(database, clock).run(clock.now() + TIMEOUT)
    seconds = time.perf_counter() - begun
    database.close()
    if report.outcome != "complete":
        raise RuntimeError(f"the run did not complete: {report.summary()}")
    return seconds, database.longest
