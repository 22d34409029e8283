"""Whatever the dashboard has made of its activity tables, every row is in exactly one place, equal
to the last column, or it stays and is named."""

# ruff: noqa: S608 - the statements are the tests' own

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.archive_bucket import Bucket
from tests.integration.conftest import bucket
from tests.retention.world import World, days_ago, of
from tests.retention.zoo import (
    ACTIVE,
    ARCHIVED,
    bag,
    changed_tables,
    fill,
    restore,
    rows_of,
    stored,
)

__all__ = ["bucket"]

BOTH = "alter table activity_log {0}; alter table archived_activity_log {0};"
PARTITIONED = """
    alter table {table} rename to {table}_whole;
    create table {table} (like {table}_whole including defaults, primary key (id, created_at))
      partition by range (created_at);
    create table {table}_old partition of {table} for values from (minvalue) to ('2024-06-01');
    create table {table}_new partition of {table} for values from ('2024-06-01') to (maxvalue);
    create index on {table} (created_at);
    grant select, insert, update, delete on {table} to service_role;
    drop table {table}_whole;
"""
NO_KEY = """
    do $$
    declare
      key record;
    begin
      for key in
        select conrelid::regclass as of, conname as name from pg_constraint
         where contype = 'p'
           and conrelid in ('activity_log'::regclass, 'archived_activity_log'::regclass)
      loop
        execute format('alter table %s drop constraint %I', key.of, key.name);
        execute format('alter table %s alter column id drop not null', key.of);
      end loop;
    end $$;
"""
# Tables in which every row can go, with values for what is new in them.
SHAPES = {
    "plain": ("", ""),
    "added": (
        BOTH.format(
            "add column ip inet, add column raw json, add column cost numeric(12, 4), "
            "add column tags text[], add column blob bytea, add column \"Ünusual, name\" text, "
            "add column seen timestamptz(0), add column mark char(5)"
        ),
        ("ip = '10.0.0.1', raw = '{\"b\": 1.50, \"a\":  [1, 2]}', cost = 12.5000, "
        "tags = '{a,null,\"b c\"}', blob = '\\x00ff', \"Ünusual, name\" = '', "
        "seen = '2024-01-01', mark = 'ab'"),
    ),
    "dropped": (BOTH.format("drop column user_id"), ""),
    "generated in both": (
        BOTH.format(
            "add column search text generated always as (entity_type || ' ' || action) stored"
        ),
        "",
    ),
    "generated in the archive": (
        ("alter table archived_activity_log add column search text "
        "generated always as (entity_type || ' ' || action) stored"),
        "",
    ),
    "generated in the log": (
        ("alter table activity_log add column search text "
        "generated always as (entity_type || ' ' || action) stored"),
        "",
    ),
    "identity": (BOTH.format("add column number bigint generated always as identity"), ""),
    "archive partitioned": (PARTITIONED.format(table="archived_activity_log"), ""),
    "log partitioned": (PARTITIONED.format(table="activity_log"), ""),
    "row security": (
        BOTH.format("enable row level security") + BOTH.format("force row level security"), ""
    ),
    "wider type": ("alter table archived_activity_log alter column action type text", ""),
    "no key": (NO_KEY, ""),
    "no id": (NO_KEY, "id = null"),
    "the same row twice": (NO_KEY, "id = '00000000-0000-4000-8000-000000000001', details = null"),
    "deferred keys": (
        ("create table child (id int, activity uuid references activity_log (id) "
        "deferrable initially deferred)"),
        "",
    ),
    "of itself": (
        ("alter table activity_log add column parent uuid references activity_log (id);"
        "alter table archived_activity_log add column parent uuid"),
        "parent = id",
    ),
    "harmless triggers": (
        ("create function pg_temp.pass() returns trigger language plpgsql as "
        "$$ begin return coalesce(new, old); end $$;"
        "create trigger pass before delete on activity_log for each row "
        "execute function pg_temp.pass();"
        "create trigger pass before insert on archived_activity_log for each row "
        "execute function pg_temp.pass()"),
        "",
    ),
}  # fmt: skip


@pytest.fixture
def zoo(world: World) -> Iterator[World]:
    with changed_tables(world):
        yield world


