"""Charts: each value has one bar of its height, and no name becomes markup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from server.console import charts
from server.console.charts import COLOURS, HEIGHT, WIDTH, Chart, Series

FIRST = date(2026, 11, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(31)]
AMOUNTS = st.decimals(-10_000, 10_000_000, places=2) | st.integers(0, 10**9).map(Decimal)
VALUES = st.dictionaries(st.sampled_from(DAYS), AMOUNTS, max_size=31)
# What XML can carry at all.
NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xD7FF), min_size=1, max_size=20)


def drawn(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(charts.svg(chart))  # noqa: S314 - our own


def bars(chart: Chart) -> list[Mapping[str, str]]:
    return [
        {**series.attrib, **bar.attrib}
        for series in drawn(chart).iter("g")
        for bar in series.iter("rect")
    ]


def of_values(*values: Mapping[date, Decimal], unit: str = "EUR") -> Chart:
    series = [Series(f"series {number}", number, one) for number, one in enumerate(values, 1)]
    return Chart("Spend", unit, DAYS, series)


@given(st.lists(VALUES, min_size=1, max_size=COLOURS))
def test_each_value_is_one_bar_and_can_be_read_from_it(values: list[dict[date, Decimal]]) -> None:
    found = bars(of_values(*values))
    assert sorted(
        (bar["data-series"], bar["data-day"], Decimal(bar["data-value"])) for bar in found
    ) == sorted(
        (f"series {number}", day.isoformat(), value)
        for number, one in enumerate(values, 1)
        for day, value in one.items()
    )


@given(st.lists(VALUES, min_size=1, max_size=COLOURS))
def test_heights_are_in_proportion_and_bars_are_stacked(
    values: list[dict[date, Decimal]],
) -> None:
    found = bars(of_values(*values))
    assert all(float(bar["y"]) >= 0 for bar in found)
    assert all(float(bar["y"]) + float(bar["height"]) <= HEIGHT for bar in found)
    assert all(0 <= float(bar["x"]) <= WIDTH - float(bar["width"]) for bar in found)
    largest = max(found, key=lambda bar: abs(Decimal(bar["data-value"])), default=None)
    if largest is None or Decimal(largest["data-value"]) == 0:
        return
    unit = float(largest["height"]) / abs(float(largest["data-value"]))
    for bar in found:
        # a place has one digit after the point
        assert abs(float(bar["height"]) - unit * abs(float(bar["data-value"]))) < 0.3
    for day in DAYS:
        of_day = [bar for bar in found if bar["data-day"] == day.isoformat()]
        above = [bar for bar in of_day if Decimal(bar["data-value"]) >= 0]
        for lower, upper in pairwise(above):
            assert abs(float(upper["y"]) + float(upper["height"]) - float(lower["y"])) < 0.3


@given(NAMES, NAMES, NAMES)
def test_names_are_text(title: str, unit: str, name: str) -> None:
    chart = Chart(title, unit, DAYS, [Series(name, 1, {FIRST: Decimal(1)})])
    svg = drawn(chart)
    assert svg.get("data-chart") == title
    assert svg.get("data-unit") == unit
    [series] = svg.iter("g")
    assert series.get("data-series") == name
    assert {one.tag for one in svg.iter()} == {"svg", "title", "line", "text", "g", "rect"}


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_lines_are_few_and_one_of_them_is_zero(values: list[dict[date, Decimal]]) -> None:
    lines = [one.get("class") for one in drawn(of_values(*values)).iter("line")]
    assert lines.count("axis") == 1
    # those above zero and those below are rounded up separately
    assert 2 <= len(lines) <= 7


def test_a_chart_has_a_sentence() -> None:
    chart = of_values({FIRST: Decimal("10.50")}, {FIRST: Decimal(5), DAYS[1]: Decimal(2)})
    assert chart.sentence == (
        "Spend, 2026-11-01 to 2026-12-01: 17.5 EUR in total, most on 2026-11-01 with 15.5"
    )
    assert of_values({}).sentence == "Spend: nothing from 2026-11-01 to 2026-12-01"
    assert of_values({}).is_empty
    assert not of_values({FIRST: Decimal()}).is_empty


def test_a_day_that_is_not_complete_is_marked() -> None:
    value = {FIRST: Decimal(1), DAYS[1]: Decimal(2)}
    chart = Chart("Clicks", "clicks", DAYS, [Series("meta", 1, value)], frozenset([DAYS[1]]))
    classes = [bar["class"] for bar in bars(chart)]
    assert classes == ["series-1", "partial"]
    assert [one.text for one in drawn(chart).iter("title")][2] == (
        "2026-11-02, meta: 2 clicks so far"
    )
