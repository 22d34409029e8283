"""Waiting ends with what is waited for, not with the clock."""

from __future__ import annotations

import os

import pytest

from local.services import patience
from local.services.patience import LONGEST, Patience, process_table, used_below


class Watched:
    """A process as the test says: the time, and the processor time that it has used."""

    def __init__(self) -> None:
        self.now = self.used = 0.0
        self.patience = Patience(10.0, 1, now=lambda: self.now, used=lambda pid: self.used)

    def pass_time(self, seconds: float, *, working: bool) -> bool:
        """Looked at each second; whether patience is over then."""
        for _ in range(int(seconds)):
            self.now += 1
            self.used += working
            if self.patience.is_over:
                return True
        return False


def test_one_that_hangs_is_abandoned_after_that_time() -> None:
    watched = Watched()
    assert not watched.pass_time(11, working=False)
    assert watched.pass_time(2, working=False)


def test_one_that_works_is_waited_for() -> None:
    watched = Watched()
    assert not watched.pass_time(150, working=True)
    assert not watched.pass_time(10, working=False)
    assert not watched.pass_time(30, working=True)
    assert watched.pass_time(12, working=False)


def test_one_that_works_forever_is_abandoned_in_the_end() -> None:
    watched = Watched()
    assert not watched.pass_time(10 * LONGEST, working=True)
    assert watched.pass_time(2, working=True)


def test_processor_time_is_that_of_the_whole_family() -> None:
    own = process_table()[os.getpid()]
    assert own.parent == os.getppid()
    assert own.state != "Z"
    assert used_below(os.getpid()) >= own.used > 0
    assert used_below(os.getppid()) >= used_below(os.getpid())


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [("0:00.52", 0.52), ("1:02.00", 62), ("2:00:01", 7201), ("3-00:00:05", 259_205)],
)
def test_times_as_ps_prints_them(clock: str, seconds: float) -> None:
    assert patience._seconds(clock) == pytest.approx(seconds)
