"""The operator's commands: `python -m workers.operate --help`.

Reads its settings as the workers do (the environment, then `.env`). Prints tables for people
and, with --json, JSON for scripts.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # while the rest is imported, Ctrl-C ends it silently
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import sys
import zoneinfo
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from workers.errors import WorkerError
from workers.operate import (
    archive,
    connections,
    doctor,
    listen,
    migrate,
    notifications,
    overview,
    retention,
)
from workers.operate.command_line import Run
from workers.operate.output import say
from workers.redaction import redact

# What a shell reports for a program that was ended by Ctrl-C, or by a closed pipe.
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None, out: TextIO = sys.stdout) -> int:
    """The exit status: 0 done, 1 failed or refused, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    # use the time zones of the pinned tzdata, not the machine's, which may be years old
    zoneinfo.reset_tzpath(to=())
    run: Run = options.run
    try:
        status = run(options, out)
        out.flush()
    except WorkerError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted. What was done until then stays done; run the command again to continue.")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough
        with suppress(BrokenPipeError):
            out.close()
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - a bug; a traceback might quote a secret
        say(f"A bug in this program, {type(error).__name__}: {redact(str(error))}")
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.operate", description=__doc__)
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")
    for subject in (
        doctor,
        overview,
        migrate,
        listen,
        notifications,
        connections,
        retention,
        archive,
    ):
        subject.add_subjects(subjects)
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