def in_place(zoo: World, shape: str) -> None:
    """Tables of that shape, filled."""
    change, values = SHAPES[shape]
    zoo.connection.execute(change.encode())
    fill(zoo)
    if values:
        zoo.connection.execute(f"update activity_log set {values}".encode())
        shared = values if "parent" not in values else "parent = id"
        zoo.connection.execute(f"update archived_activity_log set {shared}".encode())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_is_in_exactly_one_place_and_comes_back(
    zoo: World, bucket: Bucket, shape: str
) -> None:
    in_place(zoo, shape)
    active, archived = rows_of(zoo, "activity_log"), rows_of(zoo, "archived_activity_log")
    columns = set(active[0]) & set(archived[0]) - {"archived_at"}
    kept = len([1 for row in archived if row["created_at"] >= f"{days_ago(365).isoformat()}"])

    done = of(zoo.run(cold=bucket.archive()), "activity_log")

    counts = {"archived": done["archived"], "purged": done["purged"], "status": done["status"]}
    assert counts == {"archived": 10, "purged": 8, "status": "complete"}, done
    places = (rows_of(zoo, "activity_log"), rows_of(zoo, "archived_activity_log"), stored(bucket))
    assert [len(place) for place in places] == [3, kept + 6, 8]
    everything = sum((bag(place, columns) for place in places), Counter())
    assert everything == bag([*active, *archived], columns)
    # what was archived by an earlier run keeps that moment too
    both = set(archived[0])
    assert not bag(archived, both) - bag([*places[1], *places[2]], both)

    answer = restore(zoo, bucket)
    assert answer == {"restored": 8, "leftovers": {}, "refused": []}
    assert bag(rows_of(zoo, "archived_activity_log"), both) == bag([*places[1], *places[2]], both)
    assert restore(zoo, bucket)["restored"] == 0, "a second time nothing doubles"


# What a table's rules do to some rows: the change, and the statement that names the rows. These
# stay; `reason` is reported for them.
STAYING = {
    "referred to": (
        "create table child (id int primary key, activity uuid references activity_log (id))",
        "insert into child select row_number() over (), id from activity_log where {some}",
        "violates foreign key constraint",
    ),
    "restrict": (
        ("create table child (id int, activity uuid references activity_log (id) "
        "on delete restrict)"),
        "insert into child select 1, id from activity_log where {some}",
        "foreign key constraint",
    ),
    "cascade": (
        "create table child (id int, activity uuid references activity_log (id) on delete cascade)",
        "insert into child select 1, id from activity_log where {some}",
        "rows of other tables would be deleted or changed",
    ),
    "cascade into partitions": (
        ("create table child (id int, activity uuid references activity_log (id) on delete cascade)"
        " partition by list (id); create table child_1 partition of child for values in (1)"),
        "insert into child select 1, id from activity_log where {some}",
        "rows of other tables would be deleted or changed",
    ),
    "set null": (
        ("create table child (id int, activity uuid references activity_log (id) "
        "on delete set null)"),
        "insert into child select 1, id from activity_log where {some}",
        "rows of other tables would be deleted or changed",
    ),
    "set default": (
        ("create table child (id int, activity uuid default null references activity_log (id) "
        "on delete set default)"),
        "insert into child select 1, id from activity_log where {some}",
        "rows of other tables would be deleted or changed",
    ),
    "deferred": (
        ("create table child (id int, activity uuid references activity_log (id) "
        "deferrable initially deferred)"),
        "insert into child select 1, id from activity_log where {some}",
        "violates foreign key constraint",
    ),
    "trigger that keeps": (
        ("create function pg_temp.keep() returns trigger language plpgsql as $$ begin "
        "return case when old.action = 'some' then null else old end; end $$;"
        "create trigger keep before delete on activity_log for each row "
        "execute function pg_temp.keep()"),
        "update activity_log set action = 'some' where {some}",
        "a trigger keeps it",
    ),
    "trigger that refuses": (
        ("create function pg_temp.keep() returns trigger language plpgsql as $$ begin "
        "if old.action = 'some' then raise exception 'not this one'; end if; return old; end $$;"
        "create trigger keep before delete on activity_log for each row "
        "execute function pg_temp.keep()"),
        "update activity_log set action = 'some' where {some}",
        "not this one",
    ),
    "trigger that drops": (
        ("create function pg_temp.keep() returns trigger language plpgsql as $$ begin "
        "return case when new.action = 'some' then null else new end; end $$;"
        "create trigger keep before insert on archived_activity_log for each row "
        "execute function pg_temp.keep()"),
        "update activity_log set action = 'some' where {some}",
        "a trigger or the column type",
    ),
    "trigger that changes": (
        ("create function pg_temp.keep() returns trigger language plpgsql as $$ begin "
        "if new.action = 'some' then new.details = null; end if; return new; end $$;"
        "create trigger keep before insert on archived_activity_log for each row "
        "execute function pg_temp.keep()"),
        "update activity_log set action = 'some' where {some}",
        "a trigger or the column type",
    ),
    "archived otherwise": (
        "",
        ("insert into archived_activity_log (id, entity_type, entity_id, action, created_at) "
        "select id, entity_type, entity_id, 'other', now() from activity_log where {some}"),
        "duplicate key",
    ),
    "narrower type": (
        "alter table archived_activity_log alter column action type varchar(10)",
        "update activity_log set action = 'longer than ten' where {some}",
        "value too long",
    ),
    "coarser type": (
        "alter table archived_activity_log alter column created_at type timestamptz(0)",
        "update activity_log set created_at = created_at - interval '0.4 s' where {some}",
        "a trigger or the column type",
    ),
    "not null": (
        "alter table archived_activity_log add check (details is not null)",
        "update activity_log set details = null where {some}",
        "violates check constraint",
    ),
}  # fmt: skip
# Two rows that are due: one in the middle, one that is the oldest.
SOME = """id in (
    (select id from activity_log where created_at < '{due}' order by created_at limit 1),
    (select id from activity_log where created_at < '{due}' order by created_at offset 5 limit 1))
""".format(due=days_ago(90))


