"""Every way in which Slack's API can answer, or not answer, over real sockets."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.faults import Fault, failing, hang, rate_limited, redirect, reset, slack_error
from local.http_server import HttpServer
from tests.integration.processes import eventually
from tests.integration.slack_peer import (
    MESSAGE,
    NO_ANSWER,
    OK,
    TOKEN,
    Canned,
    Peer,
    refusal,
)
from workers.errors import (
    AmbiguousError,
    CannotReadError,
    ConfigurationError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.rendering import plain_message
from workers.notifications.slack import ChannelInfo, Identity, Posted, Slack


def test_a_post_is_one_complete_request(peer: Peer) -> None:
    assert peer.post() == Posted("C1", "1.2", "R1")

    [request] = peer.requests()
    assert (request["method"], request["path"]) == ("POST", "/api/chat.postMessage")
    assert request["headers"]["content-type"].startswith("application/json")
    assert request["headers"]["authorization"].startswith("Bearer ")
    text = "*Hi* &lt;!channel&gt; &amp; Zoë 👋"
    assert json.loads(request["body"]) == {
        "channel": "C1",
        "text": text,
        "blocks": [
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": text, "verbatim": True},
                "expand": True,
            }
        ],
        "metadata": {"event_type": "queue_delivery", "event_payload": {"delivery_id": "d-1"}},
        "parse": "none",
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_a_reply_names_the_thread(peer: Peer) -> None:
    peer.slack.post("C1", MESSAGE, "d-1", parent_ts="1700000000.000100")

    sent = json.loads(peer.requests()[0]["body"])
    assert sent["thread_ts"] == "1700000000.000100"
    assert "reply_broadcast" not in sent


def test_a_reply_may_show_in_the_channel_too(peer: Peer) -> None:
    peer.slack.post("C1", MESSAGE, "d-1", parent_ts="1700000000.000100", broadcast=True)
    assert json.loads(peer.requests()[0]["body"])["reply_broadcast"] is True

    peer.slack.post("C1", MESSAGE, "d-1", broadcast=True)
    assert "reply_broadcast" not in json.loads(peer.requests()[1]["body"])


@pytest.mark.parametrize(
    ("shown", "parent_ts"),
    [
        ({"message": {"ts": "1.2", "thread_ts": "1.1"}}, "1.1"),
        # the first message of a thread names itself
        ({"message": {"ts": "1.2", "thread_ts": "1.2"}}, None),
        # the message to which it was to reply was deleted
        ({"message": {"ts": "1.2"}}, None),
        ({"message": {"ts": "1.2", "thread_ts": None}}, None),
        ({"message": "odd"}, "1.1"),
        ({}, "1.1"),
    ],
)
def test_the_answer_shows_the_thread_of_the_message(
    peer: Peer, shown: dict[str, Any], parent_ts: str | None
) -> None:
    peer.answers("chat.postMessage", {"ok": True, "channel": "C1", "ts": "1.2", **shown})
    assert peer.slack.post("C1", MESSAGE, "d-1", parent_ts="1.1").parent_ts == parent_ts


def test_a_plain_message_is_posted_without_blocks(peer: Peer) -> None:
    peer.slack.post("C1", plain_message(MESSAGE), "d-1")

    assert "blocks" not in json.loads(peer.requests()[0]["body"])


def test_many_threads_may_post_at_once(peer: Peer) -> None:
    peer.answers(
        "chat.postMessage",
        lambda request: {**OK, "ts": request.fields["metadata"]["event_payload"]["delivery_id"]},
    )
    with ThreadPoolExecutor(16) as pool:
        posted = list(pool.map(lambda n: peer.slack.post("C1", MESSAGE, f"d-{n}"), range(200)))

    assert [one.ts for one in posted] == [f"d-{n}" for n in range(200)]
    assert len(peer.requests()) == 200


NO_USE = [
    *((failing(status), f"http_{status}") for status in (500, 502, 503, 504, 404, 403)),
    (failing(503, when="after", body='{"ok":false,"error":"service_unavailable"}'),
     "service_unavailable"),
    (failing(500, body='{"ok":false,"error":"channel_not_found"}'), "channel_not_found"),
    (failing(200), "answer_unusable"),
    (failing(201, body='{"ok":true,"channel":"C1","ts":"1.2"}'), "http_201"),
    *((Fault("answer", status=200, body=body), "answer_unusable") for body in (
        "", "[]", "[1]", '"ok"', "1", "null", "{", '{"ok":tr', "{}", '{"ok":false}',
        '{"ok":false,"error":""}', '{"ok":false,"error":["x"]}', '{"ok":false,"error":"Oh dear"}',
        '{"a":' * 50_000, '{"ok":true,"ts":' + "9" * 5_000 + "}",
        "\x00", "{\x00",
        '{"ok":"true","channel":"C1","ts":"1.2"}', '{"ok":1,"channel":"C1","ts":"1.2"}',
    )),
    *((slack_error(code, when=when), code) for when in ("before", "after") for code in (
        "fatal_error", "internal_error", "request_timeout", "duplicate_message_not_found",
    )),
]  # fmt: skip
NO_CONFIRMATION = [
    (Fault("answer", status=200, body=body), "answer_unusable")
    for body in (
        '{"ok":true}',
        '{"ok":true,"channel":"C1"}',
        '{"ok":true,"ts":"1.2"}',
        '{"ok":true,"channel":"","ts":"1.2"}',
        '{"ok":true,"channel":"C1","ts":""}',
        '{"ok":true,"channel":"C1","ts":1.2}',
        '{"ok":true,"channel":null,"ts":null}',
    )
]


@pytest.mark.parametrize(("fault", "code"), [*NO_ANSWER, *NO_USE, *NO_CONFIRMATION])
def test_without_a_full_answer_a_post_is_ambiguous_and_not_repeated(
    peer: Peer, fault: Fault, code: str
) -> None:
    peer.fails(fault)

    error = refusal(peer.post)

    assert type(error) is AmbiguousError
    assert error.code == code
    eventually(lambda: bool(peer.requests()), "the request arrives")
    assert len(peer.requests()) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [*NO_ANSWER, *((fault, code) for fault, code in NO_USE if not code.startswith("duplicate"))],
)
def test_nothing_about_a_read_is_ambiguous(peer: Peer, fault: Fault, code: str) -> None:
    peer.fails(fault)
    peer.answers("conversations.info", {"ok": True, "channel": {"id": "C1"}})

    error = refusal(lambda: peer.slack.channel_info("C1"))

    assert type(error) is TransientError
    assert error.code == code
    eventually(lambda: bool(peer.requests()), "the request arrives")
    assert len(peer.requests()) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(peer: Peer, status: int) -> None:
    elsewhere = Canned()
    elsewhere.answers["stolen"] = [OK]
    with HttpServer(elsewhere) as other:
        fault = redirect(f"{other.url}/stolen")
        peer.fails(Fault("answer", status=status, headers=fault.headers))

        error = refusal(peer.post)

        assert (type(error), error.code) == (AmbiguousError, f"http_{status}")
        assert len(peer.requests()) == 1
        assert other.journal.count() == 0  # the token was not sent there either


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (rate_limited(7), 7),
        (rate_limited(None), 30),
        (rate_limited("soon"), 30),
        (rate_limited("-3"), 30),
        (rate_limited("1.5"), 1.5),
        (rate_limited("0"), 1),
        (rate_limited("86400"), 900),
        (rate_limited("Tue, 24 Nov 2026 08:00:00 GMT"), 30),
        (rate_limited(7, body="Too many requests"), 7),
        (rate_limited(7, body=""), 7),
        (rate_limited(7, body="[]"), 7),
        (rate_limited(7, body='{"ok":false,"error":"invalid_auth"}'), 7),
        (slack_error("ratelimited"), 30),
        (slack_error("rate_limited", headers={"retry-after": "4"}), 4),
    ],
)
def test_a_rate_limit_is_a_wait(peer: Peer, fault: Fault, seconds: float) -> None:
    peer.fails(fault)

    error = refusal(peer.post)

    assert isinstance(error, RateLimitedError)
    assert (error.retry_after, error.everywhere) == (seconds, False)
    assert error.method == "chat.postMessage"
    assert len(peer.requests()) == 1


@pytest.mark.parametrize("status", [200, 429])
def test_the_workspace_limit_is_a_wait_for_all(peer: Peer, status: int) -> None:
    body = '{"ok":false,"error":"message_limit_exceeded"}'
    peer.fails(Fault("answer", status=status, body=body, headers={"Retry-After": "60"}))

    error = refusal(peer.post)

    assert isinstance(error, RateLimitedError)
    assert (error.code, error.retry_after, error.everywhere) == ("message_limit_exceeded", 60, True)


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("invalid_auth", CredentialsError),
        ("token_revoked", CredentialsError),
        ("account_inactive", CredentialsError),
        ("channel_not_found", DestinationError),
        ("is_archived", DestinationError),
        ("slack_connect_file_sharing_blocked", DestinationError),
        ("no_text", PermanentError),
        ("invalid_blocks", PermanentError),
        ("msg_too_long", PermanentError),
        ("brand_new_code", UnknownError),
    ],
)
def test_a_code_means_what_the_table_says(
    peer: Peer, status: int, code: str, expected: type[WorkerError]
) -> None:
    peer.fails(failing(status, body=json.dumps({"ok": False, "error": code})))

    error = refusal(peer.post)

    assert type(error) is expected
    assert error.code == code
    assert code in str(error)


def test_slacks_own_message_is_kept(peer: Peer) -> None:
    messages = ["[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text]", 5]
    peer.answers(
        "chat.postMessage",
        {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": messages}},
        {"ok": False, "error": "missing_scope", "needed": "chat:write", "provided": "im:write"},
        {"ok": False, "error": "no_text", "response_metadata": {"messages": ["x\n" * 9999]}},
    )

    assert "less than 3001 characters" in str(refusal(peer.post))
    assert "needed chat:write; provided im:write" in str(refusal(peer.post))
    assert len(str(refusal(peer.post))) < 600


def test_identity(peer: Peer) -> None:
    url = "https://acme.slack.com/"
    peer.answers(
        "auth.test",
        {"ok": True, "team_id": "T1", "user_id": "U1", "bot_id": "B1", "url": url},
        {"ok": True, "team_id": "T1", "user_id": "U1"},
        {"ok": True},
    )

    assert peer.slack.identity() == Identity("T1", "B1", "U1", url, ("chat:write", "im:write"))
    assert peer.slack.identity().bot_id == ""
    assert type(refusal(peer.slack.identity)) is TransientError


def test_a_direct_message_is_opened(peer: Peer) -> None:
    peer.answers(
        "conversations.open",
        {"ok": True, "channel": {"id": "D1"}},
        {"ok": True, "channel": "D1"},
        {"ok": False, "error": "user_disabled"},
    )

    assert peer.slack.open_dm("U1") == "D1"
    assert peer.requests()[0]["body"] == "users=U1"
    assert type(refusal(lambda: peer.slack.open_dm("U1"))) is TransientError
    assert type(refusal(lambda: peer.slack.open_dm("U1"))) is CannotReadError


def test_channel_info(peer: Peer) -> None:
    channel = {"id": "C1", "name": "general", "is_member": True, "is_ext_shared": True}
    peer.answers(
        "conversations.info",
        {"ok": True, "channel": channel},
        {"ok": True, "channel": {"id": "D1", "is_im": True}},
        {"ok": True, "channel": {"id": "D1", "is_im": True, "is_user_deleted": True}},
        {"ok": True, "channel": {"id": "C2", "is_archived": True, "is_member": False}},
        {"ok": True, "channel": {}},
    )

    def info() -> ChannelInfo:
        return peer.slack.channel_info("C1")

    channel_found, person, gone, archived = (info() for _ in range(4))
    assert channel_found == ChannelInfo("C1", "general", False, True, True)
    assert person == ChannelInfo("D1", "", False, True, False)
    assert gone == ChannelInfo("D1", "", False, True, False, is_person_gone=True)
    assert archived == ChannelInfo("C2", "", True, False, False)
    assert [one.takes_posts for one in (channel_found, person, gone, archived)] == [
        True, True, False, False
    ]  # fmt: skip
    assert type(refusal(info)) is TransientError


def test_nothing_is_logged_even_at_debug_level(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in (reset(), failing(500), slack_error("invalid_auth"), rate_limited(3), hang(60)):
        peer.fails(fault)
        refusal(peer.post)
    Slack(TOKEN, peer.api_url).post("C1", MESSAGE, "d-1")

    assert "SECRET" not in caplog.text
    assert "Zoë" not in caplog.text
    assert [one for one in caplog.records if one.name.startswith(("slack_sdk", "workers"))] == []


@pytest.mark.parametrize("token", ["", " ", "xoxb-SECRET\nx: y", "xoxb-SECRET x", "xoxb-SECRET…"])
def test_a_token_that_cannot_be_sent_is_rejected_at_once(token: str) -> None:
    error = refusal(lambda: Slack(token, "https://slack.com/api/"))

    assert type(error) is ConfigurationError


def test_spaces_around_the_token_are_ignored(peer: Peer) -> None:
    Slack(f" {TOKEN}\n", peer.api_url).post("C1", MESSAGE, "d")

    assert len(peer.requests()[0]["headers"]["authorization"]) == len("Bearer ...CRET")


ODD = "a\u0000b\ud83dc\x1b[31m\n\u0085d\x7f"


def test_no_text_from_slack_contains_what_a_database_would_refuse(peer: Peer) -> None:
    peer.answers(
        "chat.postMessage",
        {"ok": False, "error": "no_text", "response_metadata": {"messages": [ODD]}},
        {"ok": False, "error": "missing_scope", "needed": ODD, "provided": ODD},
        {"ok": False, "error": ODD},
        {"ok": True, "channel": f"C1{ODD}", "ts": f"1.2{ODD}"},
    )
    peer.answers("conversations.open", {"ok": True, "channel": {"id": f"D1{ODD}"}})
    peer.answers("conversations.info", {"ok": True, "channel": {"id": f"C1{ODD}", "name": ODD}})
    peer.answers(
        "auth.test",
        {"ok": True, "team_id": f"T{ODD}", "user_id": f"U{ODD}", "bot_id": f"B{ODD}", "url": ODD},
    )
    errors = [refusal(peer.post) for _ in range(3)]
    posted, identity = peer.post(), peer.slack.identity()
    texts = [
        *map(str, errors),
        *(error.code for error in errors),
        posted.channel,
        posted.ts,
        peer.slack.open_dm("U1"),
        *(str(value) for value in vars(peer.slack.channel_info("C1")).values()),
        *(str(value) for value in vars(identity).values()),
    ]

    assert "a b c [31m d" in texts[0]
    for text in texts:
        assert text.isprintable()
        text.encode()


def test_a_warning_from_slack_is_logged_once(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    peer.answers(
        "chat.postMessage",
        {**OK, "warning": "missing_charset,superfluous_charset"},
        {**OK, "warning": "missing_charset"},
        {**OK, "warning": ["odd"]},
        {**OK, "warning": "SECRET words of a message"},
    )
    peer.answers("conversations.open", {**OK, "channel": {"id": "D1"}, "warning": "already_open"})
    for _ in range(4):
        assert peer.post().ts == "1.2"
    peer.slack.open_dm("U1")

    logged = [
        (one.__dict__["method"], one.__dict__["code"])
        for one in caplog.records
        if one.__dict__.get("action") == "slack_warning"
    ]
    assert logged == [
        ("chat.postMessage", "missing_charset"),
        ("chat.postMessage", "superfluous_charset"),
    ]


@pytest.mark.parametrize("code", ["channel_not_found", "team_not_found"])
def test_a_channels_name_given_as_an_id_is_reported(peer: Peer, code: str) -> None:
    peer.answers("chat.postMessage", {"ok": False, "error": code})

    error = refusal(lambda: peer.slack.post("#general", MESSAGE, "d"))
    assert (type(error), error.code) == (DestinationError, code)
    assert '"#general" is a channel\'s name; use the id' in str(error)
    assert "use the id" not in str(refusal(lambda: peer.slack.post("C1", MESSAGE, "d")))
