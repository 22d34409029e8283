"""A channel or person that Slack refuses parks the config until it works again or is released."""

from __future__ import annotations

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
def test_a_refused_channel_parks_its_config_until_it_is_well(world: World, code: str) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    for number in range(3):
        world.queue(config, str(number))
        world.clock.advance(0.001)
    world.notify("C0OTHER00", "fine")
    REFUSED[code](world)
    report = world.run()
    assert (report.counts["parked"], report.counts["sent"]) == (1, 1)
    (pause,) = world.agency.pauses()
    assert (str(pause["config_id"]), pause["code"]) == (config, code)
    posts = world.posts()
    for _ in range(9):
        world.clock.advance(4 * 3600)
        world.run()
    assert world.posts() == posts
    assert world.outcomes() == {None: 3, "sent": 1}, "what is parked does not age"
    world.change_channel("C0FIRST00")
    world.clock.advance(600)
    assert world.run().counts["unparked"] == 1
    world.run_until_ended()
    assert [m.text for m in world.messages() if m.channel == "C0FIRST00"] == ["0", "1", "2"]
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    world.assert_kept()


def test_a_parked_channel_is_asked_for_also_when_something_else_ends(world: World) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config)
    off = world.agency.config("C0OTHER00", is_active=False)
    world.change_channel("C0FIRST00", archived=True)
    world.run()
    world.change_channel("C0FIRST00")
    world.clock.advance(600)
    world.queue(off)
    report = world.run()
    assert (report.counts["skipped"], report.counts["unparked"]) == (1, 1)


def test_a_refusal_that_passes_parks_nothing(world: World) -> None:
    world.notify()
    world.spoil(slack_error("channel_not_found", **POST))
    report = world.run()
    assert report.counts["parked"] == 0
    world.run_until_ended()
    assert len(world.messages()) == 1
    assert world.agency.pauses() == []


def test_a_refusal_seen_twice_parks_where_slack_cannot_be_asked(world: World) -> None:
    world.without_scopes("channels:read")
    world.notify()
    world.change_channel("C0FIRST00", archived=True)
    assert world.run().counts["parked"] == 0
    world.clock.advance(60)
    assert world.run().counts["parked"] == 1


def test_a_person_who_is_gone_parks_the_config(world: World) -> None:
    users = {"U0AVA00000": {"name": "Ava", "deactivated": True}}
    world.change_workspace(users=users)
    world.queue(world.agency.config(user_id=world.agency.user("U0AVA00000")))
    world.run()
    world.clock.advance(60)
    assert world.run().counts["parked"] == 1
    assert [pause["code"] for pause in world.agency.pauses()] == ["user_disabled"]


def test_a_released_config_goes_on(world: World) -> None:
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config)
    world.change_channel("C0FIRST00", archived=True)
    world.run()
    world.change_channel("C0FIRST00")
    world.connection.execute("select release_parked_configs(%s, %s)", (config, world.now))
    assert world.run().counts["sent"] == 1


def test_a_corrected_channel_gets_what_waited(world: World) -> None:
    config = world.agency.config("C0WRONG00", template="{{text}}")
    world.queue(config)
    world.change_channel("C0WRONG00", archived=True)
    world.run()
    world.connection.execute("update notification_config set channel_id = 'C0RIGHT00'")
    world.connection.execute("select release_parked_configs(as_of => %s)", (world.now,))
    assert world.run().counts["sent"] == 1
    assert [m.channel for m in world.messages()] == ["C0RIGHT00"]
