"""What an operator asks first: does everything work, what ran, what waits, and what is due."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.alarms import conditions
from server.console.answers.overview import (
    LastRun,
    Overview,
    PolicyProgress,
    Sent,
    read_overview,
)
from server.console.outcomes import WORKERS, Outcome, outcome_of
from server.console.project import Project
from server.console.rendering import page
from server.console.schedules import next_runs
from server.settings import server_settings
from workers.answers import read_text
from workers.doctor.api_versions import NOTICE, check_api_versions
from workers.doctor.database_checks import SCHEMA_VERSION
from workers.doctor.health import WorkerHealth, assess, read_worker_health
from workers.findings import Finding, failed, ok, warning
from workers.settings import Settings

PATH: Final = "/"
NAME: Final = "Overview"

RUNS: Final = 30
STALLED: Final = 10
HOURS: Final = 3
# An account is late once it has been due for longer than two plans and a sync take.
LATE: Final = timedelta(minutes=25)


def show(request: Request) -> Response:
    """The whole overview, updated live."""
    project: Project = request.app.state.project
    settings = project.settings
    found = read_overview(
        project.answer(
            "console_overview",
            row_limit=RUNS,
            stalled_limit=STALLED,
            sent_since=f"{HOURS} hours",
            slack=f"{LATE.total_seconds():.0f} seconds",
        )
    )
    health = read_worker_health(project.call("worker_health"))
    alarms = conditions(
        found, health, settings.switched_off, lingers=settings.notification_linger_seconds > 0
    )
    return page(
        request,
        "overview.html",
        {
            "now": found.now,
            "hours": HOURS,
            "health": health,
            "found": found,
            "raised": [one for one in alarms if one.state == "raised"],
            "alarms": alarms,
            "workers": _workers(found, health, settings),
            "minutes": _minutes(found.sent, found.now),
            "archive": _archive(found.retention, settings),
            "versions": _versions(project),
            "apis": _apis(settings, found.now.date()),
        },
    )


@dataclass(frozen=True)
class ShownRun:
    """A run in a worker's strip, with what its outcome means."""

    run: LastRun
    means: Outcome


@dataclass(frozen=True)
class Worker:
    """A worker's card; `status` is healthy, unhealthy or off, None where the worker has none of its
    own. `runs` are the last ones, oldest first."""

    name: str
    title: str
    status: str | None
    reason: str | None
    is_in_progress: bool
    last_success_at: datetime | None
    due_at: datetime | None
    runs: tuple[ShownRun, ...]

    @property
    def last(self) -> ShownRun | None:
        """The last run; None before the first."""
        return self.runs[-1] if self.runs else None


def _workers(found: Overview, health: WorkerHealth, settings: Settings) -> list[Worker]:
    states = assess(health, settings.switched_off).workers
    due = next_runs(server_settings(), found.runs, found.now)
    return [
        Worker(
            name=name,
            title=title,
            status=states[name].status if name in states else None,
            reason=states[name].reason if name in states else None,
            is_in_progress=name in found.in_progress,
            last_success_at=health.workers[name].succeeded_at,
            due_at=due.get(name) or found.accounts.next_due_at,
            # a strip is read from left to right
            runs=tuple(
                ShownRun(run, outcome_of(name, run)) for run in reversed(found.runs.get(name, ()))
            ),
        )
        for name, title in WORKERS.items()
    ]


def _minutes(sent: Sent, now: datetime) -> list[tuple[datetime, int]]:
    """Every minute of the last hours with the number sent in it, the current one last."""
    last = now.replace(second=0, microsecond=0)
    return [
        (minute, sent.minutes.get(minute, 0))
        for minute in (last - timedelta(minutes=back) for back in range(HOURS * 60 - 1, -1, -1))
    ]


@dataclass(frozen=True)
class Archive:
    """The cold archive: its bucket, and the day up to which purged activity is in it, verified."""

    bucket: str | None
    until: datetime | None


def _archive(policies: Sequence[PolicyProgress], settings: Settings) -> Archive:
    activity = next((one for one in policies if one.entity_type == "activity_log"), None)
    until = None
    if activity is not None and activity.last_purged_at and activity.archive_days is not None:
        # nothing is purged before it is verified
        until = activity.last_purged_at - timedelta(days=activity.archive_days)
    return Archive(settings.archive_bucket_name, until)


@dataclass(frozen=True)
class Versions:
    """The installed code (None where it is not installed as a package), the database's schema, and
    the one that this code needs."""

    code: str | None
    schema: str
    needs: str


def _versions(project: Project) -> Versions:
    code: str | None
    try:
        code = importlib.metadata.version("agency-dashboard-workers")
    except importlib.metadata.PackageNotFoundError:
        code = None
    schema = read_text("workers_schema_version", project.call("workers_schema_version"))
    return Versions(code, schema, SCHEMA_VERSION)


def _apis(settings: Settings, today: date) -> list[Finding]:
    """The versions of the ad platforms' APIs, and when each ends."""
    version = settings.linkedin_api_version
    # served for a year from the month that it is named after
    end = date(int(version[:4]) + 1, int(version[4:]), 15)
    name = f"LINKEDIN_API_VERSION {version}"
    if end <= today:
        linkedin = failed(f"{name} ended about {end}", "Set it to a version that is still served")
    elif end - today <= NOTICE:
        linkedin = warning(f"{name} ends about {end}", "Set it to a newer version soon")
    else:
        linkedin = ok(f"{name} is served until about {end}")
    return [*check_api_versions(settings, today), linkedin]


ROUTES: Final = [Route("/", show)]
