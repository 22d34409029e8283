"""The fake for Slack, seen over HTTP as a client sees it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from local.control import Control, ControlError
from local.fakes.slack import fake_slack
from local.faults import (
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

TOKEN = "xoxb-local-1-sample"
CREATIVE, LEADERS, ARCHIVED = "C0CREATIVE0", "C0LEADERS00", "C0ARCHIVED0"
AVA = "U0AVA00000"


class Caller:
    """Calls methods with one token and keeps the last answer's status and headers."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc
        self.control = Control(url)
        self.token = TOKEN
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __call__(self, method: str, **arguments: Any) -> Any:
        return json.loads(self.raw(method, json.dumps(arguments), "application/json"))

    def form(self, method: str, **arguments: str) -> Any:
        return json.loads(
            self.raw(method, urlencode(arguments), "application/x-www-form-urlencoded")
        )

    def raw(self, method: str, body: str, kind: str, timeout: float = 10.0) -> bytes:
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request("POST", f"/api/{method}", body, headers)
            answer = connection.getresponse()
            self.status, self.headers = answer.status, dict(answer.getheaders())
            return answer.read()
        finally:
            connection.close()

    def post(self, channel: str = CREATIVE, text: str = "hello", **more: Any) -> Any:
        return self("chat.postMessage", channel=channel, text=text, **more)

    def change(self, part: str, key: str, /, **values: Any) -> None:
        """Change or add one channel, user or token."""
        state = self.control.state()
        state[part][key] = {**state[part].get(key, {}), **values}
        self.control.replace_state(state)

    def texts(self, channel: str = CREATIVE) -> list[str]:
        messages = self.control.state()["messages"].get(channel, [])
        return [message["text"] for message in messages]


@pytest.fixture
def slack() -> Iterator[Caller]:
    with fake_slack() as server:
        yield Caller(server.url)


def section(text: Any, **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, **more}}


def fields(*texts: str) -> dict[str, Any]:
    return {"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in texts]}


def header(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text, **more}}


def test_auth_test_says_who_and_which_scopes(slack: Caller) -> None:
    answer = slack("auth.test")
    assert answer["ok"]
    assert answer["team_id"] == "T0AGENCY00"
    assert answer["bot_id"].startswith("B")
    assert "chat:write" in slack.headers["X-OAuth-Scopes"].split(",")


def test_the_token_may_be_a_field(slack: Caller) -> None:
    slack.token = ""
    assert slack.form("auth.test", token=TOKEN)["ok"]
    assert slack.form("auth.test")["error"] == "not_authed"
    assert slack("api.test")["ok"]


def test_a_wrong_and_a_revoked_token(slack: Caller) -> None:
    slack.change("tokens", TOKEN, revoked=True)
    assert slack.post()["error"] == "token_revoked"
    slack.token = "xoxb-unknown"
    assert slack.post()["error"] == "invalid_auth"
    assert slack.texts() == []


@pytest.mark.parametrize(
    ("scope", "method", "arguments"),
    [
        ("chat:write", "chat.postMessage", {"channel": CREATIVE, "text": "x"}),
        ("im:write", "conversations.open", {"users": AVA}),
        ("channels:history", "conversations.history", {"channel": CREATIVE}),
        ("groups:history", "conversations.history", {"channel": LEADERS}),
        ("channels:read", "conversations.info", {"channel": CREATIVE}),
        ("groups:read", "conversations.info", {"channel": LEADERS}),
        ("im:read", "conversations.info", {"channel": "D0AVA00000"}),
        ("im:history", "conversations.history", {"channel": "D0AVA00000"}),
        ("channels:read", "conversations.list", {}),
        ("groups:read", "conversations.list", {"types": "public_channel,private_channel"}),
        ("users:read", "users.info", {"user": AVA}),
    ],
)
def test_each_method_needs_its_scope(
    slack: Caller, scope: str, method: str, arguments: dict[str, str]
) -> None:
    scopes = {*slack.control.state()["tokens"][TOKEN]["scopes"], scope}
    slack.change("tokens", TOKEN, scopes=sorted(scopes))
    assert slack(method, **arguments)["ok"]
    rest = sorted(scopes - {scope})
    slack.change("tokens", TOKEN, scopes=rest)
    answer = slack(method, **arguments)
    assert (answer["error"], answer["needed"]) == ("missing_scope", scope)
    assert answer["provided"] == slack.headers["X-OAuth-Scopes"] == ",".join(rest)


