"""With threads on: later messages about a request go into the thread of the first one."""

from __future__ import annotations

from typing import Any

import pytest

from local.faults import Fault, close, failing, rate_limited, reset, slack_error
from tests.notifications.slack_calls import AFTER, HISTORY
from tests.notifications.world import Message, World

CHANNEL, OTHER = "C0FIRST00", "C0OTHER00"
SPRING = "5b8e7a0e-6f0c-4d7e-9a55-0c5a3c7a0001"
AUTUMN = "5b8e7a0e-6f0c-4d7e-9a55-0c5a3c7a0002"
REPLIES = {"path": "conversations.replies"}


@pytest.fixture(autouse=True)
def threads(world: World) -> None:
    world.settings_of_runs = {"notification_threads": "on"}


def about(
    world: World, request: str, text: str, channel: str = CHANNEL, event: str = "comment_added"
) -> str:
    """Queue a message about a request, for a channel, with its own config."""
    config = world.agency.config(channel, template="{{text}}", event_type=event)
    queued = world.agency.notification(
        config,
        {"text": text, "request_id": request},
        entity_type="comment",
        next_attempt_at=world.now,
        created_at=world.now,
    )
    world.clock.advance(0.001)
    return queued


def standing(world: World) -> dict[str, Message]:
    return {message.text: message for message in world.messages()}


def parents(world: World) -> dict[str, str | None]:
    """For each message the parent of its thread."""
    by_ts = {message.ts: message.text for message in world.messages()}
    return {
        message.text: by_ts.get(message.thread_ts, "gone") if message.thread_ts else None
        for message in world.messages()
    }


def delete(world: World, text: str) -> None:
    world.delete(standing(world)[text])


def test_later_messages_go_into_the_thread_of_the_first(world: World) -> None:
    for text in ("first", "second", "third"):
        about(world, SPRING, text)
    about(world, AUTUMN, "of another request")
    about(world, SPRING, "elsewhere", OTHER)
    assert world.run().counts["sent"] == 5
    assert parents(world) == {
        "first": None, "second": "first", "third": "first", "of another request": None,
        "elsewhere": None,
    }  # fmt: skip
    world.clock.advance(3600)
    about(world, SPRING, "an hour later")
    world.run()
    assert parents(world)["an hour later"] == "first"
    world.assert_kept()


def test_off_by_default(world: World) -> None:
    world.settings_of_runs = {}
    for text in ("first", "second"):
        about(world, SPRING, text)
    world.run()
    assert parents(world) == {"first": None, "second": None}
    assert {delivery["parent_ts"] for delivery in world.agency.deliveries()} == {None}


def test_a_change_of_status_shows_in_the_channel_too(world: World) -> None:
    for text in ("first", "second"):
        about(world, SPRING, text)
    about(world, SPRING, "reviewed", event="status_change")
    about(world, SPRING, "commented")
    world.run()
    assert parents(world)["reviewed"] == "first"
    assert [text for text, message in standing(world).items() if message.is_broadcast] == [
        "reviewed"
    ]


def test_the_log_knows_the_thread(world: World) -> None:
    for text in ("first", "second"):
        about(world, SPRING, text)
    world.run()
    first, second = world.agency.deliveries()
    assert first["parent_ts"] == second["parent_ts"] == first["message_ts"] != second["message_ts"]


def test_direct_messages_and_those_without_a_request_have_no_thread(world: World) -> None:
    person = world.agency.config(user_id=world.agency.user("U0AVA00000"), template="{{text}}")
    for number in range(2):
        world.agency.notification(
            person, {"text": f"direct {number}", "request_id": SPRING}, next_attempt_at=world.now
        )
        world.agency.notification(
            world.agency.config(CHANNEL, template="{{text}}"),
            {"text": f"about nothing {number}"},
            entity_type="client",
            next_attempt_at=world.now,
        )
    world.run_until_ended()
    assert set(parents(world).values()) == {None}


def test_the_pace_holds_and_so_does_the_order(world: World) -> None:
    for number in range(6):
        about(world, (SPRING, AUTUMN)[number % 2], f"{number}")
    world.workspace.configure({"rate_limit": True})
    report = world.run()
    assert (report.counts["sent"], report.counts["rate_limited"]) == (6, 0)
    messages = world.messages()
    assert [message.text for message in messages] == [f"{number}" for number in range(6)]
    assert messages[-1].ts - messages[0].ts == pytest.approx(5.1, abs=0.05), (
        "no slower because of it"
    )
    assert parents(world)["5"] == "1"


