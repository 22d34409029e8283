"""No step of retention, no list and no question about health reads more because more is kept.

Counted in rows, not in seconds; with statistics from when the tables were small, and with fresh
ones.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg import sql

from tests.database.agency import NOW, Agency
from tests.database.test_rows_read import counted

SIZES = (300, 900, 2_700)
BATCH = 50
# Rows read for each that a batch takes: found in each of the two parts of a step, locked, deleted,
# and with a notification its delivery and a thread.
MOST_PER_ROW = 5
TABLES = (
    "activity_log", "archived_activity_log", "notification_queue", "notification_deliveries",
    "notification_unrouted", "slack_threads", "metric_sync_logs", "ad_metrics", "metric_days",
    "worker_runs", "archived_activity_leftovers", "platform_connections", "metric_accounts",
)  # fmt: skip
# Rows of `n` at these ages: kept rows are younger than every cutoff, or kept by the longer one.
FILLED = """
    insert into activity_log (entity_type, entity_id, action, created_at)
    select 'request', gen_random_uuid(), 'edited', %(now)s - days * interval '1 day'
             - n * interval '1 ms'
      from generate_series(1, %(size)s) n, (values (10), (100)) ages (days);

    insert into archived_activity_log (id, entity_type, entity_id, action, created_at)
    select gen_random_uuid(), 'request', gen_random_uuid(), 'edited',
           %(now)s - days * interval '1 day' - n * interval '1 ms'
      from generate_series(1, %(size)s) n, (values (200), (400)) ages (days);

    with queued as (
      insert into notification_queue
        (entity_id, entity_type, is_processed, outcome, attempts, created_at, next_attempt_at,
         routed_at)
      select gen_random_uuid(), 'request', done, outcome, 0,
             %(now)s - days * interval '1 day' - n * interval '1 ms', %(now)s, %(now)s
        from generate_series(1, %(size)s) n,
             (values (true, 'sent', 10), (true, 'sent', 100), (true, 'expired', 200),
                     (true, 'expired', 400), (false, null, 300)) kinds (done, outcome, days)
      returning id, is_processed
    )
    insert into notification_deliveries
      (notification_id, config_id, destination, due_at, queued_at, ages_from, state)
    select id, gen_random_uuid(), 'C1', %(now)s, %(now)s, %(now)s,
           'expired'
      from queued;

    insert into slack_threads (destination, request_id, parent_ts, last_post_at)
    select 'C1', gen_random_uuid(), '5.000001', %(now)s - days * interval '1 day'
      from generate_series(1, %(size)s) n, (values (10), (400)) ages (days);

    insert into metric_sync_logs (platform_connection_id, status, start_time)
    select (select min(id::text)::uuid from platform_connections), status,
           %(now)s - days * interval '1 day' - n * interval '1 ms'
      from generate_series(1, %(size)s) n,
           (values ('success', 10), ('success', 100), ('failed', 200), ('failed', 400))
             kinds (status, days);

    insert into worker_runs (worker, started_at, ended_at, outcome, succeeded)
    select worker, ended_at, ended_at, 'done', false
      from unnest(array['notifications', 'metrics_sync', 'retention']) worker,
           (values (1), (100)) ages (days),
           generate_series(1, %(size)s) n,
           lateral (select %(now)s - days * interval '1 day' - n * interval '1 s') t (ended_at);

    insert into metric_days (platform, account_id, date, read_at, failures, problem)
    select 'meta', account::text, coalesce(newest, date '2000-01-01') + n, %(now)s,
           case n when 1 then 1 else 0 end, case n when 1 then 'odd' end
      from (select max(date) as newest from metric_days) days,
           generate_series(1, 5) account, generate_series(1, %(size)s) n;

    insert into archived_activity_leftovers (row_id, columns, restored_at)
    select gen_random_uuid()::text, '{}', %(now)s - days * interval '1 day'
      from generate_series(1, %(size)s) n, (values (10), (100)) ages (days);