def test_conversations_that_cannot_be_posted_to(slack: Caller) -> None:
    usual = {"name": "x", "private": False, "archived": False, "member": True}
    slack.change("channels", "C0OUTSIDE00", **{**usual, "member": False})
    slack.change("channels", "C0SECRET000", **{**usual, "private": True, "member": False})
    assert slack.post("C0NOWHERE00")["error"] == "channel_not_found"
    assert slack.post("C0SECRET000")["error"] == "channel_not_found"
    assert slack.post("C0OUTSIDE00")["error"] == "not_in_channel"
    assert slack.post(ARCHIVED)["error"] == "is_archived"
    scopes = slack.control.state()["tokens"][TOKEN]["scopes"]
    slack.change("tokens", TOKEN, scopes=[*scopes, "chat:write.public"])
    assert slack.post("C0OUTSIDE00")["ok"]
    assert slack("conversations.history", channel="C0OUTSIDE00")["error"] == "not_in_channel"


def test_a_person_is_reached_in_a_conversation_of_their_own(slack: Caller) -> None:
    conversation = slack.post(AVA)["channel"]
    assert conversation == slack("conversations.open", users=AVA)["channel"]["id"] == "D0AVA00000"
    assert slack.post(conversation, "again")["channel"] == conversation
    assert slack.texts(conversation) == ["hello", "again"]
    # history takes the conversation's id only
    assert slack("conversations.history", channel=AVA)["error"] == "channel_not_found"
    assert len(slack("conversations.history", channel=conversation)["messages"]) == 2


def test_a_person_who_is_not_there(slack: Caller) -> None:
    slack.change("users", AVA, deactivated=True)
    assert slack.post("U0NOBODY00")["error"] == "user_not_found"
    assert slack("conversations.open", users=AVA)["error"] == "user_disabled"
    assert slack.post(AVA)["error"] == "user_disabled"
    assert slack.post("D0AVA00000")["error"] == "user_disabled"
    assert slack.post("D0NOBODY00")["error"] == "channel_not_found"
    assert slack.control.state()["messages"] == {}


def test_any_channel_will_do_if_so_set(slack: Caller) -> None:
    assert slack.post("C0UNHEARD00")["error"] == "channel_not_found"
    slack.control.replace_state({**slack.control.state(), "any_channel": True})
    assert slack.post("C0UNHEARD00")["ok"]
    assert slack("conversations.history", channel="C0UNHEARD00")["messages"][0]["text"] == "hello"
    assert slack.post("nonsense")["error"] == "channel_not_found"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": [section("")]}, "invalid_blocks"),
        ({"blocks": [section("x" * 3001)]}, "invalid_blocks"),
        ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": "bare"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "hologram"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"blocks": ["not a block"]}, "invalid_blocks"),
        ({"blocks": "[{"}, "invalid_blocks_format"),
        ({"blocks": {}, "text": " "}, "no_text"),
        ({"blocks": "{}", "text": " "}, "no_text"),
        ({"blocks": {"type": "divider"}}, "invalid_blocks"),
        ({"blocks": [{"type": "divider", "block_id": "x" * 256}]}, "invalid_blocks"),
        ({"blocks": [section("x", emoji=True)]}, "invalid_blocks"),
        ({"blocks": [fields("x" * 2001)]}, "invalid_blocks"),
        ({"blocks": [fields(*["x"] * 11)]}, "invalid_blocks"),
        ({"blocks": [fields()]}, "invalid_blocks"),
        ({"blocks": [header("x" * 151)]}, "invalid_blocks"),
        ({"blocks": [header("x", type="mrkdwn")]}, "invalid_blocks"),
        ({"blocks": [{"type": "context", "elements": []}]}, "invalid_blocks"),
        ({"blocks": [{"type": "actions", "elements": [{}] * 26}]}, "invalid_blocks"),
        ({"blocks": [{"type": "image", "image_url": "https://example.com/a"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "image", "alt_text": "x" * 2001}]}, "invalid_blocks"),
        ({"blocks": [{"type": "markdown", "text": "x" * 7000}] * 2}, "invalid_blocks"),
        ({"blocks": [{"type": "alert"}]}, "invalid_blocks"),
        ({"metadata": "{"}, "invalid_metadata_format"),
        ({"metadata": ["delivery"]}, "invalid_metadata_format"),
        ({"metadata": {"event_type": "delivery"}}, "invalid_metadata_schema"),
        ({"metadata": {"event_payload": {}}}, "invalid_metadata_schema"),
        ({"blocks": [section("x" * 3000)] * 5}, "msg_blocks_too_long"),
    ],
)
def test_messages_that_are_refused(slack: Caller, message: dict[str, Any], code: str) -> None:
    answer = slack("chat.postMessage", channel=CREATIVE, **{"text": "t", **message})
    assert answer["error"] == code
    assert slack.texts() == []
    if code == "invalid_blocks":
        assert "json-pointer:/blocks" in answer["response_metadata"]["messages"][0]
        assert slack("blocks.validate", blocks=message["blocks"])["error"] == code


