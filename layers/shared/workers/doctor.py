"""What is wrong with a setup, and how to mend it.

Reads its settings as the workers do (the environment, then `.env`). Exit status: 0 all well or
warnings only, 1 something failed, 2 called wrongly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from workers.composition.doctor import sections
from workers.examination.findings import Section, worst
from workers.operate.output import quiet_logger

_COLOURS = {"ok": "32", "warning": "33", "failed": "31"}
_WORDS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """Prints each section as soon as it is known."""
    options = _parser().parse_args(arguments)
    seen: list[Section] = []
    with quiet_logger():
        for section in sections(options.post):
            seen.append(section)
            if not options.json:
                _show(section, out)
    if options.json:
        report = {"status": worst(seen), "sections": [one.as_json() for one in seen]}
        out.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        out.write(f"{_verdict(seen)}\n")
    return 1 if worst(seen) == "failed" else 0


def _show(section: Section, out: TextIO) -> None:
    out.write(f"{section.title}\n")
    for finding in section.findings:
        word = _WORDS[finding.level]
        if out.isatty():
            word = f"\033[{_COLOURS[finding.level]}m{word}\033[0m"
        out.write(f"  {word}  {finding.text}\n")
        for line in finding.mend.splitlines():
            out.write(f"           {line}\n")
    out.write("\n")
    out.flush()


def _verdict(seen: Iterable[Section]) -> str:
    counts = {"failed": 0, "warning": 0}
    for section in seen:
        for finding in section.findings:
            if finding.level in counts:
                counts[finding.level] += 1
    if not any(counts.values()):
        return "All is well."
    return f"{counts['failed']} failed, {counts['warning']} warnings."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON for scripts")
    parser.add_argument(
        "--post",
        metavar="CHANNEL",
        help="post a test message to this channel, find it there and delete it",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