"""
ACTIVE, ARCHIVE = "timestamptz '2024-12-11'", "timestamptz '2024-03-11'"
STEPS = {
    "archive_activity_batch": f"archive_activity_batch({ACTIVE}, {BATCH})",
    "purge_archived_batch": f"purge_archived_batch({ARCHIVE}, {BATCH})",
    "purge_notification_batch": f"purge_notification_batch({ACTIVE}, {ARCHIVE}, {BATCH})",
    "purge_sync_log_batch": f"purge_sync_log_batch({ACTIVE}, {ARCHIVE}, {BATCH})",
    "purge_worker_runs": f"purge_worker_runs('30 days', {BATCH}, '{NOW}')",
}
SHOWN, ACCOUNTS = 10, 5
# A sync is shown with its connection.
LISTS = {
    f"list_worker_runs({SHOWN})": SHOWN,
    f"list_worker_runs({SHOWN}, 'retention')": SHOWN,
    f"list_syncs({SHOWN})": 2 * SHOWN,
    f"list_syncs({SHOWN}, 'failed')": 2 * SHOWN,
    f"list_waiting_notifications({SHOWN})": SHOWN,
}
# Apart from what is due, which it counts up to 10,000, health reads a few rows per account.
QUESTIONS = {
    f"worker_health('{NOW}')": 10 * ACCOUNTS,
    f"doctor_report('{NOW}')": 20 * ACCOUNTS,
}


@pytest.fixture
def filled(agency: Agency) -> Agency:
    """A connection that has taken a batch of everything while next to nothing was there."""
    agency.connection.execute(f"truncate {', '.join(TABLES)} cascade".encode())
    for table in TABLES:
        agency.connection.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
    agency.connection.execute(
        "insert into platform_connections (platform, account_id) "
        "select 'meta', 'act_' || n from generate_series(1, %s) n",
        (ACCOUNTS,),
    )
    fill(agency, 3 * BATCH)
    for call in (*STEPS.values(), *LISTS, *QUESTIONS):
        read(agency, call)
    purged_through_the_cold_archive(agency)
    agency.connection.execute("analyze")
    return agency


def fill(agency: Agency, size: int) -> None:
    for statement in FILLED.split(";\n\n"):
        agency.connection.execute(statement.encode(), {"now": NOW, "size": size})


def read(agency: Agency, call: str) -> tuple[Any, int]:
    """What a call returns, and the rows it read."""
    with agency.connection.transaction():
        before = counted(agency, TABLES)
        row = agency.connection.execute(f"select {call} as answer".encode()).fetchone()
        assert row is not None
        return row["answer"], counted(agency, TABLES) - before


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_nothing_reads_more_where_more_is_kept_or_due(filled: Agency, statistics: str) -> None:
    for size in SIZES:
        fill(filled, size)
        if statistics == "fresh":
            filled.connection.execute("analyze")
        too_many: dict[str, int] = {}
        for step, call in STEPS.items():
            taken, rows = read(filled, call)
            assert taken == BATCH, step
            if rows > MOST_PER_ROW * BATCH:
                too_many[step] = rows
        for question, most in LISTS.items():
            shown, rows = read(filled, question)
            assert len(shown) == SHOWN, question
            if rows > most:
                too_many[question] = rows
        for name, rows in purged_through_the_cold_archive(filled).items():
            if rows > MOST_PER_ROW * BATCH:
                too_many[name] = rows
        for question, most in QUESTIONS.items():
            _, rows = read(filled, question)
            if rows > most:
                too_many[question] = rows
        assert not too_many, f"at {size}"


def purged_through_the_cold_archive(agency: Agency) -> dict[str, int]:
    """The rows that each of the two calls reads for a batch."""
    lines, reading = read(agency, f"read_archived_activity({ARCHIVE}, {BATCH})")
    assert len(lines) == BATCH
    listed = sql.Literal(json.dumps(lines)).as_string(agency.connection)
    taken, purging = read(agency, f"purge_archived_lines({listed}::jsonb)")
    assert taken == BATCH
    return {"read_archived_activity": reading, "purge_archived_lines": purging}
