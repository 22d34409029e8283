"""`make bench`: how fast it is, how fast it could be, and how fast the original's way was."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from local.environment import isolate
from local.services.node import ensure_installed
from tests.benchmarks import (
    claim,
    console,
    drain,
    earlier,
    functions,
    linger,
    metrics,
    operations,
    retention,
    serve,
)
from tests.benchmarks.figures import Figure, show
from tests.benchmarks.sizes import FULL, SHORT, Progress, Sizes

AT_ONCE = 3
BENCHMARKS: dict[str, Callable[[Progress, Sizes], list[Figure]]] = {
    "drain": drain.drains,
    "claim": claim.claims,
    "linger": linger.lingering,
    "sync-meta": metrics.syncs("meta"),
    "sync-google": metrics.syncs("google_ads"),
    "sync-tiktok": metrics.syncs("tiktok"),
    "sync-linkedin": metrics.syncs("linkedin"),
    "syncs-beside": earlier.syncs,
    "plan": metrics.plan_connections,
    "retention": retention.archive_and_purge,
    "operations": operations.operations,
    "functions": functions.functions,
    "serve": serve.serving,
    "console": console.console,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when all targets are met, 1 when one is missed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    isolate()
    ensure_installed()
    names = list(options.names or BENCHMARKS)
    figures = _side_by_side(names) if options.short else _one_by_one(names)
    if options.json:
        print(json.dumps({"machine": _machine(), "figures": [one.as_json() for one in figures]}))
    else:
        show(figures)
    return 1 if any(figure.met is False for figure in figures) else 0


def _one_by_one(names: Sequence[str]) -> list[Figure]:
    return [figure for name in names for figure in BENCHMARKS[name](_progress_of(name), FULL)]


def _short(name: str) -> list[Figure]:
    return [one.at_small_size() for one in BENCHMARKS[name](_progress_of(name), SHORT)]


def _side_by_side(names: Sequence[str]) -> list[Figure]:
    """Short ones say nothing of speed and mostly wait."""
    if len(names) == 1:
        return _short(names[0])
    # no process that is forked while threads run
    with ProcessPoolExecutor(AT_ONCE, multiprocessing.get_context("spawn")) as processes:
        return [figure for figures in processes.map(_short, names) for figure in figures]


def _progress_of(name: str) -> Progress:
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
        "--short", action="store_true", help="small sizes, to see that all works and nothing else"
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"run these only, of: {', '.join(BENCHMARKS)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
