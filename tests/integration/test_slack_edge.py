"""Every way in which Slack's API can answer, or not answer, over real sockets."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import logging
import re
import socket
import ssl
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.faults import (
    Fault,
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
from local.http_server import HttpServer
from local.wire import Request, Response
from workers.errors import (
    AmbiguousError,
    ConfigurationError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.rendering import plain_message, render
from workers.notifications.slack import ChannelInfo, Identity, Posted, Slack

TOKEN = "xoxb-1-SECRETSECRET"
TIMEOUT = 0.4
MESSAGE = render("*Hi* {{name}} 👋", {"name": "<!channel> & Zoë"}, event_type="e")
OK = {"ok": True, "channel": "C1", "ts": "1.2"}


class Canned:
    """An application of prepared answers, per method of the API; the last one stays."""

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
        """Nothing to take over."""

    def close(self) -> None:
        """Nothing is held."""

    def reset(self) -> None:
        """Forget the answers."""
        self.answers.clear()


class Peer:
    """A server, its answers and its faults."""

    def __init__(self, server: HttpServer, app: Canned) -> None:
        self.server, self.app = server, app
        self.api_url = f"{server.url}/api/"
        self.slack = Slack(TOKEN, self.api_url, timeout=TIMEOUT)

    def answers(self, method: str, *answers: Any) -> None:
        self.app.answers[method] = list(answers)

    def fails(self, fault: Fault) -> None:
        self.server.faults.add(fault)

    def requests(self, method: str = "") -> list[dict[str, Any]]:
        return self.server.journal.listing(method)

    def post(self) -> Posted:
        return self.slack.post("C1", MESSAGE, "d-1")


@pytest.fixture
def peer() -> Iterator[Peer]:
    app = Canned()
    with HttpServer(app) as server:
        peer = Peer(server, app)
        peer.answers("chat.postMessage", OK)
        yield peer


def holds_no_secret(error: BaseException | None) -> None:
    """Neither the error nor anything it drags along shows the token."""
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


def test_a_post_is_one_request_with_all_that_it_needs(peer: Peer) -> None:
    assert peer.post() == Posted("C1", "1.2", "R1")

    [request] = peer.requests()
    assert (request["method"], request["path"]) == ("POST", "/api/chat.postMessage")
    assert request["headers"]["content-type"].startswith("application/json")
    assert request["headers"]["authorization"].startswith("Bearer ")
    text = "*Hi* &lt;!channel&gt; &amp; Zoë 👋"
    assert json.loads(request["body"]) == {
        "channel": "C1",
        "text": text,
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}],
        "metadata": {"event_type": "queue_delivery", "event_payload": {"delivery_id": "d-1"}},
        "parse": "none",
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_a_plain_message_goes_without_blocks(peer: Peer) -> None:
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


NO_ANSWER = [
    (reset(), "answer_lost"),
    (reset(when="after"), "answer_lost"),
    (close(), "answer_lost"),
    (close(when="after"), "answer_lost"),
    (truncate(), "answer_lost"),
    (hang(2), "answer_timeout"),
    (hang(2, when="after"), "answer_timeout"),
    (trickle(2), "answer_timeout"),
]
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
    started = time.monotonic()

    error = refusal(peer.post)

    assert time.monotonic() - started < 2 * TIMEOUT
    assert type(error) is AmbiguousError
    assert error.code == code
    assert len(peer.requests()) == 1


@pytest.mark.parametrize(("fault", "code"), [*NO_ANSWER, *NO_USE])
def test_nothing_about_a_read_is_ambiguous(peer: Peer, fault: Fault, code: str) -> None:
    peer.fails(fault)
    peer.answers("conversations.info", {"ok": True, "channel": {"id": "C1"}})

    error = refusal(lambda: peer.slack.channel_info("C1"))

    assert type(error) is TransientError
    assert error.code == code
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
        assert other.journal.count() == 0  # nor did the token go there


def test_a_refused_connection_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    error = refusal(lambda: Slack(TOKEN, f"http://127.0.0.1:{port}/api/").post("C1", MESSAGE, "d"))

    assert (type(error), error.code) == (TransientError, "connect_failed")


@pytest.mark.parametrize("host", ["slack.invalid", "a" * 64 + ".invalid"])
def test_an_unknown_host_sent_nothing(host: str) -> None:
    slack = Slack(TOKEN, f"https://{host}/api/", timeout=TIMEOUT)

    error = refusal(lambda: slack.post("C1", MESSAGE, "d"))

    assert (type(error), error.code) == (TransientError, "connect_failed")


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


def test_slacks_own_words_are_kept(peer: Peer) -> None:
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
    assert type(refusal(lambda: peer.slack.open_dm("U1"))) is DestinationError


def test_channel_info(peer: Peer) -> None:
    channel = {"id": "C1", "name": "general", "is_member": True, "is_ext_shared": True}
    peer.answers(
        "conversations.info",
        {"ok": True, "channel": channel},
        {"ok": True, "channel": {"id": "D1", "is_im": True}},
        {"ok": True, "channel": {"id": "C2", "is_archived": True, "is_member": False}},
        {"ok": True, "channel": {}},
    )

    def info() -> ChannelInfo:
        return peer.slack.channel_info("C1")

    assert info() == ChannelInfo("C1", "general", False, True, True)
    assert info() == ChannelInfo("D1", "", False, True, False)
    assert info() == ChannelInfo("C2", "", True, False, False)
    assert type(refusal(info)) is TransientError


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


def test_nothing_is_logged_not_even_while_debugging(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in (reset(), failing(500), slack_error("invalid_auth"), rate_limited(3), hang(2)):
        peer.fails(fault)
        refusal(peer.post)
    peer.post()

    assert "SECRET" not in caplog.text
    assert "Zoë" not in caplog.text
    assert [one for one in caplog.records if one.name.startswith(("slack_sdk", "workers"))] == []


@pytest.mark.parametrize("token", ["", " ", "xoxb-SECRET\nx: y", "xoxb-SECRET x", "xoxb-SECRET…"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(token: str) -> None:
    error = refusal(lambda: Slack(token, "https://slack.com/api/"))

    assert type(error) is ConfigurationError


def test_blanks_around_the_token_do_no_harm(peer: Peer) -> None:
    Slack(f" {TOKEN}\n", peer.api_url).post("C1", MESSAGE, "d")

    assert len(peer.requests()[0]["headers"]["authorization"]) == len("Bearer ...CRET")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class RawServer:
    """Answers each connection by a function of its socket; keeps what it read."""

    def __init__(
        self, answer: Callable[[socket.socket], bytes], context: ssl.SSLContext | None = None
    ) -> None:
        self._received: list[bytes] = []
        self._serving = threading.Lock()
        self._answer, self._context = answer, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(5)
                with self._serving, connection, contextlib.suppress(OSError):
                    if self._context is None:
                        self._received.append(self._answer(connection))
                        continue
                    with self._context.wrap_socket(connection, server_side=True) as secure:
                        self._received.append(self._answer(secure))

    @property
    def received(self) -> list[bytes]:
        """What the connections so far sent; that of an answer that a client has is among it."""
        with self._serving:
            return list(self._received)

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    return head


def read_whole(connection: socket.socket) -> bytes:
    head = read_head(connection)
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    size = int(found[1]) if found else 0
    body = b""
    while len(body) < size:
        body += connection.recv(65_536)
    return head + body


def confirms(connection: socket.socket) -> bytes:
    data = read_whole(connection)
    body = json.dumps(OK).encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
    return data


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_post_over_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with RawServer(confirms, server_context(certificate)) as server:
        slack = Slack(TOKEN, f"https://127.0.0.1:{server.port}/api/", timeout=5)

        assert slack.post("C1", MESSAGE, "d-1") == Posted("C1", "1.2", "")
        assert server.received[0].startswith(b"POST /api/chat.postMessage HTTP/1.1\r\n")


def test_a_certificate_that_does_not_verify_gets_no_byte(certificate: Path) -> None:
    with RawServer(confirms, server_context(certificate)) as server:
        slack = Slack(TOKEN, f"https://127.0.0.1:{server.port}/api/", timeout=5)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

        assert (type(error), error.code) == (TransientError, "connect_failed")
        assert "certificate verify failed" in str(error)
        assert server.received == []


def test_a_handshake_that_never_ends_gets_no_byte() -> None:
    with RawServer(
        lambda connection: connection.recv(10_000) and connection.recv(1), None
    ) as server:
        slack = Slack(TOKEN, f"https://127.0.0.1:{server.port}/api/", timeout=TIMEOUT)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

        assert (type(error), error.code) == (TransientError, "connect_failed")


def answer_of(data: bytes) -> Callable[[socket.socket], bytes]:
    def answer(connection: socket.socket) -> bytes:
        received = read_whole(connection)
        connection.sendall(data)
        return received

    return answer


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "answer_lost"),
        (b"HTTP/1.1 200 OK\r\n", "answer_unusable"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "answer_unusable"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b'{"ok":true,"channel":"C1","ts"', "answer_unusable"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", "answer_lost"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{", "answer_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{}", "answer_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: x; charset=no-such\r\n\r\n{", "answer_unusable"),
        (b"HTTP/1.1 500 \xff\r\nContent-Type: a; charset=utf-16\r\n\r\n\xff\xfe\x00", "http_500"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 500 + b"\r\n{}", "answer_lost"),
        (b"", "answer_lost"),
    ],
)  # fmt: skip
def test_what_is_no_proper_answer_is_ambiguous(data: bytes, code: str) -> None:
    with RawServer(answer_of(data)) as server:
        slack = Slack(TOKEN, f"http://127.0.0.1:{server.port}/api/", timeout=2)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

    assert (type(error), error.code) == (AmbiguousError, code)
    assert len(server.received) == 1


def test_chunks_are_put_together() -> None:
    body = json.dumps(OK).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawServer(answer_of(head + chunks + b"0\r\n\r\n")) as server:
        slack = Slack(TOKEN, f"http://127.0.0.1:{server.port}/api/", timeout=2)

        assert slack.post("C1", MESSAGE, "d-1") == Posted("C1", "1.2", "")


def test_a_proxy_is_used_for_slack_and_not_for_this_machine(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = answer_of(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    with RawServer(refuses) as proxy:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:SECRET%21@127.0.0.1:{proxy.port}")
        slack = Slack(TOKEN, "https://slack.com/api/", timeout=2)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

        assert (type(error), error.code) == (TransientError, "connect_failed")
        assert "407" in str(error)
        assert proxy.received[0].startswith(b"CONNECT slack.com:443 HTTP/1.")
        assert b"Proxy-Authorization: Basic bWU6U0VDUkVUIQ==" in proxy.received[0]
        assert TOKEN.encode() not in proxy.received[0]
        assert Slack(TOKEN, peer.api_url).post("C1", MESSAGE, "d-1").ts == "1.2"
        monkeypatch.setenv("NO_PROXY", "slack.invalid")
        slack = Slack(TOKEN, "https://slack.invalid/api/", timeout=2)
        assert "407" not in str(refusal(lambda: slack.post("C1", MESSAGE, "d-1")))
        assert len(proxy.received) == 1


def test_a_post_through_a_proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = server_context(certificate)

    def tunnel(connection: socket.socket) -> bytes:
        opening = read_head(connection)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as secure:
            return opening + confirms(secure)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with RawServer(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        # The host's name is the tunnel's business; the certificate is for 127.0.0.1.
        slack = Slack(TOKEN, "https://127.0.0.1:9/api/", timeout=5)

        assert slack.post("C1", MESSAGE, "d-1") == Posted("C1", "1.2", "")
        assert proxy.received[0].startswith(b"CONNECT 127.0.0.1:9 ")
        assert b"POST /api/chat.postMessage" in proxy.received[0]
