"""`python -m server` and `agency-workers serve`: their arguments and exit statuses."""

from __future__ import annotations

import argparse
import os
import sys
import zoneinfo
from collections.abc import Sequence
from dataclasses import replace

from server.logs import embedded_metrics, write_lines
from server.once import FAILED, MISCONFIGURED, run_once
from server.prometheus import PrometheusMetrics
from server.runs import WORKERS, Worker
from server.serving import ConsoleMode, Serving
from server.settings import LINGER, ServerSettings, server_settings
from workers.composition.container import settings, use_defaults
from workers.errors import ConfigurationError
from workers.redaction import redact
from workers.settings import Settings, runs_in_aws
from workers.telemetry import logger, metric_sinks


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it did its work or was asked to stop, 1 when it failed, 2 for invalid
    arguments or settings."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.once and options.console:
        parser.error("--console needs a process that keeps running: drop --once")
    if options.read_only and not options.console:
        parser.error("--read-only is for --console: add that")
    # time zones are those of the pinned tzdata, not of the machine, whose files may be years old
    zoneinfo.reset_tzpath(to=())
    try:
        status = _serve(options)
    except ConfigurationError as error:
        logger.error(redact(str(error)), extra={"action": "configuration"})
        status = MISCONFIGURED
    except Exception:  # noqa: BLE001 - a bug; what was in flight is free once its leases expire
        logger.exception("Unexpected error", extra={"action": "fault"})
        status = FAILED
    return _leave(status)


def agency_workers() -> int:
    """`agency-workers serve ...` and `agency-workers console ...`, as pip installs them."""
    command, rest = sys.argv[1:2], sys.argv[2:]
    if command == ["serve"]:
        return main(rest)
    if command == ["console"]:
        try:
            from server.console.command_line import main as console  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            sys.stderr.write(f"{error.name} is not installed: pip install .[console]\n")
            return MISCONFIGURED
        return console(rest)
    sys.stderr.write("usage: agency-workers serve|console [--help]\n")
    return MISCONFIGURED


def _serve(options: argparse.Namespace) -> int:
    """Raises ConfigurationError naming all that is missing or malformed."""
    write_lines(None)
    known = _known(options)
    write_lines(known.log_format)
    if not options.once:
        use_defaults(LINGER)
    workers = _selected(options.workers, settings())
    logger.info(
        f"Serving {', '.join(workers)} of {settings().supabase_url}",
        extra={"action": "serving", "once": options.once},
    )
    metrics = PrometheusMetrics()
    in_aws = runs_in_aws() if known.emf_metrics is None else known.emf_metrics
    metric_sinks[:] = [metrics.take, *([embedded_metrics] if in_aws else [])]
    if options.once:
        return run_once(workers)
    console: ConsoleMode | None = None
    if options.console:
        console = "read-only" if options.read_only else "acting"
    return Serving(workers, known, metrics, console=console).run()


def _known(options: argparse.Namespace) -> ServerSettings:
    known = server_settings()
    if options.host is not None:
        known = replace(known, server_host=options.host)
    if options.port is not None:
        known = replace(known, port=options.port)
    return known


def _selected(requested: Sequence[str], known: Settings) -> list[Worker]:
    """Those that are requested and enabled. Raises ConfigurationError when there are none."""
    enabled: dict[Worker, bool] = {
        "notifications": known.notifications_enabled,
        "metrics": known.metrics_enabled,
        "retention": known.retention_enabled,
    }
    requested = requested or WORKERS
    selected = [worker for worker in WORKERS if enabled[worker] and worker in requested]
    if not selected:
        off = ", ".join(f"{worker.upper()}_ENABLED" for worker in requested)
        raise ConfigurationError(f"there is nothing to run: {off} is false")
    return selected


def _leave(status: int) -> int:
    """End the process at once: calls that hang in threads would keep it for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="Runs the workers as one long-running process, or once. Settings are read "
        "from the environment.",
    )
    parser.add_argument(
        "workers",
        nargs="*",
        metavar="WORKER",
        choices=[*WORKERS, []],
        help=f"{', '.join(WORKERS)} (all of them unless named)",
    )
    parser.add_argument("--once", action="store_true", help="run each once and exit: 0, 1 or 2")
    parser.add_argument(
        "--console",
        action="store_true",
        help="also serve the console, on this machine only, at CONSOLE_PORT (3002)",
    )
    parser.add_argument(
        "--read-only", action="store_true", help="with --console: show everything, change nothing"
    )
    parser.add_argument("--host", help="address to bind to (SERVER_HOST, or 127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port to bind to (PORT, or 3001)")
    return parser
