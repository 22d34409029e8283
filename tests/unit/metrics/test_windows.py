from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import PermanentError
from workers.metrics.windows import (
    MOST_PAST_DAYS,
    ROWS_PER_WINDOW,
    Width,
    Window,
    is_whole_due,
    look_back,
    past_window,
    recent,
    still_read,
    unread,
)

ZONES = st.sampled_from(sorted(available_timezones() - {"localtime"}))
MOMENTS = st.integers(1_577_836_800, 1_893_456_000).map(lambda at: datetime.fromtimestamp(at, UTC))
DAYS = st.dates(date(2020, 1, 1), date(2030, 12, 31))
WINDOWS = st.builds(
    lambda since, width: Window(since, since + timedelta(days=width)),
    DAYS,
    st.integers(0, 120),
)


@given(MOMENTS, ZONES,
       st.integers(1, 90))  # fmt: skip
def test_the_look_back_is_whole_days_and_today_in_any_zone(
    now: datetime, zone: str, days: int
) -> None:
    window = look_back(now, zone, days)
    today = now.astimezone(ZoneInfo(zone)).date()
    assert window.until == today
    assert window.since == today - timedelta(days=days)
    assert window.width == days + 1


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(PermanentError, match="Mars/Olympus"):
        look_back(datetime(2025, 1, 1, tzinfo=UTC), "Mars/Olympus", 30)
    with pytest.raises(PermanentError, match="etc") as caught:
        look_back(datetime(2025, 1, 1, tzinfo=UTC), "../etc/passwd", 30)
    assert caught.value.code == "unknown_time_zone"


def test_a_window_includes_its_first_and_its_last_day() -> None:
    window = Window(date(2025, 1, 1), date(2025, 1, 3))
    days = [date(2024, 12, 31) + timedelta(days=number) for number in range(5)]
    assert [day in window for day in days] == [False, True, True, True, False]


@given(DAYS, DAYS, DAYS)
def test_a_range_of_the_past_is_in_order_over_and_no_longer_than_what_is_kept(
    since: date, until: date, today: date
) -> None:
    width = (until - since).days + 1
    if width >= 1 and until <= today + timedelta(days=1) and width <= MOST_PAST_DAYS:
        assert past_window(since, until, today) == Window(since, until)
        return
    with pytest.raises(ValueError, match=r"before the first|not come yet|keeps more than"):
        past_window(since, until, today)


@given(MOMENTS, st.integers(0, 3), st.integers(-3, 3), ZONES)
def test_a_day_that_was_not_over_when_it_was_read_counts_until_it_is(
    at: datetime, later: int, ahead: int, zone: str
) -> None:
    then = at.astimezone(ZoneInfo(zone)).date()
    day, today = then + timedelta(days=ahead), then + timedelta(days=later)
    counts = day < then or day >= today
    assert still_read({day: at}, today, zone) == ({day} if counts else set())


@given(WINDOWS, st.data())
def test_unread_windows_are_exactly_the_missing_days(whole: Window, data: st.DataObject) -> None:
    read = set(data.draw(st.lists(st.sampled_from(whole.days))))
    found = unread(whole, read)
    days = [day for window in found for day in reversed(window.days)]
    assert days == [day for day in reversed(whole.days) if day not in read]
    for newer, older in pairwise(found):
        assert older.until + timedelta(days=1) < newer.since, "neighbours are one window"


@given(WINDOWS, st.integers(1, 200))
def test_reading_the_newest_part_first_covers_everything_once(whole: Window, width: int) -> None:
    read: list[date] = []
    missing = unread(whole, read)
    while missing:
        part = missing[0].newest(width)
        assert part.width <= width
        assert not set(part.days) & set(read)
        read += part.days
        missing = unread(whole, read)
    assert sorted(read) == whole.days


@given(st.none() | st.integers(1, 400), st.none() | st.integers(1, 90), st.lists(
    st.one_of(st.integers(0, 100_000), st.just("narrow")), max_size=8), st.booleans())  # fmt: skip
def test_a_width_is_never_zero_nor_more_than_allowed(
    known: int | None, longest: int | None, steps: list[int | str], succeeded: bool
) -> None:
    width = Width(known, longest)
    for step in steps:
        before = width.days
        if isinstance(step, int):
            width.read(step)
        else:
            width.narrow(before)
            assert width.days == max(1, before // 2)
        assert 1 <= width.days <= (longest or 400)
    learnt = width.for_next_sync(succeeded=succeeded)
    assert learnt is None or 1 <= learnt <= (longest or 400)


def test_a_small_account_is_read_in_one_window_after_the_first() -> None:
    width = Width(None, None)
    assert width.days == 2
    width.read(200)
    assert width.days == ROWS_PER_WINDOW // 200
    assert Width(width.for_next_sync(succeeded=True), None).days == width.days


def test_a_width_is_whole_days_that_fit() -> None:
    width = Width(None, None)
    width.read(300)
    assert width.days == 16
    assert isinstance(width.days, int)


def test_a_known_width_is_not_measured_again() -> None:
    width = Width(3, None)
    width.read(1)
    assert width.days == 3
    assert width.for_next_sync(succeeded=True) == 6


def test_a_width_that_was_too_slow_grows_gradually() -> None:
    width = Width(31, None)
    width.narrow(31)
    width.narrow(15)
    width.read(10)
    assert width.days == 7
    assert width.for_next_sync(succeeded=False) == 7
    assert width.for_next_sync(succeeded=True) == 14


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="before"):
        Window(date(2025, 1, 2), date(2025, 1, 1))


def test_each_sync_reads_the_newest_days() -> None:
    whole = Window(date(2025, 1, 1), date(2025, 1, 31))
    assert recent(whole, 3) == Window(date(2025, 1, 29), date(2025, 1, 31))
    assert recent(whole, 0) == recent(whole, 90) == whole


@given(MOMENTS, st.integers(1, 20_000), st.floats(0, 100))
def test_the_whole_look_back_is_read_once_a_day(at: datetime, minutes: int, hours: float) -> None:
    now = at + timedelta(hours=hours)
    assert is_whole_due(now, None, minutes)
    if minutes >= 1440 or hours >= 24:
        assert is_whole_due(now, at, minutes)
    elif hours < 23.5:
        assert not is_whole_due(now, at, minutes)


def test_hourly_syncs_read_the_whole_once_in_24() -> None:
    at = whole_read_at = datetime(2025, 1, 1, tzinfo=UTC)
    times = 0
    for _ in range(10 * 24):
        at += timedelta(minutes=60)
        if is_whole_due(at, whole_read_at, 60):
            times, whole_read_at = times + 1, at
    assert times == 10
