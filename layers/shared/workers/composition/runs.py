"""Every run leaves a row in worker_runs, even one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from workers.clock import Clock
from workers.composition.container import database, forget_clients
from workers.composition.error_tracking import track
from workers.database import Database
from workers.errors import CredentialsError, SharedCredentialsError, UnknownError, WorkerError
from workers.redaction import mask, redact
from workers.telemetry import logger

# Within the time that a run keeps free at its end: a database that hangs must not cost the run its
# answer.
RECORD_SECONDS = 2.0


@dataclass
class RunRecord:
    """What the run reports before it ends."""

    outcome: str = "unknown"
    succeeded: bool = False
    counts: Mapping[str, object] = field(default_factory=dict)

    def end(self, outcome: str, *, succeeded: bool, counts: Mapping[str, object]) -> None:
        """How it ended; `succeeded` if it did its work."""
        self.outcome, self.succeeded, self.counts = outcome, succeeded, counts


@contextmanager
def recorded_run(
    worker: str, clock: Clock, known: Callable[[], Database] = database
) -> Iterator[RunRecord]:
    """Records the run in the block, in the `known` database. What the block raises is raised again
    unchanged, recorded or not, except for secrets that it quotes.

    After a refused credential, the next invocation re-reads the secret.
    """
    started = clock.now()
    record = RunRecord()
    try:
        yield record
    except Exception as error:
        message = redact(str(error))
        logger.error(
            "The run failed",
            extra={
                "action": "run_failed",
                "error_class": type(error).__name__,
                "code": getattr(error, "code", None),
                "error": message,
            },
        )
        failed = RunRecord("failed", counts=record.counts)
        _record(worker, known, failed, clock.now() - started, type(error).__name__, message)
        track(error, worker)
        if isinstance(error, CredentialsError | SharedCredentialsError):
            forget_clients()  # the secret may have been rotated: re-read it next time
        # Lambda logs what is raised
        if mask(str(error)) == str(error):
            raise
        if isinstance(error, WorkerError):
            error.args = (message,)
            raise
        raise UnknownError(message, code=type(error).__name__).with_traceback(
            error.__traceback__
        ) from None
    _record(worker, known, record, clock.now() - started)


def _record(
    worker: str,
    known: Callable[[], Database],
    record: RunRecord,
    seconds: float,
    error_class: str | None = None,
    error: str | None = None,
) -> None:
    try:
        known().call_briefly(
            "record_worker_run",
            RECORD_SECONDS,
            worker=worker,
            outcome=record.outcome,
            succeeded=record.succeeded,
            seconds=seconds,
            counts=dict(record.counts),
            error_class=error_class,
            error=error,
        )
    except Exception as second:  # noqa: BLE001 - what counts is how the run went; this is logged
        logger.warning("The run could not be recorded", extra={"error": redact(str(second))})
