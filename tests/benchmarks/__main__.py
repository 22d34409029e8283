"""`make bench`: how fast it is, how fast it could be, and how fast the original's way was."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence

from local.node import ensure_installed
from tests.benchmarks import claim, cold_start, drain, metrics, retention
from tests.benchmarks.figures import Figure, show

BENCHMARKS: dict[str, Callable[[Callable[[str], None]], list[Figure]]] = {
    "drain-250-channels": drain.drain_250_channels,
    "drain-25-channels": drain.drain_25_channels,
    "claim-all-due": claim.claim_all_due,
    "claim-mixed": claim.claim_mixed,
    "sync-meta": metrics.sync_meta,
    "sync-meta-large": metrics.sync_meta_large,
    "sync-google": metrics.sync_google,
    "sync-google-large": metrics.sync_google_large,
    "plan": metrics.plan_connections,
    "retention": retention.archive_and_purge,
    "cold-start": cold_start.cold_starts,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when all targets are met, 1 when one is missed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    ensure_installed()
    figures: list[Figure] = []
    for name in options.names or BENCHMARKS:
        figures += BENCHMARKS[name](_progress_of(name))
    if options.json:
        print(json.dumps({"machine": _machine(), "figures": [one.as_json() for one in figures]}))
    else:
        show(figures)
    return 1 if any(figure.met is False for figure in figures) else 0


def _progress_of(name: str) -> Callable[[str], None]:
    started = time.monotonic()

    def progress(what: str) -> None:
        print(f"{name} {time.monotonic() - started:6.1f} s  {what}", file=sys.stderr, flush=True)

    return progress


def _machine() -> dict[str, str | int | None]:
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"run these only, of: {', '.join(BENCHMARKS)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
