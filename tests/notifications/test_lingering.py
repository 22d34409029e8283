"""A lingering run delivers within seconds, and gives up its lease to the next one without a gap."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from tests.notifications.virtual_time import TimedDatabase
from tests.notifications.world import World
from workers.clock import STOP_SECONDS
from workers.notifications.report import Report

LINGER = {"notification_linger_seconds": 100.0}


class Arriving(TimedDatabase):
    """Queues a notification at each of `polls`, by number, and counts the calls."""

    def __init__(self, world: World, *polls: int) -> None:
        super().__init__(world.between.url, world.api.keys.secret, world.clock.as_of)
        world.closing(self)
        self._world, self._at = world, polls
        self.polls = 0
        self.calls = 0

    def call(self, function: str, **arguments: Any) -> Any:
        self.calls += 1
        if function == "poll_notifications":
            self.polls += 1
            if self.polls in self._at:
                self._world.notify("C0ONE0000", f"at look {self.polls}")
        return super().call(function, **arguments)


def lingering(world: World, monkeypatch: pytest.MonkeyPatch, *polls: int) -> Arriving:
    database = Arriving(world, *polls)
    monkeypatch.setattr(world, "new_database", lambda: database)
    return database


def test_new_notifications_are_posted_within_seconds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lingering(world, monkeypatch, 3, 5, 6)
    report = world.run(seconds=60, **LINGER)
    assert report.counts["sent"] == 3
    queued = [row["created_at"].timestamp() for row in world.queued()]
    waits = [message.ts - at for message, at in zip(world.messages(), queued, strict=True)]
    assert max(waits) <= 2.5
    world.assert_kept()


def test_an_idle_minute_takes_few_calls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    database = lingering(world, monkeypatch)
    report = world.run(seconds=73, **LINGER)
    assert (report.outcome, report.counts["sent"]) == ("drained", 0)
    assert database.calls <= 52, (
        "30 polls one second apart, about 19 two seconds apart, a start, a claim, an end"
    )


def test_a_run_lingers_no_longer_than_it_may(world: World) -> None:
    begun = world.clock.now()
    assert world.run(seconds=110, notification_linger_seconds=20.0).outcome == "drained"
    assert world.clock.now() - begun == pytest.approx(20, abs=2)
    begun = world.clock.now()
    assert world.run(seconds=30, **LINGER).outcome == "drained"
    assert world.clock.now() - begun <= 30


class Wanted(Arriving):
    """At its fourth poll another run asks for the lease."""

    def call(self, function: str, **arguments: Any) -> Any:
        answer_first = function == "poll_notifications" and self.polls == 3
        if answer_first:
            self._world.connection.execute(
                "select start_notification_run(gen_random_uuid(), as_of => %s)", (self._world.now,)
            )
        return super().call(function, **arguments)


def test_it_gives_up_the_lease_when_another_run_asks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Wanted(world)
    monkeypatch.setattr(world, "new_database", lambda: database)
    assert world.run(seconds=110, **LINGER).outcome == "handed_over"
    assert database.polls == 4
    monkeypatch.undo()
    world.notify()
    assert world.run().counts["sent"] == 1, "the lease is free at once"


def test_the_next_run_waits_for_a_lingering_one_and_continues(world: World) -> None:
    """Two runs in real time: the first lingers, the second asks and takes over."""
    reports: list[Report] = []
    first = world.drain_in_real_time(**LINGER)
    running = threading.Thread(target=lambda: reports.append(first(60.0)))
    running.start()
    while running.is_alive() and not world.connection.execute("table worker_leases").fetchone():
        pass
    world.notify("C0ONE0000", "for either", next_attempt_at=None, created_at=None)
    second = world.drain_in_real_time()(60.0)
    running.join(60)
    assert reports[0].outcome == "handed_over"
    assert second.outcome == "drained"
    assert reports[0].counts["sent"] + second.counts["sent"] == 1


def test_a_run_that_does_not_linger_is_not_waited_for(world: World) -> None:
    world.connection.execute(
        "select start_notification_run(gen_random_uuid(), as_of => %s)", (world.now,)
    )
    begun = world.clock.now()
    assert world.run(**LINGER).outcome == "busy"
    assert world.clock.now() == begun


class Stopping(TimedDatabase):
    """Asks the process to end at the first record after this many calls."""

    def __init__(self, world: World, calls: int) -> None:
        super().__init__(world.between.url, world.api.keys.secret, world.clock.as_of)
        world.closing(self)
        self._clock, self._left = world.clock, calls

    def call(self, function: str, **arguments: Any) -> Any:
        self._left -= 1
        if self._left <= 0:
            self._clock.stop_at = min(self._clock.stop_at, self._clock.now())
        return super().call(function, **arguments)


@pytest.mark.parametrize("calls", range(1, 8))
def test_asked_to_end_at_any_call_it_releases_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    for number in range(12):
        world.notify(f"C0NUMBER{number % 4}", f"message {number}")
    monkeypatch.setattr(world, "new_database", lambda: Stopping(world, calls))
    report = world.run(**LINGER)
    assert report.outcome in ("deadline", "drained")
    assert world.clock.now() - world.clock.stop_at <= STOP_SECONDS
    monkeypatch.undo()
    world.clock.stop_at = math.inf
    world.run()
    assert len(world.messages()) == 12
    world.assert_kept()
