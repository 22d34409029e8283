"""The notification worker and its clients."""

from __future__ import annotations

import random

from workers.clock import Clock, SystemClock
from workers.composition.container import (
    InvocationContext,
    database,
    deadline,
    once_per_container,
    settings,
)
from workers.composition.runs import recorded_run
from workers.errors import CredentialsError
from workers.notifications.doorbell import Doorbell
from workers.notifications.drain import Drain
from workers.notifications.report import Report
from workers.notifications.slack import Slack
from workers.telemetry import emit_metrics, logger

WORKER = "notifications"
# A run that waits because Slack asked it to does what it should.
DID_ITS_WORK = frozenset({"drained", "deadline", "waiting", "handed_over"})


@once_per_container
def slack() -> Slack:
    return Slack(settings().slack_bot_token, settings().slack_api_url)


def run_notifications(
    context: InvocationContext, clock: Clock | None = None, doorbell: Doorbell | None = None
) -> dict[str, object]:
    """One run of the notification worker; returns its summary, raises when it failed as a whole.

    A ring of `doorbell` makes it poll at once.
    """
    clock = clock or SystemClock()
    drain_until = deadline(context, clock)
    with recorded_run(WORKER, clock) as record:
        drain = Drain(database(), slack(), settings(), clock, random.random, doorbell)
        try:
            report = drain.run(drain_until)
        except CredentialsError:
            emit_metrics(WORKER, {"CredentialsRefused": 1})
            raise
        _log(report)
        summary = report.summary()
        outcome = report.outcome or "failed"
        record.end(outcome, succeeded=outcome in DID_ITS_WORK, counts=summary)
    return summary


def _log(report: Report) -> None:
    summary = report.summary()
    if report.outcome == "busy":
        logger.info("Another run is active", extra={"action": "notifications_run", **summary})
        return
    logger.info("The notification run ended", extra={"action": "notifications_run", **summary})
    emit_metrics(
        WORKER,
        {
            "NotificationsSent": report.counts["sent"],
            "NotificationsDead": report.counts["dead"],
            "OldestDueSeconds": report.oldest_due or 0.0,
            "Parked": report.parked,
            "CredentialsRefused": 0,
        },
    )
