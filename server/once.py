"""One pass, for cron and the like: `python -m server --once`."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Sequence
from typing import Any, Final

from server.runs import Runs
from server.serving import STOP_WITHIN
from workers.composition.notifications import DID_ITS_WORK
from workers.errors import ConfigurationError
from workers.telemetry import logger

DONE: Final = 0
FAILED: Final = 1
MISCONFIGURED: Final = 2

# How a run may end that is no failure: another process may be at it, the time may be up.
_WELL: Final = {
    "notifications": DID_ITS_WORK | {"busy"},
    "retention": frozenset({"complete", "unfinished", "busy"}),
}


def run_once(workers: Sequence[str]) -> int:
    """Runs each worker once, one after the other; the exit status.

    DONE when it did its work or was asked to end, FAILED, or MISCONFIGURED where a person has to
    set something right. What fails for one worker keeps no other from its run.
    """
    runs = Runs()
    ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: ends.put(number))
    results: list[int] = []

    def work() -> None:
        try:
            results.extend(_pass(runs, worker) for worker in workers)
        finally:
            ends.put(None)

    threading.Thread(target=work, name="once", daemon=True).start()
    caught = ends.get()
    if caught is not None:
        why = signal.Signals(caught).name
        logger.info("Stopping", extra={"action": "stopping", "signal": why})
        runs.stop(STOP_WITHIN)
        return DONE
    return max(results, default=FAILED)


def _pass(runs: Runs, worker: str) -> int:
    runs.failures.clear()
    summary = runs.run(worker)
    if worker == "metrics":
        runs.syncs.wait()
        runs.syncs.give_back_failed()
    if any(isinstance(error, ConfigurationError) for error in runs.failures):
        return MISCONFIGURED
    is_well = summary is not None and not runs.failures and _is_well(worker, summary)
    return DONE if is_well else FAILED


def _is_well(worker: str, summary: dict[str, Any]) -> bool:
    return worker not in _WELL or summary["outcome"] in _WELL[worker]
