"""Applies the migrations to a project, alongside whatever else applies migrations there.

The Supabase CLI keeps one history per project and refuses to push while that history names a
version that the pushing repository does not have; a dashboard with its own migrations would be
asked to revert the workers'. So this command applies them: it keeps its own record
(`worker_migrations`) and leaves the CLI's alone.
https://supabase.com/docs/reference/cli/supabase-db-push
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from workers.clock import Clock, SystemClock
from workers.errors import ConfigurationError, PermanentError, TransientError
from workers.operate.command_line import DOTENV, confirmed, subcommand
from workers.operate.output import show
from workers.operate.postgres import connected
from workers.settings import read_database_url

if TYPE_CHECKING:
    import psycopg

MIGRATIONS: Final = Path(__file__).resolve().parents[4] / "supabase" / "migrations"
# A migration that waits for a lock makes everything behind it wait too: the dashboard's pages.
# So it gives up soon, and tries again when the lock may have been released.
LOCK_TIMEOUT: Final = "1s"
LOCK_TRIES: Final = 10
LOCK_PAUSE_SECONDS: Final = 5.0

State = Literal["applied", "changed", "to apply"]

_RECORD: Final = """
create table if not exists public.worker_migrations (
  name text primary key,
  checksum text not null,
  applied_at timestamptz not null default now()
);
comment on table public.worker_migrations is
  'The migrations of the agency dashboard workers, as `operate migrate` applied them.';
alter table public.worker_migrations enable row level security;
revoke all on public.worker_migrations from public, anon, authenticated;
"""


@dataclass(frozen=True)
class Migration:
    """One file, and whether the database has it."""

    name: str
    text: str
    state: State

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def add_subjects(subjects: Any) -> None:
    """`migrate [--dry-run] [--yes]`."""
    one = subcommand(subjects, "migrate", migrate, "apply the migrations to the database")
    one.add_argument("--json", action="store_true", help="JSON for scripts")
    one.add_argument("--dry-run", action="store_true", help="show what would be applied")
    one.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def migrate(options: argparse.Namespace, out: TextIO) -> int:
    """Applies what is missing or changed, each file in one transaction, in order of name."""
    url = read_database_url(dotenv=DOTENV)
    sys.stderr.write(f"Project: the database {url.database} at {url.host}\n")
    with connected(url, "migrate") as connection:
        found = _compared(connection, read_migrations())
        waiting = [one for one in found if one.state != "applied"]
        if waiting and not options.dry_run:
            names = ", ".join(one.name for one in waiting)
            if not confirmed(f"Apply {len(waiting)} migrations: {names}?", options):
                return 1
            apply(connection, waiting, SystemClock())
            found = _compared(connection, read_migrations())
    rows = [{"migration": one.name, "state": one.state} for one in found]
    show(rows, ("migration", "state"), options, out, empty="There are no migrations.")
    return 0


def read_migrations() -> dict[str, str]:
    """Name to text, in order of name. Raises ConfigurationError if there are no files."""
    files = sorted(MIGRATIONS.glob("*.sql"))
    if not files:
        raise ConfigurationError(
            f"there are no migrations in {MIGRATIONS}: run this command in a clone of the project, "
            "installed there with `make install` or `pip install --editable .`"
        )
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def apply(
    connection: psycopg.Connection[Any], migrations: Sequence[Migration], clock: Clock
) -> None:
    """Each in one transaction with its record, so that it is applied and recorded, or neither.

    Raises PermanentError naming the file that the database refuses; the earlier ones stay applied.
    """
    for migration in migrations:
        _apply_when_unlocked(connection, migration, clock)
        sys.stderr.write(f"applied {migration.name}\n")
    # so that the data API has the new functions immediately
    connection.execute("notify pgrst, 'reload schema'")


def _apply_when_unlocked(
    connection: psycopg.Connection[Any], migration: Migration, clock: Clock
) -> None:
    from psycopg import Error, errors  # noqa: PLC0415 - see connected

    for tries_left in reversed(range(LOCK_TRIES)):
        try:
            _apply_one(connection, migration)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if not tries_left:
                raise TransientError(
                    f"{migration.name} needs a table that another transaction has locked: try "
                    "again when there is less load",
                    code="55P03",
                ) from None
            sys.stderr.write(f"{migration.name} is waiting for a table that is in use\n")
            clock.sleep(LOCK_PAUSE_SECONDS)
        except Error as error:  # its detail may quote a row
            said = error.diag.message_primary or type(error).__name__
            raise PermanentError(
                f"{migration.name} was refused: {said}", code=error.sqlstate or "none"
            ) from None


def _apply_one(connection: psycopg.Connection[Any], migration: Migration) -> None:
    with connection.transaction():
        # each file also sets it, for those who apply it in another way
        connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'".encode())
        connection.execute("set local statement_timeout = 0")
        # one at a time, even if this command runs twice
        connection.execute("select pg_advisory_xact_lock(hashtext('worker_migrations'))")
        connection.execute(_RECORD)
        connection.execute(migration.text.encode())
        connection.execute(
            """
            insert into public.worker_migrations (name, checksum) values (%s, %s)
            on conflict (name) do update set checksum = excluded.checksum, applied_at = now()
            """,
            (migration.name, migration.checksum),
        )


def _compared(connection: psycopg.Connection[Any], texts: dict[str, str]) -> list[Migration]:
    """The files against the record. From the first that is missing or changed, all are to be
    applied: a later file may replace what an earlier one creates."""
    recorded: dict[str, str] = {}
    if connection.execute("select to_regclass('public.worker_migrations')").fetchone() != (None,):
        recorded = dict(
            connection.execute("select name, checksum from public.worker_migrations").fetchall()
        )
    found: list[Migration] = []
    for name, text in texts.items():
        migration = Migration(name, text, "applied")
        if recorded.get(name) != migration.checksum or any(one.state != "applied" for one in found):
            state: State = "changed" if name in recorded else "to apply"
            migration = Migration(name, text, state)
        found.append(migration)
    return found
