"""A stand-in for Slack's Web API: one workspace, kept in memory, as strict as the real one.

It shares nothing with the client that it is for. What it refuses and how follows
https://docs.slack.dev/reference/methods; what goes wrong on the way is the fault script's.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.http_server import HttpServer
from local.slack_blocks import problems, text_sum
from local.wire import Request, Response

WORKSPACE = Path(__file__).resolve().parent / "workspace.json"

TEXT_LIMIT = 40000
BLOCKS_TEXT_LIMIT = 12000
CHANNEL_WAIT = 1.0


class SlackRefusal(Exception):
    """Slack's `ok: false`: a code and what comes along with it."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.answer = {"ok": False, "error": code, **more}


class FakeSlack:
    """The application behind an HttpServer.

    Settings: `time` (epoch seconds; None: the real time), `history_lag` (seconds until a
    message shows in its history), `rate_limit` (1 message per second and channel, else 429),
    `page_size` (most messages per page of history).
    """

    def __init__(self, workspace: Mapping[str, Any] | None = None) -> None:
        self._first = json.loads(WORKSPACE.read_text()) if workspace is None else dict(workspace)
        self._lock = threading.RLock()
        self._settings: dict[str, Any] = {}
        self._state: dict[str, Any] = {}
        self._last_post: dict[str, float] = {}
        self._last_ts = 0
        self.reset()

    def handle(self, request: Request) -> Response:
        """Answer one method call, form-encoded or JSON."""
        method = request.path.rpartition("/")[2]
        action = _METHODS.get(method)
        if action is None:
            return Response.of_json({"ok": False, "error": "unknown_method"})
        try:
            fields = {name: _decoded(name, value) for name, value in request.fields.items()}
            with self._lock:
                scopes = [] if method == "api.test" else self._scopes(request, fields)
                answer = action(self, fields, scopes)
        except SlackRefusal as refusal:
            return Response.of_json(refusal.answer)
        except _TooFast as wait:
            return Response.of_json(
                {"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(wait.seconds)}
            )
        headers = {"X-OAuth-Scopes": ",".join(scopes), "X-Slack-Req-Id": f"req-{time.time_ns():x}"}
        return Response.of_json({"ok": True, **answer}, headers=headers)

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
                "time": None, "history_lag": 0.0, "rate_limit": False, "page_size": 200
            }  # fmt: skip
            self._last_post.clear()

    def close(self) -> None:
        """Nothing is held."""

    # --- what every method needs ---

    def _now(self) -> float:
        return time.time() if self._settings["time"] is None else float(self._settings["time"])

    def _scopes(self, request: Request, fields: Mapping[str, Any]) -> list[str]:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            token = str(fields.get("token", ""))
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
        if known is None and channel[:1] == "D" and self._person_of(channel):
            known = {"name": channel, "private": False, "archived": False, "member": True}
        if known is None or (known["private"] and not known["member"]):
            raise SlackRefusal("channel_not_found")
        return dict(known)

    def _person_of(self, conversation: str) -> str | None:
        person = f"U{conversation[1:]}"
        return person if person in self._state["users"] else None

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

    # --- the methods ---

    def _api_test(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        return {}

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
        if conversation["archived"]:
            raise SlackRefusal("is_archived")
        if not conversation["member"] and "chat:write.public" not in scopes:
            raise SlackRefusal("not_in_channel")
        if channel[:1] == "D" and self._state["users"][f"U{channel[1:]}"]["deactivated"]:
            raise SlackRefusal("user_disabled")
        _check_message(fields)
        self._check_rate(channel)
        message = {
            "type": "message",
            "ts": self._next_ts(),
            "text": fields.get("text") or "",
            "blocks": fields.get("blocks") or [],
            "metadata": fields.get("metadata"),
            "bot_id": self._state["bot"]["bot_id"],
            "app_id": self._state["bot"]["app_id"],
            "arrived": time.monotonic(),
        }
        self._state["messages"].setdefault(channel, []).append(message)
        return {"channel": channel, "ts": message["ts"], "message": _shown(message, True)}

    def _check_rate(self, channel: str) -> None:
        now = time.monotonic() if self._settings["time"] is None else self._now()
        last = self._last_post.get(channel)
        if self._settings["rate_limit"] and last is not None and now - last < CHANNEL_WAIT:
            raise _TooFast(1)
        self._last_post[channel] = now

    def _next_ts(self) -> str:
        self._last_ts = max(self._last_ts + 1, int(self._now() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def _open_conversation(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        self._need(scopes, "im:write")
        return {"channel": {"id": self._open(str(fields.get("users", "")))}}

    def _history(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        channel = str(fields.get("channel", ""))
        conversation = self._conversation(channel)
        self._need(scopes, self._history_scope(channel, conversation))
        if not conversation["member"]:
            raise SlackRefusal("not_in_channel")
        found = self._in_window(channel, fields)
        start = _read_cursor(str(fields.get("cursor") or ""))
        size = min(_read_limit(fields), int(self._settings["page_size"]))
        with_metadata = str(fields.get("include_all_metadata", "")).lower() in ("1", "true")
        page = [_shown(message, with_metadata) for message in found[start : start + size]]
        more = start + size < len(found)
        cursor = base64.b64encode(f"next:{start + size}".encode()).decode() if more else ""
        return {
            "messages": page, "has_more": more, "response_metadata": {"next_cursor": cursor}
        }  # fmt: skip

    def _in_window(self, channel: str, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        oldest = _read_ts(fields, "oldest", "0")
        latest = _read_ts(fields, "latest", "inf")
        inclusive = str(fields.get("inclusive", "")).lower() in ("1", "true")
        visible = self._now() - float(self._settings["history_lag"])
        found = [
            message
            for message in self._state["messages"].get(channel, [])
            if (oldest <= float(message["ts"]) <= latest if inclusive
                else oldest < float(message["ts"]) < latest)
            and (not self._settings["history_lag"] or float(message["ts"]) <= visible)
        ]  # fmt: skip
        return list(reversed(found))

    def _info(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        channel = str(fields.get("channel", ""))
        conversation = self._conversation(channel)
        self._need(scopes, "im:read" if channel[:1] == "D" else
                   "groups:read" if conversation["private"] else "channels:read")  # fmt: skip
        return {
            "channel": {
                "id": channel,
                "name": conversation["name"],
                "is_archived": conversation["archived"],
                "is_member": conversation["member"],
                "is_private": conversation["private"],
                "is_im": channel[:1] == "D",
                "is_ext_shared": False,
            }
        }

    def _list(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        self._need(scopes, "channels:read")
        return {
            "channels": [
                {"id": id_, "name": c["name"], "is_archived": c["archived"],
                 "is_member": c["member"]}
                for id_, c in self._state["channels"].items()
                if not c["private"] or c["member"]
            ],
            "response_metadata": {"next_cursor": ""},
        }  # fmt: skip

    def _delete(self, fields: Mapping[str, Any], scopes: list[str]) -> dict[str, Any]:
        self._need(scopes, "chat:write")
        messages = self._state["messages"].get(str(fields.get("channel", "")), [])
        for message in messages:
            if message["ts"] == fields.get("ts"):
                messages.remove(message)
                return {"channel": fields["channel"], "ts": message["ts"]}
        raise SlackRefusal("message_not_found")

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


class _TooFast(Exception):
    def __init__(self, seconds: int) -> None:
        super().__init__("ratelimited")
        self.seconds = seconds


Method = Callable[[FakeSlack, Mapping[str, Any], list[str]], dict[str, Any]]

_METHODS: dict[str, Method] = {
    "api.test": FakeSlack._api_test,
    "auth.test": FakeSlack._auth_test,
    "blocks.validate": FakeSlack._validate_blocks,
    "chat.postMessage": FakeSlack._post_message,
    "chat.delete": FakeSlack._delete,
    "conversations.open": FakeSlack._open_conversation,
    "conversations.history": FakeSlack._history,
    "conversations.info": FakeSlack._info,
    "conversations.list": FakeSlack._list,
    "users.info": FakeSlack._user,
}


def _decoded(name: str, value: Any) -> Any:
    """Structured arguments come as JSON text in a form."""
    if name in ("blocks", "metadata", "attachments") and isinstance(value, str) and value:
        try:
            return json.loads(value)
        except ValueError:
            raise SlackRefusal("invalid_arguments") from None
    return value


def _shown(message: Mapping[str, Any], with_metadata: bool) -> dict[str, Any]:
    hidden = {"arrived"} if with_metadata else {"arrived", "metadata"}
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


def _read_cursor(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.b64decode(cursor).decode().removeprefix("next:"))
    except ValueError:
        raise SlackRefusal("invalid_cursor") from None


def fake_slack(
    workspace: Mapping[str, Any] | None = None, *, port: int = 0, latency: float = 0.0
) -> HttpServer:
    """A server in this process, not yet started; `workspace` as in workspace.json."""
    return HttpServer(FakeSlack(workspace), port=port, latency=latency)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.fake_slack", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added per request")
    options = parser.parse_args(arguments)
    fake_slack(port=options.port, latency=options.latency).serve_forever()


if __name__ == "__main__":
    main()
