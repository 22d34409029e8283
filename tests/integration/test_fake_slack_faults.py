"""The fake Slack under a test's control: rate limit, faults, journal, reset."""

from __future__ import annotations

import http.client
import json
from functools import partial
from typing import Any

import pytest

from local.control import ControlError
from local.fakes.slack import PUBLISHED_LIMITS
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
from tests.integration.processes import eventually
from tests.integration.slack_caller import AVA, CREATIVE, LEADERS, TOKEN, Caller


def test_a_channel_accepts_one_message_a_second_if_configured(slack: Caller) -> None:
    slack.control.configure(rate_limit=True, time=1_800_000_000)
    assert slack.post()["ok"]
    assert slack.post()["error"] == "ratelimited"
    assert (slack.status, slack.headers["Retry-After"]) == (429, "1")
    assert slack.post("C0PERFORM00")["ok"]
    slack.control.configure(time=1_800_000_001)
    assert slack.post()["ok"]
    assert slack.texts() == ["hello", "hello"]
    slack.control.configure(time=None)  # another clock: their times are not compared
    assert slack.post()["ok"]


def test_a_method_has_its_own_limit_a_minute(slack: Caller) -> None:
    now = 1_800_000_000
    slack.control.configure(time=now, **PUBLISHED_LIMITS)
    for call in range(50):
        slack.control.configure(time=now + call)
        assert slack("conversations.open", users=AVA)["ok"]
    assert slack("conversations.open", users=AVA)["error"] == "ratelimited"
    assert (slack.status, slack.headers["Retry-After"]) == (429, "11")
    assert slack("conversations.info", channel=CREATIVE)["ok"]
    assert slack.post(AVA)["ok"]  # posting has no such limit, and does not open a conversation
    slack.control.configure(time=now + 60)
    assert slack("conversations.open", users=AVA)["ok"]
    slack.control.configure(method_limits={"conversations.info": 0})
    assert slack("conversations.info", channel=CREATIVE)["error"] == "ratelimited"


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
def test_a_disturbed_answer_before_and_after_the_post(
    slack: Caller, spoil: Any, when: str, arrived: list[str]
) -> None:
    slack.control.add_faults(spoil(when=when, path="chat.postMessage"))
    answer = slack.raw(
        "chat.postMessage", json.dumps({"channel": CREATIVE, "text": "hello"}), "application/json"
    )
    assert b'"ok": true' not in answer
    assert slack.texts() == arrived


@pytest.mark.parametrize(("when", "arrived"), [("before", []), ("after", ["hello"])])
def test_a_client_gives_up_a_hanging_call(slack: Caller, when: Any, arrived: list[str]) -> None:
    slack.control.add_faults(hang(60, when=when))
    body = json.dumps({"channel": CREATIVE, "text": "hello"})
    with pytest.raises(TimeoutError):
        slack.raw("chat.postMessage", body, "application/json", timeout=0.2)
    eventually(lambda: len(slack.texts()) >= len(arrived), "the message arrives")
    assert slack.texts() == arrived


def test_an_answer_in_small_pieces_is_complete(slack: Caller) -> None:
    slack.control.add_faults(trickle(0.05))
    assert slack.post()["ok"]


def test_a_fault_hits_matching_requests_a_number_of_times(slack: Caller) -> None:
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


def test_the_journal_records_everything_except_secrets(slack: Caller) -> None:
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
        "latency": 0.0, "time": None, "history_lag": 0.0, "rate_limit": False, "page_size": 200,
        "method_limits": {}, "warnings": {},
    }  # fmt: skip


def test_invalid_control_requests_are_reported(slack: Caller) -> None:
    with pytest.raises(ControlError, match="unknown settings: colour"):
        slack.control.configure(colour="red")
    with pytest.raises(ControlError, match="no such control"):
        slack.control.call("GET", "/nothing")
    slack.post()
    with pytest.raises(ControlError, match=r"1 of 2 requests"):
        slack.control.wait_for_requests(2, timeout=0)