@pytest.mark.parametrize(
    "blocks",
    [
        [section("x" * 3000, verbatim=True)] * 4,
        [{"type": "divider", "block_id": "x" * 255}] * 50,
        [{"type": "section", "fields": [{"type": "plain_text", "text": "x" * 1200}] * 10}],
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}],
        [{"type": "image", "image_url": "https://example.com/a.png", "alt_text": "x"}],
        [{"type": "markdown", "text": "x" * 6000}] * 2,
        [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 10}],
    ],
)
def test_messages_at_the_limits_are_taken(slack: Caller, blocks: list[Any]) -> None:
    assert slack.post(text="x" * 40_000, blocks=blocks)["ok"]
    assert slack.post(text="", blocks=blocks)["ok"]
    assert slack("blocks.validate", blocks=blocks)["ok"]


def test_a_form_carries_blocks_and_metadata_as_json_text(slack: Caller) -> None:
    metadata = {"event_type": "delivery", "event_payload": {"id": "7"}}
    answer = slack.form(
        "chat.postMessage",
        channel=CREATIVE,
        text="t",
        blocks=json.dumps([section("Ünïcode")]),
        metadata=json.dumps(metadata),
    )
    assert answer["message"]["blocks"] == [section("Ünïcode")]
    assert answer["message"]["metadata"] == metadata


def test_metadata_comes_back_on_request_only(slack: Caller) -> None:
    metadata = {"event_type": "delivery", "event_payload": {"id": "7"}}
    slack.post(metadata=metadata)
    (plain,) = slack("conversations.history", channel=CREATIVE)["messages"]
    assert "metadata" not in plain
    asked = slack.form("conversations.history", channel=CREATIVE, include_all_metadata="1")
    assert asked["messages"][0]["metadata"] == metadata
    assert asked["messages"][0]["bot_id"] == slack("auth.test")["bot_id"]


def test_timestamps_increase_even_when_the_clock_stands_still(slack: Caller) -> None:
    slack.control.configure(time=1_800_000_000)
    stamps = [slack.post(text=str(number))["ts"] for number in range(5)]
    assert stamps[0] == "1800000000.000000"
    assert stamps == sorted(set(stamps))


def test_timestamps_follow_a_clock_that_is_set_anew(slack: Caller) -> None:
    slack.control.configure(time=1_900_000_000)
    slack.post()
    slack.control.configure(time=1_800_000_000)
    assert float(slack.post()["ts"]) > 1_900_000_000  # never back within one workspace
    slack.control.reset()
    slack.control.configure(time=1_800_000_000)
    assert slack.post()["ts"] == "1800000000.000000"


def test_what_arrives_at_once_has_an_order(slack: Caller) -> None:
    def work(number: int) -> str:
        return str(Caller(f"http://{slack.address}").post(text=str(number))["ts"])

    with ThreadPoolExecutor(16) as pool:
        stamps = list(pool.map(work, range(200)))
    kept = slack.control.state()["messages"][CREATIVE]
    assert [message["ts"] for message in kept] == sorted(set(stamps))
    arrived = [message["arrived"] for message in kept]
    assert arrived == sorted(arrived)


