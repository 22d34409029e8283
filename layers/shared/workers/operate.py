"""What an operator does by hand: `python -m workers.operate --help`.

Reads its settings as the workers do (the environment, then `.env`). Prints tables for people
and, with --json, JSON for scripts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

from workers.database import Database
from workers.errors import WorkerError
from workers.settings import environment_settings

# So many at a time stay well within the API's statement timeout.
REDRIVE_BATCH = 1000

Command = Callable[[Database, argparse.Namespace, TextIO], int]


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """The exit status: 0 done, 1 failed or refused, 2 called wrongly."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        settings = environment_settings(_no_secret, dotenv=Path(".env"))
        database = Database(settings.supabase_url, settings.supabase_service_role_key)
        with closing(database):
            return command(database, options, out)
    except WorkerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def list_dead(database: Database, options: argparse.Namespace, out: TextIO) -> int:
    """Dead and expired notifications, newest first."""
    rows = database.call(
        "list_dead_notifications",
        config_id=options.config,
        error_code=options.error,
        row_limit=options.limit,
    )
    columns = ("id", "event_type", "outcome", "created_at", "destinations", "error_code", "error")
    _show(rows, columns, options, out, empty="No dead letters.")
    return 0


def show_dead(database: Database, options: argparse.Namespace, out: TextIO) -> int:
    """One notification with its whole delivery log."""
    found = database.call("show_notification", id=options.id)
    if found is None:
        sys.stderr.write(f"There is no notification {options.id}.\n")
        return 1
    out.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return 0


def redrive_dead(database: Database, options: argparse.Namespace, out: TextIO) -> int:
    """Deliver dead and expired notifications after all."""
    which = {
        "notification_id": options.id,
        "config_id": options.config,
        "error_code": options.error,
    }
    if not any(which.values()) and not options.all:
        sys.stderr.write("Say which: an ID, --config, --error or --all.\n")
        return 2
    if options.all and not _confirmed("Deliver every dead and expired notification?", options):
        return 1
    total = 0
    while True:
        count = database.call("redrive_notifications", **which, row_limit=REDRIVE_BATCH)
        total += count
        if count < REDRIVE_BATCH:
            break
    if options.json:
        out.write(json.dumps({"redriven": total}) + "\n")
    else:
        out.write(f"{total} will be delivered by the next run.\n")
    return 0 if total or not options.id else 1


def list_parked(database: Database, options: argparse.Namespace, out: TextIO) -> int:
    """Parked configs, with the reason and how much waits."""
    rows = database.call("list_parked_configs")
    columns = ("config_id", "event_type", "since", "waiting", "code", "reason")
    _show(rows, columns, options, out, empty="Nothing is parked.")
    return 0


def release_parked(database: Database, options: argparse.Namespace, out: TextIO) -> int:
    """Let a parked config's notifications go on."""
    if not options.id and not options.all:
        sys.stderr.write("Say which: a config's ID or --all.\n")
        return 2
    count = database.call("release_parked_configs", config_id=options.id)
    if options.json:
        out.write(json.dumps({"released": count}) + "\n")
    else:
        out.write(f"{count} released.\n")
    return 0 if count or not options.id else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.operate", description=__doc__)
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")

    dead = subjects.add_parser("dead", help="notifications that ended without being posted")
    verbs = dead.add_subparsers(required=True, metavar="VERB")
    verb = _verb(verbs, "list", list_dead)
    _choice(verb)
    verb.add_argument("--limit", type=int, default=100, help="at most so many (100)")
    _verb(verbs, "show", show_dead).add_argument("id", help="the notification's id")
    verb = _verb(verbs, "redrive", redrive_dead)
    verb.add_argument("id", nargs="?", help="the notification's id")
    _choice(verb)
    verb.add_argument("--all", action="store_true", help="every one")
    verb.add_argument("--yes", action="store_true", help="do not ask")

    parked = subjects.add_parser("parked", help="configs that wait for something to be mended")
    verbs = parked.add_subparsers(required=True, metavar="VERB")
    _verb(verbs, "list", list_parked)
    verb = _verb(verbs, "release", release_parked)
    verb.add_argument("id", nargs="?", help="the config's id")
    verb.add_argument("--all", action="store_true", help="every one")
    return parser


def _verb(verbs: Any, name: str, command: Command) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=command.__doc__)
    parser.add_argument("--json", action="store_true", help="JSON for scripts")
    parser.set_defaults(command=command)
    return parser


def _choice(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--config", metavar="ID", help="only those of this config")
    verb.add_argument("--error", metavar="CODE", help="only those that ended with this code")


def _confirmed(question: str, options: argparse.Namespace) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        sys.stderr.write(f"{question} Nobody is here to answer: add --yes.\n")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show(
    rows: list[dict[str, Any]],
    columns: Sequence[str],
    options: argparse.Namespace,
    out: TextIO,
    *,
    empty: str,
) -> None:
    if options.json:
        out.write(json.dumps(rows, ensure_ascii=False) + "\n")
    elif not rows:
        out.write(empty + "\n")
    else:
        cells = [[_cell(row[column]) for column in columns] for row in rows]
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        for line in (columns, *cells):
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            out.write("  ".join(padded).rstrip() + "\n")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return " ".join(str(value).split())


def _no_secret(name: str) -> dict[str, Any]:
    return {}


if __name__ == "__main__":
    sys.exit(main())
