"""`python -m server.console` and `agency-workers console`: arguments and the exit
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
# Where an engineer keeps the keys of a real project; read only where a person asks for it.
_DOTENV: Final = Path(".env")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 when it was asked to end, 2 for wrong arguments or settings."""
    options = _parser().parse_args(arguments)
    # time zones come from the pinned tzdata, not from the machine, whose files may be years old
    zoneinfo.reset_tzpath(to=())
    _log_to_stderr()
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
            _print,
            options.name,
            read_only=options.read_only,
        )
    except ConfigurationError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        return MISCONFIGURED
    if options.host not in LOOPBACK:
        sys.stderr.write(
            f"The console is bound to {options.host}: anyone who can reach it can ask for pages "
            "and read the traffic. Put a proxy with TLS in front of it.\n"
        )
    server.announce()
    with suppress(KeyboardInterrupt):
        server.run()
    return DONE


def _log_to_stderr() -> None:
    """Logs go to stderr, so that stdout has only the address."""
    logger.registered_handler.setStream(sys.stderr)  # type: ignore[attr-defined]
    write_lines(None, sys.stderr)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _port(text: str) -> int:
    """A port. Raises argparse's error for anything else."""
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.console",
        description="Shows in a browser what the workers did, what waits and why. It takes its "
        "settings from the environment. Its first line is an address that lets one person in.",
    )
    parser.add_argument(
        "--project",
        action="store_true",
        help="read settings that the environment does not have from .env in this folder",
    )
    parser.add_argument(
        "--host", default=HOST, help=f"address to bind to ({HOST}: this machine only)"
    )
    parser.add_argument(
        "--port", type=_port, help="port, instead of CONSOLE_PORT (3002); 0 takes a free one"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="another host name that browsers use for it, as behind a proxy",
    )
    parser.add_argument(
        "--read-only",
        action=argparse.BooleanOptionalAction,
        help="only show, without actions; the default where --host or --name lets others in",
    )
    return parser
