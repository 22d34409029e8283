"""What the commands share: subcommands, their arguments, and the project they work on."""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from workers.answers import Answer
from workers.database import Database
from workers.operate.output import Row, say
from workers.settings import Settings, environment_settings

# Where an engineer keeps the keys of a real project; only read by what a person starts.
DOTENV = Path(".env")

# Within Postgres's integer.
_LARGEST = 2**31 - 2

# Both return the exit status: 0 done, 1 failed or refused, 2 called wrongly.
Run = Callable[[argparse.Namespace, TextIO], int]
Command = Callable[[Database, Settings, argparse.Namespace, TextIO], int]


def verb(verbs: Any, name: str, command: Command) -> argparse.ArgumentParser:
    """A subcommand on the project that the settings name, with the options that all of these
    share."""
    parser = subcommand(verbs, name, partial(_on_project, command), command.__doc__)
    parser.add_argument("--json", action="store_true", help="JSON for scripts")
    return parser


def subcommand(verbs: Any, name: str, run: Run, help_text: str | None) -> argparse.ArgumentParser:
    """A subcommand that needs no settings."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help_text)
    parser.set_defaults(run=run)
    return parser


def rows_of(database: Database, function: str, **arguments: object) -> list[Row]:
    """The rows of a list, to be shown as they are. Raises the workers' errors."""
    return [one.fields for one in Answer.each(function, database.call(function, **arguments))]


def row_id(text: str) -> str:
    """An argument that is a row's id. Raises argparse's error for anything else."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a valid id") from None


def positive(text: str) -> int:
    """A whole number from 1. Raises argparse's error for anything else."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= _LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


def limit(parser: argparse.ArgumentParser, usual: int) -> None:
    """`--limit`: how many rows of a list to show."""
    parser.add_argument(
        "--limit", type=positive, default=usual, help=f"the most rows to show ({usual})"
    )


def one_or_all(parser: argparse.ArgumentParser, what: str) -> None:
    """`ID` or `--all`, but not both."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("id", nargs="?", type=row_id, help=f"the {what}'s id")
    either.add_argument("--all", action="store_true", help="all of them")


def confirmed(question: str, options: argparse.Namespace) -> bool:
    """Whether the user confirmed, or passed --yes."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        sys.stderr.write(f"{question} Not a terminal: pass --yes to confirm.\n")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _on_project(command: Command, options: argparse.Namespace, out: TextIO) -> int:
    """Raises ConfigurationError naming all settings that are missing or malformed."""
    settings = environment_settings(_no_secret, dotenv=DOTENV)
    say(f"Project: {settings.supabase_url}")
    with closing(Database(settings.supabase_url, settings.supabase_service_role_key)) as database:
        return command(database, settings, options, out)


def _no_secret(name: str) -> Mapping[str, object]:
    return {}
