"""One pass, for cron and the like: `python -m server --once`."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Sequence
from typing import Final

from server.runs import Runs, Worker
from server.serving import STOP_WITHIN
from workers.composition.notifications import DID_ITS_WORK
from workers.errors import ConfigurationError
from workers.telemetry import logger

DONE: Final = 0
FAILED: Final = 1
MISCONFIGURED: Final = 2

# Outcomes that are not failures: another process may be running, the time may be up.
_SUCCESSFUL: Final[dict[Worker, frozenset[str]]] = {
    "notifications": DID_ITS_WORK | {"busy"},
    "metrics": frozenset({"planned"}),
    "retention": frozenset({"complete", "unfinished", "busy"}),
}


def run_once(workers: Sequence[Worker]) -> int:
    """Run each worker once, one after the other; returns the exit status.

    DONE when the work is done or the process was asked to stop, FAILED, or MISCONFIGURED when
    settings have to be fixed. A failing worker does not stop the others.
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


def _pass(runs: Runs, worker: Worker) -> int:
    runs.failures.clear()
    outcome = runs.run(worker)
    if worker == "metrics":
        runs.syncs.wait()
        runs.syncs.release_failed()
    if any(isinstance(error, ConfigurationError) for error in runs.failures):
        return MISCONFIGURED
    succeeded = outcome in _SUCCESSFUL[worker] and not runs.failures
    return DONE if succeeded else FAILED