class TestGoneParent:
    def test_it_begins_again(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        delete(world, "first")
        for text in ("second", "third"):
            about(world, SPRING, text)
        world.run()
        world.clock.advance(60)
        about(world, SPRING, "fourth")
        world.run()
        assert parents(world) == {"second": None, "third": "second", "fourth": "second"}

    def test_it_begins_again_while_the_old_replies_stay(self, world: World) -> None:
        for text in ("first", "second"):
            about(world, SPRING, text)
        world.run()
        delete(world, "first")
        for text in ("third", "fourth"):
            about(world, SPRING, text)
        world.run()
        assert parents(world) == {
            "second": "gone", "third": None, "fourth": "third",
        }  # fmt: skip

    def test_a_parent_is_checked_once_a_run(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        for number in range(3):
            about(world, SPRING, f"{number}")
        world.run()
        assert world.slack_server.journal.count("conversations.replies") == 1

    @pytest.mark.parametrize("answer", [rate_limited(30, **REPLIES), failing(503, **REPLIES)])
    def test_if_slack_does_not_say_slack_decides(self, world: World, answer: Fault) -> None:
        about(world, SPRING, "first")
        world.run()
        about(world, SPRING, "second")
        world.spoil(answer)
        assert world.run().counts["sent"] == 1
        assert parents(world) == {"first": None, "second": "first"}

    def test_a_locked_thread_is_left_without_parking(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        state = world.workspace.state()
        state["messages"][CHANNEL][0]["is_locked"] = True
        world.workspace.replace_state(state)
        for text in ("second", "third"):
            about(world, SPRING, text)
        world.run()
        assert parents(world) == {"first": None, "second": None, "third": "second"}
        assert world.agency.parked() == {}


class TestLooking:
    """A reply that may have been posted is found in its thread."""

    @pytest.mark.parametrize("event", ["comment_added", "status_change"])
    def test_in_the_thread(self, world: World, event: str) -> None:
        about(world, SPRING, "first")
        world.run()
        about(world, SPRING, "second", event=event)
        about(world, SPRING, "third")
        world.spoil(reset(**AFTER))
        assert world.run().counts["ambiguous"] == 1
        world.clock.advance(60)
        assert world.run().counts["reconciled"] == 1
        assert parents(world) == {"first": None, "second": "first", "third": "first"}
        assert world.slack_server.journal.count("conversations.history") == 0
        self.check(world)

    def test_in_the_channel_where_the_parent_was_deleted(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        delete(world, "first")
        about(world, SPRING, "second")
        world.spoil(close(**AFTER))
        world.run()
        about(world, SPRING, "third")
        world.clock.advance(60)
        assert world.run().counts["reconciled"] == 1
        assert parents(world) == {"second": None, "third": "second"}
        self.check(world)

    def test_the_first_message_itself(self, world: World) -> None:
        for text in ("first", "second"):
            about(world, SPRING, text)
        world.spoil(reset(**AFTER))
        world.run()
        world.clock.advance(60)
        assert world.run().counts["reconciled"] == 1
        assert parents(world) == {"first": None, "second": "first"}
        self.check(world)

    def test_an_absent_reply_is_posted(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        about(world, SPRING, "second")
        world.spoil(reset(path="chat.postMessage"))
        world.run()
        assert set(parents(world)) == {"first"}
        world.clock.advance(60)
        world.run()
        assert parents(world) == {"first": None, "second": "first"}
        self.check(world)

    def test_page_by_page(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        for number in range(7):
            about(world, SPRING, f"reply {number}")
        world.spoil(failing(503, **AFTER, skip=5))
        world.workspace.configure({"page_size": 2})
        world.run()
        world.clock.advance(60)
        before = world.slack_server.journal.count("conversations.replies")
        assert world.run().counts["reconciled"] == 1
        assert len(world.messages()) == 8
        assert world.slack_server.journal.count("conversations.replies") - before == 4
        self.check(world)

    @pytest.mark.parametrize("part", [REPLIES, HISTORY], ids=["replies", "history"])
    def test_what_cannot_be_read_now_is_read_later(self, world: World, part: Any) -> None:
        about(world, SPRING, "first")
        world.run()
        about(world, SPRING, "second")
        world.spoil(reset(path="chat.postMessage"), failing(503, **part))
        world.run()
        for _ in range(2):
            world.clock.advance(60)
            world.run()
        assert parents(world) == {"first": None, "second": "first"}
        self.check(world)

    def test_if_threads_may_not_be_read_the_repeat_is_noted(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        about(world, SPRING, "second")
        world.spoil(reset(**AFTER))
        world.run()
        world.change_channel(CHANNEL, refuses={"conversations.replies": "not_allowed_token_type"})
        world.clock.advance(60)
        assert world.run().counts["possible_duplicates"] == 1
        assert [message.is_marked for message in world.messages()] == [False, False, True]
        assert len({message.thread_ts for message in world.messages()}) == 2
        world.assert_kept()

    def test_even_if_threads_were_switched_off_meanwhile(self, world: World) -> None:
        about(world, SPRING, "first")
        world.run()
        about(world, SPRING, "second")
        world.spoil(reset(**AFTER))
        world.run()
        world.settings_of_runs = {}
        world.clock.advance(60)
        assert world.run().counts["reconciled"] == 1
        self.check(world)

    def check(self, world: World) -> None:
        assert not any(message.is_marked for message in world.messages())
        assert world.outcomes() == {"sent": len(world.queued())}
        world.assert_kept()


def test_a_redriven_reply_goes_into_the_thread(world: World) -> None:
    about(world, SPRING, "first")
    world.run()
    dead = about(world, SPRING, "second")
    world.change_channel(CHANNEL, refuses={"chat.postMessage": "no_text"})
    world.run()
    assert world.agency.queued(dead)["outcome"] == "dead"
    world.change_channel(CHANNEL)
    world.connection.execute("select redrive_notifications(as_of => %s)", (world.now,))
    world.clock.advance(10)
    world.run()
    assert parents(world) == {"first": None, "second": "first"}
    world.assert_kept()


def test_a_sent_message_that_is_reset_follows_in_its_own_thread(world: World) -> None:
    first = about(world, SPRING, "first")
    world.run()
    world.connection.execute(
        "update notification_queue set is_processed = false where id = %s", (first,)
    )
    world.clock.advance(60)
    world.run()
    assert [message.thread_ts is None for message in world.messages()] == [True, False]


def test_a_first_message_that_fails_leaves_its_place_to_the_next(world: World) -> None:
    about(world, SPRING, "first")
    about(world, SPRING, "second")
    about(world, SPRING, "third")
    world.spoil(slack_error("no_text", path="chat.postMessage"))
    world.run()
    assert parents(world) == {"second": None, "third": "second"}
