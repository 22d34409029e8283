"""Runs that purge through the cold archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.retention.world import World, days_ago, of


def test_only_rows_that_were_stored_are_purged(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(3, days_ago(400), "archived_activity_log")

    left: list[int] = []

    class OneAtATime:
        heed: Callable[[], None]

        def store(self, lines: Any) -> tuple[list[str], int]:
            left.append(world.count("archived_activity_log"))
            return list(lines[:1]), 1

    assert of(world.run(cold=OneAtATime()), "activity_log")["purged"] == 3
    assert left == [3, 2, 1]


def test_fewer_long_rows_are_read_at_once(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    world.connection.execute(
        "update archived_activity_log set details = jsonb_build_object('t', repeat('x', "
        "case when created_at = %s then 9000000 else 3000000 end))",
        (days_ago(400),),
    )
    stored: list[int] = []

    class Counting:
        heed: Callable[[], None]

        def store(self, lines: Any) -> tuple[list[str], int]:
            stored.append(len(lines))
            return list(lines), 1

    assert of(world.run(cold=Counting()), "activity_log")["purged"] == 5
    assert stored == [3, 2], "the oldest first, and one row however long"


def test_rows_that_changed_meanwhile_are_not_purged(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(3, days_ago(400), "archived_activity_log")

    class Changing:
        heed: Callable[[], None]

        def store(self, lines: Any) -> tuple[list[str], int]:
            world.connection.execute("update archived_activity_log set action = action || '!'")
            return list(lines), 1

    done = of(world.run(cold=Changing()), "activity_log")
    assert (done["status"], done["purged"]) == ("failed", 0)
    assert "rows_changed" in done["error"]
    assert world.count("archived_activity_log") == 3


class SlowCold:
    """Every request takes that long; before each it checks whether there is time."""

    def __init__(self, world: World, seconds: float, requests: int) -> None:
        self.heed: Callable[[], None] = lambda: None
        self._world, self._seconds, self._requests = world, seconds, requests
        self.during: Callable[[], None] = lambda: None

    def store(self, lines: Sequence[str]) -> tuple[list[str], int]:
        for _ in range(self._requests):
            self.heed()
            self._world.clock.advance(self._seconds)
        self.during()
        return list(lines), 1


@pytest.mark.parametrize("limit", [27.0, 100.0, 897.0])
def test_a_slow_cold_archive_keeps_to_the_deadline(world: World, limit: float) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    started = world.clock.now()
    summary = world.run(seconds=limit, cold=SlowCold(world, 10.0, 1000))
    assert world.clock.now() - started <= limit
    assert summary["outcome"] == "unfinished"
    assert world.count("archived_activity_log") == 5


def test_a_slow_cold_archive_keeps_the_lease(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    cold = SlowCold(world, 20.0, 10)
    outcomes: list[str] = []
    cold.during = lambda: outcomes.append(world.run()["outcome"])
    assert world.run(cold=cold)["outcome"] == "complete"
    assert outcomes == ["busy"]


def test_rows_that_another_run_purged_meanwhile_are_not_a_failure(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    cold = SlowCold(world, 1.0, 1)
    cold.during = lambda: world.connection.execute("delete from archived_activity_log")
    assert world.run(cold=cold)["outcome"] == "complete"
