"""Purging among rows that are kept longer, and operators' queries with a million sync logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

from local.stack import Stack
from tests.benchmarks.figures import Figure
from tests.benchmarks.sizes import Progress, Sizes

LEAST_RATE = 50_000
LONGEST_CALL = 0.5
LONGEST_ANSWER = 0.25
BATCH = 10_000
# Only this many batches of the earlier code are timed: with many rows kept it takes minutes.
EARLIER_BATCHES = 2

_FILL = """
    truncate notification_queue cascade;
    insert into notification_queue
      (entity_id, entity_type, event_data, is_processed, outcome, created_at, processed_at)
    select gen_random_uuid(), 'request', '{{"a": "b"}}', true, 'expired',
           now() - interval '200 days' + n * interval '1 s', now() - interval '199 days'
      from generate_series(1, {kept}) n;
    insert into notification_queue
      (entity_id, entity_type, event_data, is_processed, outcome, created_at, processed_at)
    select gen_random_uuid(), 'request', '{{"a": "b"}}', true, 'sent',
           now() - interval '60 days' + n * interval '1 s', now() - interval '59 days'
      from generate_series(1, {due}) n;
    insert into notification_deliveries
      (notification_id, config_id, destination, due_at, queued_at, ages_from, state, message_ts)
    select id, gen_random_uuid(), 'C0BENCH000', created_at, created_at, created_at, 'sent', '1'
      from notification_queue where outcome = 'sent';
"""
# The earlier code: it reads each kept row, through a function that is opaque to the planner.
_EARLIER = """
    create index if not exists earlier_created_at_idx on notification_queue (created_at);
    create or replace function pg_temp.is_past(queued public.notification_queue,
      active_cutoff timestamptz, archive_cutoff timestamptz) returns boolean
    language sql immutable set search_path = '' as $$
      select greatest(queued.created_at, coalesce(queued.processed_at, queued.created_at)) <
        case
          when coalesce(queued.outcome in ('dead', 'expired'), false) then archive_cutoff
          when queued.is_processed then active_cutoff
          when coalesce(queued.attempts, 0) >= coalesce(queued.max_attempts, 5) then archive_cutoff
        end;
    $$;
"""
_EARLIER_BATCH = """
    delete from notification_queue queued where queued.id = any (array(
      select due.id from notification_queue due
       where due.created_at < now() - interval '30 days'
         and pg_temp.is_past(due, now() - interval '30 days', now() - interval '365 days')
       order by due.created_at limit 10000 for update skip locked))
"""
_LOGS = """
    truncate metric_sync_logs; truncate platform_connections cascade;
    insert into platform_connections (platform, account_id, account_name)
    select 'meta', 'act_' || n, 'Account ' || n from generate_series(1, {connections}) n;
    insert into metric_sync_logs (platform_connection_id, status, start_time, end_time, details)
    select (array(select id from platform_connections order by id))[1 + n % {connections}],
           'success', now() - n * interval '30 s', now() - n * interval '30 s', '{{"requests": 3}}'
      from generate_series(1, {logs}) n;
"""


def operations(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Purges with few and many rows kept, then the queries; no latency added."""
    with Stack(seed=False) as stack, psycopg.connect(stack.database_url, autocommit=True) as sql:
        purges = [
            figure for kept in sizes.kept for figure in _purge(sql, progress, sizes.rows, kept)
        ]
        return purges + _answers(sql, progress, sizes)


def _purge(
    sql: psycopg.Connection[Any], progress: Progress, due: int, kept: int
) -> list[Figure]:  # fmt: skip
    progress(f"purging {due:,} notifications of {due + kept:,}")
    _fill(sql, due, kept)
    took: list[float] = []
    purged = 0
    while taken := _timed(took, lambda: _value(
        sql, "select purge_notification_batch(now() - interval '30 days', "
        f"now() - interval '365 days', {BATCH})")):  # fmt: skip
        purged += taken
    rate = purged / sum(took)
    progress("the same with the earlier code")
    sql.execute(_EARLIER.encode())
    _fill(sql, due, kept)
    earlier: list[float] = []
    gone = sum(
        _timed(earlier, lambda: sql.execute(_EARLIER_BATCH.encode()).rowcount)
        for _ in range(EARLIER_BATCHES)
    )
    sql.execute("drop index earlier_created_at_idx")
    return [
        Figure(
            f"purge notifications with deliveries, {kept:,} kept",
            sum(took) / max(purged, 1) * 100_000,
            "s per 100,000",
            original=sum(earlier) / max(gone, 1) * 100_000,
            target=f"at least {LEAST_RATE:,} rows/s",
            met=rate >= LEAST_RATE,
            note=_NOTE,
        ),
        Figure(
            "  longest request of it",
            max(took),
            "s",
            original=max(earlier),
            target=f"at most {LONGEST_CALL:g} s",
            met=max(took) <= LONGEST_CALL,
        ),
        Figure("  rows left", due - purged, "", target="none", met=purged == due,
               at_any_size=True),
    ]  # fmt: skip


_NOTE = (
    "Purges and answers: straight from the database. Original: the earlier statements and "
    "index; the purge is timed for two batches of 10,000."
)


def _answers(sql: psycopg.Connection[Any], progress: Progress, sizes: Sizes) -> list[Figure]:
    progress(f"answers with {sizes.connections:,} connections and {sizes.logs:,} sync logs")
    sql.execute(_LOGS.format(connections=sizes.connections, logs=sizes.logs).encode())
    sql.execute("vacuum analyze metric_sync_logs")
    sql.execute("analyze platform_connections")
    names = ("list_connections", "doctor_report", "worker_health")
    ours = {name: _answer(sql, name) for name in names}
    sql.execute(
        "drop index metric_sync_logs_connection_idx; create index metric_sync_logs_connection_idx "
        "on metric_sync_logs (platform_connection_id, start_time)"
    )
    earlier = {name: _answer(sql, name) for name in names}
    return [
        Figure(
            f"{name}, {sizes.logs:,} logs",
            ours[name],
            "s",
            original=earlier[name],
            target=f"at most {LONGEST_ANSWER:g} s",
            met=ours[name] <= LONGEST_ANSWER,
        )
        for name in names
    ]


def _answer(sql: psycopg.Connection[Any], function: str) -> float:
    took: list[float] = []
    _timed(took, lambda: _value(sql, f"select length({function}()::text)"))
    return took[0]


def _fill(sql: psycopg.Connection[Any], due: int, kept: int) -> None:
    sql.execute(_FILL.format(due=due, kept=kept).encode())
    sql.execute("vacuum analyze notification_queue")
    sql.execute("vacuum analyze notification_deliveries")


def _value(sql: psycopg.Connection[Any], query: str) -> int:
    row = sql.execute(query.encode()).fetchone()
    assert row is not None
    assert isinstance(row[0], int), f"rows stay: {row[0]}"
    return row[0]


def _timed(took: list[float], work: Callable[[], int]) -> int:
    begun = time.perf_counter()
    try:
        return work()
    finally:
        took.append(time.perf_counter() - begun)
