"""A database with one release can be upgraded to the next: its migrations never change, and the
current ones keep every row."""

from __future__ import annotations

import io
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from local.schema import SCHEMA, describe
from local.services.postgres import Postgres, apply_files, bootstrap
from tests.database.releases import (
    RELEASED,
    ROOT,
    checksum,
    checksums,
    freeze,
    tables,
    version,
)  # fmt: skip
from workers.operate import migrate
from workers.operate.__main__ import main

RELEASES = sorted(RELEASED.iterdir(), key=lambda release: [*map(int, release.name.split("."))])
each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)

Rows = dict[str, list[dict[str, Any]]]


def changed(release: Path, migrations: Path) -> list[str]:
    """What is wrong with the migrations of a release, a sentence each."""
    listed = checksums(release)
    complaints = [
        f"{name} was released with {release.name}: restore it, and add a new migration instead "
        "(CONTRIBUTING.md, Add a migration)."
        for name, sha256 in sorted(listed.items())
        if not (migrations / name).exists() or checksum(migrations / name) != sha256
    ]
    newest = max(listed)
    complaints += [
        f"{path.name} is new and would be applied before {newest}, which was released with "
        f"{release.name}: give it a later number."
        for path in sorted(migrations.glob("*.sql"))
        if path.name not in listed and path.name < newest
    ]
    return complaints


@each_release
def test_a_released_migration_never_changes(release: Path, migrations: list[Path]) -> None:
    """Until the version is tagged, `make freeze` accepts a change."""
    complaints = changed(release, migrations[0].parent)
    assert not complaints, "\n".join(complaints)


def test_a_change_of_a_released_migration_is_noticed(tmp_path: Path) -> None:
    migrations, release = tmp_path / "migrations", tmp_path / "1.0.0"
    migrations.mkdir()
    release.mkdir()
    for name in ("1_one.sql", "2_two.sql", "3_three.sql"):
        (migrations / name).write_text(f"-- {name}\n")
    (release / "migrations.sha256").write_text(
        "".join(
            f"{checksum(path)}  supabase/migrations/{path.name}\n" for path in migrations.iterdir()
        )
    )
    (migrations / "4_four.sql").write_text("-- later\n")
    assert changed(release, migrations) == []

    (migrations / "1_one.sql").write_text("-- edited\n")
    (migrations / "2_two.sql").unlink()
    (migrations / "2_between.sql").write_text("-- new\n")
    first, second, third = changed(release, migrations)
    assert first.startswith("1_one.sql was released with 1.0.0: restore it, and add a new")
    assert second.startswith("2_two.sql was released")
    assert third.startswith("2_between.sql is new and would be applied before 3_three.sql")


def test_the_version_is_the_same_everywhere() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)[0]
    deploy = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"git checkout v([\d.]+)`", deploy)
    assert version() == newest == named == RELEASES[-1].name


@pytest.fixture
def url(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A project before its first migration, and the setting that names it."""
    name = f"release_{uuid.uuid4().hex[:12]}"
    made = postgres.create_database(name)
    bootstrap(made)
    monkeypatch.setenv("SUPABASE_DB_URL", made)
    yield made
    postgres.drop_database(name)


def migrated() -> None:
    """By the command that deployers run."""
    out = io.StringIO()
    assert main(["migrate", "--yes"], out) == 0, out.getvalue()


def rows(connection: psycopg.Connection[Any], columns: Rows | None = None) -> Rows:
    """Of each table the rows, of the columns of `columns` alone where that is given."""
    found: Rows = {}
    for table in columns or tables(connection):
        query = f"select to_jsonb(t) as row from {table} t order by 1"  # noqa: S608
        wanted = (columns or {}).get(table) or [{}]
        found[table] = [
            {name: value for name, value in one["row"].items() if not columns or name in wanted[0]}
            for one in connection.execute(query.encode()).fetchall()
        ]
    return found


@each_release
def test_an_upgrade_keeps_every_row(
    release: Path, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, migrations: list[Path]
) -> None:
    released = tmp_path / "migrations"
    released.mkdir()
    for name in checksums(release):
        shutil.copy(migrations[0].parent / name, released)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "MIGRATIONS", released)
        migrated()
    apply_files(url, [release / "rows.sql"])
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        before = rows(connection)
        del before["worker_migrations"]
        assert [table for table, found in before.items() if not found] == []

        migrated()
        assert rows(connection, before) == before

        # as after a change of the first file: all are applied again
        connection.execute("delete from worker_migrations")
        migrated()
        assert rows(connection, before) == before

        connection.execute("drop table worker_migrations")
        assert describe(connection) == SCHEMA.read_text(encoding="utf-8")
        for function in ("worker_health", "doctor_report", "list_connections", "list_parked"):
            connection.execute(f"select {function}()".encode())


@each_release
def test_the_rows_of_a_release_are_those_of_its_tables(release: Path) -> None:
    """A row for each table, so that none is left out of the upgrade."""
    filled = re.findall(r"^insert into (\S+)", (release / "rows.sql").read_text(), re.MULTILINE)
    assert len(filled) == len(set(filled)) > 30


def test_freezing_again_gives_the_same_checksums(tmp_path: Path, migrations: list[Path]) -> None:
    release = tmp_path / version()
    freeze(migrations[0].parent, release)
    assert checksums(release) == {path.name: checksum(path) for path in migrations}
    assert "insert into ad_metrics" in (release / "rows.sql").read_text()
