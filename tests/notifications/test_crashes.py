"""Runs that are killed (SIGKILL) at each step in turn, and what the next runs do about it."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests import forked
from tests.notifications.killed_run import kinds_of
from tests.notifications.world import TOKEN, World
from workers.errors import CredentialsError

# Where a crash can fall in a run over three channels of two notifications each.
STEPS = (
    *(
        f"{when} {function} 1"
        for function in (
            "start_notification_run",
            "claim_notifications",
            "record_notification_progress",
            "finish_notification_run",
        )
        for when in ("before", "after")
    ),
    "before claim_notifications 2",
    "after claim_notifications 2",
    "before record_notification_progress 2",
    "after record_notification_progress 2",
    *(f"{when} chat.postMessage {number}" for number in (1, 3, 6) for when in ("before", "after")),
)


def first_of(*methods: str) -> tuple[str, ...]:
    """Before and after the first call of each."""
    return tuple(f"{when} {method} 1" for method in methods for when in ("before", "after"))


# Where else one can fall, and what makes a run get there.
LOOKING = first_of("auth.test", "conversations.history")
DIRECT = first_of("conversations.open", "auth.test", "conversations.history")
REFUSED = first_of("conversations.info")
LINGERING = first_of("poll_notifications")
IN_THREADS = first_of("auth.test", "conversations.replies")
KINDS = kinds_of((*STEPS, *LOOKING, *DIRECT, *REFUSED, *LINGERING, *IN_THREADS))


MODULE = "tests.notifications.killed_run"
# How far off the fake's own clock and threads may be.
CLOCK_ERROR = 0.003


def order_for(world: World, kill_at: str | None, **more: Any) -> dict[str, Any]:
    return {
        "url": world.between.url,
        "key": world.api.keys.secret,
        "token": TOKEN,
        "slack_url": f"{world.slack_server.url}/api/",
        "as_of": world.now.isoformat(),
        "kill_at": kill_at,
        "poison": None,
        **more,
    }


def start(world: World, kill_at: str | None, **more: Any) -> forked.Run:
    return forked.Run(MODULE, order_for(world, kill_at, **more))


def killed_run(world: World, kill_at: str | None, **more: Any) -> list[str]:
    """The steps that a run took until it was killed, or to its end."""
    taken = forked.killed_run(MODULE, order_for(world, kill_at, **more))
    assert kinds_of(taken) <= KINDS, "a step that is not on a list, so no kill is tried there"
    return taken


def queue_some(world: World, seed: int = 0) -> int:
    """Queue two notifications for each of three channels, and more by `seed`; returns how many."""
    counts = [2 + seed * step % 4 for step in (1, 2, 3)]
    for channel, count in zip(("C0ONE0000", "C0TWO0000", "C0THREE00"), counts, strict=True):
        config = world.agency.config(channel, template="{{text}}")
        for number in range(count):
            due = world.now + timedelta(milliseconds=number - 1000)
            world.queue(config, f"{channel} {number}", next_attempt_at=due)
    return sum(counts)


def test_the_steps_match_a_run(world: World) -> None:
    """The list above is complete: a run takes each of these steps, and none of another kind."""
    queue_some(world)
    taken = killed_run(world, None)
    assert set(STEPS) <= set(taken)
    assert kinds_of(taken) == kinds_of(STEPS)


@pytest.mark.parametrize("seed", range(int(os.environ.get("KILL_SEEDS", "1"))))
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_and_repeats_nothing(world: World, step: str, seed: int) -> None:
    count = queue_some(world, seed)
    assert killed_run(world, step)[-1] == step
    assert_all_is_sent_once(world, count)


@pytest.mark.parametrize("step", [*LOOKING, "before chat.postMessage 1"])
def test_a_kill_while_searching_for_what_may_have_been_posted(world: World, step: str) -> None:
    queue_some(world)
    killed_run(world, "after chat.postMessage 3")
    world.clock.advance(200)
    killed_run(world, step)
    assert_all_is_sent_once(world, 6)


@pytest.mark.parametrize("step", STEPS)
def test_a_dead_run_is_followed_at_once(world: World, step: str) -> None:
    """What it had not announced continues as soon as its lease has expired, 30 s after its last
    record; the channels with something in doubt a minute after that attempt, in order."""
    queue_some(world)
    killed_run(world, step)
    announced = [d for d in world.agency.deliveries() if d["state"] == "sending"]
    doubtful = {delivery["destination"] for delivery in announced}
    world.clock.advance(35)
    world.run(slack_channel_rate=0.0)
    waiting = [d for d in world.agency.deliveries() if d["state"] in ("pending", "unknown")]
    assert {delivery["destination"] for delivery in waiting} <= doubtful
    world.clock.advance(30)
    world.run_until_ended(slack_channel_rate=0.0)
    assert_in_order(world)
    world.assert_kept()


@pytest.mark.parametrize("step", DIRECT)
def test_a_kill_while_searching_for_a_direct_message(world: World, step: str) -> None:
    world.queue(world.agency.config(user_id=world.agency.user("U0AVA00000")))
    killed_run(world, "before chat.postMessage 1")
    world.clock.advance(61)
    assert killed_run(world, step)[-1] == step
    assert_all_is_sent_once(world, 1)


@pytest.mark.parametrize("step", LINGERING)
def test_a_kill_of_a_lingering_run(world: World, step: str) -> None:
    queue_some(world)
    assert killed_run(world, step, linger=5.0)[-1] == step
    queue_some(world)
    assert_all_is_sent_once(world, 12)


THREADS = {"notification_threads": "on"}


def queue_threads(world: World) -> None:
    """Three notifications about one request for each of two channels."""
    about = world.agency.request()
    for channel in ("C0ONE0000", "C0TWO0000"):
        config = world.agency.config(channel, template="{{text}}")
        for number in range(3):
            due = world.now + timedelta(milliseconds=number - 1000)
            world.queue(config, f"{channel} {number}", next_attempt_at=due, entity_id=about)


def assert_threads(world: World) -> None:
    """Everything was sent once, and in each channel in the thread of its first message."""
    world.settings_of_runs = THREADS
    assert_all_is_sent_once(world, 6)
    assert_in_order(world)
    for messages in world.workspace.state()["messages"].values():
        assert {message["thread_ts"] for message in messages} == {messages[0]["ts"]}


@pytest.mark.parametrize(
    "step",
    [
        f"{when} {call} {number}"
        for call, numbers in (
            ("record_notification_progress", (2, 3)),
            ("chat.postMessage", (2, 4, 6)),
        )
        for number in numbers
        for when in ("before", "after")
    ],
)
def test_a_kill_with_threads_loses_nothing_and_repeats_nothing(world: World, step: str) -> None:
    queue_threads(world)
    assert killed_run(world, step, threads="on")[-1] == step
    assert_threads(world)


@pytest.mark.parametrize("step", IN_THREADS)
def test_a_kill_while_searching_a_thread(world: World, step: str) -> None:
    queue_threads(world)
    killed_run(world, "after chat.postMessage 4", threads="on")
    world.clock.advance(200)
    assert killed_run(world, step, threads="on")[-1] == step
    assert_threads(world)


@pytest.mark.parametrize("step", REFUSED)
def test_a_kill_while_a_refusal_is_confirmed(world: World, step: str) -> None:
    world.change_channel("C0FIRST00", member=False)
    world.notify("C0FIRST00")
    assert killed_run(world, step)[-1] == step
    world.change_channel("C0FIRST00", member=True)
    assert_all_is_sent_once(world, 1)


@pytest.mark.parametrize("step", REFUSED)
def test_a_kill_while_checking_a_parked_destination(world: World, step: str) -> None:
    world.change_channel("C0FIRST00", member=False)
    world.notify("C0FIRST00")
    world.run()
    world.change_channel("C0FIRST00", member=True)
    world.clock.advance(700)
    assert killed_run(world, step)[-1] == step
    world.clock.advance(1300)
    assert_all_is_sent_once(world, 1)


@pytest.mark.parametrize("step", first_of("chat.postMessage"))
def test_a_kill_while_trying_a_refused_token_again(world: World, step: str) -> None:
    world.notify("C0FIRST00")
    world.change_token(revoked=True)
    with pytest.raises(CredentialsError):
        world.run()
    world.change_token(revoked=False)
    world.clock.advance(60)
    assert killed_run(world, step)[-1] == step
    assert_all_is_sent_once(world, 1)


def assert_all_is_sent_once(world: World, count: int) -> None:
    """After the leases, and each message without a note that it may be a repeat."""
    world.clock.advance(200)
    world.run_until_ended(slack_channel_rate=0.0)
    assert world.outcomes() == {"sent": count}
    assert len(world.messages()) == count
    assert not any(message.is_marked for message in world.messages())
    world.assert_kept()


def assert_in_order(world: World) -> None:
    """Within each channel, by when they were due."""
    for messages in world.workspace.state()["messages"].values():
        texts = [message["text"] for message in messages]
        assert texts == sorted(texts)


def test_a_kill_before_any_post_only_costs_the_lease(world: World) -> None:
    queue_some(world)
    killed_run(world, "after claim_notifications 1")
    assert world.run().outcome == "busy"
    world.clock.advance(35)
    assert world.run(slack_channel_rate=0.0).counts["sent"] == 6
    assert world.slack_server.journal.count("conversations.history") == 0
    assert {row["attempts"] for row in world.queued()} == {0}


def test_a_row_that_always_crashes_its_worker_dies_alone(world: World) -> None:
    killer = world.notify("C0KILLER0")
    innocent = world.notify("C0OTHER00")
    runs = 0
    while world.agency.queued(killer)["outcome"] is None:
        start(world, None, poison="C0KILLER0").ended()
        runs += 1
        world.clock.advance(200)
        assert runs <= 6
    row = world.agency.queued(killer)
    assert (row["outcome"], row["attempts"], row["is_processed"]) == ("dead", 5, False)
    assert "crashed the worker" in row["last_error"]
    assert runs == 6, "five claims died, the sixth run ended it"
    assert world.agency.queued(innocent)["outcome"] == "sent"
    assert [message.channel for message in world.messages()] == ["C0OTHER00"]


def test_two_runs_at_once_over_one_queue(world: World) -> None:
    for number in range(4):
        config = world.agency.config(f"C{number:08}", template="{{text}}")
        for text in range(5):
            world.queue(config, f"{text}")
    for run in [start(world, None), start(world, None)]:
        ended = run.ended()
        assert ended.status == 0, ended.err
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
    runs = [
        start(world, "after chat.postMessage 5" if number == 0 else None) for number in range(8)
    ]
    for run in runs:
        ended = run.ended()
        assert ended.status in (0, -signal.SIGKILL), ended.err
    world.clock.advance(200)
    world.run_until_ended()
    assert world.outcomes() == {"sent": 12}
    assert len(world.messages()) == 12
    assert not any(message.is_marked for message in world.messages())
    world.assert_kept()


def test_eight_runs_at_once_keep_the_pace_of_one(world: World) -> None:
    for channel in ("C0ONE0000", "C0TWO0000"):
        config = world.agency.config(channel, template="{{text}}")
        for text in range(3):
            world.queue(config, f"{text}")
    for run in [start(world, None, rate=1.0) for _ in range(8)]:
        ended = run.ended()
        assert ended.status == 0, ended.err
    assert world.outcomes() == {"sent": 6}
    for messages in world.workspace.state()["messages"].values():
        arrivals = [message["arrived"] for message in messages]
        assert len(arrivals) == 3
        assert min(b - a for a, b in pairwise(arrivals)) >= 1 - CLOCK_ERROR
