"""What an operator does by hand: `python -m workers.operate --help`.

Reads its settings as the workers do (the environment, then `.env`). Prints tables for people
and, with --json, JSON for scripts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

from workers.database import Database
from workers.errors import WorkerError
from workers.operate import archive, connections, notifications, retention
from workers.operate.output import Command
from workers.settings import environment_settings


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """The exit status: 0 done, 1 failed or refused, 2 called wrongly."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        settings = environment_settings(_no_secret, dotenv=Path(".env"))
        database = Database(settings.supabase_url, settings.supabase_service_role_key)
        with closing(database):
            return command(database, settings, options, out)
    except WorkerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.operate", description=__doc__)
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")
    notifications.add_subjects(subjects)
    connections.add_subjects(subjects)
    retention.add_subjects(subjects)
    archive.add_subjects(subjects)
    return parser


def _no_secret(name: str) -> dict[str, Any]:
    return {}


if __name__ == "__main__":
    sys.exit(main())
