"""The command that finds what is wrong with a setup, and says how to fix it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, TextIO

from workers.composition.doctor import sections
from workers.doctor.sections import Section, worst
from workers.operate.command_line import DOTENV, subcommand
from workers.operate.output import as_json, plain, quiet_logger

_COLOURS = {"ok": "32", "warning": "33", "failed": "31"}
_WORDS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


def add_subjects(subjects: Any) -> None:
    """`doctor [--post CHANNEL]`."""
    one = subcommand(subjects, "doctor", examine, "what is wrong with the setup, and the fix")
    one.add_argument("--json", action="store_true", help="JSON for scripts")
    one.add_argument(
        "--post",
        metavar="CHANNEL",
        help="post a test message to this channel, find it there and delete it",
    )


def examine(options: argparse.Namespace, out: TextIO) -> int:
    """Prints each section as soon as it is known; 1 if something failed, including the settings."""
    seen: list[Section] = []
    with quiet_logger():
        for section in sections(options.post, dotenv=DOTENV):
            seen.append(section)
            if not options.json:
                _show(section, out)
    if options.json:
        report = {"status": worst(seen), "sections": [one.as_json() for one in seen]}
        out.write(as_json(report) + "\n")
    else:
        out.write(f"{_verdict(seen)}\n")
    return 1 if worst(seen) == "failed" else 0


def _show(section: Section, out: TextIO) -> None:
    out.write(f"{section.title}\n")
    for finding in section.findings:
        word = _WORDS[finding.level]
        if out.isatty():
            word = f"\033[{_COLOURS[finding.level]}m{word}\033[0m"
        out.write(f"  {word}  {plain(finding.text)}\n")
        for line in finding.fix.splitlines():
            out.write(f"           {plain(line)}\n")
    out.write("\n")
    out.flush()


def _verdict(seen: Iterable[Section]) -> str:
    counts = {"failed": 0, "warning": 0}
    for section in seen:
        for finding in section.findings:
            if finding.level in counts:
                counts[finding.level] += 1
    if not any(counts.values()):
        return "No problems found."
    return f"{counts['failed']} failed, {counts['warning']} warnings."
