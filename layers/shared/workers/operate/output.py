"""What the commands print: tables for people, JSON for scripts."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from workers.database import Database
from workers.settings import Settings
from workers.telemetry import logger

# Returns the exit status: 0 done, 1 failed or refused, 2 called wrongly.
Command = Callable[[Database, Settings, argparse.Namespace, TextIO], int]


@contextmanager
def quiet_logger() -> Iterator[None]:
    """What a worker has to log is kept from the command's own output, both being stdout."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)


def verb(verbs: Any, name: str, command: Command) -> argparse.ArgumentParser:
    """A subcommand, with the options that all have."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=command.__doc__)
    parser.add_argument("--json", action="store_true", help="JSON for scripts")
    parser.set_defaults(command=command)
    return parser


def row_id(text: str) -> str:
    """An argument that is a row's id. Raises argparse's error for anything else."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no id") from None


def confirmed(question: str, options: argparse.Namespace) -> bool:
    """Whether a person said yes, or --yes did."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        sys.stderr.write(f"{question} Nobody is here to answer: add --yes.\n")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def show(
    rows: list[dict[str, Any]],
    columns: Sequence[str],
    options: argparse.Namespace,
    out: TextIO,
    *,
    empty: str,
) -> None:
    """The rows as JSON or as a table; `empty` where there is none."""
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
