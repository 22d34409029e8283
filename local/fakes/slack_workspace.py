"""The workspace behind the fake Slack: its data, who may see it, its limits and its clock."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from local.wire import Request

WORKSPACE = Path(__file__).resolve().parent / "workspace.json"
CHANNEL_WAIT = 1.0
METHOD_WINDOW = 60.0

# The arguments of a method call, and its answer in addition to ok.
Fields = Mapping[str, Any]
Answer = dict[str, Any]


class SlackRefusal(Exception):
    """Slack's `ok: false`: an error code and further fields."""

    status = 200
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.answer = {"ok": False, "error": code, **more}


class TooFast(SlackRefusal):
    """Status 429: retry after some seconds."""

    status = 429

    def __init__(self, seconds: float) -> None:
        super().__init__("ratelimited")
        self.headers = MappingProxyType({"Retry-After": f"{max(1, math.ceil(seconds))}"})


class Workspace:
    """One workspace. `state` is what `FakeSlack.state` returns, `settings` are its settings."""

    def __init__(self, first: Mapping[str, Any] | None = None) -> None:
        """`first`: the state to start with, as in workspace.json."""
        self._first = json.loads(WORKSPACE.read_text()) if first is None else dict(first)
        self.settings: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self._last_post: dict[str, float] = {}
        self._calls: dict[str, list[float]] = {}
        self._last_ts = 0
        self.reset()

    def reset(self) -> None:
        """Restore the state and settings of the start."""
        self.state = copy.deepcopy(self._first)
        self.settings = {
            "time": None, "history_lag": 0.0, "rate_limit": False, "page_size": 200,
            "method_limits": {}, "warnings": {},
        }  # fmt: skip
        self._last_post.clear()
        self._calls.clear()
        self._last_ts = 0

    def now(self) -> float:
        """The time, in epoch seconds."""
        return time.time() if self.settings["time"] is None else float(self.settings["time"])

    def ticks(self) -> float:
        """The time for measuring between two calls, in seconds."""
        return time.monotonic() if self.settings["time"] is None else self.now()

    def check_method_limit(self, method: str) -> None:
        """Count a call of the method. Raises TooFast if there were too many in the last minute."""
        limit = self.settings["method_limits"].get(method)
        if limit is None:
            return
        now = self.ticks()
        # below zero: the clock was set in the meantime
        recent = [at for at in self._calls.get(method, []) if 0 <= now - at < METHOD_WINDOW]
        if len(recent) >= limit:
            raise TooFast(recent[-limit] + METHOD_WINDOW - now if limit else METHOD_WINDOW)
        self._calls[method] = [*recent, now]

    def check_rate(self, channel: str) -> None:
        """Count a post to the channel. Raises TooFast if the last one was too recent."""
        now = self.ticks()
        since = now - self._last_post.get(channel, float("-inf"))
        # below zero: the clock was set in the meantime
        if self.settings["rate_limit"] and 0 <= since < CHANNEL_WAIT:
            raise TooFast(CHANNEL_WAIT - since)
        self._last_post[channel] = now

    def scopes_of(self, request: Request) -> list[str]:
        """The scopes of the request's token. Raises SlackRefusal if it is not valid."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            token = str(request.fields.get("token", ""))
        if not token:
            raise SlackRefusal("not_authed")
        known = self.state["tokens"].get(token)
        if known is None:
            raise SlackRefusal("invalid_auth")
        if known["revoked"]:
            raise SlackRefusal("token_revoked")
        return list(known["scopes"])

    def conversation(self, channel: str) -> dict[str, Any]:
        """The conversation of an id. Raises SlackRefusal if the bot may not know of it."""
        known = self.state["channels"].get(channel)
        if known is None and self.state["any_channel"] and channel[:1] == "C":
            known = {"name": channel.lower(), "private": False, "archived": False, "member": True}
            self.state["channels"][channel] = known
        if known is None and self.person_of(channel):
            known = {"name": channel, "private": False, "archived": False, "member": True}
        if known is None or (known["private"] and not known["member"]):
            raise SlackRefusal("channel_not_found")
        return dict(known)

    def person_of(self, conversation: str) -> str | None:
        """The user whose direct messages those are."""
        person = f"U{conversation[1:]}"
        return person if conversation[:1] == "D" and person in self.state["users"] else None

    def open_direct_messages(self, user: str) -> str:
        """The id of a user's direct messages. Raises SlackRefusal if there can be none."""
        person = self.state["users"].get(user)
        if person is None:
            raise SlackRefusal("user_not_found")
        if person["deactivated"]:
            raise SlackRefusal("user_disabled")
        return f"D{user[1:]}"

    def message(self, channel: str, ts: object) -> dict[str, Any] | None:
        """The message with that `ts`."""
        messages = self.state["messages"].get(channel, [])
        return next((message for message in messages if message["ts"] == ts), None)

    def next_ts(self) -> str:
        """The `ts` of a new message, later than all others."""
        self._last_ts = max(self._last_ts + 1, int(self.now() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"


def check_refusal(place: Mapping[str, Any], method: str) -> None:
    """Raises the SlackRefusal that a channel or user has for the method."""
    if code := place.get("refuses", {}).get(method):
        raise SlackRefusal(code)


def require_scope(scopes: list[str], needed: str) -> None:
    """Raises SlackRefusal if the scope is missing."""
    if needed not in scopes:
        raise SlackRefusal("missing_scope", needed=needed, provided=",".join(scopes))


def history_scope(channel: str, conversation: Mapping[str, Any]) -> str:
    """The scope for reading the history of a conversation."""
    if channel[:1] == "D":
        return "im:history"
    return "groups:history" if conversation["private"] else "channels:history"
