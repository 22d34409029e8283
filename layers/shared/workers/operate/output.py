"""What the commands print: tables for people, JSON for scripts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from workers.telemetry import logger


@contextmanager
def quiet_logger() -> Iterator[None]:
    """What a worker has to log is kept from the command's own output, both being stdout."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)


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
