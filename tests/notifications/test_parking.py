"""A channel or person that Slack refuses is parked, and nothing else, until a post gets through."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from local.faults import slack_error
from tests.notifications.slack_calls import POST
from tests.notifications.world import World

REFUSED: dict[str, Any] = {
    "is_archived": lambda world: world.change_channel("C0FIRST00", archived=True),
    "not_in_channel": lambda world: world.change_channel("C0FIRST00", member=False),
    "channel_not_found": lambda world: world.change_channel(
        "C0FIRST00", private=True, member=False
    ),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_channel_is_parked_until_it_works(world: World, code: str) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    for number in range(3):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    world.notify("C0OTHER00", "fine")
    REFUSED[code](world)
    report = world.run()
    assert (report.counts["parked"], report.counts["sent"], report.parked) == (1, 1, 1)
    assert world.agency.parked() == {"C0FIRST00": code}
    posts = world.posts()
    for _ in range(9):
        world.clock.advance(4 * 3600)
        world.run()
    assert world.posts() == posts, "Slack shows that it does not work yet"
    assert world.outcomes() == {None: 3, "sent": 1}, "what is parked does not age"
    world.change_channel("C0FIRST00")
    world.clock.advance(6 * 3600)
    world.run()
    assert world.agency.parked() == {}
    world.run_until_ended()
    assert [m.text for m in world.messages() if m.channel == "C0FIRST00"] == ["0", "1", "2"]
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    world.assert_kept()


@pytest.mark.parametrize("code", ["restricted_action", "ekm_access_denied", "no_permission"])
def test_a_refusal_that_slack_does_not_show_is_probed_by_single_posts_at_growing_intervals(
    world: World, code: str
) -> None:
    """Twelve hours: one attempt at 10, 30, 70, 150, 310 and 630 minutes, nothing in between."""
    config = world.agency.config("C0FIRST00", template="{{text}}")
    for number in range(5):
        world.queue(config, str(number))
    world.spoil(slack_error(code, times=None, **POST))
    world.run()
    world.clock.advance(60)
    world.run()
    assert world.agency.parked() == {"C0FIRST00": code}
    tried = world.posts()
    seen = []
    for _ in range(36):
        world.clock.advance(1200 - world.clock.now() % 1200)
        seen.append(world.run().parked)
    assert set(seen) == {1}, "it does not flap"
    assert world.posts() - tried == 6
    world.slack_server.faults.clear()
    world.clock.advance(6 * 3600)
    assert world.run_until_ended().counts["sent"] == 5
    world.assert_kept()


def test_one_archived_channel_of_three_does_not_affect_the_others(world: World) -> None:
    for channel in ("C0AAA0000", "C0BBB0000", "C0CCC0000"):
        world.agency.channel(channel)
    world.change_channel("C0AAA0000", archived=True)
    config = world.agency.config(template="{{text}}")
    for number in range(10):
        world.queue(config, str(number))
        world.clock.advance(0.01)
    world.run()
    assert Counter(m.channel for m in world.messages()) == {"C0BBB0000": 10, "C0CCC0000": 10}
    assert world.agency.parked() == {"C0AAA0000": "is_archived"}
    world.change_channel("C0AAA0000")
    world.connection.execute("select release_parked(as_of => %s)", (world.now,))
    world.run_until_ended()
    assert [m.text for m in world.messages() if m.channel == "C0AAA0000"] == [
        str(number) for number in range(10)
    ]
    world.assert_kept()


def test_thirty_days_of_refusal_in_one_channel_affect_no_other(world: World) -> None:
    refused = world.agency.config("C0READONL", template="{{text}}")
    well = world.agency.config("C0WELL000", template="{{text}}")
    world.spoil(slack_error("restricted_action", times=None, contains="C0READONL", **POST))
    for day in range(30):
        world.queue(refused, f"day {day}")
        world.queue(well, f"day {day}")
        world.run()
        world.clock.advance(60)
        world.run()
        world.clock.advance(24 * 3600 - 60)
    assert [m.text for m in world.messages()] == [f"day {day}" for day in range(30)]
    assert {m.channel for m in world.messages()} == {"C0WELL000"}
    assert world.outcomes() == {None: 30, "sent": 30}
    world.slack_server.faults.clear()
    world.clock.advance(6 * 3600)
    assert world.run_until_ended().counts["expired"] == 0
    assert world.outcomes() == {"sent": 60}
    world.assert_kept()


def test_a_parked_channel_is_probed_also_when_something_else_ends(world: World) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config)
    off = world.agency.config("C0OTHER00", is_active=False)
    world.change_channel("C0FIRST00", archived=True)
    world.run()
    world.change_channel("C0FIRST00")
    world.clock.advance(600)
    world.queue(off)
    report = world.run()
    assert (report.counts["skipped"], report.counts["sent"]) == (1, 1)


def test_a_temporary_refusal_parks_nothing(world: World) -> None:
    world.notify()
    world.spoil(slack_error("channel_not_found", **POST))
    report = world.run()
    assert report.counts["parked"] == 0
    world.run_until_ended()
    assert len(world.messages()) == 1
    assert world.agency.parked() == {}


def test_a_refusal_seen_twice_parks_where_slack_cannot_be_asked(world: World) -> None:
    world.without_scopes("channels:read")
    world.notify()
    world.change_channel("C0FIRST00", archived=True)
    assert world.run().counts["parked"] == 0
    world.clock.advance(60)
    assert world.run().counts["parked"] == 1


def test_a_person_who_is_gone_is_parked(world: World) -> None:
    users = {"U0AVA00000": {"name": "Ava", "deactivated": True}}
    world.change_workspace(users=users)
    world.queue(world.agency.config(user_id=world.agency.user("U0AVA00000")))
    world.run()
    world.clock.advance(60)
    assert world.run().counts["parked"] == 1
    assert list(world.agency.parked()) == ["U0AVA00000"]


def test_a_released_destination_continues(world: World) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config)
    world.change_channel("C0FIRST00", archived=True)
    world.run()
    world.change_channel("C0FIRST00")
    world.connection.execute("select release_parked('C0FIRST00', %s)", (world.now,))
    assert world.run().counts["sent"] == 1


def test_a_corrected_channel_gets_what_was_waiting_at_once(world: World) -> None:
    config = world.agency.config("C0WRONG00", template="{{text}}")
    for number in range(3):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    world.change_channel("C0WRONG00", archived=True)
    world.run()
    world.connection.execute("update notification_config set channel_id = 'C0RIGHT00'")
    assert world.run().counts["sent"] == 3
    assert [(m.channel, m.text) for m in world.messages()] == [
        ("C0RIGHT00", str(number)) for number in range(3)
    ]
    world.run()
    assert world.agency.parked() == {}, "nothing waits there any longer"


def test_moved_while_in_doubt_is_settled_in_the_old_channel_and_posted_in_the_new_one(
    world: World,
) -> None:
    config = world.agency.config("C0OLD0000", template="{{text}}")
    world.queue(config, "lost")
    world.spoil(slack_error("internal_error", **POST))
    world.run()
    world.connection.execute("update notification_config set channel_id = 'C0NEW0000'")
    world.queue(config, "later")
    assert world.run().counts["sent"] == 1, "what is not in doubt continues in the new channel"
    world.clock.advance(60)
    report = world.run()
    assert (report.counts["moved"], report.counts["sent"]) == (1, 1)
    assert {m.channel for m in world.messages()} == {"C0NEW0000"}
    assert not any(m.is_marked for m in world.messages())
    world.assert_kept()


def test_moved_while_in_doubt_and_found_in_the_old_channel_is_not_repeated(world: World) -> None:
    config = world.agency.config("C0OLD0000", template="{{text}}")
    world.queue(config, "there")
    world.spoil(slack_error("internal_error", when="after", **POST))
    world.run()
    world.connection.execute("update notification_config set channel_id = 'C0NEW0000'")
    world.clock.advance(60)
    assert world.run().counts["reconciled"] == 1
    assert [m.channel for m in world.messages()] == ["C0OLD0000"]
    world.assert_kept()


def test_moved_while_in_doubt_where_the_bot_cannot_read_is_marked(world: World) -> None:
    world.without_scopes("channels:history")
    config = world.agency.config("C0OLD0000", template="{{text}}")
    world.queue(config, "there")
    world.spoil(slack_error("internal_error", when="after", **POST))
    world.run()
    world.connection.execute("update notification_config set channel_id = 'C0NEW0000'")
    world.clock.advance(60)
    world.run_until_ended(runs=3)
    assert [(m.channel, m.is_marked) for m in world.messages()] == [
        ("C0OLD0000", False), ("C0NEW0000", True),
    ]  # fmt: skip
    world.assert_kept()


def test_a_parked_channel_continues_ageing_where_it_paused(world: World) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config, next_attempt_at=world.now - timedelta(hours=20))
    world.change_channel("C0FIRST00", archived=True)
    world.run()
    world.clock.advance(72 * 3600)
    world.connection.execute("select release_parked(as_of => %s)", (world.now,))
    world.run()
    assert world.outcomes() == {None: 1}, "it aged 20 hours before, and none in the meantime"
    # parked again for too short to reach its 24 hours, then released for good
    world.connection.execute("select release_parked(as_of => %s)", (world.now,))
    world.clock.advance(5 * 3600)
    world.connection.execute("select release_parked(as_of => %s)", (world.now,))
    world.run()
    assert world.outcomes() == {"expired": 1}
