"""Spend at a glance: two weeks of a client, by currency."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from server.console.answers.requests import DaySpend
from server.console.pages.spend import WEEK, weeks

UNTIL = date(2026, 11, 27)
DAYS = [UNTIL - timedelta(days=back) for back in reversed(range(2 * WEEK))]


def row(back: int, value: str, currency: str = "EUR", platform: str = "meta") -> DaySpend:
    day = UNTIL - timedelta(days=back)
    return DaySpend(day, platform, currency, Decimal(value), is_complete=back > 0)


def test_each_week_has_its_sum_and_the_change() -> None:
    (found,) = weeks([row(0, "10.10"), row(6, "20"), row(7, "15.05"), row(13, "5")], DAYS)
    assert (found.last, found.before) == (Decimal("30.10"), Decimal("20.05"))
    assert found.change is not None
    assert round(found.change, 1) == Decimal("50.1")
    assert found.chart.partial == {UNTIL}
    assert found.chart.days == DAYS


def test_currencies_are_never_added_up() -> None:
    found = list(weeks([row(1, "1"), row(1, "2", "USD"), row(1, "4", "")], DAYS))
    assert [(one.currency, one.last) for one in found] == [
        ("without a currency", 4), ("EUR", 1), ("USD", 2),
    ]  # fmt: skip


def test_platforms_are_stacked_in_the_order_of_their_colours() -> None:
    (found,) = weeks([row(1, "1", platform="tiktok"), row(1, "2", platform="meta")], DAYS)
    assert [one.name for one in found.chart.series] == ["meta", "tiktok"]
    assert found.last == 3


def test_a_week_without_figures_has_no_sum_and_no_change() -> None:
    (found,) = weeks([row(2, "3")], DAYS)
    assert (found.last, found.before, found.change) == (3, None, None)
    (found,) = weeks([row(2, "3"), row(9, "0")], DAYS)
    assert (found.before, found.change) == (0, None)
    assert list(weeks([], DAYS)) == []
