"""One database for one test after the other.

To make a database takes a thousand files, and to truncate its tables takes a new one for each of
them and of their indexes; to delete a test's few rows takes next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import tuple_row

# From where on a new file is cheaper than going through the rows of the old one.
LARGE = 1 << 20

# Every table of ours and of Supabase's.
_TABLES = """
    select c.oid::regclass::text as name
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r'
       and n.nspname not in ('pg_catalog', 'information_schema')
       and n.nspname !~ '^pg_(toast|temp)'
"""
# What statements that change a schema leave behind: each row of these says which transaction wrote
# it. Sessions make and drop namespaces for what is temporary.
_CATALOGUES = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_default_acl", "pg_extension",
    "pg_index", "pg_policy", "pg_proc", "pg_publication", "pg_rewrite", "pg_trigger", "pg_type",
)  # fmt: skip
_TEMPORARY = "^pg_(toast_)?temp"
_OWN = "(select oid from pg_database where datname = current_database())"
_SCHEMA = " union all ".join(
    f"select '{what}', count(*), sum(xmin::text::bigint) from {rows}"  # noqa: S608
    for what, rows in {
        **{name: name for name in _CATALOGUES},
        "schemas": f"pg_namespace where nspname !~ '{_TEMPORARY}'",
        "settings": f"pg_db_role_setting where setdatabase = {_OWN}",
    }.items()
)
# What `truncate ... cascade` takes along: what refers to a table that is emptied.
_CASCADE = f"""
    with recursive emptied as (
      select unnest(%s::text[])::regclass as id
      union
      select conrelid from pg_constraint join emptied on confrelid = id where contype = 'f'
    )
    select id::regclass::text as name, pg_relation_size(id) > {LARGE} as is_large from emptied
"""  # noqa: S608


def empty(connection: psycopg.Connection[Any], tables: str) -> None:
    """As `truncate ... cascade`, of `tables` as one writes them there."""
    names = [name.strip() for name in tables.split(",")]
    with _rows_alone(connection) as cursor:
        found = cursor.execute(_CASCADE, (names,)).fetchall()
        if large := ", ".join(name for name, is_large in found if is_large):
            cursor.execute(f"truncate {large} cascade".encode())
        _delete_all(cursor, [name for name, is_large in found if not is_large])


class Snapshot:
    """The rows of a database and what its schema is, to be brought back to."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        with connection.cursor(row_factory=tuple_row) as cursor:
            self._schema = cursor.execute(_SCHEMA).fetchall()
            self._tables = [name for (name,) in cursor.execute(_TABLES).fetchall()]
            self._rows = {name: rows for name in self._tables if (rows := _read(cursor, name))}

    def restore(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether that is done. Not if the schema differs, or if a left-over session holds a
        table."""
        try:
            with _rows_alone(connection) as cursor:
                if cursor.execute(_SCHEMA).fetchall() != self._schema:
                    return False
                cursor.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and state <> 'idle' "
                    "and pid <> pg_backend_pid()"
                )
                cursor.execute("set local lock_timeout = '5s'")
                _delete_all(cursor, self._tables)
                for name, rows in self._rows.items():
                    with cursor.copy(f"copy {name} from stdin".encode()) as copy:
                        copy.write(rows)
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def _rows_alone(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Cursor[Any]]:
    """A transaction without triggers and without checks of what refers to what."""
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("set local session_replication_role = replica")
        yield cursor


def _delete_all(cursor: psycopg.Cursor[Any], tables: Sequence[str]) -> None:
    cursor.execute("; ".join(f"delete from {name}" for name in tables).encode())  # noqa: S608


def _read(cursor: psycopg.Cursor[Any], table: str) -> bytes:
    with cursor.copy(f"copy {table} to stdout".encode()) as copy:
        return b"".join(copy)
