"""supabase/schema.sql is what the migrations make, and says all of it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from local.schema import SCHEMA, describe
from local.services.postgres import Postgres, apply_files, bootstrap


def test_it_is_current(db: psycopg.Connection[Any]) -> None:
    assert describe(db) == SCHEMA.read_text(encoding="utf-8"), "run `make schema`"


def test_it_makes_what_it_describes(postgres: Postgres, db: psycopg.Connection[Any]) -> None:
    name = "made_from_schema"
    url = postgres.create_database(name)
    bootstrap(url)
    apply_files(url, [SCHEMA])
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as made:
        assert describe(made) == describe(db)
    postgres.drop_database(name)


CHANGES = {
    "a column": ("alter table clients add column new text", "  new text"),
    "a default": ("alter table clients alter column name set default 'x'", "default 'x'"),
    "a constraint": ("alter table clients add constraint new check (name <> '')", "new CHECK"),
    "a foreign key": (
        "alter table clients add constraint new foreign key (id) references auth.users (id)",
        "add constraint new FOREIGN KEY",
    ),
    "an index": ("create index new on clients (name)", "CREATE INDEX new"),
    "a comment": ("comment on column clients.name is 'new'", "clients.name is 'new'"),
    "a grant": ("grant select on clients to anon", "grant select on public.clients to anon"),
    "row-level security": ("alter table clients disable row level security", ""),
    "an option": ("alter table clients set (fillfactor = 50)", "set (fillfactor=50)"),
    "a function": (
        "create function new() returns int language sql as 'select 1'",
        "FUNCTION public.new()",
    ),
    "an enum": ("create type new as enum ('a', 'b')", "public.new as enum ('a', 'b')"),
}


@pytest.mark.parametrize(("change", "shown"), CHANGES.values(), ids=list(CHANGES))
def test_a_change_is_noticed(db: psycopg.Connection[Any], change: str, shown: str) -> None:
    before = describe(db)
    db.execute(change.encode())
    after = describe(db)
    assert after != before
    assert shown in after


UNKNOWN = {
    "a view": "create view new as select 1 as one",
    "a sequence": "create sequence new",
    "a trigger": (
        "create trigger new before update on clients "
        "for each row execute function suppress_redundant_updates_trigger()"
    ),
    "a policy": "create policy new on clients using (true)",
    "a grant on a column": "grant select (name) on clients to anon",
    "a domain": "create domain new as text",
}


@pytest.mark.parametrize("change", UNKNOWN.values(), ids=list(UNKNOWN))
def test_an_unknown_construct_is_refused_by_name(db: psycopg.Connection[Any], change: str) -> None:
    db.execute(change.encode())
    with pytest.raises(NotImplementedError, match=r"new|clients\.name"):
        describe(db)
