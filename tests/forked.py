"""A module run in a process of its own that has its imports behind it.

Most of what a short `python -m module` takes is imports. Here one process has done these, and forks
for each run: a real process, that can be killed, in a tenth of the time.
"""

from __future__ import annotations

import functools
import io
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from local.services.patience import Patience

# What these import together is what the runs need. The last are imported late, by httpx when it
# makes its first client and by multiprocessing in each process.
MODULES = (
    "tests.notifications.killed_run",
    "tests.integration.killed_handler",
    "tests.integration.forked_command",
    "tests.metrics.killed_plan",
    "tests.metrics.killed_sync",
    "tests.retention.killed_run",
    "tests.server.timed_pass",
    "workers.composition.connection_sync",
    "workers.composition.doctor",
    "workers.composition.health",
    "workers.composition.metrics_sync",
    "workers.composition.notifications",
    "workers.composition.retention",
    "httpcore",
    "pytest",
)
# Without a sign of life; see local.services.patience.
PATIENCE = 60.0


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit status, or that of the signal's number below 0, and what it
    wrote."""

    status: int
    out: str
    err: str


class Run:
    """`main()` of one of the modules, begun. The order is the JSON on its stdin; `environment` is
    what it has besides this process's."""

    def __init__(
        self, module: str, order: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._out, self._err = (Path(self._folder.name) / name for name in ("out", "err"))
        whole = {**os.environ, **(environment or {})}
        arguments = (module, json.dumps(order), whole, self._out, self._err)
        self._process = _context().Process(target=_main, args=arguments)
        self._process.start()

    @property
    def has_begun(self) -> bool:
        """Whether it has said something, as of its first step."""
        return self._out.exists() and self._out.stat().st_size > 0

    def is_over(self, within: float) -> bool:
        """Whether it ends within so many seconds."""
        self._process.join(within)
        return self._process.exitcode is not None

    def kill(self) -> None:
        self._process.kill()

    def ended(self) -> Ended:
        """Waits for the end."""
        pid = self._process.pid
        assert pid is not None
        patience = Patience(PATIENCE, pid)
        while self._process.exitcode is None and not patience.is_over:
            self._process.join(1)
        status = self._process.exitcode
        if status is None:
            self._process.kill()
            self._process.join()
        with self._folder:
            ended = Ended(status or 0, self._out.read_text(), self._err.read_text())
        assert status is not None, f"it did not end: {ended}"
        return ended


def killed_run(
    module: str, order: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> list[str]:
    """The steps that a run took until it was killed at `kill_at` of its order, or, where that is
    None, to its end, and what it said then."""
    ended = Run(module, order, environment).ended()
    assert ended.status == (0 if order["kill_at"] is None else -signal.SIGKILL), ended.err
    return [line for line in ended.out.splitlines() if not line.startswith("{")]  # no logs


@functools.cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(MODULES))
    # Up to Python 3.13.0 the server takes over no search path, and passes over what it does not
    # find (https://github.com/python/cpython/issues/117378).
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


def _main(module: str, order: str, environment: dict[str, str], out: Path, err: Path) -> None:
    for number, file in ((1, out), (2, err)):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.stdin = io.StringIO(order)
    os.environ.clear()
    os.environ.update(environment)
    # Imported again in each run, it would cost many times as much, and no test would show it.
    assert module in sys.modules, f"{module} was not imported before the fork"
    sys.modules[module].main()
    sys.stdout.flush()
