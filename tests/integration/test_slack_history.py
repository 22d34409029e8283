"""Reading a conversation's history: all of it and only our own messages, or an error."""

from __future__ import annotations

import urllib.parse
from typing import Any

import pytest

from local.faults import Fault
from tests.integration.slack_peer import NO_ANSWER, Peer, refusal
from workers.errors import (
    CredentialsError,
    DestinationError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)


def entry(delivery_id: Any, ts: str, bot_id: str = "B1", event: str = "queue_delivery") -> Any:
    payload = {"delivery_id": delivery_id}
    metadata = {"event_type": event, "event_payload": payload}
    return {"type": "message", "ts": ts, "bot_id": bot_id, "text": "x", "metadata": metadata}


def page(*messages: Any, cursor: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"next_cursor": cursor}
    return {"ok": True, "messages": list(messages), "response_metadata": metadata, **more}


@pytest.fixture
def reader(peer: Peer) -> Peer:
    peer.answers("auth.test", {"ok": True, "team_id": "T1", "user_id": "U1", "bot_id": "B1"})
    return peer


def read(peer: Peer) -> dict[str, str]:
    return peer.slack.history("C1", oldest=100.5, latest=200)


def test_history_reads_all_pages_and_knows_its_own(reader: Peer) -> None:
    reader.answers(
        "conversations.history",
        page(entry("a", "1.5"), entry("b", "9.000001"), cursor="two", has_more=True),
        page(
            entry("theirs", "3", bot_id="B2"),
            entry("other", "4", event="else"),
            entry(7, "5"),
            entry("b", "10.0"),
            {"ts": "6"},
            {"ts": "7", "bot_id": "B1", "metadata": None},
            "odd",
            cursor="three",
        ),
        page(entry("c", "8"), entry("a", "1.25"), has_more=False),
    )

    assert read(reader) == {"a": "1.25", "b": "9.000001", "c": "8"}
    assert read(reader)  # whose bot it is was asked once
    assert len(reader.requests("auth.test")) == 1
    first, second, *_ = (
        dict(urllib.parse.parse_qsl(request["body"]))
        for request in reader.requests("conversations.history")
    )
    assert first == {
        "channel": "C1", "oldest": "100.500000", "latest": "200.000000", "inclusive": "1",
        "limit": "200", "include_all_metadata": "1",
    }  # fmt: skip
    assert second["cursor"] == "two"
    reader.slack.history("C1", oldest=1)
    assert "latest" not in reader.requests()[-1]["body"]


@pytest.mark.parametrize(
    "pages",
    [
        [page(entry("a", "1"), has_more=True)],
        [page(entry("a", "1"), cursor="two"), page(cursor="two")],
        [page(entry("a", "1"), cursor="two"), page(cursor="three"), page(cursor="two")],
        [page(entry("a", "1"), cursor="two"), {"ok": True}],
        [page(entry("a", "1"), cursor="two"), {"ok": False, "error": "invalid_cursor"}],
        [page(entry("a", "1"), cursor="two"), {"ok": False, "error": "internal_error"}],
    ],
)
def test_half_a_history_is_an_error(reader: Peer, pages: list[Any]) -> None:
    reader.answers("conversations.history", *pages)

    assert type(refusal(lambda: read(reader))) is TransientError


@pytest.mark.parametrize(("fault", "code"), NO_ANSWER)
def test_a_history_lost_on_its_way_is_an_error(reader: Peer, fault: Fault, code: str) -> None:
    reader.answers("conversations.history", page(entry("a", "1"), cursor="two"), page())
    reader.fails(Fault(**{**vars(fault), "path": "conversations.history", "skip": 1}))

    error = refusal(lambda: read(reader))

    assert (type(error), error.code) == (TransientError, code)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"ok": False, "error": "missing_scope", "needed": "channels:history"}, CredentialsError),
        ({"ok": False, "error": "not_in_channel"}, DestinationError),
        ({"ok": False, "error": "ratelimited"}, RateLimitedError),
        ({"ok": False, "error": "brand_new"}, UnknownError),
    ],
)
def test_a_history_that_may_not_be_read(
    reader: Peer, answer: Any, expected: type[WorkerError]
) -> None:
    reader.answers("conversations.history", answer)

    assert type(refusal(lambda: read(reader))) is expected


def test_a_token_that_is_no_bots_cannot_reconcile(peer: Peer) -> None:
    peer.answers("auth.test", {"ok": True, "team_id": "T1", "user_id": "U1"})

    error = refusal(lambda: read(peer))

    assert (type(error), error.code) == (CredentialsError, "no_bot_token")
