"""The fake Slack, over HTTP as a client uses it: its methods and what they refuse."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from local.control import direct
from tests.integration.slack_caller import ARCHIVED, AVA, CREATIVE, LEADERS, TOKEN, Caller


def section(text: Any, **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, **more}}


def fields(*texts: str) -> dict[str, Any]:
    return {"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in texts]}


def header(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text, **more}}


def test_auth_test_returns_the_bot_and_its_scopes(slack: Caller) -> None:
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


@pytest.mark.parametrize(
    "code", ["restricted_action", "ekm_access_denied", "access_denied", "no_permission"]
)
def test_a_refusal_that_only_a_post_shows(slack: Caller, code: str) -> None:
    slack.change("channels", CREATIVE, refuses={"chat.postMessage": code})
    assert slack.post()["error"] == code
    info = slack("conversations.info", channel=CREATIVE)["channel"]
    assert (info["is_archived"], info["is_member"]) == (False, True)
    assert slack("conversations.history", channel=CREATIVE)["messages"] == []
    slack.change("channels", CREATIVE, refuses={"conversations.history": "not_in_channel"})
    assert slack.post()["ok"]
    assert slack("conversations.history", channel=CREATIVE)["error"] == "not_in_channel"


def test_a_person_whose_messages_tab_is_off(slack: Caller) -> None:
    slack.change("users", AVA, refuses={"chat.postMessage": "messages_tab_disabled"})
    assert slack.post(AVA)["error"] == "messages_tab_disabled"
    assert slack.post("D0AVA00000")["error"] == "messages_tab_disabled"
    assert slack("conversations.open", users=AVA)["ok"]
    assert slack("conversations.info", channel="D0AVA00000")["ok"]


def test_a_post_to_a_person_needs_no_scope_to_open_a_conversation(slack: Caller) -> None:
    slack.change("tokens", TOKEN, scopes=["chat:write"])
    assert slack.post(AVA)["channel"] == "D0AVA00000"
    assert slack("conversations.open", users=AVA)["error"] == "missing_scope"


def test_a_success_may_come_with_a_warning(slack: Caller) -> None:
    slack.control.configure(warnings={"chat.postMessage": "missing_charset"})
    assert slack.post()["warning"] == "missing_charset"
    assert "warning" not in slack("auth.test")


def test_a_person_is_reached_in_direct_messages(slack: Caller) -> None:
    conversation = slack.post(AVA)["channel"]
    assert conversation == slack("conversations.open", users=AVA)["channel"]["id"] == "D0AVA00000"
    assert slack.post(conversation, "again")["channel"] == conversation
    assert slack.texts(conversation) == ["hello", "again"]
    # history accepts only the conversation's id
    assert slack("conversations.history", channel=AVA)["error"] == "channel_not_found"
    assert len(slack("conversations.history", channel=conversation)["messages"]) == 2


def test_an_unknown_person(slack: Caller) -> None:
    slack.change("users", AVA, deactivated=True)
    assert slack.post("U0NOBODY00")["error"] == "user_not_found"
    assert slack("conversations.open", users=AVA)["error"] == "user_disabled"
    assert slack("conversations.info", channel="D0AVA00000")["channel"]["is_user_deleted"]
    assert slack.post(AVA)["error"] == "user_disabled"
    assert slack.post("D0AVA00000")["error"] == "user_disabled"
    assert slack.post("D0NOBODY00")["error"] == "channel_not_found"
    assert slack.control.state()["messages"] == {}


def test_any_channel_is_accepted_if_configured(slack: Caller) -> None:
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
def test_messages_at_the_limits_are_accepted(slack: Caller, blocks: list[Any]) -> None:
    assert slack.post(text="x" * 40_000, blocks=blocks)["ok"]
    assert slack.post(text="", blocks=blocks)["ok"]
    assert slack("blocks.validate", blocks=blocks)["ok"]


def test_a_form_has_blocks_and_metadata_as_json_text(slack: Caller) -> None:
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


def test_an_unknown_method(slack: Caller) -> None:
    assert slack("chat.shout")["error"] == "unknown_method"


def test_messages_are_shown_as_a_page(slack: Caller) -> None:
    section = {"type": "mrkdwn", "text": "*Launch* by <@U0AVA00000> &lt;b&gt;", "verbatim": True}
    slack.post(text="x", blocks=[{"type": "section", "text": section}])
    slack.post(AVA, text="<b>you</b>")
    slack.control.clear_journal()

    def look(path: str, **headers: str) -> tuple[str, Any]:
        request = urllib.request.Request(slack.control.url + path, headers=headers)
        with direct.open(request) as answer:
            return answer.read().decode(), answer.headers

    page, headers = look("/")
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "#creative" in page
    assert '<strong>Launch</strong> by <span class="slack-mention"' in page
    assert "@Ava Lindqvist</span> &lt;b&gt;" in page
    assert "Ava Lindqvist <span" in page
    assert "&lt;b&gt;you&lt;/b&gt;" in page
    assert "old-campaigns" in page
    part, _ = look("/", **{"HX-Request": "true"})
    assert part.startswith("<section")
    assert part in page
    assert ".slack-message" in look("/style.css")[0]
    assert "htmx" in look("/htmx.min.js")[0]
    assert slack.control.journal() == []
