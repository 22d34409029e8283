"""The forwarding proxy between a client and a server."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from local.control import Control
from local.faults import close, failing, hang, reset, truncate
from local.http_server import HttpServer, Stateless
from local.services.proxy import proxy
from local.wire import Request, Response
from tests.integration.processes import eventually


class Echo(Stateless):
    """An upstream that returns what it received, and counts."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    def handle(self, request: Request) -> Response:
        self.seen.append(request)
        answer = f"{request.method} {request.target} ".encode() + request.body
        status = 204 if request.path == "/empty" else 200
        return Response(status, b"" if status == 204 else answer, {"X-Upstream": "yes"})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def upstream(echo: Echo) -> Iterator[HttpServer]:
    with HttpServer(echo) as server:
        yield server


@pytest.fixture
def between(upstream: HttpServer) -> Iterator[HttpServer]:
    with proxy(upstream.url) as server:
        yield server


@pytest.fixture
def client(between: HttpServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", between.port, timeout=60)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, path: str, body: bytes = b"", method: str = "POST"
) -> tuple[int, bytes]:
    client.request(method, path, body, {"X-Custom": "kept"})
    answer = client.getresponse()
    return answer.status, answer.read()


def test_requests_and_answers_pass_unchanged(
    client: http.client.HTTPConnection, echo: Echo
) -> None:
    body = bytes(range(256)) * 400
    assert ask(client, "/a/b?c=d%20e", body) == (200, b"POST /a/b?c=d%20e " + body)
    assert ask(client, "/empty", method="DELETE") == (204, b"")
    assert ask(client, "/x", method="HEAD") == (200, b"")
    assert ask(client, "/last") == (200, b"POST /last ")
    assert all(request.headers["x-custom"] == "kept" for request in echo.seen)


def test_a_chunked_body_arrives_complete(client: http.client.HTTPConnection, echo: Echo) -> None:
    pieces = [b"a" * 10, b"b" * 100_000, b"c"]
    client.request("POST", "/chunks", iter(pieces), encode_chunked=True)
    answer = client.getresponse()
    assert answer.read() == b"POST /chunks " + b"".join(pieces)
    assert "transfer-encoding" not in echo.seen[0].headers


def test_a_path_prefix(upstream: HttpServer) -> None:
    with proxy(f"{upstream.url}/rest/v1/") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        assert ask(connection, "/rows") == (200, b"POST /rest/v1/rows ")
        connection.close()


@pytest.mark.parametrize("spoil", [reset, close, truncate])
@pytest.mark.parametrize(("when", "arrived"), [("before", 0), ("after", 1)])
def test_a_lost_request_and_a_lost_answer(
    between: HttpServer,
    client: http.client.HTTPConnection,
    echo: Echo,
    spoil: Any,
    when: str,
    arrived: int,
) -> None:
    Control(between.url).add_faults(spoil(when=when, path="/rpc/claim"))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(client, "/rest/v1/rpc/claim")
    assert len(echo.seen) == arrived
    client.close()
    assert ask(client, "/rest/v1/rpc/claim")[0] == 200


@pytest.mark.parametrize(("when", "arrived"), [("before", 0), ("after", 1)])
def test_a_client_that_gives_up_before_and_after(
    between: HttpServer, echo: Echo, when: str, arrived: int
) -> None:
    Control(between.url).add_faults(hang(60, when=when))
    impatient = http.client.HTTPConnection("127.0.0.1", between.port, timeout=0.2)
    with pytest.raises(TimeoutError):
        ask(impatient, "/x")
    impatient.close()
    eventually(lambda: len(echo.seen) >= arrived, "the request arrives")
    assert len(echo.seen) == arrived


def test_an_error_instead_of_the_answer(
    between: HttpServer, client: http.client.HTTPConnection, echo: Echo
) -> None:
    Control(between.url).add_faults(failing(504, when="after"))
    assert ask(client, "/x")[0] == 504
    assert len(echo.seen) == 1


def test_a_stopped_upstream_is_a_502_and_is_used_again_once_it_is_back(echo: Echo) -> None:
    first = HttpServer(echo)
    first.start()
    port = first.port
    with proxy(first.url) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        assert ask(connection, "/x")[0] == 200
        first.stop()
        assert ask(connection, "/x")[0] == 502
        with HttpServer(echo, port=port):
            assert ask(connection, "/x")[0] == 200
        connection.close()


def test_parallel_requests_are_counted_and_share_few_connections(
    between: HttpServer, upstream: HttpServer
) -> None:
    control = Control(between.url)
    control.configure(latency=0.02)
    assert control.settings()["latency"] == 0.02
    statuses: list[int] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", between.port, timeout=60)
        statuses.extend(ask(connection, "/x")[0] for _ in range(5))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 320
    assert control.count("/x") == upstream.journal.count("/x") == 320


def test_only_plain_http_upstreams_are_accepted() -> None:
    with pytest.raises(ValueError, match="must be an http:// URL"):
        proxy("https://example.com")
