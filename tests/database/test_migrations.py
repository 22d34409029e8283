"""The migrations, on an empty project and under an existing dashboard."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.services.postgres import Postgres, apply_files, bootstrap

EXISTING = Path(__file__).parent / "existing_dashboard.sql"
OLD_TABLES = (
    "profiles",
    "clients",
    "requests",
    "assets",
    "comments",
    "project_tasks",
    "notification_config",
    "notification_queue",
    "slack_connected_channels",
    "platform_connections",
    "performance_metrics",
    "metric_sync_logs",
    "activity_log",
    "archived_activity_log",
    "retention_policies",
)

NewDatabase = Callable[[], psycopg.Connection[Any]]


@pytest.fixture
def new_database(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[NewDatabase]:
    """Makes databases as a hosted project has them before its first migration."""
    made: list[tuple[str, psycopg.Connection[Any]]] = []

    def make() -> psycopg.Connection[Any]:
        name = f"migrations_{abs(hash(request.node.nodeid))}_{len(made)}"
        url = postgres.create_database(name)
        bootstrap(url)
        connection = psycopg.connect(url, autocommit=True)
        made.append((name, connection))
        return connection

    yield make
    for name, connection in made:
        connection.close()
        postgres.drop_database(name)


def url_of(connection: psycopg.Connection[Any]) -> str:
    info = connection.info
    return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


def rows_of(connection: psycopg.Connection[Any], table: str, columns: list[str]) -> list[Any]:
    names = ", ".join(f'"{column}"' for column in columns)
    return connection.execute(f"select {names} from public.{table} order by 1::text").fetchall()  # noqa: S608


def columns_of(connection: psycopg.Connection[Any], table: str) -> list[str]:
    found = connection.execute(
        """
        select attname from pg_attribute
         where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum
        """,
        (f"public.{table}",),
    )
    return [name for (name,) in found]


def access_of(connection: psycopg.Connection[Any]) -> set[tuple[Any, ...]]:
    """Who may do what with each old table, and what row-level security lets through."""
    granted = connection.execute(
        """
        select table_name, grantee, privilege_type from information_schema.table_privileges
         where table_schema = 'public' and table_name = any (%s)
           and grantee in ('anon', 'authenticated')
        """,
        (list(OLD_TABLES),),
    ).fetchall()
    secured = connection.execute(
        """
        select relname, relrowsecurity::text, relforcerowsecurity::text from pg_class
         where relnamespace = 'public'::regnamespace and relname = any (%s)
        """,
        (list(OLD_TABLES),),
    ).fetchall()
    policies = connection.execute(
        "select tablename, policyname, cmd, roles::text, qual, with_check from pg_policies"
    ).fetchall()
    return {*granted, *secured, *policies}


def test_apply_to_an_empty_project_twice(new_database: NewDatabase, migrations: list[Path]) -> None:
    connection = new_database()
    apply_files(url_of(connection), migrations)
    apply_files(url_of(connection), migrations)
    apply_files(url_of(connection), [migrations[0].parent.parent / "seed.sql"])
    assert connection.execute("select count(*) from notification_queue").fetchone() == (10,)


def test_created_tables_are_closed_to_everyone_but_the_server_key(
    new_database: NewDatabase, migrations: list[Path]
) -> None:
    connection = new_database()
    apply_files(url_of(connection), migrations)
    open_tables = connection.execute(
        """
        select relname from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'p')
           and (not relrowsecurity
                or has_table_privilege('anon', oid, 'select, insert, update, delete')
                or has_table_privilege('authenticated', oid, 'select, insert, update, delete'))
        """
    ).fetchall()
    assert open_tables == []


@pytest.fixture
def existing(new_database: NewDatabase) -> psycopg.Connection[Any]:
    connection = new_database()
    apply_files(url_of(connection), [EXISTING])
    return connection


def test_created_tables_are_closed_even_where_new_tables_start_open(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    """As on projects made before May 2026, whose default privileges grant all to everyone."""
    apply_files(url_of(existing), migrations)
    granted = existing.execute(
        """
        select table_name, grantee from information_schema.table_privileges
         where table_schema = 'public' and table_name <> all (%s)
           and grantee in ('PUBLIC', 'anon', 'authenticated')
        """,
        (list(OLD_TABLES),),
    ).fetchall()
    assert granted == []


@pytest.mark.parametrize("times", [1, 2])
def test_an_existing_dashboard_loses_nothing(
    existing: psycopg.Connection[Any], migrations: list[Path], times: int
) -> None:
    before = {table: columns_of(existing, table) for table in OLD_TABLES}
    rows = {table: rows_of(existing, table, before[table]) for table in OLD_TABLES}
    access = access_of(existing)

    for _ in range(times):
        apply_files(url_of(existing), migrations)

    for table in OLD_TABLES:
        assert columns_of(existing, table)[: len(before[table])] == before[table]
        assert rows_of(existing, table, before[table]) == rows[table]
    assert access_of(existing) == access


def test_new_columns_are_nullable_and_carry_no_default(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    before = {table: set(columns_of(existing, table)) for table in OLD_TABLES}
    apply_files(url_of(existing), migrations)
    added = existing.execute(
        """
        select relname, attname, attnotnull, atthasdef
          from pg_attribute join pg_class on pg_class.oid = attrelid
         where relnamespace = 'public'::regnamespace and relname = any (%s) and attnum > 0
        """,
        (list(OLD_TABLES),),
    ).fetchall()
    brought = [row for row in added if row[1] not in before[row[0]]]
    assert brought, "the queue needs columns of its own"
    assert all(not required and not default for _, _, required, default in brought)


def test_no_new_constraint_binds_the_dashboards_tables(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    query = """
        select conrelid::regclass::text, conname from pg_constraint
         where conrelid::regclass::text = any (%s)
    """
    before = existing.execute(query, (list(OLD_TABLES),)).fetchall()
    apply_files(url_of(existing), migrations)
    assert existing.execute(query, (list(OLD_TABLES),)).fetchall() == before


def test_the_dashboards_trigger_still_fills_the_queue(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    apply_files(url_of(existing), migrations)
    with existing.transaction():
        existing.execute("set local role authenticated")
        existing.execute("update requests set status = 'completed' where title = 'Spring launch'")
    queued = existing.execute(
        "select event_data ->> 'new_status' from notification_queue order by created_at desc "
        "nulls last limit 1"
    ).fetchone()
    assert queued == ("completed",)


def test_the_pages_read_and_write_as_before(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    apply_files(url_of(existing), migrations)
    for role in ("anon", "authenticated"):
        with existing.transaction(force_rollback=True):
            existing.execute(f"set local role {role}")
            for table in ("performance_metrics", "activity_log", "notification_config"):
                assert existing.execute(f"select count(*) from {table}").fetchone() != (0,)  # noqa: S608
            existing.execute(
                "insert into notification_queue (config_id, entity_id, entity_type) "
                "select id, gen_random_uuid(), 'request' from notification_config limit 1"
            )
            existing.execute("update notification_queue set last_error = 'seen'")


def test_a_claim_keeps_its_old_call_and_columns(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    apply_files(url_of(existing), migrations)
    with existing.transaction():
        existing.execute("set local role service_role")
        claimed = existing.execute(
            "select id, config_id, entity_id, entity_type, event_data, attempts "
            "from lock_and_get_notifications(batch_size => 50)"
        ).fetchall()
        again = existing.execute("select id from lock_and_get_notifications(50)").fetchall()
    # all that is due, as ever: only a run looks where it goes, and ends what is expired
    assert {str(row[0])[-1] for row in claimed} == {"3", "4", "5", "6", "7"}
    assert again == [], "what is leased is not claimed again"


def test_the_archive_call_moves_old_activity_once(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    apply_files(url_of(existing), migrations)
    with existing.transaction():
        existing.execute("set local role service_role")
        assert existing.execute("select archive_old_activities(90)").fetchone() == (1,)
        assert existing.execute("select archive_old_activities(days_to_keep => 90)").fetchone() == (
            0,
        )
    assert existing.execute("select count(*) from activity_log").fetchone() == (2,)
    assert existing.execute("select count(*) from archived_activity_log").fetchone() == (2,)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="at least 1"):
        existing.execute("select archive_old_activities(0)")


@pytest.mark.parametrize("start", ["empty", "existing"])
def test_only_the_server_key_may_call_a_function(
    new_database: NewDatabase, migrations: list[Path], start: str
) -> None:
    connection = new_database()
    if start == "existing":
        apply_files(url_of(connection), [EXISTING])
    apply_files(url_of(connection), migrations)
    functions = connection.execute(
        """
        select oid::regprocedure::text,
               has_function_privilege('anon', oid, 'execute'),
               has_function_privilege('authenticated', oid, 'execute'),
               has_function_privilege('service_role', oid, 'execute'),
               proconfig,
               prosecdef
          from pg_proc
         where pronamespace = 'public'::regnamespace and proname <> 'queue_status_change'
        """
    ).fetchall()
    assert len(functions) > 10
    for name, anon, authenticated, server, config, definer in functions:
        assert (anon, authenticated, server) == (False, False, True), name
        assert 'search_path=""' in config, name
        assert not definer, name


def test_a_migration_gives_up_rather_than_make_the_dashboard_wait(migrations: list[Path]) -> None:
    for file in migrations:
        statements = re.sub(r"^--.*\n|^\n", "", file.read_text(), flags=re.MULTILINE)
        assert statements.startswith("set local lock_timeout = '1s';"), file.name


# What keeps others from reading or writing a table meanwhile.
# https://www.postgresql.org/docs/current/explicit-locking.html
BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")


def test_a_second_application_blocks_no_one(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    apply_files(url_of(existing), migrations)
    for file in migrations:
        with existing.transaction():
            existing.execute(file.read_bytes())
            locked = existing.execute(
                "select relation::regclass::text, mode from pg_locks "
                "where pid = pg_backend_pid() and locktype = 'relation' and mode = any (%s) "
                "and relation::regclass::text !~ '^(pg_|_?worker_migrations)'",
                (list(BLOCKING),),
            ).fetchall()
        assert locked == [], file.name


def test_the_docs_name_every_index_that_would_be_built_on_the_dashboards_tables(
    existing: psycopg.Connection[Any], migrations: list[Path]
) -> None:
    def indexes() -> set[str]:
        found = existing.execute(
            "select indexname from pg_indexes where schemaname = 'public' and tablename = any (%s)",
            (list(OLD_TABLES),),
        )
        return {name for (name,) in found}

    docs = (EXISTING.parents[2] / "docs" / "deploy.md").read_text().partition("## Large tables")[2]
    blocks = re.findall(r"```sql\n(.*?)```", docs, re.DOTALL)
    assert blocks
    for statement in filter(str.strip, ";".join(blocks).split(";")):
        existing.execute(statement.encode())
    built = indexes()
    apply_files(url_of(existing), migrations)
    assert indexes() == built
    invalid = existing.execute("select 1 from pg_index where not indisvalid").fetchall()
    assert invalid == []


def test_apply_with_the_supabase_cli(new_database: NewDatabase, supabase_cli: list[str]) -> None:
    connection = new_database()
    root = Path(__file__).parent.parent.parent
    for _ in range(2):
        pushed = subprocess.run(
            [*supabase_cli, "db", "push", f"--remote={url_of(connection)}", "--yes"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert connection.execute("select to_regclass('notification_deliveries')::text").fetchone() == (
        "notification_deliveries",
    )
