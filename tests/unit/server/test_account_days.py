"""The days of an account: the word for each, in any time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from server.console.account_days import STATES, KnownDay, last_days, state_of, strip, zone_of

DAY = date(2026, 11, 20)
OVER = datetime(2026, 11, 21, 0, 0, tzinfo=UTC)
A_MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("known", "word"),
    [
        (None, "missing"),
        (KnownDay(), "missing"),
        (KnownDay(OVER), "read"),
        (KnownDay(OVER, is_restated=True), "restated"),
        (KnownDay(OVER - A_MINUTE), "partial"),
        (KnownDay(OVER - A_MINUTE, is_restated=True), "partial"),
        (KnownDay(None, is_unreadable=True), "unreadable"),
        (KnownDay(OVER, is_unreadable=True), "unreadable"),
    ],
)
def test_each_day_has_one_word(known: KnownDay | None, word: str) -> None:
    assert state_of(DAY, known, UTC).word == word


@pytest.mark.parametrize(
    ("zone", "hours"), [("Pacific/Auckland", -13), ("America/Los_Angeles", 8), ("Europe/Oslo", -1)]
)
def test_a_day_is_over_by_the_accounts_own_midnight(zone: str, hours: int) -> None:
    midnight = OVER + timedelta(hours=hours)
    assert state_of(DAY, KnownDay(midnight), ZoneInfo(zone)).word == "read"
    assert state_of(DAY, KnownDay(midnight - A_MINUTE), ZoneInfo(zone)).word == "partial"
    assert last_days(midnight, ZoneInfo(zone))[-1] == DAY + timedelta(days=1)
    assert last_days(midnight - A_MINUTE, ZoneInfo(zone))[-1] == DAY


@pytest.mark.parametrize(
    "name", [None, "", "Nowhere/At All", "../zones", "/etc/localtime", "America"]
)
def test_an_unknown_zone_is_utc(name: str | None) -> None:
    assert zone_of(name) is UTC


def test_a_month_ends_today() -> None:
    days = last_days(OVER, UTC)
    assert (len(days), days[0], days[-1]) == (31, date(2026, 10, 22), date(2026, 11, 21))


def test_a_strip_has_every_day_by_its_state() -> None:
    days = last_days(OVER, UTC, 6)
    words = ["missing", "unreadable", "read", "restated", "read", "partial"]
    drawn = strip(days, [STATES[word] for word in words])
    svg = ElementTree.fromstring(drawn)  # noqa: S314 - our own
    assert svg.get("data-states") == " ".join(words)
    assert svg.get("data-since") == "2026-11-16"
    assert svg.get("aria-label") == (
        "2026-11-16 to 2026-11-21: 2 read, 1 restated, 1 partial, 1 unreadable, 1 missing"
    )
    paths = {one.get("class"): one.get("d", "") for one in svg.iter("path")}
    assert set(paths) == {f"day-{word}" for word in words}
    starts = [piece.split()[0] for piece in paths["day-read"].split("M")[1:]]
    assert starts == ["14", "28"], "where its days are"
