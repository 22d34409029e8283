"""Slack asks us to wait: for one channel, one person or the whole workspace."""

from __future__ import annotations

from itertools import pairwise

import pytest

from local.faults import Fault, rate_limited, slack_error
from tests.notifications.slack_calls import POST
from tests.notifications.world import World


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (rate_limited(5, **POST), 5, 12),
        (rate_limited(None, **POST), 30, 61),
        (rate_limited("soon", **POST), 30, 61),
        (rate_limited(-3, **POST), 30, 61),
        (
            Fault("answer", status=429, body="slow down", headers={"Retry-After": "4"}, **POST),
            4,
            12,
        ),
        (rate_limited(300, **POST), 300, 361),
    ],
    ids=["5 s", "none", "nonsense", "negative", "text", "5 min"],
)
def test_slack_asks_to_wait(world: World, fault: Fault, least: float, most: float) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(3):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    started = world.now.timestamp()
    world.spoil(fault)
    total = world.run_until_ended()
    assert total.counts["rate_limited"] == 1
    assert [m.text for m in world.messages()] == ["0", "1", "2"]
    assert least <= world.messages()[0].ts - started <= most
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    world.assert_kept()


def test_after_a_wait_a_person_reads_in_order_what_was_queued_in_order(world: World) -> None:
    person = world.agency.config(user_id=world.agency.user("U0AVA00000"), template="{{text}}")
    # keeps the run busy, so that its records are sent once a second
    other = world.agency.config("C0OTHER00", template="{{text}}")
    for number in range(20):
        world.queue(other, str(number))
    for number in range(2):
        world.queue(person, str(number))
        world.clock.advance(0.001)
    world.spoil(rate_limited(300, fields={"channel": "D0AVA00000"}, **POST))
    world.run()
    (held,) = world.connection.execute(
        "select not_before from slack_destinations where not_before is not null"
    )
    world.clock.advance((held["not_before"] - world.now).total_seconds() + 0.1)
    world.queue(person, "2")
    world.run_until_ended()
    assert [m.text for m in world.messages() if m.channel == "D0AVA00000"] == ["0", "1", "2"]


def test_while_one_channel_waits_the_others_continue(world: World) -> None:
    world.notify("C0SLOW000")
    world.notify("C0FAST000")
    world.spoil(rate_limited(15, fields={"channel": "C0SLOW000"}, **POST))
    started = world.now.timestamp()
    world.run()
    arrived = {m.channel: m.ts - started for m in world.messages()}
    assert arrived["C0FAST000"] < 1
    assert arrived["C0SLOW000"] >= 15


@pytest.mark.parametrize("how", ["second channel", "message_limit_exceeded"])
def test_the_whole_workspace_waits(world: World, how: str) -> None:
    if how == "second channel":
        world.spoil(rate_limited(60, times=2, **POST))
    else:
        world.spoil(slack_error("message_limit_exceeded", **POST))
    for number in range(6):
        world.notify(f"C{number:08}", text=str(number))
    report = world.run(notification_concurrency=1)
    assert report.outcome == "waiting"
    assert report.counts["sent"] == 0
    before = world.posts()
    world.clock.advance(5)
    assert world.run().outcome == "waiting"
    assert world.posts() == before, "a run in the meantime posts nothing"
    world.run_until_ended()
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    world.assert_kept()


def test_an_enforced_rate_is_never_broken(world: World) -> None:
    world.workspace.configure({"rate_limit": True})
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(15):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    total = world.run_until_ended()
    assert total.counts["rate_limited"] == 0
    assert len(world.messages()) == 15


def test_gaps_stay_wide_when_a_channel_fails_occasionally(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for number in range(10):
        world.queue(config, str(number))
    world.spoil(*(rate_limited(2, skip=skip, **POST) for skip in (2, 3, 4)))
    world.run_until_ended()
    times = [m.ts for m in world.messages()]
    assert min(b - a for a, b in pairwise(times)) >= 1
