"""When workers run next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]

from server.console.answers.overview import LastRun
from server.schedules import read_schedule
from server.settings import ServerSettings

# The settings of the workers' schedules, by the names of the workers in their records.
_SCHEDULES: Final = {
    "notifications": "notifications_schedule",
    "metrics_sync": "metrics_schedule",
    "retention": "retention_schedule",
}


def next_runs(
    known: ServerSettings, runs: Mapping[str, Sequence[LastRun]], now: datetime
) -> dict[str, datetime]:
    """When each worker with a schedule runs next, by its settings; the template's are the same
    unless someone changed them there. `runs` are the last ones, newest first: an interval begins
    with a run, and a worker that has never run is due now."""
    return {
        worker: _next(getattr(known, setting), known.retention_time_zone, runs.get(worker, ()), now)
        for worker, setting in _SCHEDULES.items()
    }


def _next(expression: str, time_zone: str, runs: Sequence[LastRun], now: datetime) -> datetime:
    trigger = read_schedule(expression, time_zone)
    if not isinstance(trigger, IntervalTrigger):
        following: datetime | None = trigger.get_next_fire_time(None, now)
        return following or now
    if not runs:
        return now
    interval: timedelta = trigger.interval
    return runs[0].ended_at - timedelta(seconds=runs[0].seconds) + interval
