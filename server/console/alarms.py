"""The alarms' conditions as they stand now.

CloudWatch watches figures of runs, over periods. The same is told here from what is recorded, by
the thresholds of template.yaml, also where there is no CloudWatch. The dead-letter queues are AWS's
alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from server.console.rendering import counted, span
from workers.doctor.health import hours_since_retention, read_worker_health

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

# Whose part each alarm is, by which it is off; none for those of all.
_PARTS: Final = {
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
    """Of one alarm, by its name in the template: what there is now, and what to do about it."""

    alarm: str
    state: State
    text: str
    mend: str = ""


def conditions(
    found: Mapping[str, Any], health: Mapping[str, Any], off: Collection[str], *, lingers: bool
) -> list[Condition]:
    """Those of every alarm, what is raised first.

    `found` is what console_overview returns, `health` what worker_health does; `off` are the
    workers that are switched off, `lingers` says whether notifications go on looking.
    """
    told = [*_of_runs(found, lingers), *_of_the_queue(found, health), *_of_metrics(found, health)]
    told += [*_of_retention(found, health), *_of_aws()]
    switched = [
        Condition(one.alarm, "off", "switched off") if _PARTS.get(one.alarm) in off else one
        for one in told
    ]
    order = ("raised", "quiet", "elsewhere", "off")
    return sorted(switched, key=lambda one: order.index(one.state))


def _condition(alarm: str, is_raised: bool, text: str, mend: str) -> Condition:
    return Condition(alarm, "raised", text, mend) if is_raised else Condition(alarm, "quiet", text)


def _of_runs(found: Mapping[str, Any], lingers: bool) -> list[Condition]:
    signs, runs, now = found["signs"], found["runs"], datetime.fromisoformat(found["now"])
    longest = signs["longest_notifications"] or 0
    return [
        _condition(
            "FunctionErrors",
            signs["raised"] > 0,
            f"{counted(signs['raised'], 'run')} failed as a whole within five minutes",
            "The run's page says why; if that does not tell, ask the doctor",
        ),
        Condition("NotificationsMissing", "quiet", "a run is under way")
        if "notifications" in found["under_way"]
        else _missing("NotificationsMissing", runs["notifications"], now, NOTIFICATIONS_MISSING),
        _missing("MetricsSyncMissing", runs["metrics_sync"], now, METRICS_SYNC_MISSING),
        _condition(
            "NotificationsDuration",
            longest > (LINGERING_DURATION if lingers else NOTIFICATIONS_DURATION),
            f"the longest run of the last five minutes took {span(longest)}",
            "A database or a Slack that hangs is the likely cause: read the run's log",
        ),
        _condition(
            "ConnectionSyncDuration",
            (signs["longest_sync"] or 0) > CONNECTION_SYNC_DURATION,
            f"the longest sync of the last five minutes took {span(signs['longest_sync'] or 0)}",
            "What was read is stored and the next sync goes on: act when it comes again",
        ),
    ]


def _missing(
    alarm: str, runs: list[dict[str, Any]], now: datetime, longest: timedelta
) -> Condition:
    if not runs:
        return Condition(alarm, "raised", "there was no run yet", _START)
    apart = now - datetime.fromisoformat(runs[0]["ended_at"])
    return _condition(
        alarm,
        apart > longest,
        f"the last run ended {span(apart.total_seconds())} ago",
        "Look whether its schedule is enabled or its process runs, then into the log",
    )


def _of_the_queue(found: Mapping[str, Any], health: Mapping[str, Any]) -> list[Condition]:
    signs, oldest = found["signs"], health["oldest_due_seconds"] or 0
    return [
        _condition(
            "OldestDue",
            oldest > OLDEST_DUE,
            f"the oldest that is due has been so for {span(oldest)}"
            if oldest
            else "nothing is due",
            "Ask the doctor: Slack, the token or the database may be what it waits for. If all is "
            "well, the queue is longer than Slack's limits let through",
        ),
        _condition(
            "NotificationsDead",
            signs["dead"] > 0,
            f"{counted(signs['dead'], 'notification')} ended unsent within five minutes",
            "Mend what their pages say, then redrive: python -m workers.operate dead redrive",
        ),
        _condition(
            "CredentialsRefused",
            signs["refused"] > 0,
            f"{counted(signs['refused'], 'run')} met a refused key within five minutes",
            "The doctor says which; put a new one where the settings are",
        ),
        _condition(
            "DestinationsParked",
            health["parked"] > 0,
            f"{counted(health['parked'], 'destination')} parked",
            "Mend what is said beside each, then release it: python -m workers.operate parked "
            "release; or it is tried again by itself within six hours",
        ),
    ]


def _of_metrics(found: Mapping[str, Any], health: Mapping[str, Any]) -> list[Condition]:
    failed = found["signs"]["syncs_failed"]
    return [
        _condition(
            "ConnectionsParked",
            health["parked_connections"] > 0,
            f"{counted(health['parked_connections'], 'connection')} parked",
            "Give it credentials that its platform takes, or release it: python -m "
            "workers.operate connections release",
        ),
        _condition(
            "SyncsFailed",
            failed >= SYNCS_FAILED,
            f"{counted(failed, 'sync', 'syncs')} failed within an hour",
            "One account with an error of its own, or all of a platform, which is then away; they "
            "are tried again by themselves",
        ),
    ]


def _of_retention(found: Mapping[str, Any], health: Mapping[str, Any]) -> list[Condition]:
    hours, outcome = (
        hours_since_retention(read_worker_health(health)),
        found["signs"]["retention_outcome"],
    )
    return [
        _condition(
            "RetentionOverdue",
            hours > RETENTION_OVERDUE_HOURS,
            f"retention was last complete {span(hours * 3600)} ago" if hours else "no run yet",
            "Read what its last run said, then start it: make invoke FUNCTION=retention "
            "TARGET=project, or python -m server retention --once",
        ),
        _condition(
            "RetentionFailed",
            outcome in ("failed", "incomplete"),
            f"its last run: {outcome or 'none yet'}",
            "Its policies say which rows cannot go, and why",
        ),
    ]


def _of_aws() -> list[Condition]:
    text = "known in AWS alone: look at the alarm there"
    return [
        Condition(alarm, "elsewhere", text)
        for alarm in ("DeadLetterQueue", "ConnectionSyncDeadLetterQueue")
    ]
