"""What health queries from the database, as SQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg

from tests.database.agency import NOW, Agency


def health(db: psycopg.Connection[Any]) -> dict[str, Any]:
    row = db.execute("select worker_health(%s) as health", (NOW,)).fetchone()
    assert row is not None
    return dict(row["health"])


def test_what_a_run_would_take_is_due_and_what_none_takes_is_dead(
    db: psycopg.Connection[Any],
) -> None:
    agency = Agency(db)
    config = agency.config("C1")
    unset = {"is_processed": None, "next_attempt_at": None, "max_attempts": None}
    agency.notification(config, next_attempt_at=NOW)
    agency.notification(config, attempts=None, **unset)
    agency.notification(config, next_attempt_at=NOW + timedelta(seconds=1))
    agency.notification(config, attempts=5, **unset)
    agency.notification(config, is_processed=True)
    found = health(db)
    assert (found["due"], found["dead"]) == (2, 1)


def test_what_is_done_is_not_read(db: psycopg.Connection[Any]) -> None:
    """It may be called often, and the table keeps what is done for months."""
    config = Agency(db).config("C1")
    db.execute(
        "insert into notification_queue (config_id, entity_id, entity_type, is_processed) "
        "select %s, gen_random_uuid(), 'request', true from generate_series(1, 3000)",
        (config,),
    )
    # as on a dashboard with another index
    db.execute("drop index notification_queue_pending_idx")
    db.execute("vacuum analyze notification_queue")
    before = scanned(db)
    health(db)
    assert scanned(db) == before


def scanned(db: psycopg.Connection[Any]) -> int:
    """How many rows of the queue were read by sequential scans."""
    db.execute("select pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    row = db.execute(
        "select seq_tup_read from pg_stat_user_tables where relname = 'notification_queue'"
    ).fetchone()
    assert row is not None
    return int(row["seq_tup_read"])
