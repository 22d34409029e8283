"""What an operator asks first: is all well, what ran, what waits, what is read, what went."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console.alarms import conditions
from server.console.outcomes import WORKERS, outcome_of
from server.console.project import Project
from server.console.rendering import page
from server.console.schedules import next_runs
from server.settings import server_settings
from workers.doctor.api_versions import NOTICE, check_api_versions
from workers.doctor.database_checks import SCHEMA_VERSION
from workers.doctor.health import assess, read_worker_health
from workers.findings import Finding, failed, ok, warning
from workers.settings import Settings

PATH: Final = "/"
NAME: Final = "Overview"

RUNS: Final = 30
PARKED: Final = 10
HOURS: Final = 3
# An account is late once it has been due for longer than two plans and a sync take.
LATE: Final = timedelta(minutes=25)


def show(request: Request) -> Response:
    """All of it, renewed as it changes."""
    project: Project = request.app.state.project
    settings = project.settings
    found = project.call(
        "console_overview",
        row_limit=RUNS,
        parked_limit=PARKED,
        sent_since=f"{HOURS} hours",
        slack=f"{LATE.total_seconds():.0f} seconds",
    )
    health = project.call("worker_health")
    now = datetime.fromisoformat(found["now"])
    told = conditions(
        found, health, settings.switched_off, lingers=settings.notification_linger_seconds > 0
    )
    return page(
        request,
        "overview.html",
        {
            "now": now,
            "hours": HOURS,
            "health": health,
            "found": found,
            "raised": [one for one in told if one.state == "raised"],
            "alarms": told,
            "workers": _workers(found, health, settings, now),
            "minutes": _minutes(found["sent"]["minutes"], now),
            "archive": _archive(found["retention"], settings),
            "versions": _versions(project),
            "apis": _apis(settings, now.date()),
        },
    )


def _workers(
    found: Mapping[str, Any], health: Mapping[str, Any], settings: Settings, now: datetime
) -> list[dict[str, Any]]:
    """Of each worker whether it is well, its last runs in words, and when it runs next."""
    states = assess(read_worker_health(health), settings.switched_off).workers
    due = next_runs(server_settings(), found["runs"], now)
    due_at = found["accounts"]["next_due_at"]
    told = []
    for name, title in WORKERS.items():
        runs = [{**run, "means": outcome_of(name, run)} for run in found["runs"][name]]
        state = states.get(name)
        told.append(
            {
                "name": name,
                "title": title,
                "status": state.status if state else None,
                "reason": state.reason if state else None,
                "is_under_way": name in found["under_way"],
                "last_success_at": health["workers"][name]["last_success_at"],
                "due_at": due.get(name) or due_at,
                # a strip is read from left to right
                "runs": runs[::-1],
                "last": runs[0] if runs else None,
            }
        )
    return told


def _minutes(sent: Sequence[Sequence[Any]], now: datetime) -> list[tuple[datetime, int]]:
    """Every minute of the last hours with what was sent in it, this one last."""
    known = {datetime.fromisoformat(minute): count for minute, count in sent}
    last = now.replace(second=0, microsecond=0)
    return [
        (minute, known.get(minute, 0))
        for minute in (last - timedelta(minutes=back) for back in range(HOURS * 60 - 1, -1, -1))
    ]


def _archive(policies: Sequence[Mapping[str, Any]], settings: Settings) -> dict[str, Any]:
    """Until when what is gone is in the cold archive, verified: nothing else is purged."""
    activity = next((one for one in policies if one["entity_type"] == "activity_log"), None)
    until = None
    if activity is not None and activity["last_purged_at"] is not None:
        purged_at = datetime.fromisoformat(activity["last_purged_at"])
        until = purged_at - timedelta(days=activity["archive_days"])
    return {"bucket": settings.archive_bucket_name, "until": until}


def _versions(project: Project) -> dict[str, Any]:
    try:
        code = importlib.metadata.version("agency-dashboard-workers")
    except importlib.metadata.PackageNotFoundError:  # run from a folder, not installed
        code = None
    return {
        "code": code,
        "schema": project.call("workers_schema_version"),
        "needs": SCHEMA_VERSION,
    }


def _apis(settings: Settings, today: date) -> list[Finding]:
    """The ad platforms' versions and when each ends."""
    version = settings.linkedin_api_version
    # served for a year from the month that is its name
    end = date(int(version[:4]) + 1, int(version[4:]), 15)
    said = f"LINKEDIN_API_VERSION {version}"
    if end <= today:
        linkedin = failed(f"{said} has ended about {end}", "Set it to a version that is served")
    elif end - today <= NOTICE:
        linkedin = warning(f"{said} ends about {end}", "Set it to a newer version soon")
    else:
        linkedin = ok(f"{said} is served until about {end}")
    return [*check_api_versions(settings, today), linkedin]


ROUTES: Final = [Route("/", show)]
