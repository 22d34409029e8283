"""Messages that Slack refuses: dead at once, sent as plain text, or retried."""

from __future__ import annotations

import pytest

from local.faults import Fault, slack_error
from tests.notifications.slack_calls import POST
from tests.notifications.world import World


def test_a_refused_message_is_dead_at_once_in_slacks_words(world: World) -> None:
    id_ = world.notify()
    body = '{"ok": false, "error": "invalid_arguments", "response_metadata": {"messages": ["[ERROR] odd"]}}'  # noqa: E501
    world.spoil(Fault("answer", status=200, body=body, **POST))
    assert world.run().counts["dead"] == 1
    row = world.agency.queued(id_)
    assert (row["outcome"], row["attempts"], row["is_processed"]) == ("dead", 5, False)
    assert "invalid_arguments" in row["last_error"]
    assert "[ERROR] odd" in row["last_error"]
    assert world.posts() == 1


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_too_long", "msg_blocks_too_long"])
def test_refused_formatting_is_posted_as_plain_text(world: World, code: str) -> None:
    world.notify(text="plain enough")
    world.spoil(slack_error(code, **POST))
    assert world.run().counts["sent"] == 1
    (message,) = world.workspace.state()["messages"]["C0FIRST00"]
    assert (message["text"], message["blocks"]) == ("plain enough", [])


def test_refused_as_plain_text_too_is_dead(world: World) -> None:
    world.notify()
    world.spoil(slack_error("msg_too_long", times=2, **POST))
    assert world.run().counts["dead"] == 1
    assert world.posts() == 2


def test_an_unknown_code_is_tried_again_and_then_dead(world: World) -> None:
    id_ = world.notify()
    world.spoil(slack_error("brand_new_error", times=None, **POST))
    started = world.now
    total = world.run_until_ended(runs=20)
    assert (total.counts["retried"], total.counts["dead"]) == (4, 1)
    assert total.counts["unknown_codes"] == 5
    assert world.posts() == 5
    row = world.agency.queued(id_)
    assert (row["attempts"], row["outcome"]) == (5, "dead")
    assert "brand_new_error" in row["last_error"]
    # at least 30, 60, 120 and 240 s, each up to a fifth and a minute until the next run longer
    assert 450 <= (world.now - started).total_seconds() <= 450 * 1.2 + 4 * 60


def test_a_failed_message_does_not_keep_the_next_one_waiting(world: World) -> None:
    config = world.agency.config("C0ONE0000", template="{{text}}")
    for text in ("first", "second"):
        world.queue(config, text)
        world.clock.advance(0.001)
    world.spoil(slack_error("brand_new_error", **POST))
    assert world.run().counts["sent"] == 1
    world.run_until_ended()
    assert [m.text for m in world.messages()] == ["second", "first"]


def test_a_redriven_notification_is_delivered(world: World) -> None:
    id_ = world.notify()
    world.spoil(slack_error("no_text", **POST))
    world.run()
    world.connection.execute("select redrive_notifications(%s, as_of => %s)", (id_, world.now))
    assert world.run().counts["sent"] == 1
    world.assert_kept()
