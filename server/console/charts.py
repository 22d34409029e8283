"""Numbers by day as charts: inline SVG with classes for colours, so that it needs no style
attributes and the stylesheet decides on light and dark.

To a screen reader a chart is one image with its title and a sentence. Each series has its name, and
each bar its day and value, as data attributes. The table next to it has the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Final

from markupsafe import Markup

# The drawing in its own units, as wide as a phone's page, so that text has its intended size there.
WIDTH: Final = 360
HEIGHT: Final = 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 4, 8, 20
_PLOT_WIDTH: Final = WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT: Final = HEIGHT - _TOP - _BOTTOM
# The most horizontal lines.
_LINES: Final = 4
_WIDEST_BAR: Final = Decimal(28)
# Days from one label to the next.
_LABEL_EVERY: Final = 7
# The colours that the stylesheet has.
COLOURS: Final = 5
_THOUSANDS: Final = (
    (Decimal(1_000_000_000), "G"),
    (Decimal(1_000_000), "M"),
    (Decimal(1_000), "k"),
)

_SVG = Markup(
    '<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
    'data-chart="{title}" data-unit="{unit}"><title>{label}</title>{body}</svg>'
)
_FIGURE = Markup('<figure class="card"><figcaption>{}</figcaption>{}</figure>')
_LINE = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"></line>')
_TEXT = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
_SERIES = Markup('<g class="series-{}" data-series="{}">{}</g>')
_BAR = Markup(
    '<rect{partial} x="{x}" y="{y}" width="{width}" height="{height}" data-day="{day}" '
    'data-value="{value}"><title>{title}</title></rect>'
)
_PARTIAL = Markup(' class="partial"')
_NOTHING = Markup("")


@dataclass(frozen=True)
class Series:
    """A series: its name, its colour (from 1 to COLOURS) and its value on each day that has one."""

    name: str
    colour: int
    values: Mapping[date, Decimal]


@dataclass(frozen=True)
class Chart:
    """Stacked bars by day. `unit` is a currency, or what is counted, as "rows"; `partial` are days
    that are not complete yet."""

    title: str
    unit: str
    days: Sequence[date]
    series: Sequence[Series]
    partial: frozenset[date] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether there is no value, not even a zero."""
        return not any(one.values for one in self.series)

    def total(self, day: date) -> Decimal | None:
        """The sum over all series; None where none has a value."""
        values = [one.values[day] for one in self.series if day in one.values]
        return sum(values, Decimal()) if values else None

    @property
    def sentence(self) -> str:
        """What it shows, in words."""
        if self.is_empty:
            return f"{self.title}: nothing from {self.days[0]} to {self.days[-1]}"
        totals = {day: total for day in self.days if (total := self.total(day)) is not None}
        most = max(totals, key=lambda day: totals[day])
        return (
            f"{self.title}, {self.days[0]} to {self.days[-1]}: "
            f"{_plain(sum(totals.values(), Decimal()))} {self.unit} in total, "
            f"most on {most} with {_plain(totals[most])}"
        )


def svg(chart: Chart) -> Markup:
    """The chart as an SVG element."""
    above, below = _reach(chart)
    step = _step(above + below)
    top = (above / step).to_integral_value(ROUND_CEILING) * step
    bottom = (below / step).to_integral_value(ROUND_CEILING) * step
    scale = _Scale(top or step, bottom)
    body = [*_grid(scale, step), *_bars(chart, scale), *_day_labels(chart.days)]
    return _SVG.format(
        width=WIDTH,
        height=HEIGHT,
        label=chart.sentence,
        title=chart.title,
        unit=chart.unit,
        body=_NOTHING.join(body),
    )


def figure(chart: Chart) -> Markup:
    """The chart with its title above it."""
    has_unit = chart.unit.lower() in chart.title.lower()
    caption = chart.title if has_unit else f"{chart.title}, {chart.unit}"
    return _FIGURE.format(caption, svg(chart))


