"""How long data is kept: the policies, what is due now, and the cold archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console import asked, charts
from server.console.answers.retention import (
    DueRows,
    PolicyState,
    read_due_rows,
    read_last_run,
    read_retention,
)
from server.console.charts import Chart, Series
from server.console.project import Project
from server.console.rendering import page
from workers.clock import utc_now
from workers.retention.policies import Policy, read_policies

PATH: Final = "/retention"
NAME: Final = "Retention"

# The days of a chart, and of a page of the archive.
DAYS: Final = 31
# Rows of a day that are counted; there may be more.
MOST: Final = 400
# The rows of a table that are due, by whether the policy's shorter time applies.
_KINDS: Final[Mapping[tuple[str, bool], str]] = MappingProxyType(
    {
        ("notification_queue", True): "delivered and skipped ones",
        ("notification_queue", False): "dead and expired ones",
        ("metric_sync_logs", True): "successful and partial ones",
        ("metric_sync_logs", False): "failed ones",
    }
)
# Objects of a day that a page reads back.
MOST_OBJECTS: Final = 50


def policies(request: Request) -> Response:
    """Each policy, what the last run did by it, and what is due now."""
    project: Project = request.app.state.project
    found = read_retention(project.answer("console_retention"))
    valid, refused = read_policies(found.rows)
    runs = project.answers("list_worker_runs", row_limit=1, worker="retention")
    return page(
        request,
        "retention.html",
        {
            "now": found.now,
            "policies": [
                _shown(project, one, found.states[one.ids[0]], found.now) for one in valid
            ],
            "refused": refused,
            "run": read_last_run(runs),
            "whole_from": found.whole_from,
            "bucket": project.settings.archive_bucket_name,
            "most": MOST,
        },
    )


@dataclass(frozen=True)
class DueStep:
    """The rows of a table that are due, by day. `kind` says which, where not all are; `older`
    counts those before the chart's days. `at_least`: there may be more, as a count ended at
    MOST."""

    what: str
    table: str
    kind: str | None
    rows: int
    older: int
    at_least: bool
    days: Mapping[date, int]
    until: datetime | date
    oldest: date | None = None

    @property
    def name(self) -> str:
        """The name in a legend."""
        return f"{self.what}: {self.kind or self.table}"


@dataclass(frozen=True)
class ShownPolicy:
    """A policy with its state, and what is due by it."""

    policy: Policy
    state: PolicyState
    steps: tuple[DueStep, ...]
    chart: Markup | None


def _shown(project: Project, policy: Policy, state: PolicyState, now: datetime) -> ShownPolicy:
    found = project.answers(
        "console_due_days",
        entity_type=policy.entity_type,
        **policy.cutoffs(now).arguments(),
        day_limit=DAYS,
        most=MOST,
    )
    steps = tuple(due_step(read_due_rows(one)) for one in found)
    chart = due_chart(policy.entity_type, steps)
    return ShownPolicy(policy, state, steps, None if chart is None else charts.figure(chart))


def due_step(due: DueRows) -> DueStep:
    """For the page, of the due rows of a table."""
    # the ledger's rows are counted as they are stored, so completely
    is_limited = due.older is not None
    older = due.older or 0
    return DueStep(
        what=due.what,
        table=due.table,
        kind=_KINDS.get((due.table, due.is_active)),
        rows=sum(due.days.values()) + older,
        older=older,
        at_least=due.oldest is not None
        or (is_limited and (older >= MOST or any(count >= MOST for count in due.days.values()))),
        days=due.days,
        until=due.until,
        oldest=due.oldest,
    )


def due_chart(name: str, steps: Sequence[DueStep]) -> Chart | None:
    """The rows by day, up to the newest day with due rows; None where nothing is due."""
    newest = max((day for step in steps for day in step.days), default=None)
    if newest is None:
        return None
    days = [newest - timedelta(days=number) for number in reversed(range(DAYS))]
    series = [
        Series(
            step.name,
            number,
            {day: Decimal(count) for day, count in step.days.items() if day >= days[0]},
        )
        for number, step in enumerate(steps, 1)
    ]
    return Chart(f"{name}, due now", "rows", days, series)


# --- the cold archive ---


def archive(request: Request) -> Response:
    """The objects in the archive by day, up to today or another day."""
    project: Project = request.app.state.project
    until = asked.asked(request, "until", asked.day, utc_now().date())
    since = until - timedelta(days=DAYS - 1)
    view = project.archive
    days = view.days(since, until) if view is not None else []
    drawn: Markup | None = None
    if days:
        shown = [since + timedelta(days=number) for number in range(DAYS)]
        sizes = {one.day: Decimal(one.size) for one in days}
        drawn = charts.figure(
            Chart("Cold archive by day", "bytes", shown, [Series("objects", 1, sizes)])
        )
    return page(
        request,
        "archive.html",
        {
            "bucket": project.settings.archive_bucket_name,
            "days": days[::-1],
            "chart": drawn,
            "since": since,
            "until": until,
            "earlier": asked.with_query(request, until=f"{since - timedelta(days=1)}"),
            "later": asked.with_query(request, until=f"{until + timedelta(days=DAYS)}"),
        },
    )


def archived_day(request: Request) -> Response:
    """A day's objects, each read back and compared with its manifest."""
    project: Project = request.app.state.project
    try:
        day = asked.day(request.path_params["day"])
    except ValueError:
        raise HTTPException(404) from None
    view = project.archive
    if view is None:
        raise HTTPException(404)
    objects, are_all = view.verify(day, MOST_OBJECTS)
    context = {"day": day, "objects": objects, "are_all": are_all}
    return page(request, "archived_day.html", context)


ROUTES: Final = [
    Route(PATH, policies),
    Route(f"{PATH}/archive", archive),
    Route(f"{PATH}/archive/{{day}}", archived_day),
]
