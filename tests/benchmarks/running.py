"""The benchmarks by name, run one after another or, in their short form, in parallel.

A separate module, because what another process calls must not be in `__main__`.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

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
from tests.benchmarks.figures import Figure
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


def one_by_one(names: Sequence[str]) -> list[Figure]:
    """Run them at full size."""
    return [figure for name in names for figure in BENCHMARKS[name](_progress_of(name), FULL)]


def _short(name: str) -> list[Figure]:
    return [one.at_small_size() for one in BENCHMARKS[name](_progress_of(name), SHORT)]


def in_parallel(names: Sequence[str]) -> list[Figure]:
    """Run them in short form: those do not measure speed and mostly wait."""
    if len(names) == 1:
        return _short(names[0])
    # no process is forked while threads run
    with ProcessPoolExecutor(AT_ONCE, multiprocessing.get_context("spawn")) as processes:
        return [figure for figures in processes.map(_short, names) for figure in figures]


def _progress_of(name: str) -> Progress:
    started = time.monotonic()

    def progress(what: str) -> None:
        print(f"{name} {time.monotonic() - started:6.1f} s  {what}", file=sys.stderr, flush=True)

    return progress
