"""Whether the database announces what is queued, for a server that listens.

No migration does this: a NOTIFY slows each commit of the dashboard down (docs/serve.md has the
figures), so it is the operator's choice.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

from workers.errors import ConfigurationError, TransientError
from workers.notifications.doorbell import CHANNEL
from workers.operate.command_line import DOTENV, subcommand
from workers.operate.output import show
from workers.operate.postgres import connected
from workers.settings import read_database_url

if TYPE_CHECKING:
    import psycopg

# A long transaction may hold the table: the dashboard must not queue up behind this command.
_LOCK_TIMEOUT: Final = "set local lock_timeout = '2s'"
_FUNCTION: Final = "public.announce_queued_notifications()"
# Once per statement, whatever its rows, and once per transaction: equal notifications collapse.
_ON: Final = f"""
create or replace function {_FUNCTION}
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform pg_catalog.pg_notify('{CHANNEL}', '');
  return null;
end
$$;
revoke all on function {_FUNCTION} from public, anon, authenticated;
create or replace trigger announce_queued_notifications
  after insert on public.notification_queue
  for each statement execute function {_FUNCTION};
"""
_OFF: Final = f"""
drop trigger if exists announce_queued_notifications on public.notification_queue;
drop function if exists {_FUNCTION};
"""
_IS_ON: Final = """
select exists (
  select
    from pg_catalog.pg_trigger
   where tgname = 'announce_queued_notifications'
     and tgrelid = 'public.notification_queue'::regclass
)
"""


def add_subjects(subjects: Any) -> None:
    """`listen [--on | --off]`."""
    one = subcommand(subjects, "listen", listen, "have the database announce what is queued")
    one.add_argument("--json", action="store_true", help="JSON for scripts")
    either = one.add_mutually_exclusive_group()
    either.add_argument("--on", action="store_true", help="start announcing")
    either.add_argument("--off", action="store_true", help="stop announcing")


def listen(options: argparse.Namespace, out: TextIO) -> int:
    """Creates or drops the trigger; shows whether it exists."""
    url = read_database_url(dotenv=DOTENV)
    sys.stderr.write(f"Project: the database {url.database} at {url.host}\n")
    with connected(url, "listen") as connection:
        if options.on or options.off:
            _change(connection, statements(on=options.on))
        state = "on" if _is_on(connection) else "off"
    show([{"listen": state}], ("listen",), options, out, empty="")
    return 0


def statements(*, on: bool) -> str:
    """SQL that creates or drops the trigger."""
    return _ON if on else _OFF


def _change(connection: psycopg.Connection[Any], statements: str) -> None:
    from psycopg import errors  # noqa: PLC0415 - see postgres.py

    try:
        with connection.transaction():
            connection.execute(_LOCK_TIMEOUT.encode())
            connection.execute(statements.encode())
    except errors.LockNotAvailable:
        raise TransientError(
            "another transaction has locked notification_queue: try again when there is less load",
            code="55P03",
        ) from None
    except errors.UndefinedTable:
        raise _no_queue() from None


def _is_on(connection: psycopg.Connection[Any]) -> bool:
    from psycopg import errors  # noqa: PLC0415 - see postgres.py

    try:
        return connection.execute(_IS_ON.encode()).fetchone() == (True,)
    except errors.UndefinedTable:
        raise _no_queue() from None


def _no_queue() -> ConfigurationError:
    return ConfigurationError(
        "this database has no notification_queue: is SUPABASE_DB_URL that of the dashboard?"
    )
