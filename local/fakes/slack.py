"""A fake for Slack's Web API: one workspace, kept in memory, as strict as the real one.

It shares nothing with the client that it is for. What it refuses and how follows
https://docs.slack.dev/reference/methods; what goes wrong on the way is the fault script's.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from local.fakes.slack_blocks import problems, text_sum
from local.http_server import HttpServer, serve_forever
from local.wire import Request, Response

WORKSPACE = Path(__file__).resolve().parent / "workspace.json"

TEXT_LIMIT = 40000
BLOCKS_TEXT_LIMIT = 12000
CHANNEL_WAIT = 1.0
METHOD_WINDOW = 60.0

# Settings as Slack has them. Its tiers:
# https://docs.slack.dev/apis/web-api/rate-limits
PUBLISHED_LIMITS: dict[str, Any] = {
    "method_limits": {
        "conversations.open": 50, "conversations.history": 50, "conversations.replies": 50,
        "conversations.info": 50,
    }
}  # fmt: skip
# What an app gets that is distributed, and not by Slack's Marketplace:
# https://docs.slack.dev/changelog/2025/05/29/rate-limit-changes-for-non-marketplace-apps
DISTRIBUTED_APP: dict[str, Any] = {
    "method_limits": {"conversations.history": 1, "conversations.replies": 1}, "page_size": 15
}  # fmt: skip


class SlackRefusal(Exception):
    """Slack's `ok: false`: a code and what comes along with it."""

    status = 200
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.answer = {"ok": False, "error": code, **more}


class TooFast(SlackRefusal):
    """Status 429: come back in so many seconds."""

    status = 429

    def __init__(self, seconds: float) -> None:
        super().__init__("ratelimited")
        self.headers = MappingProxyType({"Retry-After": f"{max(1, math.ceil(seconds))}"})