@dataclass(frozen=True)
class _Scale:
    """From values to coordinates, between `top` and `bottom` below zero."""

    top: Decimal
    bottom: Decimal

    def y(self, value: Decimal) -> Decimal:
        return _TOP + (self.top - value) * _PLOT_HEIGHT / (self.top + self.bottom)


def _reach(chart: Chart) -> tuple[Decimal, Decimal]:
    """The highest stack above zero, and the deepest below it: corrections are negative."""
    above = below = Decimal()
    for day in chart.days:
        values = [one.values.get(day, Decimal()) for one in chart.series]
        above = max(above, sum((value for value in values if value > 0), Decimal()))
        below = max(below, -sum((value for value in values if value < 0), Decimal()))
    return above, below


def _step(reach: Decimal) -> Decimal:
    """The distance between lines: 1, 2 or 5 times a power of ten."""
    if reach <= 0:
        return Decimal(1)
    least = reach / _LINES
    power = Decimal(10) ** least.adjusted()
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def _grid(scale: _Scale, step: Decimal) -> Iterator[Markup]:
    value = -scale.bottom
    while value <= scale.top:
        y = _place(scale.y(value))
        yield _LINE.format("axis" if value == 0 else "grid", _LEFT, WIDTH - _RIGHT, y, y)
        yield _TEXT.format(_LEFT - 5, _place(scale.y(value) + 4), "end", _short(value))
        value += step


def _bars(chart: Chart, scale: _Scale) -> Iterator[Markup]:
    """A group for each series, stacked on those before it."""
    up = dict.fromkeys(chart.days, Decimal())
    down = dict.fromkeys(chart.days, Decimal())
    for one in chart.series:
        bars = []
        for number, day in enumerate(chart.days):
            value = one.values.get(day)
            if value is None:
                continue
            side = up if value >= 0 else down
            bars.append(_bar(chart, scale, one, number, side[day], value))
            side[day] += value
        yield _SERIES.format(one.colour, one.name, _NOTHING.join(bars))


def _bar(
    chart: Chart, scale: _Scale, series: Series, number: int, base: Decimal, value: Decimal
) -> Markup:
    day = chart.days[number]
    room = Decimal(_PLOT_WIDTH) / len(chart.days)
    width = min(room * Decimal("0.8"), _WIDEST_BAR)
    return _BAR.format(
        partial=_PARTIAL if day in chart.partial else "",
        x=_place(_LEFT + room * number + (room - width) / 2),
        y=_place(scale.y(max(base, base + value))),
        width=_place(width),
        height=_place(abs(scale.y(base) - scale.y(base + value))),
        day=day.isoformat(),
        value=_plain(value),
        title=_of_bar(chart, series, day, value),
    )


def _of_bar(chart: Chart, series: Series, day: date, value: Decimal) -> str:
    so_far = " so far" if day in chart.partial else ""
    return f"{day}, {series.name}: {value:,f} {chart.unit}{so_far}"


def _day_labels(days: Sequence[date]) -> Iterator[Markup]:
    room = _PLOT_WIDTH / max(len(days), 1)
    for number, day in enumerate(days):
        # counted from the newest day, which always has a label
        if (len(days) - 1 - number) % _LABEL_EVERY == 0:
            x = _LEFT + room * (number + 0.5)
            anchor = "end" if number == len(days) - 1 and len(days) > 1 else "middle"
            x = WIDTH - _RIGHT if anchor == "end" else x
            yield _TEXT.format(f"{x:.1f}", HEIGHT - 6, anchor, f"{day.day} {day:%b}")


def _short(value: Decimal) -> str:
    """Short enough for an axis: 1.5k."""
    for size, letter in _THOUSANDS:
        if abs(value) >= size:
            return f"{_plain(value / size)}{letter}"
    return _plain(value)


def _plain(value: Decimal) -> str:
    """All its digits, without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _place(value: Decimal) -> str:
    """Rounded to a tenth, as short as possible."""
    return _plain(round(value, 1)) if value else "0"
