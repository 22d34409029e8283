"""`operate migrate`: alongside the Supabase CLI, in both orders, and what can go wrong."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.services.postgres import Postgres, apply_files, bootstrap
from workers.clock import SystemClock
from workers.errors import PermanentError, TransientError
from workers.operate import migrate
from workers.operate.__main__ import main

EXISTING = Path(__file__).parent / "existing_dashboard.sql"
OURS = "select to_regclass('notification_deliveries') is not null"


@pytest.fixture
def url(postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A project before its first migration, and the setting that names it."""
    name = f"migrate_{uuid.uuid4().hex[:12]}"
    made = postgres.create_database(name)
    bootstrap(made)
    monkeypatch.setenv("SUPABASE_DB_URL", made)
    monkeypatch.chdir(tmp_path)
    yield made
    postgres.drop_database(name)


def ran(*arguments: str) -> tuple[int, dict[str, str]]:
    """Exit status, and the state of each migration."""
    out = io.StringIO()
    status = main(["migrate", "--json", *arguments], out)
    rows = json.loads(out.getvalue() or "[]")
    return status, {row["migration"]: row["state"] for row in rows}


def one(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def test_all_are_applied_once_and_recorded(
    url: str, migrations: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    status, states = ran("--dry-run")
    assert (status, set(states.values())) == (0, {"to apply"})
    assert one(url, OURS) is False

    status, states = ran("--yes")
    assert status == 0
    assert states == {path.stem: "applied" for path in migrations}
    assert one(url, OURS) is True
    first = one(url, "select max(applied_at) from worker_migrations")

    output = capsys.readouterr().err
    assert output.startswith("Project: the database migrate_")
    assert output.count("\napplied ") == len(migrations)
    assert ran("--yes") == (0, states)
    assert one(url, "select max(applied_at) from worker_migrations") == first
    assert "Apply" not in capsys.readouterr().err


def test_no_one_else_reads_the_record(url: str) -> None:
    ran("--yes")
    for role in ("anon", "authenticated"):
        granted = f"select has_table_privilege('{role}', 'worker_migrations', 'select')"
        assert one(url, granted) is False
    assert one(url, "select relrowsecurity from pg_class where relname = 'worker_migrations'")


def test_without_a_terminal_or_a_yes_nothing_is_applied(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran()[0] == 1
    assert "Not a terminal: pass --yes" in capsys.readouterr().err
    assert one(url, OURS) is False


def test_an_existing_dashboard_keeps_its_rows(url: str) -> None:
    apply_files(url, [EXISTING])
    before = one(url, "select count(*) from notification_queue")
    assert before > 0
    assert ran("--yes")[0] == 0
    assert one(url, "select count(*) from notification_queue") == before


class Dashboard:
    """A repository with migrations of its own, pushed by the real Supabase CLI."""

    def __init__(self, folder: Path, cli: list[str], url: str) -> None:
        self._cli, self._url, self._folder = cli, url, folder
        self._migrations = folder / "supabase" / "migrations"
        self._migrations.mkdir(parents=True)
        (folder / "supabase" / "config.toml").write_text(
            'project_id = "dashboard"\n[db]\nmajor_version = 17\n'
        )

    def adds(self, version: str, sql: str) -> None:
        (self._migrations / f"{version}_change.sql").write_text(sql)

    def pushes(self) -> subprocess.CompletedProcess[str]:
        command = [*self._cli, "db", "push", f"--remote={self._url}", "--yes"]
        return subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False
        )


@pytest.fixture
def dashboard(url: str, supabase_cli: list[str], tmp_path: Path) -> Dashboard:
    return Dashboard(tmp_path / "dashboard", supabase_cli, url)


def assert_pushed(pushed: subprocess.CompletedProcess[str], url: str, table: str) -> None:
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert one(url, f"select to_regclass('{table}') is not null") is True


def test_the_dashboards_pushes_go_on_before_and_after(url: str, dashboard: Dashboard) -> None:
    dashboard.adds("20250101000000", EXISTING.read_text())
    assert_pushed(dashboard.pushes(), url, "notification_queue")

    assert ran("--yes")[0] == 0
    assert one(url, OURS) is True

    # older and newer than ours
    dashboard.adds("20250601000000", "create table dashboard_notes (id int)")
    dashboard.adds("20991231000000", "create table dashboard_goals (id int)")
    assert_pushed(dashboard.pushes(), url, "dashboard_notes")
    assert_pushed(dashboard.pushes(), url, "dashboard_goals")
    assert ran()[0] == 0  # nothing left to ask for


def test_the_workers_migrations_may_come_first(url: str, dashboard: Dashboard) -> None:
    assert ran("--yes")[0] == 0
    dashboard.adds("20250101000000", "create table dashboard_notes (id int)")
    assert_pushed(dashboard.pushes(), url, "dashboard_notes")


def test_an_upgrade_applies_what_is_new_and_what_changed_with_all_that_follows(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, migrations: list[Path]
) -> None:
    files = tmp_path / "migrations"
    shutil.copytree(migrations[0].parent, files)
    monkeypatch.setattr(migrate, "MIGRATIONS", files)
    ran("--yes")

    changed = files / migrations[-2].name
    changed.write_text(changed.read_text() + "\n-- a later edition\n")
    (files / "29990101000000_new.sql").write_text("create table brand_new (id int)")
    states = list(ran("--dry-run")[1].values())
    assert states == ["applied"] * (len(migrations) - 2) + ["changed", "changed", "to apply"]
    status, after = ran("--yes")
    assert (status, set(after.values())) == (0, {"applied"})
    assert one(url, "select to_regclass('brand_new') is not null") is True


def test_a_refused_file_leaves_nothing_and_is_named(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = tmp_path / "migrations"
    files.mkdir()
    (files / "1_good.sql").write_text(
        "create table good (word text); insert into good values ('x'), ('x')"
    )
    (files / "2_bad.sql").write_text(
        "create table half (id int); create unique index on good (word)"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", files)
    assert ran("--yes")[0] == 1
    output = capsys.readouterr().err
    assert "2_bad was refused: could not create unique index" in output
    assert "(word)=(x)" not in output  # a row's content
    assert "Traceback" not in output
    assert one(url, "select to_regclass('half') is null") is True
    assert ran("--dry-run")[1] == {"1_good": "applied", "2_bad": "to apply"}


class Freeing(SystemClock):
    """Waiting takes no time; the holder of a lock releases it meanwhile, if at all."""

    def __init__(self, holder: psycopg.Connection[Any], after: int) -> None:
        super().__init__()
        self.waits = 0
        self._holder, self._after = holder, after

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        if self.waits == self._after:
            self._holder.rollback()


@pytest.mark.parametrize("after", [1, None], ids=["let go", "held on"])
def test_a_table_in_use_is_waited_for_in_small_pieces(url: str, after: int | None) -> None:
    apply_files(url, [EXISTING])
    texts = migrate.read_migrations()
    waiting = [
        migrate.Migration(name, text.replace(f"'{migrate.LOCK_TIMEOUT}'", "'50ms'"), "to apply")
        for name, text in texts.items()
    ]
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as connection:
        holder.execute("select from notification_queue")
        clock = Freeing(holder, after or 0)
        if after:
            migrate.apply(connection, waiting, clock)
        else:
            with pytest.raises(TransientError, match="another transaction has locked"):
                migrate.apply(connection, waiting, clock)
    assert clock.waits == (after or migrate.LOCK_TRIES - 1)
    assert one(url, OURS) is bool(after)


def test_a_database_error_is_the_workers_own(url: str) -> None:
    bad = migrate.Migration("bad", "select 1 / 0", "to apply")
    with (
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(PermanentError) as output,
    ):
        migrate.apply(connection, [bad], SystemClock())
    assert output.value.code == "22012"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "SUPABASE_DB_URL is missing"),
        ("https://abc.supabase.co", "SUPABASE_DB_URL is not postgresql://"),
        (
            "postgresql://postgres:[YOUR-PASSWORD]@db.abc.supabase.co:5432/postgres",
            "percent-encoded",
        ),
        ("postgresql://postgres:hunter/2@127.0.0.1:5432/postgres", "percent-encoded"),
        ("postgresql://postgres:hunter2@127.0.0.1:1/postgres", "127.0.0.1 refuses the connection"),
        ("postgresql://postgres:hunter2@nowhere.invalid/postgres", "session pooler"),
        ("postgresql://postgres:hunter2@127.0.0.1/postgres?nonsense=1", "SUPABASE_DB_URL"),
    ],
)
def test_a_wrong_connection_string_is_named_and_never_quoted(
    value: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SUPABASE_DB_URL", value)
    assert ran("--yes")[0] == 1
    output = capsys.readouterr().err
    assert words in output
    assert "hunter" not in output
    assert "Traceback" not in output


def test_a_wrong_password_is_reported(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _, host = url.rpartition("@")
    monkeypatch.setenv("SUPABASE_DB_URL", f"{before.rpartition(':')[0]}:hunter2@{host}")
    assert ran("--yes")[0] == 1
    output = capsys.readouterr().err
    assert "password authentication failed" in output
    assert "hunter2" not in output


def test_the_string_may_be_in_the_dotenv(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SUPABASE_DB_URL")
    (tmp_path / ".env").write_text(f"SUPABASE_DB_URL={url}\n")
    assert ran("--dry-run")[0] == 0


def test_the_layer_holds_no_driver() -> None:
    lock = Path(__file__).resolve().parents[2] / "layers" / "shared" / "requirements.txt"
    assert "psycopg" not in lock.read_text(encoding="utf-8")
