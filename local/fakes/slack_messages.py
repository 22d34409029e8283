"""The methods of the fake Slack that write messages: chat.* and blocks.validate."""

from __future__ import annotations

import time
from typing import Any

from local.fakes.slack_blocks import problems, text_sum
from local.fakes.slack_reading import is_set, shown
from local.fakes.slack_workspace import (
    Answer,
    Fields,
    SlackRefusal,
    Workspace,
    check_refusal,
    require_scope,
)

TEXT_LIMIT = 40000
BLOCKS_TEXT_LIMIT = 12000


def post_message(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """chat.postMessage."""
    require_scope(scopes, "chat:write")
    channel = str(fields.get("channel", ""))
    if channel[:1] == "U":
        channel = workspace.open_direct_messages(channel)
    conversation = workspace.conversation(channel)
    check_refusal(conversation, "chat.postMessage")
    if conversation["archived"]:
        raise SlackRefusal("is_archived")
    if not conversation["member"] and "chat:write.public" not in scopes:
        raise SlackRefusal("not_in_channel")
    if person := workspace.person_of(channel):
        check_refusal(workspace.state["users"][person], "chat.postMessage")
        workspace.open_direct_messages(person)  # refused if deactivated
    _check_message(fields)
    parent = _parent(workspace, channel, fields)
    workspace.check_rate(channel)
    message = {
        "type": "message",
        "ts": workspace.next_ts(),
        "text": fields.get("text") or "",
        "blocks": fields.get("blocks") or [],
        "metadata": fields.get("metadata"),
        "bot_id": workspace.state["bot"]["bot_id"],
        "app_id": workspace.state["bot"]["app_id"],
        "thread_ts": None,
        "arrived": time.monotonic(),
    }
    if parent is not None:
        parent["thread_ts"] = message["thread_ts"] = parent["ts"]
        message["parent_user_id"] = parent.get("user", workspace.state["bot"]["user_id"])
        if is_set(fields, "reply_broadcast"):
            message["subtype"] = "thread_broadcast"
    workspace.state["messages"].setdefault(channel, []).append(message)
    return {"channel": channel, "ts": message["ts"], "message": shown(message, True)}


def _parent(workspace: Workspace, channel: str, fields: Fields) -> dict[str, Any] | None:
    """The parent of the thread that a post goes to. If it no longer exists, Slack posts in the
    channel without a warning: https://github.com/slack-go/slack/issues/1571"""
    parent = workspace.message(channel, fields.get("thread_ts"))
    if parent is not None and parent.get("is_locked"):
        raise SlackRefusal("restricted_action_thread_locked")
    return parent


def delete(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """chat.delete."""
    require_scope(scopes, "chat:write")
    channel, ts = str(fields.get("channel", "")), str(fields.get("ts", ""))
    workspace.conversation(channel)
    delete_message(workspace, channel, ts)
    return {"channel": channel, "ts": ts}


def delete_message(workspace: Workspace, channel: str, ts: str) -> None:
    """Delete a message, as its author does. Its replies stay, below a tombstone. Raises
    SlackRefusal if there is none."""
    message = workspace.message(channel, ts)
    if message is None or message.get("subtype") == "tombstone":
        raise SlackRefusal("message_not_found")
    messages = workspace.state["messages"][channel]
    if not any(one.get("thread_ts") == ts != one["ts"] for one in messages):
        messages.remove(message)
        return
    messages[messages.index(message)] = {
        "type": "message", "subtype": "tombstone", "user": "USLACKBOT", "blocks": [],
        "text": "This message was deleted.", "ts": ts, "thread_ts": ts,
        "arrived": message["arrived"],
    }  # fmt: skip


def validate_blocks(workspace: Workspace, fields: Fields, scopes: list[str]) -> Answer:
    """blocks.validate."""
    _check_blocks(fields.get("blocks"))
    return {}


def _check_message(fields: Fields) -> None:
    text, blocks = str(fields.get("text") or ""), fields.get("blocks") or []
    if not text.strip() and not blocks:
        raise SlackRefusal("no_text")
    if len(text) > TEXT_LIMIT:
        raise SlackRefusal("msg_too_long")
    _check_blocks(blocks)
    if text_sum(blocks) > BLOCKS_TEXT_LIMIT:
        raise SlackRefusal("msg_blocks_too_long")
    _check_metadata(fields.get("metadata"))


def _check_metadata(metadata: Any) -> None:
    if not metadata:
        return
    if not isinstance(metadata, dict):
        raise SlackRefusal("invalid_metadata_format")
    kind, payload = metadata.get("event_type"), metadata.get("event_payload")
    if not (isinstance(kind, str) and kind and isinstance(payload, dict)):
        raise SlackRefusal("invalid_metadata_schema")


def _check_blocks(blocks: Any) -> None:
    if found := problems(blocks):
        raise SlackRefusal("invalid_blocks", response_metadata={"messages": found})
