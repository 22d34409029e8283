"""`make freeze`: records the migrations of this version as released, with sample rows.

`released/<version>/` holds two files. `migrations.sha256` lists the version's migrations with their
checksums, as `sha256sum` writes them: test_releases.py fails when one of them changes, because
someone has applied it. `rows.sql` fills a database of that version with rows as its functions write
them: the same test applies the current migrations over these.

Until a version is tagged, `make freeze` replaces its folder. Those of other versions stay as they
are.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from local.services import postgres
from local.services.tether import Tether
from tests.database.walkthroughs import PAGES, SAMPLE, Walkthrough

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "supabase" / "migrations"
RELEASED = Path(__file__).parent / "released"
# Tables that no page of docs/architecture/ fills.
FURTHER = Path(__file__).parent / "further_rows.sql"

_TABLES = """
    select c.oid::regclass::text from pg_class c
     where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'auth'::regnamespace)
     order by c.oid::regclass::text
"""


def version() -> str:
    """The project's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def checksum(migration: Path) -> str:
    """Its SHA-256."""
    return hashlib.sha256(migration.read_bytes()).hexdigest()


def checksums(release: Path) -> dict[str, str]:
    """Of a release's folder: the checksum of each migration, by the file's name."""
    lines = (release / "migrations.sha256").read_text(encoding="utf-8").splitlines()
    return {Path(path).name: sha256 for sha256, path in (line.split() for line in lines)}


def tables(connection: psycopg.Connection[Any]) -> list[str]:
    """Those of the project, with their schema where that is not public."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [name for (name,) in cursor.execute(_TABLES)]


def freeze(migrations: Path, release: Path) -> None:
    """Writes the folder of a release."""
    shutil.rmtree(release, ignore_errors=True)
    release.mkdir(parents=True)
    lines = [
        f"{checksum(path)}  supabase/migrations/{path.name}\n"
        for path in sorted(migrations.glob("*.sql"))
    ]
    (release / "migrations.sha256").write_text("".join(lines), encoding="utf-8")
    with Tether(postgres.server_directory()) as tether:
        url = postgres.start(tether).create_database("release")
        postgres.bootstrap(url)
        postgres.apply_files(url, [*sorted(migrations.glob("*.sql")), SAMPLE])
        with psycopg.connect(url, autocommit=True) as connection:
            for page in PAGES:
                Walkthrough(connection).rewritten(page.read_text(encoding="utf-8"))
            connection.execute(FURTHER.read_bytes())
            rows = "\n".join(_rows(connection))
    (release / "rows.sql").write_text(rows, encoding="utf-8")


def _rows(connection: psycopg.Connection[Any]) -> Iterator[str]:
    yield "-- Rows of a database of this version. Written by `make freeze`.\n"
    yield "set session_replication_role = replica; -- in any order, without triggers\n"
    for table in tables(connection):
        query = f"select to_jsonb(t)::text from {table} t order by 1"  # noqa: S608
        found = connection.execute(query.encode())
        if rows := [line for (line,) in found]:
            list_of_rows = ",\n".join(rows).replace("'", "''")
            yield (
                f"insert into {table} overriding system value\n"
                f"select * from jsonb_populate_recordset(null::{table}, '[\n{list_of_rows}\n]');\n"
            )
    yield "reset session_replication_role;\n"


def is_tagged(release: str) -> bool:
    """Whether this clone has the version's tag."""
    command = ["git", "tag", "--list", f"v{release}"]
    return bool(subprocess.run(command, cwd=ROOT, capture_output=True, check=False).stdout)


def main() -> str | None:
    """The reason for refusing, if there is one."""
    if is_tagged(version()):
        return f"v{version()} is tagged: raise the version in pyproject.toml first."
    freeze(MIGRATIONS, RELEASED / version())
    return None


if __name__ == "__main__":
    sys.exit(main())
