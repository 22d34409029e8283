"""What an operator does from a terminal: `python -m workers.operate --help`.

Reads its settings as the workers do (the environment, then `.env`). Prints tables for people
and, with --json, JSON for scripts.
"""

from __future__ import annotations

import argparse
import sys
import zoneinfo
from collections.abc import Sequence
from typing import TextIO

from workers.errors import WorkerError
from workers.operate import archive, connections, doctor, migrate, notifications, retention
from workers.operate.command_line import Run


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """The exit status: 0 done, 1 failed or refused, 2 called wrongly."""
    options = _parser().parse_args(arguments)
    # time zones are those of the pinned tzdata, not of the machine, whose files may be years old
    zoneinfo.reset_tzpath(to=())
    run: Run = options.run
    try:
        return run(options, out)
    except WorkerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.operate", description=__doc__)
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")
    for subject in (doctor, migrate, notifications, connections, retention, archive):
        subject.add_subjects(subjects)
    return parser


if __name__ == "__main__":
    sys.exit(main())
