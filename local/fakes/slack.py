"""A fake of Slack's Web API: one workspace, kept in memory, as strict as the real one.

It shares no code with the client that it is for. What it refuses and how follows
https://docs.slack.dev/reference/methods; failures on the way come from the fault script.
"""

from __future__ import annotations

import argparse
import copy
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.fakes import slack_messages, slack_reading
from local.fakes.slack_workspace import Answer, Fields, SlackRefusal, Workspace
from local.http_server import HttpServer, serve_forever
from local.wire import Request, Response

# Settings with the limits of Slack's tiers:
# https://docs.slack.dev/apis/web-api/rate-limits
PUBLISHED_LIMITS: dict[str, Any] = {
    "method_limits": {
        "conversations.open": 50, "conversations.history": 50, "conversations.replies": 50,
        "conversations.info": 50,
    }
}  # fmt: skip
# The limits of an app that is distributed outside Slack's Marketplace:
# https://docs.slack.dev/changelog/2025/05/29/rate-limit-changes-for-non-marketplace-apps
DISTRIBUTED_APP: dict[str, Any] = {
    "method_limits": {"conversations.history": 1, "conversations.replies": 1}, "page_size": 15
}  # fmt: skip


Method = Callable[[Workspace, Fields, list[str]], Answer]

_METHODS: dict[str, Method] = {
    "api.test": lambda workspace, fields, scopes: {},
    "auth.test": slack_reading.auth_test,
    "blocks.validate": slack_messages.validate_blocks,
    "chat.postMessage": slack_messages.post_message,
    "chat.delete": slack_messages.delete,
    "conversations.open": slack_reading.open_conversation,
    "conversations.history": slack_reading.history,
    "conversations.replies": slack_reading.replies,
    "conversations.info": slack_reading.info,
    "conversations.list": slack_reading.list_conversations,
    "users.info": slack_reading.user_info,
}
_OPEN_METHODS = frozenset({"api.test"})
# For arguments that come as JSON text in a form: the error for what is not JSON.
_NOT_JSON = {
    "blocks": "invalid_blocks_format",
    "metadata": "invalid_metadata_format",
    "attachments": "invalid_arguments",
}


class FakeSlack:
    """The application behind an HttpServer.

    Settings: `time` (epoch seconds; None: the real time), `history_lag` (seconds until a
    message shows in its history), `rate_limit` (1 message per second and channel, else 429),
    `method_limits` (calls per minute, by method; methods not in it have no limit), `page_size`
    (most messages per page of history, or of a thread), `warnings` (by method, what it returns
    in addition to ok).

    A channel or user of the state may have `refuses`: by method, the error that it returns,
    whatever its other properties. A message that is `hidden` takes up room on a page of history
    and is not shown; one that is `is_locked` takes no replies.
    """

    def __init__(self, workspace: Mapping[str, Any] | None = None) -> None:
        """`workspace`: the state to start with, as in workspace.json."""
        self._workspace = Workspace(workspace)
        self._lock = threading.RLock()

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
            scopes = [] if method in _OPEN_METHODS else self._workspace.scopes_of(request)
            headers["X-OAuth-Scopes"] = ",".join(scopes)  # sent with refusals, too
            self._workspace.check_method_limit(method)
            fields = {name: _decoded(name, value) for name, value in request.fields.items()}
            warning = self._workspace.settings["warnings"].get(method)
            return {
                "ok": True,
                **action(self._workspace, fields, scopes),
                **({"warning": warning} if warning else {}),
            }

    def settings(self) -> dict[str, Any]:
        """The current settings."""
        return dict(self._workspace.settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change some settings. Raises ValueError for an unknown name."""
        unknown = set(settings) - set(self._workspace.settings)
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        with self._lock:
            self._workspace.settings.update(settings)

    def state(self) -> Any:
        """The workspace, with every message in order of arrival."""
        with self._lock:
            return copy.deepcopy(self._workspace.state)

    def replace_state(self, state: Any) -> None:
        """Replace the workspace by one in the form that `state` returns."""
        with self._lock:
            self._workspace.state = copy.deepcopy(state)

    def reset(self) -> None:
        """Restore the workspace and settings of the start."""
        with self._lock:
            self._workspace.reset()

    def close(self) -> None:
        """Nothing to release."""

    def delete_message(self, channel: str, ts: str) -> None:
        """Delete a message, as its author does. Raises SlackRefusal if there is none."""
        with self._lock:
            slack_messages.delete_message(self._workspace, channel, ts)


def _decoded(name: str, value: Any) -> Any:
    if name in _NOT_JSON and isinstance(value, str) and value:
        try:
            return json.loads(value)
        except ValueError:
            raise SlackRefusal(_NOT_JSON[name]) from None
    return value


def fake_slack(
    workspace: Mapping[str, Any] | None = None, *, port: int = 0, latency: float = 0.0
) -> HttpServer:
    """A server in this process, not yet started; `workspace` as in workspace.json."""
    slack = FakeSlack(workspace)

    def look(request: Request) -> Response | None:
        if request.path.startswith("/api/"):
            return None
        from local.fakes.slack_page import slack_page  # only one test needs it

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
