"""Logs: one line per event, as JSON for programs or coloured for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

from workers.redaction import mask, mask_all
from workers.telemetry import logger, write_embedded_metrics

# Fields that every line has or that locate it in the code; people read the others.
_HEAD: Final = frozenset(
    {"level", "location", "message", "timestamp", "service", "action", "run_id", "severity"}
    | {"exception", "exception_name", "stack_trace", "exception_notes"}
)
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def write_lines(form: str | None, out: TextIO = sys.stdout) -> None:
    """Make this process log as `form` says: json, text, or None for what suits `out`. Libraries log
    warnings and errors only."""
    is_terminal = out.isatty()
    as_text = form == "text" or (form is None and is_terminal)
    line: Callable[[dict[str, Any]], str] = as_json
    if as_text:
        line = coloured if is_terminal else plain
    logger.registered_formatter.json_serializer = line  # type: ignore[attr-defined]
    logger.append_keys(service="server")
    root = logging.getLogger()
    root.handlers = [logger.registered_handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(logger.name).propagate = False
    # it warns when a run is skipped because the previous one is still busy, which is expected
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def embedded_metrics(worker: str, values: Mapping[str, float]) -> None:
    """Metrics for CloudWatch as log lines, never in the middle of another line."""
    with _locked(logger.registered_handler):
        write_embedded_metrics(worker, values)
        sys.stdout.flush()


@contextmanager
def _locked(handler: logging.Handler) -> Iterator[None]:
    handler.acquire()
    try:
        yield
    finally:
        handler.release()


def as_json(record: Mapping[str, Any]) -> str:
    """With `severity`, which Google's and other collectors filter by:
    https://cloud.google.com/logging/docs/structured-logging"""
    whole = {"severity": record.get("level"), **record}
    return json.dumps(
        mask_all(whole), default=lambda value: mask(str(value)), separators=(",", ":")
    )


def plain(record: Mapping[str, Any]) -> str:
    """Time, level, worker, sentence, fields."""
    return _text(record, lambda text, code: text)


def coloured(record: Mapping[str, Any]) -> str:
    """As `plain`, in a terminal's colours."""
    return _text(record, lambda text, code: f"\x1b[{code}m{text}\x1b[0m")


def _text(record: Mapping[str, Any], in_colour: Callable[[str, str], str]) -> str:
    level = str(record.get("level"))
    fields = " ".join(
        f"{name}={value}"
        for name, value in record.items()
        if name not in _HEAD and value not in (None, "", [], {})
    )
    parts = [
        in_colour(str(record.get("timestamp"))[11:19], "2"),
        in_colour(f"{level:<8}", _COLOURS.get(level, "0")),
        f"{record.get('service') or 'server':<16}",
        _printable(str(record.get("message"))),
        in_colour(_printable(fields), "2") if fields else "",
    ]
    trace = record.get("exception")
    lines = [" ".join(part for part in parts if part), *([_printable(trace)] if trace else [])]
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Without secrets and without terminal control characters."""
    return "".join(
        character if character.isprintable() or character == "\n" else f"\\x{ord(character):02x}"
        for character in mask(text)
    )