class FakeSlack:
    """The application behind an HttpServer.

    Settings: `time` (epoch seconds; None: the real time), `history_lag` (seconds until a
    message shows in its history), `rate_limit` (1 message per second and channel, else 429),
    `method_limits` (calls per minute, by method; a method that is not there has no limit),
    `page_size` (most messages per page of history, or of a thread), `warnings` (by method, what it
    says beside ok).

    A channel or user of the state may have `refuses`: by method, the code that it answers,
    whatever else it is like. A message that is `hidden` takes up room on a page of history and
    is not shown; one that `is_locked` takes no replies.
    """

    def __init__(self, workspace: Mapping[str, Any] | None = None) -> None:
        self._first = json.loads(WORKSPACE.read_text()) if workspace is None else dict(workspace)
        self._lock = threading.RLock()
        self._settings: dict[str, Any] = {}
        self._state: dict[str, Any] = {}
        self._last_post: dict[str, float] = {}
        self._calls: dict[str, list[float]] = {}
        self._last_ts = 0
        self.reset()

    def handle(self, request: Request) -> Response:
        """Answer one method call, form-encoded or JSON."""
        headers = {"X-Slack-Req-Id": f"req-{time.time_ns():x}"}
        try:
            return Response.of_json(self._answer(request, headers), headers=headers)
        except SlackRefusal as refusal:
            return Response.of_json(refusal.answer, refusal.status, {**headers, **refusal.headers})

    def _answer(self, request: Request, headers: dict[str, str]) -> dict[str, Any]:
        method = request.path.rpartition("/")[2]
        action = _METHODS.get(method)
        if action is None:
            raise SlackRefusal("unknown_method")
        with self._lock:
            scopes = [] if method in _OPEN_METHODS else self._scopes(request)
            headers["X-OAuth-Scopes"] = ",".join(scopes)  # told whatever comes of the call
            self._check_method_limit(method)
            fields = {name: _decoded(name, value) for name, value in request.fields.items()}
            warning = self._settings["warnings"].get(method)
            return {
                "ok": True,
                **action(self, fields, scopes),
                **({"warning": warning} if warning else {}),
            }

    def settings(self) -> dict[str, Any]:
        """The present settings."""
        return dict(self._settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change some settings. Raises ValueError for an unknown name."""
        unknown = set(settings) - set(self._settings)
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        with self._lock:
            self._settings.update(settings)

    def state(self) -> Any:
        """The workspace, with every message in order of arrival."""
        with self._lock:
            return copy.deepcopy(self._state)

    def replace_state(self, state: Any) -> None:
        """Take over a workspace of the form that `state` returns."""
        with self._lock:
            self._state = copy.deepcopy(state)

    def reset(self) -> None:
        """The workspace and settings of the start."""
        with self._lock:
            self._state = copy.deepcopy(self._first)
            self._settings = {
                "time": None, "history_lag": 0.0, "rate_limit": False, "page_size": 200,
                "method_limits": {}, "warnings": {},
            }  # fmt: skip
            self._last_post.clear()
            self._calls.clear()
            self._last_ts = 0

    def close(self) -> None:
        """Nothing is held."""

    def _now(self) -> float:
        return time.time() if self._settings["time"] is None else float(self._settings["time"])

    def _ticks(self) -> float:
        """For what is measured between two calls."""
        return time.monotonic() if self._settings["time"] is None else self._now()

    def _check_method_limit(self, method: str) -> None:
        limit = self._settings["method_limits"].get(method)
        if limit is None:
            return
        now = self._ticks()
        # below zero: another clock was set meanwhile
        recent = [at for at in self._calls.get(method, []) if 0 <= now - at < METHOD_WINDOW]
        if len(recent) >= limit:
            raise TooFast(recent[-limit] + METHOD_WINDOW - now if limit else METHOD_WINDOW)
        self._calls[method] = [*recent, now]

    def _refuse(self, place: Mapping[str, Any], method: str) -> None:
        if code := place.get("refuses", {}).get(method):
            raise SlackRefusal(code)

    def _scopes(self, request: Request) -> list[str]:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            token = str(request.fields.get("token", ""))
        if not token:
            raise SlackRefusal("not_authed")
        known = self._state["tokens"].get(token)
        if known is None:
            raise SlackRefusal("invalid_auth")
        if known["revoked"]:
            raise SlackRefusal("token_revoked")
        return list(known["scopes"])

    def _need(self, scopes: list[str], needed: str) -> None:
        if needed not in scopes:
            raise SlackRefusal("missing_scope", needed=needed, provided=",".join(scopes))

    def _conversation(self, channel: str) -> dict[str, Any]:
        """The conversation of an id that the bot may know of."""
        known = self._state["channels"].get(channel)
        if known is None and self._state["any_channel"] and channel[:1] == "C":
            known = {"name": channel.lower(), "private": False, "archived": False, "member": True}
            self._state["channels"][channel] = known
        if known is None and self._person_of(channel):
            known = {"name": channel, "private": False, "archived": False, "member": True}
        if known is None or (known["private"] and not known["member"]):
            raise SlackRefusal("channel_not_found")
        return dict(known)

    def _person_of(self, conversation: str) -> str | None:
        """Whose direct messages those are."""
        person = f"U{conversation[1:]}"
        return person if conversation[:1] == "D" and person in self._state["users"] else None

    def _open(self, user: str) -> str:
        person = self._state["users"].get(user)
        if person is None:
            raise SlackRefusal("user_not_found")
        if person["deactivated"]:
            raise SlackRefusal("user_disabled")
        return f"D{user[1:]}"

    def _history_scope(self, channel: str, conversation: Mapping[str, Any]) -> str:
        if channel[:1] == "D":
            return "im:history"
        return "groups:history" if conversation["private"] else "channels:history"

    def _auth_test(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        team, bot = self._state["team"], self._state["bot"]
        return {
            "url": team["url"], "team_id": team["id"], "user_id": bot["user_id"],
            "bot_id": bot["bot_id"],
        }  # fmt: skip

    def _post_message(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        self._need(scopes, "chat:write")
        channel = str(fields.get("channel", ""))
        if channel[:1] == "U":
            channel = self._open(channel)
        conversation = self._conversation(channel)
        self._refuse(conversation, "chat.postMessage")
        if conversation["archived"]:
            raise SlackRefusal("is_archived")
        if not conversation["member"] and "chat:write.public" not in scopes:
            raise SlackRefusal("not_in_channel")
        if person := self._person_of(channel):
            self._refuse(self._state["users"][person], "chat.postMessage")
            self._open(person)  # refused when they are gone
        _check_message(fields)
        parent = self._parent(channel, fields)
        self._check_rate(channel)
        message = {
            "type": "message",
            "ts": self._next_ts(),
            "text": fields.get("text") or "",
            "blocks": fields.get("blocks") or [],
            "metadata": fields.get("metadata"),
            "bot_id": self._state["bot"]["bot_id"],
            "app_id": self._state["bot"]["app_id"],
            "thread_ts": None,
            "arrived": time.monotonic(),
        }
        if parent is not None:
            parent["thread_ts"] = message["thread_ts"] = parent["ts"]
            message["parent_user_id"] = parent.get("user", self._state["bot"]["user_id"])
            if _is_set(fields, "reply_broadcast"):
                message["subtype"] = "thread_broadcast"
        self._state["messages"].setdefault(channel, []).append(message)
        return {"channel": channel, "ts": message["ts"], "message": _shown(message, True)}

    def _parent(self, channel: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """The message to whose thread a post goes. Where that no longer stands, Slack says nothing
        and posts in the channel: https://github.com/slack-go/slack/issues/1571"""
        parent = self._standing(channel, fields.get("thread_ts"))
        if parent is not None and parent.get("is_locked"):
            raise SlackRefusal("restricted_action_thread_locked")
        return parent

    def _standing(self, channel: str, ts: Any) -> dict[str, Any] | None:
        messages = self._state["messages"].get(channel, [])
        return next((message for message in messages if message["ts"] == ts), None)

    def _check_rate(self, channel: str) -> None:
        now = self._ticks()
        since = now - self._last_post.get(channel, float("-inf"))
        # below zero: another clock was set meanwhile
        if self._settings["rate_limit"] and 0 <= since < CHANNEL_WAIT:
            raise TooFast(CHANNEL_WAIT - since)
        self._last_post[channel] = now

    def _next_ts(self) -> str:
        self._last_ts = max(self._last_ts + 1, int(self._now() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def _open_conversation(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        self._need(scopes, "im:write")
        user = str(fields.get("users", ""))
        self._refuse(self._state["users"].get(user, {}), "conversations.open")
        return {"channel": {"id": self._open(user)}}

    def _history(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        channel = str(fields.get("channel", ""))
        conversation = self._conversation(channel)
        self._refuse(conversation, "conversations.history")
        self._need(scopes, self._history_scope(channel, conversation))
        if not conversation["member"]:
            raise SlackRefusal("not_in_channel")
        found = self._in_window(channel, fields)
        size = min(_read_limit(fields), int(self._settings["page_size"]))
        with_metadata = _is_set(fields, "include_all_metadata")
        more = size < len(found)
        page = found[-size:] if _is_open_ended(fields) else found[:size]
        return {
            "messages": [
                _shown(message, with_metadata) for message in page if not message.get("hidden")
            ],
            "has_more": more,
            "response_metadata": {"next_cursor": _history_cursor(page[-1]["ts"]) if more else ""},
        }

    def _in_window(self, channel: str, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What a reading of the history has still to show, newest first."""
        oldest = _read_ts(fields, "oldest", "0")
        latest = _read_ts(fields, "latest", "inf")
        inclusive = _is_set(fields, "inclusive")
        # pages go on below a message, not at a number: what arrives meanwhile shifts nothing
        below = _read_history_cursor(fields)
        lag = float(self._settings["history_lag"])
        visible = self._now() - lag if lag else float("inf")

        def is_in(ts: float) -> bool:
            within = oldest <= ts <= latest if inclusive else oldest < ts < latest
            return within and ts < below and ts <= visible

        messages = self._state["messages"].get(channel, [])
        return [
            message
            for message in reversed(messages)
            if is_in(float(message["ts"])) and _is_in_channel(message)
        ]

    def _replies(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        """A thread, the oldest first; whatever the window, the message that began it."""
        channel, ts = str(fields.get("channel", "")), fields.get("ts")
        conversation = self._conversation(channel)
        self._refuse(conversation, "conversations.replies")
        self._need(scopes, self._history_scope(channel, conversation))
        if not conversation["member"]:
            raise SlackRefusal("not_in_channel")
        parent = self._standing(channel, ts)
        if parent is None:
            raise SlackRefusal("thread_not_found")
        oldest, latest = _read_ts(fields, "oldest", "0"), _read_ts(fields, "latest", "inf")
        first = int(_after(fields, "next_ts:", "0"))
        lag = float(self._settings["history_lag"])
        visible = self._now() - lag if lag else float("inf")
        replies = [
            message
            for message in self._state["messages"][channel]
            if message.get("thread_ts") == ts != message["ts"]
            and oldest < float(message["ts"]) < latest
            and float(message["ts"]) <= visible
            and _microseconds(message["ts"]) >= first
        ]
        size = min(_read_limit(fields), int(self._settings["page_size"]))
        following = replies[size:][:1]
        cursor = _cursor(_microseconds(following[0]["ts"]), "next_ts:") if following else ""
        with_metadata = _is_set(fields, "include_all_metadata")
        return {
            "messages": [_shown(message, with_metadata) for message in [parent, *replies[:size]]],
            "has_more": bool(following),
            "response_metadata": {"next_cursor": cursor},
        }

    def _info(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        channel = str(fields.get("channel", ""))
        conversation = self._conversation(channel)
        self._need(scopes, "im:read" if channel[:1] == "D" else
                   "groups:read" if conversation["private"] else "channels:read")  # fmt: skip
        self._refuse(conversation, "conversations.info")
        described = _described(channel, conversation)
        if person := self._person_of(channel):
            gone = self._state["users"][person]["deactivated"]
            described |= {"user": person, "is_user_deleted": gone}
        return {"channel": described}

    def _list(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        types = str(fields.get("types") or "public_channel").split(",")
        for kind in types:
            if kind not in _LIST_SCOPES:
                raise SlackRefusal("invalid_types")
            self._need(scopes, _LIST_SCOPES[kind])
        found = [
            _described(id_, channel)
            for id_, channel in self._state["channels"].items()
            if ("private_channel" in types and channel["member"] if channel["private"]
                else "public_channel" in types)
            and not (channel["archived"] and _is_set(fields, "exclude_archived"))
        ]  # fmt: skip
        start, size = _read_cursor(fields), _read_limit(fields)
        more = start + size < len(found)
        return {
            "channels": found[start : start + size],
            "response_metadata": {"next_cursor": _cursor(start + size) if more else ""},
        }

    def _delete(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        self._need(scopes, "chat:write")
        channel, ts = str(fields.get("channel", "")), str(fields.get("ts", ""))
        self._conversation(channel)
        self.delete_message(channel, ts)
        return {"channel": channel, "ts": ts}

    def delete_message(self, channel: str, ts: str) -> None:
        """Delete a message, as its author does. Where it has replies they stay, below a mark that
        something stood there. Raises SlackRefusal where there is none."""
        with self._lock:
            message = self._standing(channel, ts)
            if message is None or message.get("subtype") == "tombstone":
                raise SlackRefusal("message_not_found")
            messages = self._state["messages"][channel]
            if not any(one.get("thread_ts") == ts != one["ts"] for one in messages):
                messages.remove(message)
                return
            messages[messages.index(message)] = {
                "type": "message", "subtype": "tombstone", "user": "USLACKBOT", "blocks": [],
                "text": "This message was deleted.", "ts": ts, "thread_ts": ts,
                "arrived": message["arrived"],
            }  # fmt: skip

    def _user(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        self._need(scopes, "users:read")
        user = str(fields.get("user", ""))
        person = self._state["users"].get(user)
        if person is None:
            raise SlackRefusal("user_not_found")
        return {"user": {"id": user, "name": person["name"], "deleted": person["deactivated"]}}

    def _validate_blocks(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        _check_blocks(fields.get("blocks"))
        return {}


_OPEN_METHODS = frozenset({"api.test"})
Method = Callable[[FakeSlack, Mapping[str, Any], list[str]], dict[str, Any]]

_METHODS: dict[str, Method] = {
    "api.test": lambda slack, fields, scopes: {},
    "auth.test": FakeSlack._auth_test,
    "blocks.validate": FakeSlack._validate_blocks,
    "chat.postMessage": FakeSlack._post_message,
    "chat.delete": FakeSlack._delete,
    "conversations.open": FakeSlack._open_conversation,
    "conversations.history": FakeSlack._history,
    "conversations.replies": FakeSlack._replies,
    "conversations.info": FakeSlack._info,
    "conversations.list": FakeSlack._list,
    "users.info": FakeSlack._user,
}


# Of the arguments that come as JSON text in a form: what it is called when they are none.
_NOT_JSON = {
    "blocks": "invalid_blocks_format",
    "metadata": "invalid_metadata_format",
    "attachments": "invalid_arguments",
}
_LIST_SCOPES = {"public_channel": "channels:read", "private_channel": "groups:read"}


def _decoded(name: str, value: Any) -> Any:
    if name in _NOT_JSON and isinstance(value, str) and value:
        try:
            return json.loads(value)
        except ValueError:
            raise SlackRefusal(_NOT_JSON[name]) from None
    return value


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
    """Whether it shows in the channel: what is not in a thread, the first of one, and what was sent
    there too."""
    thread_ts = message.get("thread_ts")
    return thread_ts in (None, message["ts"]) or message.get("subtype") == "thread_broadcast"


def _shown(message: Mapping[str, Any], with_metadata: bool) -> dict[str, Any]:
    hidden = {"arrived", "hidden"} if with_metadata else {"arrived", "hidden", "metadata"}
    return {
        name: value for name, value in message.items() if name not in hidden and value is not None
    }


def _check_message(fields: Mapping[str, Any]) -> None:
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


def _read_ts(fields: Mapping[str, Any], name: str, default: str) -> float:
    try:
        return float(fields.get(name) or default)
    except ValueError:
        raise SlackRefusal(f"invalid_ts_{name}") from None


def _read_limit(fields: Mapping[str, Any]) -> int:
    try:
        limit = int(fields.get("limit") or 100)
    except ValueError:
        limit = 0
    if not 1 <= limit <= 999:
        raise SlackRefusal("invalid_limit")
    return limit


def _is_set(fields: Mapping[str, Any], name: str) -> bool:
    return str(fields.get(name, "")).lower() in ("1", "true")


def _is_open_ended(fields: Mapping[str, Any]) -> bool:
    """With `oldest` alone Slack gives the page next to it, not the newest one:
    https://github.com/slackhq/slack-api-docs/issues/4"""
    return bool(fields.get("oldest")) and not (fields.get("latest") or fields.get("cursor"))


def _cursor(place: int, prefix: str = "next:") -> str:
    return base64.b64encode(f"{prefix}{place}".encode()).decode()


def _read_cursor(fields: Mapping[str, Any]) -> int:
    """Where the page of a list begins."""
    return int(_after(fields, "next:", "0"))


def _history_cursor(ts: str) -> str:
    """Slack's hold a time in microseconds: nothing of the page is at it or before it."""
    return _cursor(_microseconds(ts) - 1, "next_ts:")


def _read_history_cursor(fields: Mapping[str, Any]) -> float:
    """Below which time the page of history begins."""
    place = _after(fields, "next_ts:", "")
    return (int(place) + 1) / 1_000_000 if place else float("inf")


def _after(fields: Mapping[str, Any], prefix: str, first: str) -> str:
    """The number in the cursor; `first` without one."""
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


def fake_slack(
    workspace: Mapping[str, Any] | None = None, *, port: int = 0, latency: float = 0.0
) -> HttpServer:
    """A server in this process, not yet started; `workspace` as in workspace.json."""
    slack = FakeSlack(workspace)

    def look(request: Request) -> Response | None:
        if request.path.startswith("/api/"):
            return None
        from local.fakes.slack_page import slack_page  # no test but one comes here

        return slack_page(request, slack.state)

    return HttpServer(slack, port=port, latency=latency, look=look)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.fakes.slack", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added per request")
    options = parser.parse_args(arguments)
    serve_forever(fake_slack(port=options.port, latency=options.latency))


if __name__ == "__main__":
    main()
