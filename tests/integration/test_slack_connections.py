"""Reaching Slack: connecting, TLS, malformed HTTP, proxies."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.slack_peer import (
    IMPATIENCE,
    MESSAGE,
    OK,
    PATIENCE,
    TOKEN,
    Peer,
    refusal,
)
from workers.errors import AmbiguousError, TransientError
from workers.notifications.slack import Posted, Slack


def test_a_refused_connection_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    error = refusal(lambda: Slack(TOKEN, f"http://127.0.0.1:{port}/api/").post("C1", MESSAGE, "d"))

    assert (type(error), error.code) == (TransientError, "connect_failed")


@pytest.mark.parametrize("host", ["slack.invalid", "a" * 64 + ".invalid"])
def test_an_unknown_host_sent_nothing(host: str) -> None:
    slack = Slack(TOKEN, f"https://{host}/api/", timeout=PATIENCE)

    error = refusal(lambda: slack.post("C1", MESSAGE, "d"))

    assert (type(error), error.code) == (TransientError, "connect_failed")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
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
    """Answers each connection with a function of its socket; keeps what it read."""

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
        """What the connections sent so far, including every request that was already answered."""
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
        slack = Slack(TOKEN, f"https://127.0.0.1:{server.port}/api/", timeout=PATIENCE)

        assert slack.post("C1", MESSAGE, "d-1") == Posted("C1", "1.2", "")
        assert server.received[0].startswith(b"POST /api/chat.postMessage HTTP/1.1\r\n")


def test_an_unverified_certificate_receives_no_byte(certificate: Path) -> None:
    with RawServer(confirms, server_context(certificate)) as server:
        slack = Slack(TOKEN, f"https://127.0.0.1:{server.port}/api/", timeout=PATIENCE)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

        assert (type(error), error.code) == (TransientError, "connect_failed")
        assert "certificate verify failed" in str(error)
        assert server.received == []


def test_a_handshake_that_never_ends_receives_no_byte() -> None:
    with RawServer(
        lambda connection: connection.recv(10_000) and connection.recv(1), None
    ) as server:
        slack = Slack(TOKEN, f"https://127.0.0.1:{server.port}/api/", timeout=IMPATIENCE)

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
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{}", "answer_unusable"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: x; charset=no-such\r\n\r\n{", "answer_unusable"),
        (b"HTTP/1.1 500 \xff\r\nContent-Type: a; charset=utf-16\r\n\r\n\xff\xfe\x00", "http_500"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 500 + b"\r\n{}", "answer_lost"),
        (b"", "answer_lost"),
    ],
)  # fmt: skip
def test_a_malformed_answer_is_ambiguous(data: bytes, code: str) -> None:
    with RawServer(answer_of(data)) as server:
        slack = Slack(TOKEN, f"http://127.0.0.1:{server.port}/api/", timeout=PATIENCE)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

    assert (type(error), error.code) == (AmbiguousError, code)
    assert len(server.received) == 1


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with RawServer(answer_of(b"HTTP/1.1 200 OK\r\n\r\n{" + b" " * 9_000_000)) as server:
        slack = Slack(TOKEN, f"http://127.0.0.1:{server.port}/api/", timeout=60)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

    assert (type(error), error.code) == (AmbiguousError, "answer_unusable")
    assert "longer than any answer should be" in str(error)


def test_chunks_are_joined() -> None:
    body = json.dumps(OK).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawServer(answer_of(head + chunks + b"0\r\n\r\n")) as server:
        slack = Slack(TOKEN, f"http://127.0.0.1:{server.port}/api/", timeout=PATIENCE)

        assert slack.post("C1", MESSAGE, "d-1") == Posted("C1", "1.2", "")


def test_a_proxy_is_used_for_slack_and_not_for_this_machine(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = answer_of(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    with RawServer(refuses) as proxy:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:SECRET%21@127.0.0.1:{proxy.port}")
        slack = Slack(TOKEN, "https://slack.com/api/", timeout=PATIENCE)

        error = refusal(lambda: slack.post("C1", MESSAGE, "d-1"))

        assert (type(error), error.code) == (TransientError, "connect_failed")
        assert "407" in str(error)
        assert proxy.received[0].startswith(b"CONNECT slack.com:443 HTTP/1.")
        assert b"Proxy-Authorization: Basic bWU6U0VDUkVUIQ==" in proxy.received[0]
        assert TOKEN.encode() not in proxy.received[0]
        assert Slack(TOKEN, peer.api_url).post("C1", MESSAGE, "d-1").ts == "1.2"
        monkeypatch.setenv("NO_PROXY", "slack.invalid")
        slack = Slack(TOKEN, "https://slack.invalid/api/", timeout=PATIENCE)
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
        # The tunnel resolves the host's name; the certificate is for 127.0.0.1.
        slack = Slack(TOKEN, "https://127.0.0.1:9/api/", timeout=PATIENCE)

        assert slack.post("C1", MESSAGE, "d-1") == Posted("C1", "1.2", "")
        assert proxy.received[0].startswith(b"CONNECT 127.0.0.1:9 ")
        assert b"POST /api/chat.postMessage" in proxy.received[0]
