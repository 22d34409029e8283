"""Spend at a glance: two weeks of a client, by currency."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from server.console.pages.spend import WEEK, weeks

UNTIL = date(2026, 11, 27)
DAYS = [UNTIL - timedelta(days=back) for back in reversed(range(2 * WEEK))]


def row(
    back: int, value: str, currency: str | None = "EUR", platform: str = "meta"
) -> list[object]:
    return [f"{UNTIL - timedelta(days=back)}", platform, currency, value, back > 0]


def test_each_week_has_its_sum_and_the_change() -> None:
    (told,) = weeks([row(0, "10.10"), row(6, "20"), row(7, "15.05"), row(13, "5")], DAYS)
    assert (told.last, told.before) == (Decimal("30.10"), Decimal("20.05"))
    assert told.change is not None
    assert round(told.change, 1) == Decimal("50.1")
    assert told.chart.partial == {UNTIL}
    assert told.chart.days == DAYS


def test_currencies_are_never_added_up() -> None:
    found = list(weeks([row(1, "1"), row(1, "2", "USD"), row(1, "4", None)], DAYS))
    assert [(one.currency, one.last) for one in found] == [
        ("without a currency", 4), ("EUR", 1), ("USD", 2),
    ]  # fmt: skip


def test_platforms_are_stacked_in_the_order_of_their_colours() -> None:
    (told,) = weeks([row(1, "1", platform="tiktok"), row(1, "2", platform="meta")], DAYS)
    assert [one.name for one in told.chart.series] == ["meta", "tiktok"]
    assert told.last == 3


def test_nothing_is_said_of_a_week_without_figures_or_of_nothing() -> None:
    (told,) = weeks([row(2, "3")], DAYS)
    assert (told.last, told.before, told.change) == (3, None, None)
    (told,) = weeks([row(2, "3"), row(9, "0")], DAYS)
    assert (told.before, told.change) == (0, None)
    assert list(weeks([], DAYS)) == []
