"""When workers run next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]

from server.schedules import read_schedule
from server.settings import ServerSettings

# By the worker's name in its records: that of its schedule in the settings.
_SCHEDULES: Final = {
    "notifications": "notifications_schedule",
    "metrics_sync": "metrics_schedule",
    "retention": "retention_schedule",
}


def next_runs(
    known: ServerSettings, runs: Mapping[str, list[dict[str, Any]]], now: datetime
) -> dict[str, datetime]:
    """When each worker that has a schedule is due next, by its settings; those of the template are
    the same unless somebody changed them there. `runs` are its last ones, newest first: an interval
    begins with a run, and one that never ran is due now."""
    return {
        worker: _next(getattr(known, setting), known.retention_time_zone, runs[worker], now)
        for worker, setting in _SCHEDULES.items()
    }


def _next(expression: str, time_zone: str, runs: list[dict[str, Any]], now: datetime) -> datetime:
    trigger = read_schedule(expression, time_zone)
    if not isinstance(trigger, IntervalTrigger):
        following: datetime | None = trigger.get_next_fire_time(None, now)
        return following or now
    if not runs:
        return now
    ended_at = datetime.fromisoformat(runs[0]["ended_at"])
    interval: timedelta = trigger.interval
    return ended_at - timedelta(seconds=float(runs[0]["seconds"])) + interval
