from __future__ import annotations

import threading

from server.on_demand import OnDemand
from workers.clock import SystemClock

LONG = 300.0


class Stepped(SystemClock):
    """Its sleeps take no time and are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def serve(*answers: bool, requests_in: frozenset[int] = frozenset()) -> tuple[int, list[float]]:
    """How many runs one request leads to, and the pauses between them. Each run returns the next of
    `answers`; during those in `requests_in` another run is requested."""
    clock, runs, done = Stepped(), 0, threading.Event()

    def run() -> bool:
        nonlocal runs
        runs += 1
        if runs in requests_in:
            on_demand.request()
        if runs == len(answers):
            clock.stop()
            done.set()
        return answers[runs - 1]

    on_demand = OnDemand(run, clock)
    on_demand.request()
    on_demand.start()
    assert done.wait(LONG), f"{runs} runs"
    return runs, clock.slept


def test_a_request_during_a_run_gets_its_own_run() -> None:
    assert serve(True, True, True, requests_in=frozenset({1, 2})) == (3, [])


def test_it_retries_while_another_run_has_the_lease() -> None:
    assert serve(False, False, True) == (3, [1.0, 1.0])


def test_a_request_while_another_run_has_the_lease_is_not_lost() -> None:
    assert serve(False, True, True, requests_in=frozenset({1})) == (3, [1.0])
