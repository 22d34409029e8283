"""Requests and their figures: by day and platform, and the ads that contribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console import asked, charts
from server.console.account_days import MONTH
from server.console.answers.requests import (
    FigureDetails,
    RequestDetails,
    Sums,
    read_figure_details,
    read_request_details,
    read_request_page,
)
from server.console.charts import COLOURS, Chart, Series
from server.console.project import Project
from server.console.rendering import page
from workers.clock import utc_now
from workers.metrics.platforms import PLATFORMS

PATH: Final = "/metrics/requests"
REQUESTS_PER_PAGE: Final = 25
# Ids that a request names, as shown on its page.
LINKS_SHOWN: Final = 100
# Facts of a figure that are shown, and those that are read.
FACTS_SHOWN: Final = 100
FACTS_READ: Final = 2_000
CHARTED: Final = ("spend", "impressions", "clicks")
_LATELY: Final = timedelta(days=MONTH - 1)
_LONGEST_SEARCH: Final = 200


# --- the requests ---


def listing(request: Request) -> Response:
    """All requests, or those that were searched for, newest first."""
    project: Project = request.app.state.project
    wanted = request.query_params.get("find", "").strip()[:_LONGEST_SEARCH] or None
    after = asked.cursor(request, created_at=_as_written, id=UUID)
    today = utc_now().date()
    found = read_request_page(
        project.answer(
            "console_requests",
            row_limit=REQUESTS_PER_PAGE,
            since=f"{today - _LATELY}",
            until=f"{today + timedelta(days=1)}",
            platforms=list(PLATFORMS),
            wanted=wanted,
            after=after,
        )
    )
    return page(
        request,
        "requests.html",
        {
            "requests": found.requests,
            "wanted": wanted,
            "onward": asked.onward(request, found.after),
            "is_first": after is None,
            "days": MONTH,
        },
    )


def _as_written(text: str) -> str:
    """A time as Postgres writes it; requests without one come last, at -infinity."""
    if text != "-infinity":
        asked.moment(text)
    return text


# --- one request ---


def one(request: Request) -> Response:
    """A request: its figures by day, and what it names."""
    project: Project = request.app.state.project
    id_ = request.path_params["id"]
    until = asked.asked(request, "until", asked.day, utc_now().date())
    since = until - _LATELY
    answer = project.optional_answer(
        "console_request",
        request_id=f"{id_}",
        since=f"{since}",
        until=f"{until}",
        platforms=list(PLATFORMS),
        metric_types=list(CHARTED),
        row_limit=LINKS_SHOWN + 1,
    )
    if answer is None:
        raise HTTPException(404)
    found = read_request_details(answer)
    figures = list(day_figures(found))
    days = [since + timedelta(days=number) for number in range(MONTH)]
    drawn = [chart for chart in request_charts(days, figures) if not chart.is_empty]
    return page(
        request,
        "request.html",
        {
            "subject": found.request,
            "links": found.links[:LINKS_SHOWN],
            "has_more_links": len(found.links) > LINKS_SHOWN,
            "unsettled": found.unsettled,
            "figures": figures[::-1],
            "charts": [charts.figure(chart) for chart in drawn],
            "legend": _legend(figures),
            "since": since,
            "until": until,
            "earlier": asked.with_query(request, until=f"{since - timedelta(days=1)}"),
            "later": asked.with_query(request, until=f"{until + timedelta(days=MONTH)}"),
        },
    )


@dataclass(frozen=True)
class DayFigures:
    """The figures of one day and platform; an unknown one has no value."""

    day: date
    platform: str
    currency: str | None
    is_complete: bool
    is_restated: bool
    values: Mapping[str, Decimal]


def day_figures(details: RequestDetails) -> Iterator[DayFigures]:
    """The figures by day and platform, in their order."""
    for (day, platform), group in groupby(details.figures, lambda one: (one.day, one.platform)):
        figures = list(group)
        yield DayFigures(
            day,
            platform,
            figures[0].currency,
            figures[0].is_complete,
            (day, platform) in details.restated,
            {one.metric_type: one.value for one in figures},
        )


def request_charts(days: Sequence[date], figures: Sequence[DayFigures]) -> Iterator[Chart]:
    """Spend, a chart for each currency, as amounts in two cannot be stacked; then the counts."""
    with_spend = [one for one in figures if "spend" in one.values]
    currencies = sorted({one.currency or "" for one in with_spend})
    for currency in currencies or [""]:
        spent = [one for one in with_spend if (one.currency or "") == currency]
        unit = currency or "without a currency"
        title = f"Spend in {currency}" if len(currencies) > 1 else "Spend"
        yield _chart(title, unit, "spend", days, spent)
    for name in ("impressions", "clicks"):
        counted = [one for one in figures if name in one.values]
        yield _chart(name.capitalize(), name, name, days, counted)


def _chart(
    title: str, unit: str, name: str, days: Sequence[date], figures: Sequence[DayFigures]
) -> Chart:
    platforms = [one for one in _order(figures) if any(f.platform == one for f in figures)]
    series = [
        Series(platform, colour_of(platform),
               {one.day: one.values[name] for one in figures if one.platform == platform})
        for platform in platforms
    ]  # fmt: skip
    partial = frozenset(one.day for one in figures if not one.is_complete)
    return Chart(title, unit, days, series, partial)


def colour_of(platform: str) -> int:
    """The platform's colour, the same in every chart."""
    known = list(PLATFORMS)
    return min(known.index(platform) + 1, COLOURS) if platform in known else COLOURS


