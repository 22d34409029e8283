"""What is kept for how long: the policies, what a run would take now, and the cold archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console import asked, charts
from server.console.charts import Chart, Series
from server.console.project import Project
from server.console.rendering import page
from workers.answers import Answer
from workers.clock import utc_now
from workers.retention.policies import Policy, read_policies

PATH: Final = "/retention"
NAME: Final = "Retention"

# Days that a chart and a page of the archive have.
DAYS: Final = 31
# Rows of one day that are counted: it may be more than that.
MOST: Final = 400
# What the steps of a table take, by whether it is by the policy's shorter time.
_KINDS: Final[Mapping[tuple[str, bool], str]] = MappingProxyType(
    {
        ("notification_queue", True): "delivered and skipped ones",
        ("notification_queue", False): "dead and expired ones",
        ("metric_sync_logs", True): "successful and partial ones",
        ("metric_sync_logs", False): "failed ones",
    }
)
# Objects of one day that are read back for a page.
MOST_OBJECTS: Final = 50


def policies(request: Request) -> Response:
    """Each policy, how far the last run came with it, and what one would take now."""
    project: Project = request.app.state.project
    found = project.call("console_retention")
    now = datetime.fromisoformat(found["now"])
    carried_out, refused = read_policies(Answer.each("console_retention", found["policies"]))
    by_id = {row["id"]: row for row in found["policies"]}
    runs = project.call("list_worker_runs", row_limit=1, worker="retention")
    return page(
        request,
        "retention.html",
        {
            "now": now,
            "policies": [
                {"policy": one, "progress": by_id[one.ids[0]], **_due(project, one, now)}
                for one in carried_out
            ],
            "refused": refused,
            "run": runs[0] if runs else None,
            "whole_from": found["whole_from"],
            "bucket": project.settings.archive_bucket_name,
            "most": MOST,
        },
    )


@dataclass(frozen=True)
class DueStep:
    """What a run would take of one table, by day; `kind` of it, where that is not all; `older`:
    rows of earlier days than the chart has. A day that reached MOST may have more, so `at_least`
    says whether the sum does."""

    what: str
    table: str
    kind: str | None
    rows: int
    older: int
    at_least: bool
    days: Mapping[date, int]
    until: str
    oldest: str | None = None

    @property
    def name(self) -> str:
        """In a legend."""
        return f"{self.what}: {self.kind or self.table}"


def _due(project: Project, policy: Policy, now: datetime) -> dict[str, Any]:
    found = project.call(
        "console_due_days",
        entity_type=policy.entity_type,
        **policy.cutoffs(now).arguments(),
        day_limit=DAYS,
        most=MOST,
    )
    steps = [due_step(step) for step in found]
    chart = due_chart(policy.entity_type, steps)
    return {"steps": steps, "chart": None if chart is None else charts.figure(chart)}


def due_step(row: Mapping[str, Any]) -> DueStep:
    """Of what console_due_days has for a table."""
    days = {date.fromisoformat(day): int(count) for day, count in row["days"]}
    older = row.get("older") or 0
    is_counted = "oldest" not in row
    return DueStep(
        row["what"],
        row["table"],
        _KINDS.get((row["table"], row["is_active"])),
        sum(days.values()) + older,
        older,
        row.get("oldest") is not None
        or (is_counted and (older >= MOST or any(count >= MOST for count in days.values()))),
        days,
        row["until"],
        row.get("oldest"),
    )  # fmt: skip


def due_chart(name: str, steps: Sequence[DueStep]) -> Chart | None:
    """The rows by day, up to the newest that would go; None where nothing would."""
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
    return Chart(f"{name}, what would go now", "rows", days, series)


# --- the cold archive ---


def archive(request: Request) -> Response:
    """The objects that lie there, by day; the newest days with any, or those up to a day."""
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
    """One day's objects, each read back and compared with its manifest."""
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