@pytest.mark.parametrize("rule", STAYING)
def test_a_row_that_cannot_go_stays_and_is_named_and_the_others_go(zoo: World, rule: str) -> None:
    change, choice, reason = STAYING[rule]
    zoo.connection.execute(change.encode())
    fill(zoo)
    chosen = zoo.rows(f"select id from activity_log where {SOME}")
    zoo.connection.execute(choice.format(some=SOME).encode())
    active = rows_of(zoo, "activity_log")
    children = zoo.rows("select * from child") if "child" in change else []
    for archived in (8, 0):
        done = of(zoo.run(), "activity_log")
        assert (done["status"], done["archived"]) == ("incomplete", archived), done
        (stayed,) = done["stayed"]
        assert stayed["rows"] == 2
        assert reason in stayed["reason"]
        assert stayed["example"] in {str(row["id"]) for row in chosen}
        assert reason in done["error"]
        left = zoo.rows("select id from activity_log where created_at < %s", days_ago(90))
        assert {row["id"] for row in left} == {row["id"] for row in chosen}
    if children:
        assert zoo.rows("select * from child") == children
    columns = set(active[0])
    places = [*rows_of(zoo, "activity_log"), *rows_of(zoo, "archived_activity_log")]
    gone = bag(active, columns) - bag(places, columns)
    assert sum(gone.values()) == 3, "those past both times were purged, and no others"
    assert zoo.rows("select last_archived_at from retention_policies") == [
        {"last_archived_at": None}
    ]


def test_rows_already_in_the_archive_are_not_duplicated(zoo: World) -> None:
    fill(zoo)
    zoo.connection.execute(
        "insert into archived_activity_log select activity.*, now() from activity_log activity "
        "where created_at < %s",
        (days_ago(90),),
    )
    done = of(zoo.run(), "activity_log")
    assert (done["status"], done["archived"]) == ("complete", 10)
    assert zoo.count("archived_activity_log") == 9


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ("alter table activity_log add column ip text", "ip text"),
        (
            (
                "alter table activity_log add column amount numeric(9, 2);"
                "alter table archived_activity_log add column amount numeric "
                "generated always as (1) stored"
            ),
            "amount numeric(9,2)",
        ),
        ("alter table archived_activity_log rename column details to info", "details jsonb"),
        (
            (
                "alter table archived_activity_log add column tenant text not null default '';"
                "alter table archived_activity_log alter column tenant drop default"
            ),
            "tenant",
        ),
    ],
)
def test_a_column_that_the_archive_lacks_stops_the_policy_before_anything_moves(
    zoo: World, change: str, lacking: str
) -> None:
    fill(zoo)
    zoo.policy("metric_sync_logs", 30, 90)
    zoo.connection.execute(change.encode())
    dry = of(zoo.dry_run(), "activity_log")
    assert lacking in dry["error"]
    assert "so nothing is archived" in dry["error"]
    summary = zoo.run()
    done = of(summary, "activity_log")
    assert (done["status"], done["archived"], done["purged"]) == ("failed", 0, 0)
    assert lacking in done["error"]
    assert zoo.count("activity_log") == sum(count for _, count in ACTIVE)
    assert zoo.count("archived_activity_log") == sum(count for _, count in ARCHIVED)
    assert of(summary, "metric_sync_logs")["status"] == "complete"


@pytest.mark.parametrize("action", ["no action", "restrict"])
@pytest.mark.parametrize("cold", [True, False])
def test_a_purge_passes_over_what_is_referred_to(
    zoo: World, bucket: Bucket, action: str, cold: bool
) -> None:
    fill(zoo)
    zoo.connection.execute(
        "create table child (activity uuid references archived_activity_log (id) "
        f"on delete {action});"
        "insert into child select id from archived_activity_log order by created_at limit 2"
    )
    for purged in (6, 0):
        done = of(zoo.run(cold=bucket.archive() if cold else None), "activity_log")
        assert (done["status"], done["purged"]) == ("incomplete", purged), done
        (stayed,) = done["stayed"]
        assert (stayed["rows"], stayed["code"]) in ((2, "23503"), (2, "23001"))


