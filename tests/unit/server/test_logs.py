"""Log lines for programs and for people."""

from __future__ import annotations

import json
from typing import Any

from server.logs import as_json, coloured, plain
from workers.redaction import remember

RECORD: dict[str, Any] = {
    "level": "WARNING", "location": "run:7", "message": "The run ended",
    "timestamp": "2026-11-28 06:54:09,232+0000", "service": "notifications", "run_id": "r",
    "action": "notifications_run", "outcome": "drained", "sent": 8, "code": None, "left": [],
}  # fmt: skip


def test_json_carries_the_severity() -> None:
    line = as_json(RECORD)
    assert "\n" not in line
    fields = json.loads(line)
    assert fields["severity"] == "WARNING"
    assert {name: fields[name] for name in RECORD} == RECORD


def test_text_has_time_level_worker_sentence_and_fields() -> None:
    assert plain(RECORD) == (
        "06:54:09 WARNING  notifications    The run ended outcome=drained sent=8"
    )
    assert "\x1b[33mWARNING" in coloured(RECORD)


def test_terminal_control_characters_are_escaped() -> None:
    hostile = {**RECORD, "message": "a\x1b[2Jb\x07", "error": "\x9b31m"}
    assert "\x1b" not in plain(hostile)
    assert "\x07" not in plain(hostile)
    assert coloured(hostile).count("\x1b") == coloured(RECORD).count("\x1b")


def test_no_line_contains_a_secret() -> None:
    remember(["of-nobodys-business"])
    record = {**RECORD, "error": "refused of-nobodys-business", "exception": "of-nobodys-business"}
    for line in (as_json(record), plain(record), coloured(record)):
        assert "of-nobodys-business" not in line


def test_a_traceback_follows_the_line() -> None:
    text = plain({**RECORD, "exception": "Traceback\n  here"})
    assert text.endswith("\nTraceback\n  here")