def test_history_has_a_window_that_is_open_or_closed(slack: Caller) -> None:
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


def test_history_is_for_members(slack: Caller) -> None:
    slack.change("channels", CREATIVE, member=False)
    slack.change("channels", LEADERS, member=False)
    slack.change("channels", "C0PERFORM00", archived=True)
    assert slack("conversations.history", channel=CREATIVE)["error"] == "not_in_channel"
    assert slack("conversations.history", channel=LEADERS)["error"] == "channel_not_found"
    assert slack("conversations.history", channel="C0PERFORM00")["ok"]


def test_history_too_can_be_asked_for_too_often(slack: Caller) -> None:
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


def test_a_message_can_be_deleted_once(slack: Caller) -> None:
    ts = slack.post()["ts"]
    assert slack("chat.delete", channel=CREATIVE, ts=ts)["ok"]
    assert slack("chat.delete", channel=CREATIVE, ts=ts)["error"] == "message_not_found"
    assert slack("chat.delete", channel="C0NOWHERE00", ts=ts)["error"] == "channel_not_found"


def test_conversations_are_described(slack: Caller) -> None:
    info = slack("conversations.info", channel=ARCHIVED)["channel"]
    assert (info["name"], info["is_archived"], info["is_member"]) == ("old-campaigns", True, True)
    assert slack("users.info", user=AVA)["error"] == "missing_scope"


def test_conversations_are_listed_by_kind_and_in_pages(slack: Caller) -> None:
    def names(**more: Any) -> list[str]:
        return [one["name"] for one in slack("conversations.list", **more)["channels"]]

    assert names() == ["creative", "performance", "projects", "old-campaigns"]
    assert names(exclude_archived=True) == ["creative", "performance", "projects"]
    assert names(types="private_channel") == ["leadership"]
    slack.change("channels", LEADERS, member=False)
    assert names(types="private_channel") == []
    assert slack("conversations.list", types="secret")["error"] == "invalid_types"
    page = slack("conversations.list", limit=3)
    cursor = page["response_metadata"]["next_cursor"]
    assert names(limit=3, cursor=cursor) == ["old-campaigns"]


def test_a_channel_takes_one_message_a_second_if_so_set(slack: Caller) -> None:
    slack.control.configure(rate_limit=True, time=1_800_000_000)
    assert slack.post()["ok"]
    assert slack.post()["error"] == "ratelimited"
    assert (slack.status, slack.headers["Retry-After"]) == (429, "1")
    assert slack.post("C0PERFORM00")["ok"]
    slack.control.configure(time=1_800_000_001)
    assert slack.post()["ok"]
    assert slack.texts() == ["hello", "hello"]
    slack.control.configure(time=None)  # another clock: what it says is not compared
    assert slack.post()["ok"]


@pytest.mark.parametrize(("when", "arrived"), [("before", []), ("after", ["hello"])])
@pytest.mark.parametrize("spoil", [reset, close, truncate])
def test_a_broken_connection_before_and_after_the_post(
    slack: Caller, spoil: Any, when: str, arrived: list[str]
) -> None:
    slack.control.add_faults(spoil(when=when, path="chat.postMessage"))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        slack.post()
    assert slack.texts() == arrived
    assert slack.post(text="next")["ok"]


@pytest.mark.parametrize(
    ("fault", "status", "header"),
    [
        (rate_limited(30), 429, ("Retry-After", "30")),
        (rate_limited("soon"), 429, ("Retry-After", "soon")),
        (rate_limited(None), 429, ("Retry-After", None)),
        (failing(502), 502, ("Content-Type", "text/html; charset=utf-8")),
        (redirect("http://127.0.0.1/login"), 302, ("Location", "http://127.0.0.1/login")),
    ],
)
def test_answers_instead_of_slacks(
    slack: Caller, fault: Any, status: int, header: tuple[str, str | None]
) -> None:
    slack.control.add_faults(fault)
    slack.raw("chat.postMessage", "{}", "application/json")
    assert slack.status == status
    assert slack.headers.get(header[0]) == header[1]


