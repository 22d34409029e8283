"""The methods of the fake Slack that read: auth.test, conversations.* and users.info."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from local.fakes.slack_workspace import (
    Answer,
    Fields,
    SlackRefusal,
    Workspace,
    check_refusal,
    history_scope,
    require_scope,
)

_LIST_SCOPES = {"public_channel": "channels:read", "private_channel": "groups:read"}


def auth_test(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """auth.test."""
    team, bot = workspace.state["team"], workspace.state["bot"]
    return {
        "url": team["url"], "team_id": team["id"], "user_id": bot["user_id"],
        "bot_id": bot["bot_id"],
    }  # fmt: skip


def open_conversation(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """conversations.open."""
    require_scope(scopes, "im:write")
    user = str(fields.get("users", ""))
    check_refusal(workspace.state["users"].get(user, {}), "conversations.open")
    return {"channel": {"id": workspace.open_direct_messages(user)}}


def history(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """conversations.history."""
    channel = str(fields.get("channel", ""))
    conversation = workspace.conversation(channel)
    check_refusal(conversation, "conversations.history")
    require_scope(scopes, history_scope(channel, conversation))
    if not conversation["member"]:
        raise SlackRefusal("not_in_channel")
    found = _in_window(workspace, channel, fields)
    size = min(_read_limit(fields), int(workspace.settings["page_size"]))
    with_metadata = is_set(fields, "include_all_metadata")
    more = size < len(found)
    page = found[-size:] if _is_open_ended(fields) else found[:size]
    return {
        "messages": [
            shown(message, with_metadata) for message in page if not message.get("hidden")
        ],
        "has_more": more,
        "response_metadata": {"next_cursor": _history_cursor(page[-1]["ts"]) if more else ""},
    }


def _in_window(workspace: Workspace, channel: str, fields: Fields) -> list[dict[str, Any]]:
    """The rest of a channel's history, newest first."""
    oldest = _read_ts(fields, "oldest", "0")
    latest = _read_ts(fields, "latest", "inf")
    inclusive = is_set(fields, "inclusive")
    # a page continues below a message, not at an offset: new messages shift nothing
    below = _read_history_cursor(fields)
    lag = float(workspace.settings["history_lag"])
    visible = workspace.now() - lag if lag else float("inf")

    def is_in(ts: float) -> bool:
        within = oldest <= ts <= latest if inclusive else oldest < ts < latest
        return within and ts < below and ts <= visible

    messages = workspace.state["messages"].get(channel, [])
    return [
        message
        for message in reversed(messages)
        if is_in(float(message["ts"])) and _is_in_channel(message)
    ]


