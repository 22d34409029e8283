"""Spend at a glance: each client's last week by day, and the week before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.console import asked, charts
from server.console.answers.requests import DaySpend, read_client_page
from server.console.charts import Chart, Series
from server.console.pages.figures import colour_of
from server.console.project import Project
from server.console.rendering import page
from workers.clock import utc_now
from workers.metrics.platforms import PLATFORMS

PATH: Final = "/metrics/spend"

CLIENTS_PER_PAGE: Final = 6
WEEK: Final = 7


def show(request: Request) -> Response:
    """A page of the clients, up to yesterday or another day."""
    project: Project = request.app.state.project
    until = asked.asked(request, "until", asked.day, utc_now().date() - timedelta(days=1))
    days = [until - timedelta(days=back) for back in reversed(range(2 * WEEK))]
    after = asked.cursor(request, id=UUID)
    found = read_client_page(
        project.answer(
            "console_client_spend",
            row_limit=CLIENTS_PER_PAGE,
            since=f"{days[0]}",
            until=f"{until}",
            platforms=list(PLATFORMS),
            after=after and after["id"],
        )
    )
    return page(
        request,
        "spend.html",
        {
            "clients": [Client(one.name, tuple(weeks(one.spend, days))) for one in found.clients],
            "week": days[WEEK:],
            "platforms": [(name, colour_of(name)) for name in PLATFORMS],
            "earlier": _week(request, until - timedelta(days=WEEK)),
            "later": _week(request, until + timedelta(days=WEEK)),
            "onward": asked.onward(request, found.after),
            "is_first": after is None,
        },
    )


def _week(request: Request, until: date) -> str | None:
    """The address of the page up to that day; None where days end."""
    try:
        return asked.with_query(request, until=f"{asked.day(f'{until}')}")
    except ValueError:
        return None


@dataclass(frozen=True)
class Weeks:
    """Two weeks of a client's spend in one currency; a week without any data is None."""

    currency: str
    chart: Chart
    last: Decimal | None
    before: Decimal | None

    @property
    def change(self) -> Decimal | None:
        """In per cent of the week before; None where that is unknown or zero."""
        if self.last is None or not self.before:
            return None
        return (self.last - self.before) / self.before * 100

    @property
    def drawn(self) -> Markup:
        """The chart as SVG."""
        return charts.svg(self.chart)


@dataclass(frozen=True)
class Client:
    """A client with its two weeks, for each currency."""

    name: str
    weeks: tuple[Weeks, ...]


def weeks(spend: Sequence[DaySpend], days: Sequence[date]) -> Iterator[Weeks]:
    """By currency, as amounts in two currencies cannot be added up. `days` are those of both weeks,
    oldest first."""
    for currency in sorted({one.currency for one in spend}):
        own = [one for one in spend if one.currency == currency]
        platforms = sorted({one.platform for one in own}, key=lambda name: (colour_of(name), name))
        series = [
            Series(
                name, colour_of(name), {one.day: one.value for one in own if one.platform == name}
            )
            for name in platforms
        ]
        unit = currency or "without a currency"
        partial = frozenset(one.day for one in own if not one.is_complete)
        chart = Chart("Spend", unit, days, series, partial)
        yield Weeks(unit, chart, _sum(chart, days[WEEK:]), _sum(chart, days[:WEEK]))


def _sum(chart: Chart, days: Sequence[date]) -> Decimal | None:
    totals = [total for day in days if (total := chart.total(day)) is not None]
    return sum(totals, Decimal()) if totals else None


ROUTES: Final = [Route(PATH, show)]