def test_a_row_in_use_is_not_waited_for_and_goes_next_time(zoo: World) -> None:
    fill(zoo)
    with zoo.api.connect() as other, other.transaction():
        other.execute(
            "select from activity_log where created_at < %s limit 2 for update", (days_ago(90),)
        )
        done = of(zoo.run(), "activity_log")
        assert (done["status"], done["archived"], done["remaining"]) == ("unfinished", 8, 2)
        assert "error" not in done
    done = of(zoo.run(), "activity_log")
    assert (done["status"], done["archived"]) == ("complete", 2)


# What a restore meets: how the archive has changed since, what is kept aside, what it then holds.
CHANGES: dict[str, tuple[str, dict[str, int], dict[str, Any]]] = {
    "default": (
        "alter table archived_activity_log add column source text not null default 'dashboard'",
        {}, {"source": "dashboard"},
    ),
    "generated": (
        ("alter table archived_activity_log add column kind text "
        "generated always as (upper(action)) stored"),
        {}, {"kind": "EDITED"},
    ),
    "renamed": (
        "alter table archived_activity_log rename column details to info",
        {"details": 8}, {"info": None},
    ),
    "dropped": (
        "alter table archived_activity_log drop column details, drop column archived_at",
        {"details": 8, "archived_at": 8}, {},
    ),
    "wider": ("alter table archived_activity_log alter column action type text", {}, {}),
    "partitioned": (PARTITIONED.format(table="archived_activity_log"), {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_restored_into_a_table_that_has_changed_since(
    zoo: World, bucket: Bucket, change: str
) -> None:
    fill(zoo)
    assert of(zoo.run(cold=bucket.archive()), "activity_log")["purged"] == 8
    before = stored(bucket)
    statement, leftovers, values = CHANGES[change]
    zoo.connection.execute("truncate archived_activity_log; truncate archived_activity_leftovers")
    zoo.connection.execute(statement.encode())

    for restored in (8, 0):
        answer = restore(zoo, bucket)
        assert answer == {"restored": restored, "leftovers": leftovers, "refused": []}
    rows = rows_of(zoo, "archived_activity_log")
    columns = set(before[0]) - set(leftovers)
    assert bag(rows, columns) == bag(before, columns)
    assert all(row[name] == value for row in rows for name, value in values.items())
    aside = {
        row["row_id"]: row["columns"]
        for row in zoo.rows("select * from archived_activity_leftovers")
    }
    assert len(aside) == (8 if leftovers else 0)
    for row in before if leftovers else ():
        assert set(aside[row["id"]]) == set(leftovers)
        assert aside[row["id"]]["details"]["text"] == row["details"]["text"]


def test_a_row_that_the_table_now_refuses_affects_no_other(zoo: World, bucket: Bucket) -> None:
    fill(zoo)
    zoo.run(cold=bucket.archive())
    zoo.connection.execute(
        "truncate archived_activity_log;"
        "alter table archived_activity_log add check ((details ->> 'number')::int <> 2)"
    )
    answer = restore(zoo, bucket)
    assert answer["restored"] == 6
    (refused,) = answer["refused"]
    assert (refused["rows"], refused["code"]) == (2, "23514")
    assert "violates check constraint" in refused["reason"]
    assert refused["example"]


def test_a_row_of_thousands_of_levels_is_stored_and_purged_like_any_other(
    zoo: World, bucket: Bucket
) -> None:
    fill(zoo)
    zoo.connection.execute(
        "update archived_activity_log set details = "
        "(repeat('[', 5000) || repeat(']', 5000))::jsonb where created_at < %s",
        (days_ago(365),),
    )
    done = of(zoo.run(cold=bucket.archive()), "activity_log")
    assert (done["status"], done["purged"]) == ("complete", 8)
    assert len(bucket.all_lines()) == 8
    assert restore(zoo, bucket)["restored"] == 8


def test_rows_without_a_day_stay_and_are_named(zoo: World, bucket: Bucket) -> None:
    fill(zoo)
    zoo.connection.execute(
        "update archived_activity_log set created_at = '-infinity' where id in "
        "(select id from archived_activity_log limit 1)"
    )
    done = of(zoo.run(cold=bucket.archive()), "activity_log")
    assert done["status"] == "incomplete"
    assert "before the year 1" in done["error"]


def test_rows_of_megabytes_go_in_small_batches(zoo: World, bucket: Bucket) -> None:
    fill(zoo)
    zoo.connection.execute(
        "update archived_activity_log set details = jsonb_build_object('t', repeat('x', 4000000)) "
        "where created_at < %s",
        (days_ago(365),),
    )
    (most,) = zoo.rows(
        "select jsonb_array_length(read_archived_activity(%s, 1000)) as rows", days_ago(365)
    )
    assert most == {"rows": 2}
    assert of(zoo.run(cold=bucket.archive()), "activity_log")["purged"] == 8
