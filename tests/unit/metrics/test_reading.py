"""Windows are read ahead of their storing: a few at once, and none after the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from threading import Event, Lock, Semaphore
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import TransientError
from workers.metrics.facts import AdDay, Named
from workers.metrics.platforms.fetching import GivenUp, Reader
from workers.metrics.platforms.protocol import ADS, Page, Report
from workers.metrics.reading import AT_ONCE, ReadAhead, most_held
from workers.metrics.windows import ROWS_PER_WINDOW, Window

FIRST = date(2026, 11, 1)
WINDOWS = [Window(day, day) for day in (FIRST + timedelta(days=n) for n in range(8))]
PATIENCE = 30.0


class Platform:
    """Instead of a Reader: a page per window, once that one is released."""

    reports = (ADS,)

    def __init__(self) -> None:
        self.begun = Semaphore(0)
        self.let_go = {window: Event() for window in WINDOWS}
        self.ended: list[Window] = []
        self.count = Lock()
        self.under_way = self.most_under_way = 0

    def pages(
        self, window: Window, page_size: int, given_up: Event, report: Report
    ) -> Iterator[Page]:
        with self.count:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        self.begun.release()
        try:
            while not self.let_go[window].wait(0.001):
                if given_up.is_set():
                    raise GivenUp
            yield Page([AdDay("1", "Film", window.since, {"clicks": page_size})])
        finally:
            with self.count:
                self.under_way -= 1
            self.ended.append(window)

    def wait_for(self, windows: int) -> None:
        for _ in range(windows):
            assert self.begun.acquire(timeout=PATIENCE)

    def ahead(self) -> ReadAhead:
        return ReadAhead(cast(Reader, self), Named(frozenset("1")))


def test_four_windows_are_read_at_once_and_come_in_order() -> None:
    platform = Platform()

    def steps() -> Iterator[None]:
        platform.wait_for(AT_ONCE)
        for window in reversed(WINDOWS):
            platform.let_go[window].set()
        yield

    with platform.ahead() as ahead:
        meanwhile = steps()
        for number in range(len(WINDOWS)):
            left = WINDOWS[number : number + AT_ONCE + 1]
            assert ahead.read(left, 500, meanwhile).window == WINDOWS[number]
    assert platform.most_under_way == AT_ONCE
    assert sorted(platform.ended) == WINDOWS, "each once"


def test_steps_are_taken_until_the_first_window_is_there() -> None:
    platform, taken = Platform(), 0

    def steps() -> Iterator[None]:
        nonlocal taken
        while True:
            taken += 1
            if taken == 3:
                platform.let_go[WINDOWS[0]].set()
                while not platform.ended:
                    pass
            yield

    with platform.ahead() as ahead:
        meanwhile = steps()
        ahead.read(WINDOWS[:1], 500, meanwhile)
    assert taken >= 3


def test_a_failure_is_raised_when_its_turn_comes() -> None:
    platform = Platform()

    def pages(window: Window, page_size: int, given_up: Event, report: Report) -> Iterator[Page]:
        if window == WINDOWS[1]:
            raise TransientError("away", code="503")
        return iter([Page([])])

    platform.pages = pages  # type: ignore[method-assign]
    with platform.ahead() as ahead:
        assert ahead.read(WINDOWS[:3], 500, iter(())).window == WINDOWS[0]
        with pytest.raises(TransientError):
            ahead.read(WINDOWS[1:3], 500, iter(()))
        assert ahead.read(WINDOWS[2:3], 500, iter(())).window == WINDOWS[2]


def test_reads_in_flight_end_with_it() -> None:
    platform = Platform()
    platform.let_go[WINDOWS[0]].set()
    with platform.ahead() as ahead:
        ahead.read(WINDOWS[:4], 500, iter(()))
        platform.wait_for(4)
    assert platform.under_way == 0
    assert sorted(platform.ended) == WINDOWS[:4]


@given(st.integers(0, 10 * ROWS_PER_WINDOW))
def test_no_more_rows_are_held_than_windows_of_the_usual_size_have(rows: int) -> None:
    held = most_held(rows)
    assert 1 <= held <= AT_ONCE + 1
    assert held == 1 or held * rows <= (AT_ONCE + 1) * ROWS_PER_WINDOW
