from __future__ import annotations

import threading

from server.on_demand import OnDemand
from workers.clock import SystemClock

LONG = 300.0


class Stepped(SystemClock):
    """Sleeps take no time, and are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def serve(*answers: bool, asks_in: frozenset[int] = frozenset()) -> tuple[int, list[float]]:
    """How many runs one ask leads to, and the pauses between them: each answers in turn, and during
    those of `asks_in` another one is asked for."""
    clock, runs, done = Stepped(), 0, threading.Event()

    def run() -> bool:
        nonlocal runs
        runs += 1
        if runs in asks_in:
            on_demand.ask()
        if runs == len(answers):
            clock.stop()
            done.set()
        return answers[runs - 1]

    on_demand = OnDemand(run, clock)
    on_demand.ask()
    on_demand.start()
    assert done.wait(LONG), f"{runs} runs"
    return runs, clock.slept


def test_what_is_asked_during_a_run_has_one_of_its_own() -> None:
    assert serve(True, True, True, asks_in=frozenset({1, 2})) == (3, [])


def test_while_another_one_has_the_lease_it_asks_again() -> None:
    assert serve(False, False, True) == (3, [1.0, 1.0])


def test_nothing_is_lost_that_is_asked_while_another_one_has_the_lease() -> None:
    assert serve(False, True, True, asks_in=frozenset({1})) == (3, [1.0])
