"""Reading a conversation's history page by page: only our own posts, and where to continue."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest

from local.control import Control
from local.fakes.slack import DISTRIBUTED_APP
from local.faults import Fault
from tests.integration.slack_caller import AVA, CREATIVE, Caller
from tests.integration.slack_peer import MESSAGE, NO_ANSWER, Peer, refusal
from workers.doctor.slack_checks import check_slack
from workers.errors import (
    CannotReadError,
    CredentialsError,
    RateLimitedError,
    TransientError,
    WorkerError,
)
from workers.notifications.slack import HistoryPage, Place, Slack, ThreadPage


def entry(delivery_id: Any, ts: Any, bot_id: str = "B1", event: str = "queue_delivery") -> Any:
    payload = {"delivery_id": delivery_id}
    metadata = {"event_type": event, "event_payload": payload}
    return {"type": "message", "ts": ts, "bot_id": bot_id, "text": "x", "metadata": metadata}


def page(*messages: Any, cursor: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"next_cursor": cursor}
    return {"ok": True, "messages": list(messages), "response_metadata": metadata, **more}


def cursor_of(place: str) -> str:
    return base64.b64encode(place.encode()).decode()


@pytest.fixture
def reader(peer: Peer) -> Peer:
    peer.answers("auth.test", {"ok": True, "team_id": "T1", "user_id": "U1", "bot_id": "B1"})
    return peer


def read(peer: Peer, latest: str | float | None = 200) -> HistoryPage:
    return peer.slack.history_page("C1", oldest=100.5, latest=latest)


def test_a_page_contains_only_our_own_posts(reader: Peer) -> None:
    reader.answers(
        "conversations.history",
        page(
            entry("a", "151.5"),
            entry("b", "109.000001"),
            entry("theirs", "103", bot_id="B2"),
            entry("other", "104", event="else"),
            entry(7, "105"),
            entry("no time", None),
            entry("odd time", "soon"),
            entry("b", "110.0"),
            {"ts": "106"},
            {"ts": "107", "bot_id": "B1", "metadata": None},
            "odd",
            entry("a", "151.25"),
            has_more=False,
        ),
    )

    assert read(reader) == HistoryPage(
        {"a": Place("151.25"), "b": Place("109.000001")}, None, messages=11
    )
    assert read(reader).found  # the bot's identity was requested once
    assert len(reader.requests("auth.test")) == 1


def asked(peer: Peer) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(peer.requests("conversations.history")[-1]["body"]))


def test_both_ends_of_the_window_are_sent(reader: Peer) -> None:
    """With `oldest` alone Slack would return the page next to it instead of the newest one."""
    reader.answers("conversations.history", page())
    read(reader, 200)
    assert asked(reader) == {
        "channel": "C1", "oldest": "100.499999", "latest": "200.000001", "limit": "100",
        "include_all_metadata": "1",
    }  # fmt: skip
    read(reader, "151.123456")
    assert asked(reader)["latest"] == "151.123456"
    read(reader, None)
    assert asked(reader)["latest"] == "9999999999.999999"
    reader.slack.history_page("C1", oldest=-120.0, latest=None)
    assert asked(reader)["oldest"] == "0.000000"


@pytest.mark.parametrize(
    ("answer", "below"),
    [
        (page(entry("a", "150"), {"ts": "140.5"}, has_more=True), "140.5"),
        (page({"ts": "140.5"}, entry("a", "150"), has_more=True), "140.5"),
        (page(entry("a", "150"), cursor="two"), "150"),
        (page(entry("a", "150"), cursor="two", has_more=True), "150"),
        (page(cursor=cursor_of("next_ts:149000000000000"), has_more=True), None),
        (page(cursor=cursor_of("next_ts:149000000"), has_more=True), "149.000001"),
        (page({"odd": 1}, "odd", cursor=cursor_of("next_ts:149999999")), "150.000000"),
        # the window has been read, although the conversation continues
        (page(entry("a", "150"), {"ts": "100.499999"}, has_more=True), None),
        (page(entry("a", "150"), has_more=False), None),
        (page(has_more=False), None),
        (page(), None),
        ({"ok": True, "messages": []}, None),
    ],
)
def test_where_reading_continues(reader: Peer, answer: Any, below: str | None) -> None:
    reader.answers("conversations.history", answer)
    if below is None and answer.get("has_more") and not answer["messages"]:
        error = refusal(lambda: read(reader, "180.0"))
        assert error.code == "history_incomplete"  # it would go upwards
    else:
        assert read(reader, "180.0").read_down_to == below


@pytest.mark.parametrize(
    "answer",
    [
        page(has_more=True),
        page(cursor="two"),
        page({"text": "no ts"}, "odd", has_more=True),
        page(cursor=cursor_of("next_user:7"), has_more=True),
        page(cursor=cursor_of("next_ts:soon"), has_more=True),
        page(cursor="no base64", has_more=True),
        page(cursor="//8=", has_more=True),
        # it makes no progress
        page(entry("a", "150"), has_more=True),
        page(entry("a", "150.000001"), cursor="two"),
        {"ok": True},
        {"ok": True, "messages": {}},
        {"ok": False, "error": "internal_error"},
    ],
)
def test_a_page_without_a_place_to_continue_is_an_error(reader: Peer, answer: Any) -> None:
    reader.answers("conversations.history", answer)

    error = refusal(lambda: read(reader, "150"))

    assert type(error) is TransientError
    assert error.code in ("history_incomplete", "internal_error")


@pytest.mark.parametrize(("fault", "code"), NO_ANSWER)
def test_a_lost_page_is_an_error(reader: Peer, fault: Fault, code: str) -> None:
    reader.answers("conversations.history", page())
    reader.fails(Fault(**{**vars(fault), "path": "conversations.history"}))

    error = refusal(lambda: read(reader))

    assert (type(error), error.code) == (TransientError, code)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("missing_scope", CannotReadError),
        ("not_in_channel", CannotReadError),
        ("channel_not_found", CannotReadError),
        ("channel_is_limited_access", CannotReadError),
        ("unknown_method", CannotReadError),
        ("is_bot", CannotReadError),
        ("brand_new", CannotReadError),
        ("token_revoked", CredentialsError),
        ("ratelimited", RateLimitedError),
    ],
)
@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("conversations.history", read),
        ("conversations.open", lambda peer: peer.slack.open_dm("U1")),
        ("conversations.info", lambda peer: peer.slack.channel_info("C1")),
        ("auth.test", lambda peer: peer.slack.identity()),
    ],
)
def test_a_read_that_is_refused(
    reader: Peer,
    method: str,
    call: Callable[[Peer], object],
    code: str,
    expected: type[WorkerError],
) -> None:
    reader.answers(method, {"ok": False, "error": code, "needed": "channels:history"})

    error = refusal(lambda: call(reader))

    assert (type(error), error.code) == (expected, code)
    assert not isinstance(error, RateLimitedError) or error.method == method


def test_a_token_that_is_not_a_bots_cannot_read(peer: Peer) -> None:
    peer.answers("auth.test", {"ok": True, "team_id": "T1", "user_id": "U1"})

    error = refusal(lambda: read(peer))

    assert (type(error), error.code) == (CannotReadError, "no_bot_token")


def walk(slack: Slack, channel: str, oldest: float, latest: float | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    below: str | float | None = latest
    for _ in range(100):
        one = slack.history_page(channel, oldest, below)
        found |= {id_: place.ts for id_, place in one.found.items()}
        below = one.read_down_to
        if below is None:
            return found
    raise AssertionError("it has no end")


def client(slack: Caller) -> Slack:
    return Slack(slack.token, f"http://{slack.address}/api/", timeout=5)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 15, 100])
def test_pages_of_any_size_add_up(slack: Caller, size: int) -> None:
    ours = client(slack)
    slack.control.configure(page_size=size)
    posted = {}
    for number in range(7):
        posted[f"d{number}"] = ours.post(CREATIVE, MESSAGE, f"d{number}").ts
        slack.post(text="someone's")
    first = float(posted["d0"])

    assert walk(ours, CREATIVE, first) == posted
    assert walk(ours, CREATIVE, first, float(posted["d6"])) == posted
    rest = {name: ts for name, ts in posted.items() if "d1" < name < "d6"}
    assert walk(ours, CREATIVE, float(posted["d2"]), float(posted["d5"])) == rest


def hide(control: Control, channel: str, first: int, last: int) -> None:
    state = control.state()
    for message in state["messages"][channel][first:last]:
        message["hidden"] = True
    control.replace_state(state)


def test_empty_pages_are_skipped(slack: Caller) -> None:
    ours = client(slack)
    posted = {f"d{n}": ours.post(CREATIVE, MESSAGE, f"d{n}").ts for n in range(9)}
    hide(slack.control, CREATIVE, 3, 8)
    slack.control.configure(page_size=2)

    found = walk(ours, CREATIVE, float(posted["d0"]) - 60)

    assert found == {name: ts for name, ts in posted.items() if name in ("d0", "d1", "d2", "d8")}


def test_reading_one_page_a_minute_ends(slack: Caller) -> None:
    """What Slack returns to an app that is distributed outside its Marketplace."""
    ours = client(slack)
    now = 1_800_000_000.0
    slack.control.configure(time=now, **DISTRIBUTED_APP)
    posted = {f"d{n}": ours.post(CREATIVE, MESSAGE, f"d{n}").ts for n in range(40)}
    below: str | None = None
    found: dict[str, str] = {}
    for minute in range(1, 4):
        one = ours.history_page(CREATIVE, now - 60, below)
        found |= {id_: place.ts for id_, place in one.found.items()}
        below = one.read_down_to
        error = refusal(lambda: ours.history_page(CREATIVE, now - 60, None))
        assert isinstance(error, RateLimitedError)
        assert (error.retry_after, error.method) == (60, "conversations.history")
        slack.control.configure(time=now + 60 * minute)

    assert below is None
    assert found == posted


@pytest.mark.parametrize(
    ("settings", "posts", "expected"),
    [
        (DISTRIBUTED_APP, 16, ("warning", "Slack serves 15 messages of history at a time")),
        ({}, 16, ("ok", "Slack serves history to this app as to a workspace's own app")),
        ({}, 15, ("ok", "the kind of app cannot be determined until a channel has more")),
    ],
)
def test_the_doctor_recognises_the_kind_of_app(
    slack: Caller, settings: dict[str, Any], posts: int, expected: tuple[str, str]
) -> None:
    ours = client(slack)
    slack.control.configure(**settings)
    for number in range(posts):
        ours.post(CREATIVE, MESSAGE, f"d{number}")
    *_, found = check_slack(ours, [CREATIVE], [], lambda: True)

    level, text = expected
    assert (found.level, found.text[: len(text)]) == (level, text)


def test_the_doctor_leaves_open_what_it_may_not_read(slack: Caller) -> None:
    scopes = slack.control.state()["tokens"][slack.token]["scopes"]
    slack.change("tokens", slack.token, scopes=[one for one in scopes if one != "channels:history"])
    found = [one.text for one in check_slack(client(slack), [CREATIVE], [], lambda: True)]

    assert not [text for text in found if "kind of app" in text]


def test_a_post_to_a_person_names_the_conversation_to_search(slack: Caller) -> None:
    ours = client(slack)
    scopes = slack.control.state()["tokens"][slack.token]["scopes"]
    slack.change("tokens", slack.token, scopes=[one for one in scopes if one != "im:write"])

    posted = ours.post(AVA, MESSAGE, "d1")

    assert posted.channel.startswith("D")
    assert ours.history_page(posted.channel, float(posted.ts), None).found == {
        "d1": Place(posted.ts)
    }
    error = refusal(lambda: ours.open_dm(AVA))
    assert (type(error), error.code) == (CannotReadError, "missing_scope")


class TestThread:
    """Reading a thread: the same posts, with their places."""

    def read(self, peer: Peer, cursor: str | None = None) -> ThreadPage:
        return peer.slack.thread_page("C1", "101.5", oldest=100.5, latest=200, cursor=cursor)

    def test_a_page_shows_the_place_of_each_message(self, reader: Peer) -> None:
        first, reply, copy = entry("a", "101.5"), entry("b", "150.5"), entry("b", "151.5")
        theirs = entry("c", "152.5", bot_id="B2")
        thread = [{**one, "thread_ts": "101.5"} for one in (first, reply, copy, theirs)]
        reader.answers("conversations.replies", page(*thread, cursor="two", has_more=True))
        found = {"a": Place("101.5"), "b": Place("150.5", "101.5")}
        assert self.read(reader) == ThreadPage(found, "two")
        (request,) = reader.requests("conversations.replies")
        assert dict(urllib.parse.parse_qsl(request["body"])) == {
            "channel": "C1", "ts": "101.5", "oldest": "100.499999", "latest": "200.000001",
            "limit": "100", "include_all_metadata": "1",
        }  # fmt: skip

    def test_it_continues_at_the_cursor(self, reader: Peer) -> None:
        reader.answers("conversations.replies", page())
        assert self.read(reader, "two") == ThreadPage({}, None)
        (request,) = reader.requests("conversations.replies")
        assert dict(urllib.parse.parse_qsl(request["body"]))["cursor"] == "two"

    def test_a_thread_that_does_not_exist_is_empty(self, reader: Peer) -> None:
        reader.answers("conversations.replies", {"ok": False, "error": "thread_not_found"})
        assert self.read(reader) == ThreadPage({}, None)

    @pytest.mark.parametrize(
        "answer", [page(has_more=True), page(cursor="two"), {"ok": True}, page() | {"messages": 1}]
    )
    def test_an_incomplete_thread_proves_nothing(self, reader: Peer, answer: Any) -> None:
        reader.answers("conversations.replies", answer)
        error = refusal(lambda: self.read(reader, "two"))
        assert (type(error), error.code) == (TransientError, "history_incomplete")

    def test_a_thread_that_may_not_be_read_is_an_error(self, reader: Peer) -> None:
        reader.answers("conversations.replies", {"ok": False, "error": "not_allowed_token_type"})
        assert type(refusal(lambda: self.read(reader))) is CannotReadError

    @pytest.mark.parametrize(
        ("answer", "takes"),
        [
            (page({"ts": "101.5"}), True),
            (page({"ts": "101.5", "subtype": "tombstone"}), False),
            (page({"ts": "102.5", "subtype": "tombstone"}), True),
            ({"ok": False, "error": "thread_not_found"}, False),
            (page(), True),
            (page("odd"), True),
            ({"ok": True}, True),
        ],
    )
    def test_whether_a_message_takes_replies(self, reader: Peer, answer: Any, takes: bool) -> None:
        reader.answers("conversations.replies", answer)
        assert reader.slack.takes_replies("C1", "101.5") is takes
