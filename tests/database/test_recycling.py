"""What one test leaves in a database reaches no other: see `tests.recycling`."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.conftest import Databases
from tests.database.agency import Agency
from tests.recycling import LARGE, Snapshot, empty

Connection = psycopg.Connection[Any]


def count(db: Connection, table: str) -> int:
    row = db.execute(f"select count(*) as count from {table}".encode()).fetchone()  # noqa: S608
    assert row is not None
    return int(row["count"])


def test_rows_are_those_of_the_snapshot_again(db: Connection, agency: Agency) -> None:
    request = agency.request()
    notification = agency.notification(agency.config("C1"), {"n": 1})
    sample = Snapshot(db)

    db.execute("update requests set title = 'Another'")
    db.execute("delete from notification_queue")
    agency.channel("C2")
    db.execute("select route_notifications('1 day', 100, now())")
    assert sample.restore(db)

    found = db.execute("select id::text, title from requests").fetchall()
    assert found == [{"id": request, "title": "Spring launch"}]
    found = db.execute("select id::text from notification_queue").fetchall()
    assert found == [{"id": notification}]
    assert count(db, "slack_connected_channels") == count(db, "notification_deliveries") == 0


@pytest.mark.parametrize(
    "change",
    [
        "create table odd (id int)", "alter table requests add odd int",
        "alter table requests alter title drop not null", "create index odd on requests (title)",
        "create function odd() returns int language sql as 'select 1'",
        "alter function workers_schema_version() set work_mem = '1MB'",
        "grant select on worker_leases to anon", "grant usage on schema public to public",
        "create policy odd on worker_leases using (true)",
        "alter table worker_leases disable row level security",
        "create trigger odd before insert on requests execute function tsvector_update_trigger()",
        "create schema odd", "create type odd as enum ('one')",
        "alter table worker_leases set (autovacuum_enabled = false)",
        "do $$ begin execute format('alter database %I set jit = off', current_database()); end $$",
    ],
)  # fmt: skip
def test_a_changed_schema_is_not_taken_for_the_same(db: Connection, change: str) -> None:
    sample = Snapshot(db)
    db.execute(change.encode())
    assert not sample.restore(db)


def test_the_next_one_then_gets_another_database(databases: Databases) -> None:
    with databases.take() as first:
        first.execute("create table odd (id int)")
        name = first.info.dbname
    with databases.take() as second:
        assert second.info.dbname != name
        name = second.info.dbname
        second.execute("insert into worker_runs (worker, started_at, ended_at, outcome, succeeded)"
                       " values ('retention', now(), now(), 'done', true)")  # fmt: skip
    with databases.take() as third:
        assert third.info.dbname == name
        assert count(third, "worker_runs") == 0


def test_empty_includes_the_tables_that_refer_to_one(db: Connection, agency: Agency) -> None:
    agency.notification(agency.config("C1"), {"n": 1})
    db.execute("select route_notifications('1 day', 100, now())")
    assert count(db, "notification_deliveries") == 1
    agency.channel("C2")
    empty(db, "notification_config, worker_leases")
    assert count(db, "notification_queue") == count(db, "notification_deliveries") == 0
    assert count(db, "slack_connected_channels") == 1


def test_empty_frees_the_space_of_a_large_table(db: Connection, agency: Agency) -> None:
    config = agency.config("C1")
    db.execute(
        "insert into notification_queue (config_id, entity_id, entity_type, event_data) "
        "select %s, gen_random_uuid(), 'request', to_jsonb(repeat(md5(n::text), 20)) "
        "from generate_series(1, 3000) n",
        (config,),
    )
    size = "select pg_relation_size('notification_queue') as size"
    assert (db.execute(size).fetchone() or {})["size"] > LARGE
    empty(db, "notification_config")
    assert (db.execute(size).fetchone() or {})["size"] == 0
