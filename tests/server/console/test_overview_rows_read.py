"""The overview reads no more because there is more: counted in rows, as for the workers."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

TABLES = (
    "worker_runs", "notification_deliveries", "notification_unrouted", "slack_destinations",
    "notification_queue", "notification_config", "platform_connections", "metric_accounts",
    "metric_sync_logs", "metric_connection_states", "metric_platform_pauses",
)  # fmt: skip
NOW = "2025-03-11T12:00:00+00:00"
RUNS, STALLED, ACCOUNTS = 30, 10, 5
# Four strips, five minutes of everything and what is around it.
MOST_RUNS = 4 * RUNS + 60 + 20
# What was sent, of which so many are counted.
MOST_SENT = 5_000
# Each parked destination and config, and what is counted for it.
MOST_STALLED = 2 * STALLED * (100 + 3) + 10


def rows_read(db: psycopg.Connection[Any], query: str) -> int:
    """By one call, in all tables that it may read."""
    with db.transaction():
        before = counted(db)
        db.execute(query.encode(), {"now": NOW})
        return counted(db) - before


def counted(db: psycopg.Connection[Any]) -> int:
    row = db.execute(
        "select sum(seq_tup_read + idx_tup_fetch) as read from pg_stat_xact_user_tables "
        "where relname = any (%s)",
        (list(TABLES),),
    ).fetchone()
    assert row is not None
    return int(row["read"])


def grow(db: psycopg.Connection[Any], size: int) -> None:
    """So many earlier runs of each worker, finished deliveries, and deliveries that wait for parked
    destinations or without any."""
    db.execute(
        """
        insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, counts)
        select known.name, ended - interval '2 seconds', ended, 'drained', true, '{"sent": 1}'
          from unnest(array['notifications', 'metrics_sync', 'connection_sync', 'retention'])
               known (name)
         cross join generate_series(1, %(size)s) n
         cross join lateral (
           select %(now)s::timestamptz - n * interval '1 minute' - (
                    select count(*) from worker_runs
                  ) * interval '15 seconds' as ended
         ) at
        """,
        {"size": size, "now": NOW},
    )
    db.execute(
        """
        with config as (
          insert into notification_config (entity_type, event_type, template)
          select 'request', 'event ' || n, 'x' from generate_series(1, %(size)s / 10) n
          returning id
        ),
        queued as (
          insert into notification_queue
            (config_id, entity_id, entity_type, event_data, routed_at, is_processed, created_at)
          select config.id, gen_random_uuid(), 'request', '{}', %(now)s, n > 5,
                 %(now)s::timestamptz - interval '1 day'
            from config, generate_series(1, 10) n
          returning id, config_id, is_processed
        ),
        lost as (
          insert into notification_unrouted
            (notification_id, config_id, due_at, queued_at, ages_from, lookup_at)
          select id, config_id, %(now)s, %(now)s, %(now)s, %(now)s
            from queued where not is_processed
        )
        insert into notification_deliveries
          (notification_id, config_id, destination, state, due_at, queued_at, ages_from, message_ts)
        select id, config_id, 'C' || abs(hashtext(config_id::text)) %% 50,
               case when is_processed then 'sent' else 'pending' end, %(now)s, %(now)s, %(now)s,
               case when is_processed then '1.1' end
          from queued
        """,
        {"size": size, "now": NOW},
    )


@pytest.fixture
def small(db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A few accounts and fifty parked destinations; plans from when the tables were empty."""
    db.execute(f"truncate {', '.join(TABLES)} cascade".encode())
    for table in TABLES:
        db.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
    db.execute(
        "insert into platform_connections (platform, account_id) "
        "select 'meta', 'act_' || n from generate_series(1, %s) n",
        (ACCOUNTS,),
    )
    db.execute(
        "insert into slack_destinations (destination, parked_at, park_code, probe_at) "
        "select 'C' || n, %(now)s, 'is_archived', %(now)s from generate_series(0, 49) n",
        {"now": NOW},
    )
    db.execute("analyze")
    return db


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_the_overview_reads_no_more_because_more_has_run(
    small: psycopg.Connection[Any], statistics: str
) -> None:
    for size in (200, 600, 1_800):
        grow(small, size)
        if statistics == "fresh":
            small.execute("analyze")
        read = rows_read(
            small,
            f"select console_overview({RUNS}, {STALLED}, '3 hours', '25 minutes', %(now)s)",
        )
        assert RUNS < read <= MOST_RUNS + MOST_STALLED + ACCOUNTS * 8 + 4 * STALLED, size
        row = small.execute("select id from worker_runs limit 1").fetchone()
        assert row is not None
        assert rows_read(small, f"select console_run('{row['id']}')") <= 3, size


def test_many_runs_at_once_are_limited(small: psycopg.Connection[Any]) -> None:
    small.execute(
        "insert into worker_runs (worker, started_at, ended_at, outcome, succeeded, counts) "
        "select case when n %% 2 = 0 then 'notifications' else 'connection_sync' end, "
        "%(now)s, %(now)s, case when n %% 2 = 0 then 'drained' else 'failed' end, n %% 2 = 0, "
        """'{"sent": 1, "dead": 1}' from generate_series(1, 8000) n""",
        {"now": NOW},
    )
    small.execute(
        "insert into notification_queue "
        "(entity_id, entity_type, is_processed, outcome, created_at, processed_at) "
        "select gen_random_uuid(), 'request', true, 'sent', %(now)s, %(now)s "
        "from generate_series(1, 15000)",
        {"now": NOW},
    )
    overview = f"select console_overview({RUNS}, {STALLED}, '3 hours', '25 minutes', %(now)s)"
    # the signs of 1,000 runs, and failures up to 100
    assert rows_read(small, overview) <= 1000 + 100 + MOST_RUNS + MOST_SENT + MOST_STALLED
    row = small.execute(f"{overview} -> 'sent' as sent".encode(), {"now": NOW}).fetchone()
    assert row is not None
    assert row["sent"]["is_whole"] is False
    assert [minute["sent"] for minute in row["sent"]["minutes"]] == [MOST_SENT]
