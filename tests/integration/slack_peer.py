"""A simple server in place of Slack: prepared answers and faults, over real sockets."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from local.faults import Fault, close, hang, reset, trickle, truncate
from local.http_server import HttpServer
from local.wire import Request, Response
from workers.errors import WorkerError
from workers.notifications.rendering import render
from workers.notifications.slack import Posted, Slack

TOKEN = "xoxb-1-SECRETSECRET"
# Timeouts in seconds: for an answer that arrives, and for one that never does.
PATIENCE = 60.0
IMPATIENCE = 0.4
MESSAGE = render("*Hi* {{name}} 👋", {"name": "<!channel> & Zoë"}, event_type="e")
OK = {"ok": True, "channel": "C1", "ts": "1.2"}


class Canned:
    """An application with prepared answers for each method of the API; the last one is repeated."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}

    def handle(self, request: Request) -> Response:
        """The next answer for the called method."""
        answers = self.answers.get(
            request.path.rpartition("/")[2], [{"ok": False, "error": "none"}]
        )
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer = answer(request)
        headers = {"x-slack-req-id": "R1", "X-OAuth-Scopes": "chat:write, im:write"}
        return Response.of_json(answer, headers=headers)

    def settings(self) -> dict[str, Any]:
        """None."""
        return {}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Nothing to set."""

    def state(self) -> Any:
        """None."""

    def replace_state(self, state: Any) -> None:
        """There is no state to set."""

    def close(self) -> None:
        """There is no state."""

    def reset(self) -> None:
        """Forget the answers."""
        self.answers.clear()


class Peer:
    """A server, its answers and its faults."""

    def __init__(self, server: HttpServer, app: Canned) -> None:
        self.server, self.app = server, app
        self.api_url = f"{server.url}/api/"
        self.slack = Slack(TOKEN, self.api_url, timeout=PATIENCE)

    def answers(self, method: str, *answers: Any) -> None:
        self.app.answers[method] = list(answers)

    def fails(self, fault: Fault) -> None:
        """When no answer will ever come, the client waits only briefly for it."""
        if fault.how in ("hang", "trickle"):
            self.slack = Slack(TOKEN, self.api_url, timeout=IMPATIENCE)
        self.server.faults.add(fault)

    def requests(self, method: str = "") -> list[dict[str, Any]]:
        return self.server.journal.listing(method)

    def post(self) -> Posted:
        return self.slack.post("C1", MESSAGE, "d-1")


def holds_no_secret(error: BaseException | None) -> None:
    """Neither the error nor anything attached to it contains the token."""
    while error is not None:
        for text in (
            str(error),
            repr(error),
            repr(vars(error)),
            *traceback.format_exception(error),
        ):
            assert "SECRET" not in text
            assert "Bearer" not in text
        assert not hasattr(error, "response")
        error = error.__cause__ or error.__context__


def refusal(call: Callable[[], object]) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        call()
    holds_no_secret(caught.value)
    return caught.value


NO_ANSWER = [
    (reset(), "answer_lost"),
    (reset(when="after"), "answer_lost"),
    (close(), "answer_lost"),
    (close(when="after"), "answer_lost"),
    (truncate(), "answer_lost"),
    (hang(60), "answer_timeout"),
    (hang(60, when="after"), "answer_timeout"),
    (trickle(60), "answer_timeout"),
]
