"""The sync of one account and its clients."""

from __future__ import annotations

import random
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from workers.clock import Clock, SystemClock
from workers.composition.container import (
    InvocationContext,
    database,
    deadline,
    once_per_container,
    settings,
)
from workers.composition.runs import recorded_run
from workers.errors import SharedCredentialsError
from workers.metrics.outcomes import SyncReport
from workers.metrics.platforms.fetching import Session
from workers.metrics.platforms.sockets import interrupt_reads
from workers.metrics.sync import ConnectionSync
from workers.metrics.sync_requests import SyncRequest
from workers.telemetry import emit_metrics, logger

WORKER = "connection_sync"


class Sessions:
    """The HTTP sessions of the platforms, each created when first needed."""

    def __init__(self) -> None:
        self._made: dict[str, Session] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._made)

    def of(self, platform: str) -> Session:
        """The platform's own session, which keeps its connections open."""
        with self._lock:
            if platform not in self._made:
                self._made[platform] = Session()
            return self._made[platform]


def _close_all(made: Mapping[str, Session]) -> None:
    for session in made.values():
        session.close()


@once_per_container
def sessions() -> Sessions:
    return Sessions()


def run_connection_sync(
    body: str, context: InvocationContext, clock: Clock | None = None
) -> dict[str, Any]:
    """The sync that one message of the queue asks for; returns its summary.

    An ad platform's refusal is recorded, and not an error here. Raises if the message is to be
    delivered again: if it is malformed, or the database fails. Raises SharedCredentialsError, once
    the sync is recorded, if the deployment's own credentials are refused.
    """
    clock = clock or SystemClock()
    sync_until = deadline(context, clock)
    with recorded_run(WORKER, clock) as record:
        sync_request = SyncRequest.from_body(body)
        sync = ConnectionSync(database(), settings(), clock, sessions().of, random.random)
        report = sync.run(sync_request, sync_until)
        _log(report)
        summary = report.summary()
        record.end(report.status, succeeded=report.status == "success", counts=summary)
        if report.misconfigured:
            raise SharedCredentialsError(report.misconfigured, code=str(report.code))
    return summary


def break_syncs_off() -> None:
    """Makes every sync of this process end now, whatever it is waiting for: its clock has stopped,
    which it sees once its read has ended."""
    interrupt_reads()


def _log(report: SyncReport) -> None:
    summary = report.summary()
    if report.status in ("stale", "paused"):
        why = "is no longer valid" if report.status == "stale" else "waits for its platform"
        logger.info(f"The sync request {why}", extra={"action": "connection_sync", **summary})
        return
    say = logger.warning if report.status in ("failed", "lost") else logger.info
    say(f"The sync ended: {report.status}", extra={"action": "connection_sync", **summary})
    emit_metrics(
        WORKER,
        {
            "SyncsSucceeded": report.status == "success",
            "SyncsFailed": report.status == "failed",
        },
    )