def _order(figures: Sequence[DayFigures]) -> list[str]:
    return sorted({one.platform for one in figures}, key=lambda name: (colour_of(name), name))


def _legend(figures: Sequence[DayFigures]) -> list[tuple[str, int]]:
    return [(platform, colour_of(platform)) for platform in _order(figures)]


# --- one figure ---


def figure(request: Request) -> Response:
    """What makes up a request's figures of one platform and day."""
    project: Project = request.app.state.project
    id_, platform = request.path_params["id"], request.path_params["platform"]
    try:
        day = asked.day(request.path_params["day"])
    except ValueError:
        raise HTTPException(404) from None
    found = read_figure_details(
        project.answer(
            "console_figure",
            request_id=f"{id_}",
            platform=platform,
            day=f"{day}",
            shown=FACTS_SHOWN,
            most=FACTS_READ,
        )
    )
    return page(
        request,
        "figure.html",
        {
            "found": found,
            "id": id_,
            "platform": platform,
            "day": day,
            "read": FACTS_READ,
            "checks": list(checks(found)),
            "before": f"{PATH}/{id_}/{platform}/{day - timedelta(days=1)}",
            "following": f"{PATH}/{id_}/{platform}/{day + timedelta(days=1)}",
        },
    )


@dataclass(frozen=True)
class Check:
    """A figure and the sum of its facts; each is None where there is none."""

    metric_type: str
    figure: Decimal | None
    total: Decimal | None

    @property
    def agrees(self) -> bool:
        """Whether they are equal, to the six decimals of a figure."""
        if self.figure is None or self.total is None:
            return self.figure is self.total
        return round(self.total, 6) == self.figure


def checks(found: FigureDetails) -> Iterator[Check]:
    """What can be added up; nothing where not all facts were read, or they are in several
    currencies."""
    if found.count > FACTS_READ or len(found.sums) > 1:
        return
    values = {one.metric_type: one.value for one in found.figures}
    sums = found.sums[0] if found.sums else Sums(None, None, None, None)
    totals = {"spend": sums.spend, "impressions": sums.impressions, "clicks": sums.clicks}
    for name in CHARTED:
        check = Check(name, values.get(name), totals[name])
        if check.figure is not None or check.total is not None:
            yield check


ROUTES: Final = [
    Route(PATH, listing),
    Route(f"{PATH}/{{id:uuid}}", one),
    Route(f"{PATH}/{{id:uuid}}/{{platform}}/{{day}}", figure),
]