def replies(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """conversations.replies: a thread, oldest first; its parent always, whatever the window."""
    channel, ts = str(fields.get("channel", "")), fields.get("ts")
    conversation = workspace.conversation(channel)
    check_refusal(conversation, "conversations.replies")
    require_scope(scopes, history_scope(channel, conversation))
    if not conversation["member"]:
        raise SlackRefusal("not_in_channel")
    parent = workspace.message(channel, ts)
    if parent is None:
        raise SlackRefusal("thread_not_found")
    oldest, latest = _read_ts(fields, "oldest", "0"), _read_ts(fields, "latest", "inf")
    first = int(_after(fields, "next_ts:", "0"))
    lag = float(workspace.settings["history_lag"])
    visible = workspace.now() - lag if lag else float("inf")
    replies = [
        message
        for message in workspace.state["messages"][channel]
        if message.get("thread_ts") == ts != message["ts"]
        and oldest < float(message["ts"]) < latest
        and float(message["ts"]) <= visible
        and _microseconds(message["ts"]) >= first
    ]
    size = min(_read_limit(fields), int(workspace.settings["page_size"]))
    following = replies[size:][:1]
    cursor = _cursor(_microseconds(following[0]["ts"]), "next_ts:") if following else ""
    with_metadata = is_set(fields, "include_all_metadata")
    return {
        "messages": [shown(message, with_metadata) for message in [parent, *replies[:size]]],
        "has_more": bool(following),
        "response_metadata": {"next_cursor": cursor},
    }


def info(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """conversations.info."""
    channel = str(fields.get("channel", ""))
    conversation = workspace.conversation(channel)
    require_scope(scopes, "im:read" if channel[:1] == "D" else
               "groups:read" if conversation["private"] else "channels:read")  # fmt: skip
    check_refusal(conversation, "conversations.info")
    described = _described(channel, conversation)
    if person := workspace.person_of(channel):
        gone = workspace.state["users"][person]["deactivated"]
        described |= {"user": person, "is_user_deleted": gone}
    return {"channel": described}


def list_conversations(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """conversations.list."""
    types = str(fields.get("types") or "public_channel").split(",")
    for kind in types:
        if kind not in _LIST_SCOPES:
            raise SlackRefusal("invalid_types")
        require_scope(scopes, _LIST_SCOPES[kind])
    found = [
        _described(id_, channel)
        for id_, channel in workspace.state["channels"].items()
        if ("private_channel" in types and channel["member"] if channel["private"]
            else "public_channel" in types)
        and not (channel["archived"] and is_set(fields, "exclude_archived"))
    ]  # fmt: skip
    start, size = _read_cursor(fields), _read_limit(fields)
    more = start + size < len(found)
    return {
        "channels": found[start : start + size],
        "response_metadata": {"next_cursor": _cursor(start + size) if more else ""},
    }


def user_info(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """users.info."""
    require_scope(scopes, "users:read")
    user = str(fields.get("user", ""))
    person = workspace.state["users"].get(user)
    if person is None:
        raise SlackRefusal("user_not_found")
    return {"user": {"id": user, "name": person["name"], "deleted": person["deactivated"]}}


def _described(channel: str, conversation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": channel,
        "name": conversation["name"],
        "is_archived": conversation["archived"],
        "is_member": conversation["member"],
        "is_private": conversation["private"],
        "is_im": channel[:1] == "D",
        "is_ext_shared": False,
    }


def _is_in_channel(message: Mapping[str, Any]) -> bool:
    """Whether the channel shows it: messages outside of threads, parents of threads, and replies
    that were also sent to the channel."""
    thread_ts = message.get("thread_ts")
    return thread_ts in (None, message["ts"]) or message.get("subtype") == "thread_broadcast"


def shown(message: Mapping[str, Any], with_metadata: bool) -> dict[str, Any]:
    """A message as the API returns it."""
    hidden = {"arrived", "hidden"} if with_metadata else {"arrived", "hidden", "metadata"}
    return {
        name: value for name, value in message.items() if name not in hidden and value is not None
    }


def _read_ts(fields: Fields, name: str, default: str) -> float:
    try:
        return float(fields.get(name) or default)
    except ValueError:
        raise SlackRefusal(f"invalid_ts_{name}") from None


def _read_limit(fields: Fields) -> int:
    try:
        limit = int(fields.get("limit") or 100)
    except ValueError:
        limit = 0
    if not 1 <= limit <= 999:
        raise SlackRefusal("invalid_limit")
    return limit


def is_set(fields: Fields, name: str) -> bool:
    """Whether a true/false argument is given and true."""
    return str(fields.get(name, "")).lower() in ("1", "true")


def _is_open_ended(fields: Fields) -> bool:
    """With `oldest` alone Slack returns the page next to it, not the newest one:
    https://github.com/slackhq/slack-api-docs/issues/4"""
    return bool(fields.get("oldest")) and not (fields.get("latest") or fields.get("cursor"))


def _cursor(place: int, prefix: str = "next:") -> str:
    return base64.b64encode(f"{prefix}{place}".encode()).decode()


def _read_cursor(fields: Fields) -> int:
    """Where the page of a list starts."""
    return int(_after(fields, "next:", "0"))


def _history_cursor(ts: str) -> str:
    """Slack's cursors are times in microseconds: all of the page is later."""
    return _cursor(_microseconds(ts) - 1, "next_ts:")


def _read_history_cursor(fields: Fields) -> float:
    """The time below which the page of history starts."""
    place = _after(fields, "next_ts:", "")
    return (int(place) + 1) / 1_000_000 if place else float("inf")


def _after(fields: Fields, prefix: str, first: str) -> str:
    """The number in the cursor, or `first` without a cursor."""
    cursor = str(fields.get("cursor") or "")
    if not cursor:
        return first
    try:
        place = base64.b64decode(cursor).decode().removeprefix(prefix)
        return str(int(place))
    except ValueError:
        raise SlackRefusal("invalid_cursor") from None


def _microseconds(ts: str) -> int:
    seconds, _, rest = ts.partition(".")
    return int(seconds) * 1_000_000 + int(rest.ljust(6, "0"))