@pytest.mark.parametrize(("when", "arrived"), [("before", []), ("after", ["hello"])])
@pytest.mark.parametrize(
    "spoil", [failing, partial(slack_error, "fatal_error"), rate_limited, partial(redirect, "/")]
)
def test_a_spoilt_answer_before_and_after_the_post(
    slack: Caller, spoil: Any, when: str, arrived: list[str]
) -> None:
    slack.control.add_faults(spoil(when=when, path="chat.postMessage"))
    answer = slack.raw(
        "chat.postMessage", json.dumps({"channel": CREATIVE, "text": "hello"}), "application/json"
    )
    assert b'"ok": true' not in answer
    assert slack.texts() == arrived


@pytest.mark.parametrize(("when", "arrived"), [("before", []), ("after", ["hello"])])
def test_a_hanging_call_is_left_by_its_client(slack: Caller, when: Any, arrived: list[str]) -> None:
    slack.control.add_faults(hang(60, when=when))
    body = json.dumps({"channel": CREATIVE, "text": "hello"})
    with pytest.raises(TimeoutError):
        slack.raw("chat.postMessage", body, "application/json", timeout=0.2)
    assert slack.texts() == arrived


def test_an_answer_in_drops_is_whole(slack: Caller) -> None:
    slack.control.add_faults(trickle(0.05))
    assert slack.post()["ok"]


def test_a_fault_is_for_what_it_matches_and_for_its_times(slack: Caller) -> None:
    slack.control.add_faults(
        failing(path="chat.postMessage", fields={"channel": CREATIVE}, skip=1, times=2),
        failing(500, contains="doomed", times=None),
    )

    def status(channel: str, text: str) -> int:
        body = json.dumps({"channel": channel, "text": text})
        slack.raw("chat.postMessage", body, "application/json")
        return slack.status

    assert [status(CREATIVE, str(number)) for number in range(4)] == [200, 503, 503, 200]
    assert status(LEADERS, "fine") == 200
    assert [status(LEADERS, "doomed") for _ in range(3)] == [500] * 3
    assert [fault["struck"] for fault in slack.control.faults()] == [2, 3]
    slack.control.clear_faults()
    assert status(LEADERS, "doomed") == 200


def test_the_journal_tells_all_but_the_secrets(slack: Caller) -> None:
    slack.control.add_faults(close(path="chat.postMessage"))
    with pytest.raises(http.client.HTTPException):
        slack.post()
    slack.form("auth.test", token=TOKEN)
    posted, asked = slack.control.journal()
    assert (posted["method"], posted["path"]) == ("POST", "/api/chat.postMessage")
    assert (posted["status"], posted["fault"]) == (None, "close before")
    assert json.loads(posted["body"]) == {"channel": CREATIVE, "text": "hello"}
    assert (asked["status"], asked["fault"]) == (200, None)
    assert TOKEN not in json.dumps([posted, asked])
    assert posted["headers"]["authorization"].endswith(TOKEN[-4:])
    assert slack.control.count("auth.test") == 1
    slack.control.clear_journal()
    assert slack.control.journal() == []


def test_reset_is_a_fresh_start(slack: Caller) -> None:
    slack.control.configure(latency=0.01, rate_limit=True)
    slack.control.add_faults(failing(times=None, path="nothing"))
    slack.post()
    slack.control.reset()
    assert slack.texts() == []
    assert slack.control.faults() == slack.control.journal() == []
    assert slack.control.settings() == {
        "latency": 0.0, "time": None, "history_lag": 0.0, "rate_limit": False, "page_size": 200
    }  # fmt: skip


def test_mistakes_in_control_are_told(slack: Caller) -> None:
    with pytest.raises(ControlError, match="unknown settings: colour"):
        slack.control.configure(colour="red")
    with pytest.raises(ControlError, match="no such control"):
        slack.control.call("GET", "/nothing")
    slack.post()
    with pytest.raises(ControlError, match=r"1 of 2 requests"):
        slack.control.wait_for_requests(2, timeout=0)


def test_an_unknown_method(slack: Caller) -> None:
    assert slack("chat.shout")["error"] == "unknown_method"
