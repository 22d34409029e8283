"""Runs that are killed (SIGKILL) at each step in turn, and what the next runs make of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.delivery.world import TOKEN, World

ROOT = Path(__file__).resolve().parents[2]

# Where a crash can fall in a run over three channels of two notifications each.
STEPS = (
    *(
        f"{when} {function} 1"
        for function in (
            "start_notification_run",
            "lock_and_get_notifications",
            "record_notification_progress",
            "finish_notification_run",
        )
        for when in ("before", "after")
    ),
    "before lock_and_get_notifications 2",
    "after lock_and_get_notifications 2",
    "before record_notification_progress 2",
    "after record_notification_progress 2",
    *(f"{when} post {number}" for number in (1, 3, 6) for when in ("before", "after")),
)


def start(world: World, kill_at: str | None, poison: str | None = None) -> subprocess.Popen[str]:
    order = {
        "url": world.between.url,
        "key": world.api.keys.secret,
        "token": TOKEN,
        "slack_url": f"{world.slack_server.url}/api/",
        "as_of": world.now.isoformat(),
        "kill_at": kill_at,
        "poison": poison,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.delivery.killed_run"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    process.stdin = None
    return process


def killed_run(world: World, kill_at: str | None) -> list[str]:
    """The steps that a run took until it was killed, or to its end."""
    with start(world, kill_at) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == (0 if kill_at is None else -signal.SIGKILL), err
    return out.splitlines()


def queue_some(world: World, seed: int = 0) -> int:
    """Two notifications for each of three channels, and some more by `seed`; how many."""
    counts = [2 + seed * step % 4 for step in (1, 2, 3)]
    for channel, count in zip(("C0ONE0000", "C0TWO0000", "C0THREE00"), counts, strict=True):
        config = world.agency.config(channel, template="{{text}}")
        for number in range(count):
            world.queue(config, f"{channel} {number}")
    return sum(counts)


def test_the_steps_are_those_of_a_run(world: World) -> None:
    """The list above is no wish: a run takes each of these steps, and none of another kind."""
    queue_some(world)
    taken = killed_run(world, None)
    assert set(STEPS) <= set(taken)
    kinds = {step.rpartition(" ")[0] for step in STEPS}
    assert {step.rpartition(" ")[0] for step in taken} == kinds


@pytest.mark.parametrize("seed", range(int(os.environ.get("KILL_SEEDS", "1"))))
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_and_repeats_nothing(world: World, step: str, seed: int) -> None:
    count = queue_some(world, seed)
    assert killed_run(world, step)[-1] == step
    world.clock.advance(200)
    world.run_until_ended(slack_channel_rate=0.0)
    assert world.outcomes() == {"sent": count}
    assert len(world.messages()) == count
    assert not any(message.is_marked for message in world.messages())
    world.assert_kept()


@pytest.mark.parametrize("step", ["before history 1", "after history 1", "before post 1"])
def test_a_kill_while_looking_for_what_may_have_been_posted(world: World, step: str) -> None:
    queue_some(world)
    killed_run(world, "after post 3")
    world.clock.advance(200)
    killed_run(world, step)
    world.clock.advance(200)
    world.run_until_ended(slack_channel_rate=0.0)
    assert world.outcomes() == {"sent": 6}
    assert len(world.messages()) == 6
    world.assert_kept()


def test_a_kill_before_any_post_costs_the_lease_alone(world: World) -> None:
    queue_some(world)
    killed_run(world, "after lock_and_get_notifications 1")
    assert world.run().outcome == "busy"
    world.clock.advance(180)
    assert world.run(slack_channel_rate=0.0).counts["sent"] == 6
    assert world.slack_server.journal.count("conversations.history") == 0
    assert {row["attempts"] for row in world.queued()} == {0}


def test_a_row_that_takes_its_worker_down_each_time_dies_alone(world: World) -> None:
    killer = world.notify("C0KILLER0")
    innocent = world.notify("C0OTHER00")
    runs = 0
    while world.agency.queued(killer)["outcome"] is None:
        with start(world, None, poison="C0KILLER0") as process:
            process.communicate(timeout=60)
        runs += 1
        world.clock.advance(200)
        assert runs <= 6
    row = world.agency.queued(killer)
    assert (row["outcome"], row["attempts"], row["is_processed"]) == ("dead", 5, False)
    assert "crashed the worker" in row["last_error"]
    assert runs == 6, "five claims died, the sixth run buried it"
    assert world.agency.queued(innocent)["outcome"] == "sent"
    assert [message.channel for message in world.messages()] == ["C0OTHER00"]


def test_two_runs_at_once_over_one_queue(world: World) -> None:
    for number in range(4):
        config = world.agency.config(f"C{number:08}", template="{{text}}")
        for text in range(5):
            world.queue(config, f"{text}")
    with start(world, None) as first, start(world, None) as second:
        for process in (first, second):
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
    world.clock.advance(200)
    world.run_until_ended()
    assert len(world.messages()) == 20
    assert world.outcomes() == {"sent": 20}
    world.assert_kept()


def test_of_eight_runs_at_once_one_drains_and_a_successor_takes_over(world: World) -> None:
    for number in range(4):
        config = world.agency.config(f"C{number:08}", template="{{text}}")
        for text in range(3):
            world.queue(config, f"{text}")
    runs = [start(world, "after post 5" if number == 0 else None) for number in range(8)]
    for process in runs:
        _, err = process.communicate(timeout=90)
        assert process.returncode in (0, -signal.SIGKILL), err
    world.clock.advance(200)
    world.run_until_ended()
    assert world.outcomes() == {"sent": 12}
    assert len(world.messages()) == 12
    assert not any(message.is_marked for message in world.messages())
    world.assert_kept()
