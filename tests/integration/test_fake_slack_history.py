"""The fake Slack: the order of messages, and their history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.faults import rate_limited
from tests.integration.slack_caller import CREATIVE, LEADERS, Caller


def test_metadata_is_returned_only_on_request(slack: Caller) -> None:
    metadata = {"event_type": "delivery", "event_payload": {"id": "7"}}
    slack.post(metadata=metadata)
    (plain,) = slack("conversations.history", channel=CREATIVE)["messages"]
    assert "metadata" not in plain
    asked = slack.form("conversations.history", channel=CREATIVE, include_all_metadata="1")
    assert asked["messages"][0]["metadata"] == metadata
    assert asked["messages"][0]["bot_id"] == slack("auth.test")["bot_id"]


def test_timestamps_increase_even_when_the_clock_is_stopped(slack: Caller) -> None:
    slack.control.configure(time=1_800_000_000)
    stamps = [slack.post(text=str(number))["ts"] for number in range(5)]
    assert stamps[0] == "1800000000.000000"
    assert stamps == sorted(set(stamps))


def test_timestamps_follow_a_clock_that_is_set_again(slack: Caller) -> None:
    slack.control.configure(time=1_900_000_000)
    slack.post()
    slack.control.configure(time=1_800_000_000)
    assert float(slack.post()["ts"]) > 1_900_000_000  # never backwards within one workspace
    slack.control.reset()
    slack.control.configure(time=1_800_000_000)
    assert slack.post()["ts"] == "1800000000.000000"


def test_simultaneous_messages_have_an_order(slack: Caller) -> None:
    def work(number: int) -> str:
        return str(Caller(f"http://{slack.address}").post(text=str(number))["ts"])

    with ThreadPoolExecutor(16) as pool:
        stamps = list(pool.map(work, range(200)))
    kept = slack.control.state()["messages"][CREATIVE]
    assert [message["ts"] for message in kept] == sorted(set(stamps))
    arrived = [message["arrived"] for message in kept]
    assert arrived == sorted(arrived)


def test_history_has_an_exclusive_or_inclusive_window(slack: Caller) -> None:
    first, second, third = (slack.post(text=str(number))["ts"] for number in range(3))

    def texts(**window: Any) -> list[str]:
        answer = slack("conversations.history", channel=CREATIVE, **window)
        return [message["text"] for message in answer["messages"]]

    assert texts() == ["2", "1", "0"]
    assert texts(oldest=first, latest=third) == ["1"]
    assert texts(oldest=first, latest=third, inclusive=True) == ["2", "1", "0"]
    assert texts(oldest=second) == ["2"]
    refused = slack("conversations.history", channel=CREATIVE, oldest="yesterday")
    assert refused["error"] == "invalid_ts_oldest"


def test_history_comes_in_pages(slack: Caller) -> None:
    for number in range(7):
        slack.post(text=str(number))
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        page = slack("conversations.history", channel=CREATIVE, limit=3, cursor=cursor)
        seen += [message["text"] for message in page["messages"]]
        cursor = page["response_metadata"]["next_cursor"]
    assert seen == [str(number) for number in reversed(range(7))]
    assert not page["has_more"]
    assert not cursor
    wrong = slack("conversations.history", channel=CREATIVE, cursor="nonsense")
    assert wrong["error"] == "invalid_cursor"
    assert slack("conversations.history", channel=CREATIVE, limit=0.5)["error"] == "invalid_limit"


def test_pages_miss_and_repeat_nothing_when_more_arrives(slack: Caller) -> None:
    slack.control.configure(page_size=2)
    for number in range(4):
        slack.post(text=str(number))
    first = slack("conversations.history", channel=CREATIVE, limit=100)
    slack.post(text="late")
    cursor = first["response_metadata"]["next_cursor"]
    second = slack("conversations.history", channel=CREATIVE, limit=100, cursor=cursor)
    seen = [message["text"] for page in (first, second) for message in page["messages"]]
    assert seen == ["3", "2", "1", "0"]
    assert not second["has_more"]


def test_oldest_alone_returns_the_page_next_to_it(slack: Caller) -> None:
    stamps = [slack.post(text=str(number))["ts"] for number in range(6)]

    def texts(**window: Any) -> list[str]:
        answer = slack("conversations.history", channel=CREATIVE, limit=2, **window)
        assert answer["has_more"]
        return [message["text"] for message in answer["messages"]]

    assert texts(oldest=stamps[0]) == ["2", "1"]
    assert texts(oldest=stamps[0], latest="9999999999") == ["5", "4"]
    assert texts() == ["5", "4"]


def texts_of(answer: dict[str, Any]) -> list[str]:
    return [message["text"] for message in answer["messages"]]


def test_a_reply_is_in_its_thread(slack: Caller) -> None:
    parent = slack.post()["ts"]
    reply = slack.post(text="reply", thread_ts=parent)
    assert reply["message"]["thread_ts"] == parent
    slack.post(text="shown too", thread_ts=parent, reply_broadcast=True)
    channel = slack("conversations.history", channel=CREATIVE)
    assert texts_of(channel) == ["shown too", "hello"]
    assert channel["messages"][0]["subtype"] == "thread_broadcast"
    thread = slack("conversations.replies", channel=CREATIVE, ts=parent)
    assert texts_of(thread) == ["hello", "reply", "shown too"]
    assert {message["thread_ts"] for message in thread["messages"]} == {parent}


def test_a_thread_is_read_page_by_page_within_its_window(slack: Caller) -> None:
    parent = slack.post()["ts"]
    stamps = [slack.post(text=str(n), thread_ts=parent)["ts"] for n in range(5)]
    window = {"oldest": stamps[0], "latest": stamps[4]}
    pages, cursor = [], ""
    for _ in range(2):
        page = slack(
            "conversations.replies", channel=CREATIVE, ts=parent, limit=2, cursor=cursor, **window
        )
        pages.append(texts_of(page))
        cursor = page["response_metadata"]["next_cursor"]
    assert pages == [["hello", "1", "2"], ["hello", "3"]]
    assert not page["has_more"]


def test_a_reply_to_a_deleted_message_is_in_the_channel(slack: Caller) -> None:
    parent = slack.post()["ts"]
    slack("chat.delete", channel=CREATIVE, ts=parent)
    answer = slack("conversations.replies", channel=CREATIVE, ts=parent)
    assert answer["error"] == "thread_not_found"
    assert "thread_ts" not in slack.post(text="reply", thread_ts=parent)["message"]
    assert texts_of(slack("conversations.history", channel=CREATIVE)) == ["reply"]


def test_a_deleted_message_with_replies_leaves_a_tombstone(slack: Caller) -> None:
    parent = slack.post()["ts"]
    slack.post(text="reply", thread_ts=parent)
    slack("chat.delete", channel=CREATIVE, ts=parent)
    assert slack("chat.delete", channel=CREATIVE, ts=parent)["error"] == "message_not_found"
    assert slack.post(text="later", thread_ts=parent)["message"]["thread_ts"] == parent
    thread = slack("conversations.replies", channel=CREATIVE, ts=parent)
    assert texts_of(thread) == ["This message was deleted.", "reply", "later"]
    assert thread["messages"][0]["subtype"] == "tombstone"


def test_threads_need_the_scope_and_membership_of_their_conversation(slack: Caller) -> None:
    parent = slack.post()["ts"]
    slack.change("channels", CREATIVE, member=False)
    answer = slack("conversations.replies", channel=CREATIVE, ts=parent)
    assert answer["error"] == "not_in_channel"


def test_a_locked_thread_accepts_no_replies(slack: Caller) -> None:
    parent = slack.post()["ts"]
    state = slack.control.state()
    state["messages"][CREATIVE][0]["is_locked"] = True
    slack.control.replace_state(state)
    refused = slack("chat.postMessage", channel=CREATIVE, text="reply", thread_ts=parent)
    assert refused["error"] == "restricted_action_thread_locked"


def test_a_page_may_be_empty_and_not_the_last(slack: Caller) -> None:
    for number in range(5):
        slack.post(text=str(number))
    state = slack.control.state()
    for message in state["messages"][CREATIVE][1:4]:
        message["hidden"] = True
    slack.control.replace_state(state)
    slack.control.configure(page_size=2)
    pages, cursor = [], ""
    for _ in range(3):
        page = slack("conversations.history", channel=CREATIVE, cursor=cursor)
        pages.append([message["text"] for message in page["messages"]])
        cursor = page["response_metadata"]["next_cursor"]
    assert pages == [["4"], [], ["0"]]
    assert not page["has_more"]


def test_history_is_for_members(slack: Caller) -> None:
    slack.change("channels", CREATIVE, member=False)
    slack.change("channels", LEADERS, member=False)
    slack.change("channels", "C0PERFORM00", archived=True)
    assert slack("conversations.history", channel=CREATIVE)["error"] == "not_in_channel"
    assert slack("conversations.history", channel=LEADERS)["error"] == "channel_not_found"
    assert slack("conversations.history", channel="C0PERFORM00")["ok"]


def test_history_has_a_rate_limit_too(slack: Caller) -> None:
    slack.control.add_faults(rate_limited(7, path="conversations.history"))
    assert slack.post()["ok"]
    assert slack("conversations.history", channel=CREATIVE)["error"] == "ratelimited"
    assert (slack.status, slack.headers["Retry-After"]) == (429, "7")
    assert len(slack("conversations.history", channel=CREATIVE)["messages"]) == 1


def test_history_lags_behind(slack: Caller) -> None:
    slack.control.configure(time=1_800_000_000, history_lag=30)
    slack.post()
    assert slack("conversations.history", channel=CREATIVE)["messages"] == []
    slack.control.configure(time=1_800_000_031)
    assert len(slack("conversations.history", channel=CREATIVE)["messages"]) == 1
