"""A post that may have succeeded is searched for before it is repeated, or the repeat is noted."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from local.faults import (
    Fault,
    close,
    failing,
    hang,
    rate_limited,
    redirect,
    reset,
    slack_error,
    trickle,
    truncate,
)
from tests.notifications.slack_calls import AFTER, HISTORY, POST
from tests.notifications.world import World
from workers.errors import CredentialsError

ACCEPTED_BUT_UNCONFIRMED = {
    "reset": reset(**AFTER),
    "closed": close(**AFTER),
    "truncated": truncate(**AFTER),
    "server error": failing(500, **AFTER),
    "gateway error": failing(503, **AFTER),
    "web page": Fault("answer", status=200, body="<html>Sign in to the network</html>", **AFTER),
    "no ts": Fault("answer", status=200, body='{"ok": true}', **AFTER),
    "an array": Fault("answer", status=200, body="[]", **AFTER),
    "redirect": redirect("https://elsewhere.example/", **AFTER),
    "internal_error": slack_error("internal_error", **AFTER),
    "fatal_error": slack_error("fatal_error", **AFTER),
    "hang": hang(5, **AFTER),
    "trickle": trickle(5, **AFTER),
}


@pytest.mark.parametrize("fault", ACCEPTED_BUT_UNCONFIRMED.values(), ids=ACCEPTED_BUT_UNCONFIRMED)
def test_accepted_but_unconfirmed_is_found_and_not_posted_again(world: World, fault: Fault) -> None:
    world.notify()
    world.spoil(fault)
    report = world.run(slack_timeout=0.4)
    assert report.counts["ambiguous"] == 1
    assert world.outcomes() == {None: 1}
    world.clock.advance(60)
    assert world.run().counts["reconciled"] == 1
    assert world.posts() == 1
    assert len(world.messages()) == 1
    (delivery,) = world.agency.deliveries()
    assert (delivery["message_ts"], delivery["attempts"]) == (
        f"{world.messages()[0].ts:.6f}", 0,
    )  # fmt: skip
    world.assert_kept()


@pytest.mark.parametrize(
    "fault",
    [reset(**POST), close(**POST), failing(503, **POST), hang(5, **POST)],
    ids=["reset", "closed", "503", "hang"],
)
def test_lost_before_it_was_accepted_is_posted_once_it_is_known_to_be_absent(
    world: World, fault: Fault
) -> None:
    world.notify()
    # "hang" before the effect: our connection is gone long before it would take effect, so it is
    # cut short here as a reset
    world.spoil(fault if fault.how != "hang" else reset(**POST))
    assert world.run().counts["ambiguous"] == 1
    assert world.messages() == []
    world.clock.advance(59)
    assert world.run().counts["sent"] == 0, "not searched for before Slack's history has settled"
    world.clock.advance(1)
    report = world.run()
    assert (report.counts["sent"], report.counts["possible_duplicates"]) == (1, 0)
    (message,) = world.messages()
    assert not message.is_marked
    world.assert_kept()


def test_one_search_of_the_history_covers_all_of_a_channel(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    ids = []
    for number in range(4):
        ids.append(world.queue(config, str(number)))
        world.clock.advance(0.001)
    world.leave_announced()
    world.clock.advance(171)
    report = world.run()
    assert report.counts["claimed"] == len(ids)
    assert world.slack_server.journal.count("conversations.history") == 1
    assert [m.text for m in world.messages()] == ["0", "1", "2", "3"]
    world.assert_kept()


def test_every_page_of_the_history_is_read(world: World) -> None:
    world.notify(text="the first")
    world.spoil(failing(503, **AFTER))
    world.run()
    other = world.agency.config("C0FIRST00", template="{{text}}")
    world.clock.advance(60)
    for number in range(7):
        world.queue(other, f"later {number}")
    world.workspace.configure({"page_size": 2})
    assert world.run().counts["reconciled"] == 1
    assert len([m for m in world.messages() if m.text == "the first"]) == 1
    world.assert_kept()


@pytest.mark.parametrize(
    "fault",
    [failing(503, **HISTORY), reset(**HISTORY), rate_limited(5, **HISTORY), truncate(**HISTORY)],
    ids=["503", "reset", "429", "truncated"],
)
def test_a_history_that_cannot_be_read_now_is_read_later(world: World, fault: Fault) -> None:
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    world.spoil(fault)
    report = world.run()
    assert (report.counts["reconciled"], report.counts["sent"], world.posts()) == (0, 0, 1)
    world.run_until_ended()
    assert world.posts() == 1
    world.assert_kept()


def test_a_lagging_history_is_waited_for_before_anything_is_repeated(world: World) -> None:
    world.notify()
    world.workspace.configure({"history_lag": 45.0})
    world.spoil(failing(503, **AFTER))
    world.run_until_ended()
    assert world.posts() == 1
    world.assert_kept()


UNREADABLE: dict[str, Any] = {
    "no scope": lambda world: world.without_scopes("channels:history"),
    "no member": lambda world: world.change_channel("C0FIRST00", member=False),
}


@pytest.mark.parametrize("hide", UNREADABLE.values(), ids=UNREADABLE)
def test_if_the_bot_cannot_read_the_repeat_is_noted(world: World, hide: Any) -> None:
    scopes = world.workspace.state()["tokens"]
    (token,) = scopes
    world.change_token(scopes=[*scopes[token]["scopes"], "chat:write.public"])
    hide(world)
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    report = world.run()
    assert (report.counts["sent"], report.counts["possible_duplicates"]) == (1, 1)
    assert [m.is_marked for m in world.messages()] == [False, True]
    assert world.agency.deliveries()[0]["possible_duplicate"]
    world.assert_kept()


@pytest.mark.parametrize(
    "refusal",
    [
        rate_limited(300, **POST),
        slack_error("brand_new_error", **POST),
        slack_error("token_revoked", **POST),
        slack_error("not_in_channel", **POST),
    ],
    ids=lambda fault: fault.status if fault.status != 200 else fault.body[23:-2],
)
def test_a_refused_repeat_is_noted_later_too(world: World, refusal: Fault) -> None:
    world.without_scopes("channels:history")
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    world.spoil(refusal)
    with suppress(CredentialsError):
        world.run()
    world.clock.advance(300)
    world.run_until_ended()
    assert [m.is_marked for m in world.messages()] == [False, True]
    world.assert_kept()


def test_after_a_refused_repeat_it_is_searched_for_once_the_history_can_be_read(
    world: World,
) -> None:
    scopes = world.workspace.state()["tokens"][world.token]["scopes"]
    world.without_scopes("channels:history")
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    world.spoil(rate_limited(300, **POST))
    world.run()
    world.change_token(scopes=scopes)
    world.clock.advance(300)
    world.run_until_ended()
    assert [m.is_marked for m in world.messages()] == [False]
    world.assert_kept()


def test_what_may_have_been_posted_is_searched_for_after_a_wait_of_its_channel(
    world: World,
) -> None:
    world.agency.channel("C0FIRST00")
    world.queue(world.agency.config(template="{{text}}"), "once")
    world.spoil(reset(**AFTER))
    world.run()
    world.connection.execute(
        "update slack_destinations set not_before = %s + interval '5 minutes'", (world.now,)
    )
    world.clock.advance(60)
    world.run()
    world.clock.advance(240)
    assert world.run().counts["reconciled"] == 1
    assert world.posts() == 1
    world.assert_kept()


def test_what_may_have_been_posted_does_not_hold_a_config_that_moved(
    world: World,
) -> None:
    world.without_scopes("channels:history")
    config = world.agency.config("C0FIRST00", template="{{text}}")
    world.queue(config, "first")
    world.spoil(failing(503, **POST))
    world.run()
    world.clock.advance(60)
    world.change_channel("C0FIRST00", archived=True)
    assert world.run().counts["parked"] == 1
    world.connection.execute("update notification_config set channel_id = 'C0OTHER00'")
    world.queue(config, "second")
    world.run_until_ended(runs=2)
    first, second = world.messages()
    assert {first.channel, second.channel} == {"C0OTHER00"}
    assert first.is_marked, "it may be in the other channel"
    assert (second.text, second.is_marked) == ("second", False)


def test_if_the_bot_cannot_read_the_destination_is_parked_if_set_so(world: World) -> None:
    world.without_scopes("channels:history")
    world.notify()
    world.spoil(failing(503, **AFTER))
    world.run()
    world.clock.advance(60)
    assert world.run(notification_unverifiable="park").counts["parked"] == 1
    assert world.agency.parked() == {"C0FIRST00": "unverifiable"}
    assert world.posts() == 1


def test_a_direct_message_is_searched_for_in_its_conversation(world: World) -> None:
    world.queue(world.agency.config(user_id=world.agency.user("U0AVA00000")))
    world.spoil(reset(**AFTER))
    world.run()
    world.clock.advance(60)
    assert world.run().counts["reconciled"] == 1
    assert world.posts() == 1
    world.assert_kept()
