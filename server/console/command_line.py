"""`python -m server.console` and `agency-workers console`: what is asked for, and the exit
status."""

from __future__ import annotations

import argparse
import signal
import sys
import zoneinfo
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from server.console.guard import LOOPBACK
from server.console.project import Project
from server.console.serving import ConsoleServer
from server.logs import write_lines
from server.settings import server_settings
from workers.composition.container import settings, use_dotenv
from workers.errors import ConfigurationError
from workers.redaction import redact
from workers.telemetry import logger

HOST: Final = "127.0.0.1"
DONE: Final = 0
MISCONFIGURED: Final = 2
# Where an engineer keeps the keys of a real project; only what a person starts on it reads that.
_DOTENV: Final = Path(".env")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 it was asked to end, 2 for arguments and settings."""
    options = _parser().parse_args(arguments)
    # time zones are those of the pinned tzdata, not of the machine, whose files may be years old
    zoneinfo.reset_tzpath(to=())
    _log_beside_the_address()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(DONE))
    dotenv = _DOTENV if options.project else None
    try:
        if dotenv is not None:
            use_dotenv(dotenv)
        settings()
        port = server_settings().console_port if options.port is None else options.port
        server = ConsoleServer(
            Project(dotenv=dotenv),
            options.host,
            port,
            _say,
            options.name,
            read_only=options.read_only,
        )
    except ConfigurationError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        return MISCONFIGURED
    if options.host not in LOOPBACK:
        sys.stderr.write(
            f"It is bound to {options.host}: whoever reaches that can ask for it, and read what is "
            "on its way. Put a proxy with TLS before it.\n"
        )
    server.announce()
    with suppress(KeyboardInterrupt):
        server.run()
    return DONE


def _log_beside_the_address() -> None:
    """What goes wrong is told on stderr: stdout is for whoever wants the address alone."""
    logger.registered_handler.setStream(sys.stderr)  # type: ignore[attr-defined]
    write_lines(None, sys.stderr)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _port(text: str) -> int:
    """An argument that is a port. Raises argparse's error for anything else."""
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.console",
        description="What the workers did, what waits and why, as pages in a browser. Its settings "
        "are those of its environment. Its first line is an address that lets in once.",
    )
    parser.add_argument(
        "--project",
        action="store_true",
        help="take what the environment does not set from .env in this folder",
    )
    parser.add_argument(
        "--host", default=HOST, help=f"address to bind to ({HOST}: this machine alone)"
    )
    parser.add_argument(
        "--port", type=_port, help="port, over CONSOLE_PORT (3002); 0 takes a free one"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a further host name under which browsers ask for it, as behind a proxy",
    )
    parser.add_argument(
        "--read-only",
        action=argparse.BooleanOptionalAction,
        help="show, and do nothing; usual where --host or --name lets others than this machine in",
    )
    return parser
