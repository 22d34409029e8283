"""The conditions of the alarms, as they are now.

CloudWatch watches metrics of runs over periods. Here the same is judged from what is recorded, with
the thresholds of template.yaml, also where there is no CloudWatch. Dead-letter queues exist only in
AWS.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from server.console.answers.overview import LastRun, Overview
from server.console.rendering import counted, span
from workers.doctor.health import WorkerHealth, hours_since_retention

State = Literal["raised", "quiet", "off", "elsewhere"]

NOTIFICATIONS_MISSING: Final = timedelta(minutes=5)
METRICS_SYNC_MISSING: Final = timedelta(minutes=25)
# Seconds of a run, of a run that lingers, and of a sync.
NOTIFICATIONS_DURATION: Final = 118.5
LINGERING_DURATION: Final = 898.5
CONNECTION_SYNC_DURATION: Final = 295.0
OLDEST_DUE: Final = 3600
SYNCS_FAILED: Final = 3
RETENTION_OVERDUE_HOURS: Final = 192

_START: Final = (
    "Enable the schedule in AWS, or start the workers as a process: python -m server, make serve"
)

# The worker that each alarm belongs to, with which it is switched off; other alarms are of all.
_WORKERS: Final = {
    "NotificationsMissing": "notifications",
    "NotificationsDuration": "notifications",
    "OldestDue": "notifications",
    "NotificationsDead": "notifications",
    "CredentialsRefused": "notifications",
    "DestinationsParked": "notifications",
    "MetricsSyncMissing": "metrics_sync",
    "ConnectionSyncDuration": "metrics_sync",
    "ConnectionSyncDeadLetterQueue": "metrics_sync",
    "ConnectionsParked": "metrics_sync",
    "SyncsFailed": "metrics_sync",
    "RetentionOverdue": "retention",
    "RetentionFailed": "retention",
}


@dataclass(frozen=True)
class Condition:
    """Of one alarm, by its name in the template: what is the case now, and how to fix it."""

    alarm: str
    state: State
    text: str
    fix: str = ""


def conditions(
    found: Overview, health: WorkerHealth, off: Collection[str], *, lingers: bool
) -> list[Condition]:
    """Those of every alarm, raised ones first.

    `off` are the workers that are switched off; `lingers`: notification runs wait for more to send.
    """
    every = [*_of_runs(found, lingers), *_of_the_queue(found, health), *_of_metrics(found, health)]
    every += [*_of_retention(found, health), *_of_aws()]
    switched = [
        Condition(one.alarm, "off", "switched off") if _WORKERS.get(one.alarm) in off else one
        for one in every
    ]
    order = ("raised", "quiet", "elsewhere", "off")
    return sorted(switched, key=lambda one: order.index(one.state))


def _condition(alarm: str, is_raised: bool, text: str, fix: str) -> Condition:
    return Condition(alarm, "raised", text, fix) if is_raised else Condition(alarm, "quiet", text)


def _of_runs(found: Overview, lingers: bool) -> list[Condition]:
    signs, now = found.signs, found.now
    sent, planned = found.runs.get("notifications", ()), found.runs.get("metrics_sync", ())
    longest = signs.longest_notifications
    return [
        _condition(
            "FunctionErrors",
            signs.raised > 0,
            f"{counted(signs.raised, 'run')} failed with an error in the last five minutes",
            "The run's page says why; if that does not explain it, run the doctor",
        ),
        Condition("NotificationsMissing", "quiet", "a run is in progress")
        if "notifications" in found.in_progress
        else _missing("NotificationsMissing", sent, now, NOTIFICATIONS_MISSING),
        _missing("MetricsSyncMissing", planned, now, METRICS_SYNC_MISSING),
        _condition(
            "NotificationsDuration",
            longest > (LINGERING_DURATION if lingers else NOTIFICATIONS_DURATION),
            f"the longest run of the last five minutes took {span(longest)}",
            "Most likely the database or Slack hangs: read the log of the run",
        ),
        _condition(
            "ConnectionSyncDuration",
            signs.longest_sync > CONNECTION_SYNC_DURATION,
            f"the longest sync of the last five minutes took {span(signs.longest_sync)}",
            "What was read is stored and the next sync continues: act only if it happens again",
        ),
    ]


def _missing(alarm: str, runs: Sequence[LastRun], now: datetime, longest: timedelta) -> Condition:
    if not runs:
        return Condition(alarm, "raised", "there has been no run yet", _START)
    apart = now - runs[0].ended_at
    return _condition(
        alarm,
        apart > longest,
        f"the last run ended {span(apart.total_seconds())} ago",
        "Check that its schedule is enabled or its process runs, then read the log",
    )


def _of_the_queue(found: Overview, health: WorkerHealth) -> list[Condition]:
    signs, oldest = found.signs, health.queue.oldest_due_seconds or 0
    return [
        _condition(
            "OldestDue",
            oldest > OLDEST_DUE,
            f"the oldest due notification has been due for {span(oldest)}"
            if oldest
            else "nothing is due",
            "Run the doctor: the cause may be Slack, the token or the database. If it finds no "
            "problem, there is more in the queue than Slack's limits let through",
        ),
        _condition(
            "NotificationsDead",
            signs.dead > 0,
            f"{counted(signs.dead, 'notification')} ended unsent in the last five minutes",
            "Fix what their pages say, then redrive: python -m workers.operate dead redrive",
        ),
        _condition(
            "CredentialsRefused",
            signs.refused > 0,
            f"{counted(signs.refused, 'run')} had a key refused in the last five minutes",
            "The doctor says which; put a new one into the settings",
        ),
        _condition(
            "DestinationsParked",
            health.queue.parked_destinations > 0,
            f"{counted(health.queue.parked_destinations, 'destination')} parked",
            "Fix the reason shown for each, then release it: python -m workers.operate parked "
            "release. It is also tried again automatically within six hours",
        ),
    ]


def _of_metrics(found: Overview, health: WorkerHealth) -> list[Condition]:
    failed = found.signs.syncs_failed
    return [
        _condition(
            "ConnectionsParked",
            health.parked_connections > 0,
            f"{counted(health.parked_connections, 'connection')} parked",
            "Give it credentials that its platform accepts, or release it: python -m "
            "workers.operate connections release",
        ),
        _condition(
            "SyncsFailed",
            failed >= SYNCS_FAILED,
            f"{counted(failed, 'sync', 'syncs')} failed in the last hour",
            "Either one account has an error of its own, or a platform does not answer; syncs are "
            "tried again automatically",
        ),
    ]


def _of_retention(found: Overview, health: WorkerHealth) -> list[Condition]:
    hours, outcome = hours_since_retention(health), found.signs.retention_outcome
    return [
        _condition(
            "RetentionOverdue",
            hours > RETENTION_OVERDUE_HOURS,
            f"retention last completed {span(hours * 3600)} ago" if hours else "no run yet",
            "See what its last run reported, then start it: make invoke FUNCTION=retention "
            "TARGET=project, or python -m server retention --once",
        ),
        _condition(
            "RetentionFailed",
            outcome in ("failed", "incomplete"),
            f"its last run: {outcome or 'none yet'}",
            "Its policies show which rows could not be deleted, and why",
        ),
    ]


def _of_aws() -> list[Condition]:
    text = "known only in AWS: see the alarm there"
    return [
        Condition(alarm, "elsewhere", text)
        for alarm in ("DeadLetterQueue", "ConnectionSyncDeadLetterQueue")
    ]
