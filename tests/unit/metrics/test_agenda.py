"""Which windows a sync reads, and what happens to those that fail."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import (
    BrokenStreamError,
    ConnectionCredentialsError,
    MalformedAnswerError,
    PermanentError,
    RateLimitedError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.metrics.agenda import MOST_FAILURES, Agenda
from workers.metrics.windows import Width, Window

UNTIL = date(2025, 3, 31)
NARROWED = [
    TransientError("t", code="1"),
    TooMuchDataError("t", code="2"),
    TooMuchDataError("t", code="3", smaller_pages_help=False),
    BrokenStreamError("t", code="4"),
    UnknownError("t", code="5"),
    MalformedAnswerError("t", code="6"),
]


def agenda(days: int = 31, width: int | None = 31, *, may_end: bool = False) -> Agenda:
    whole = Window(UNTIL - timedelta(days=days - 1), UNTIL)
    return Agenda(whole, (), Width(width, None), 500, 25, may_end=may_end)


def play(
    one: Agenda, bad: set[date], error: WorkerError, at_once: int = 1
) -> tuple[int, set[date]]:
    """Reads all, with every window that has a bad day failing: requests made and days read."""
    asked, read = 0, set()
    while windows := one.following(at_once):
        asked += 1
        days = set(windows[0].days)
        assert not days & read, "no day is read twice"
        assert len(set().union(*(window.days for window in windows))) == sum(
            window.width for window in windows
        )
        if days & bad:
            one.failed(windows[0], error)
        else:
            read |= days
            one.succeeded(windows[0], 100)
    return asked, read


def fail_all(one: Agenda, error: WorkerError) -> int:
    """Every window fails, until the agenda raises that: how many were asked for."""
    for asked in count(1):
        window, *_ = one.following(4)
        try:
            one.failed(window, error)
        except type(error):
            return asked
    raise AssertionError


@given(
    st.integers(1, 60),
    st.none() | st.integers(1, 60),
    st.integers(1, 4),
    st.sampled_from(NARROWED),
    st.data(),
)
def test_a_day_that_cannot_be_read_costs_only_that_day(
    days: int, width: int | None, at_once: int, error: WorkerError, data: st.DataObject
) -> None:
    one = agenda(days, width)
    bad = set(data.draw(st.lists(st.sampled_from(one.whole.days), max_size=1)))
    if days == len(bad):
        with pytest.raises(type(error)):
            play(one, bad, error, at_once)
        return
    asked, read = play(one, bad, error, at_once)
    assert read == set(one.whole.days) - bad
    assert set(one.left_out) == bad
    assert asked <= 2 * days + 12
    assert one.days_left == 0


@pytest.mark.parametrize("error", NARROWED)
def test_while_everything_fails_few_requests_are_sent(error: WorkerError) -> None:
    one = agenda(400, 31)
    assert fail_all(one, error) <= MOST_FAILURES + 5, "with five sizes of pages"
    assert one.left_out == {}, "the platform is at fault, not a day"


def test_an_outage_that_begins_in_the_middle_blames_no_day() -> None:
    one = agenda(31, 5)
    error = TransientError("away", code="503")
    (window,) = one.following(1)
    one.succeeded(window, 100)
    fail_all(one, error)
    assert one.left_out == {}


@pytest.mark.parametrize(
    "error",
    [
        ConnectionCredentialsError("t", code="190"),
        RateLimitedError("t", code="4", retry_after=300.0),
        PermanentError("t", code="200"),
    ],
)
def test_an_error_of_every_window_is_not_narrowed(error: WorkerError) -> None:
    one = agenda()
    with pytest.raises(type(error)):
        one.failed(one.following(1)[0], error)


def test_smaller_pages_are_tried_where_they_may_help() -> None:
    for error, sizes in (
        (TooMuchDataError("t", code="1"), [250, 125, 62, 31, 25]),
        (TooMuchDataError("t", code="1", smaller_pages_help=False), []),
        (MalformedAnswerError("t", code="1"), []),
    ):
        one = agenda(2, 1)
        one.succeeded(one.following(1)[0], 1)
        seen = []
        while windows := one.following(1):
            size = one.page_size
            one.failed(windows[0], error)
            if one.page_size != size:
                seen.append(one.page_size)
        assert seen == sizes
        assert len(one.left_out) == 1


@given(st.integers(2, 400), st.integers(1, 400), st.data())
def test_a_range_that_begins_too_long_ago_is_read_up_to_that_edge(
    days: int, width: int, data: st.DataObject
) -> None:
    one = agenda(days, width, may_end=True)
    kept = data.draw(st.integers(1, days - 1))
    gone = set(one.whole.days[: days - kept])
    asked, read = play(one, gone, PermanentError("beyond 37 months", code="3018"))
    assert read == set(one.whole.days) - gone
    assert one.edge == max(gone)
    assert one.left_out == {}
    assert asked <= 2 * days


def test_where_nothing_can_be_read_there_is_no_edge() -> None:
    one = agenda(64, 64, may_end=True)
    assert fail_all(one, PermanentError("no access", code="200")) <= 8


def test_the_next_windows_are_known_before_the_first_is_done() -> None:
    one = agenda(31, 10)
    windows = one.following(4)
    assert [window.width for window in windows] == [10, 10, 10, 1]
    one.succeeded(windows[0], 100)
    assert one.following(4)[:1] == windows[1:2]
    one.failed(windows[1], TransientError("t", code="1"))
    halves = one.following(4)
    assert [window.width for window in halves[:2]] == [5, 5]
    assert halves[2:] == windows[2:], "what is being read meanwhile stays wanted"
