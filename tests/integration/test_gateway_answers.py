"""Every answer of the gateway in front of the data API becomes an error of the right class: in a
call, a run of each worker, health, the doctor and the operator's commands."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from local.http_server import HttpServer, Stateless
from local.wire import Request, Response
from workers.composition import health
from workers.composition.connection_sync import run_connection_sync
from workers.composition.container import forget_clients
from workers.composition.doctor import run_doctor
from workers.composition.metrics_sync import run_metrics_sync
from workers.composition.notifications import run_notifications
from workers.composition.retention import run_retention
from workers.database import Database
from workers.errors import (
    ConfigurationError,
    CredentialsError,
    PermanentError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.operate.__main__ import main

JSON, HTML, TEXT = "application/json; charset=utf-8", "text/html", "text/plain"
KEY = "sb_secret_of_the_test_0123456789"
MESSAGE = json.dumps(
    {"platform": "meta", "account_id": "1001", "token": "00000000-0000-4000-8000-000000000001"}
)  # fmt: skip


class Answer(NamedTuple):
    """An answer, and the error that it has to become."""

    status: int
    kind: str
    body: str
    error: type[WorkerError]


def by_status(status: int) -> type[WorkerError]:
    """The meaning of an answer with nothing but a status."""
    if status == 401:
        return CredentialsError
    if status in (402, 403, 404, 405):
        return ConfigurationError
    if status in (408, 429) or status >= 500:
        return TransientError
    return UnknownError


# Texts of gateways and of what is in front of them, as hosted projects have answered.
WORDS = [
    (502, JSON, '{"message":"An invalid response was received from the upstream server"}'),
    (502, JSON, '{"message":"An invalid response was received","request_id":"abc"}'),
    (503, JSON, '{"message":"failure to get a peer from the ring-balancer"}'),
    (503, JSON, '{"message":"name resolution failed"}'),
    (504, JSON, '{"message":"The upstream server is timing out"}'),
    (500, JSON, '{"message":"An unexpected error occurred"}'),
    (500, JSON, '{"error":"Internal Server Error"}'),
    (429, JSON, '{"message":"API rate limit exceeded"}'),
    (503, TEXT, "upstream connect error or disconnect/reset before headers"),
    (540, JSON, '{"message":"Project paused"}'),
    (544, JSON, '{"statusCode":"544","error":"DatabaseTimeout","message":"timed out"}'),
    (544, JSON, '{"code":"544","message":"timed out"}'),
    (522, HTML, "<html>connection timed out</html>"),
    (525, HTML, "<html>SSL handshake failed</html>"),
    (404, JSON, '{"message":"no Route matched with those values"}'),
    (404, JSON, '{"error":"requested path is invalid"}'),
    (402, JSON, '{"message":"Service for this project is restricted: exceed_egress_quota."}'),
    (403, HTML, "<html>blocked</html>"),
    (401, JSON, '{"message":"No API key found in request","hint":"No `apikey` header"}'),
    (401, JSON, '{"message":"Invalid API key"}'),
    (401, JSON, '{"message":"Invalid authentication credentials"}'),
    (401, JSON, '{"message":"Unauthorized"}'),
    (401, JSON, '{"message":"Unregistered API key","hint":"This API key is not registered."}'),
    (401, JSON, '{"message":"Legacy API keys are disabled","hint":"disabled"}'),
    (401, JSON, '{"code":401,"message":"a number for a code"}'),
    (401, JSON, "[]"),
    (413, JSON, '{"message":"Payload too large"}'),
]
# Codes that say more than the status.
CODES: list[tuple[int, str, type[WorkerError]]] = [
    (503, "PGRST000", TransientError), (503, "PGRST001", TransientError),
    (503, "PGRST002", TransientError), (504, "PGRST003", TransientError),
    (500, "PGRSTX00", TransientError), (500, "0A000", TransientError),
    (500, "XX000", TransientError), (503, "53300", TransientError), (503, "57P01", TransientError),
    (500, "57014", TransientError), (500, "40001", TransientError), (500, "55P03", TransientError),
    (401, "PGRST301", CredentialsError), (401, "PGRST302", CredentialsError),
    (401, "PGRST303", CredentialsError), (500, "PGRST300", CredentialsError),
    (404, "PGRST202", ConfigurationError), (404, "PGRST205", ConfigurationError),
    (404, "PGRST125", ConfigurationError), (404, "42883", ConfigurationError),
    (401, "42501", ConfigurationError), (403, "42501", ConfigurationError),
    (405, "25006", ConfigurationError), (500, "25006", ConfigurationError),
    (400, "22023", PermanentError), (400, "P0001", PermanentError), (409, "23505", PermanentError),
    (500, "21000", PermanentError), (400, "PGRST102", PermanentError),
]  # fmt: skip
STATUSES = (
    400, 401, 402, 403, 404, 405, 406, 408, 409, 413, 429, 500, 502, 503, 504, 520, 522, 540, 544,
)  # fmt: skip
FORMS = [
    (JSON, '{"message":"something of the gateway"}'),
    (JSON, '{"code":"SOMETHING","message":"a code of nobody"}'),
    (HTML, "<html><body>Oh dear</body></html>"),
    (TEXT, "oh dear"),
    (TEXT, ""),
    (JSON, ""),
]
# False successes, which the client library would take for the function's result.
NO_RESULT = [(200, JSON, ""), (200, JSON, '{"half": '), (200, HTML, "<html>Sign in</html>")]

ANSWERS = [
    *(Answer(*words, by_status(words[0])) for words in WORDS),
    *(
        Answer(status, JSON, json.dumps({"code": code, "message": "m", "hint": None}), error)
        for status, code, error in CODES
    ),
    *(Answer(status, *form, by_status(status)) for status in STATUSES for form in FORMS),
    *(Answer(*words, TransientError) for words in NO_RESULT),
]


# One of each form in each class, for what is reported about the error of a call.
KINDS = {
    (answer.error, answer.kind, answer.body[:1], '"code"' in answer.body): answer
    for answer in ANSWERS
}.values()


@dataclass
class Gateway(Stateless):
    """An application that gives every request the same answer."""

    answer: Answer = ANSWERS[0]

    def handle(self, request: Request) -> Response:
        status, kind, body, _ = self.answer
        return Response(status, body.encode(), {"Content-Type": kind})


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with HttpServer(Gateway()) as made:
        yield made


@pytest.fixture
def settings(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A project behind that gateway."""
    for name, value in {
        "SUPABASE_URL": server.url, "SUPABASE_SERVICE_ROLE_KEY": KEY,
        "SLACK_BOT_TOKEN": "xoxb-test", "SLACK_API_URL": "http://127.0.0.1:9/api/",
        "SYNC_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
        "AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    forget_clients()
    yield
    forget_clients()


@pytest.fixture(scope="module")
def database(server: HttpServer) -> Iterator[Database]:
    made = Database(server.url, KEY)
    yield made
    made.close()


def each(server: HttpServer, answers: Iterable[Answer] = ANSWERS) -> Iterator[Answer]:
    """Each answer, given by the server."""
    for answer in answers:
        server.app.answer = answer
        yield answer


def assert_is_a_sentence(said: str) -> None:
    assert len(said) > 20
    assert KEY not in said
    assert "Traceback" not in said
    assert "APIError" not in said


def test_the_table_has_as_many_as_the_docs_say() -> None:
    assert len(ANSWERS) == len(WORDS) + len(CODES) + len(STATUSES) * len(FORMS) + len(NO_RESULT)
    assert {answer.error for answer in ANSWERS} == {
        TransientError, CredentialsError, ConfigurationError, PermanentError, UnknownError,
    }  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: f"{one.status}-{one.body[:30]}")
def test_a_call_raises_its_class(server: HttpServer, database: Database, answer: Answer) -> None:
    server.app.answer = answer
    with pytest.raises(WorkerError) as caught:
        database.call("worker_health")
    assert type(caught.value) is answer.error
    assert caught.value.code
    assert_is_a_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (402, '{"message":"Service for this project is restricted"}', "usage and billing"),
        (404, '{"message":"no Route matched with those values"}', "SUPABASE_URL is not the URL"),
        (404, '{"code":"PGRST125","message":"Invalid path"}', "without /rest/v1"),
        (405, '{"code":"25006","message":"read-only transaction"}', "its disk is full"),
        (401, '{"message":"Unregistered API key"}', "Unregistered API key"),
        (401, '{"message":"Legacy API keys are disabled"}', "Legacy API keys are disabled"),
        (540, '{"message":"Project paused"}', "540: Project paused"),
        (418, "<html>teapot</html>", "418: <html>teapot</html>"),
    ],
)
def test_the_message_says_what_to_do(
    server: HttpServer, database: Database, status: int, body: str, words: str
) -> None:
    server.app.answer = Answer(status, JSON, body, WorkerError)
    with pytest.raises(WorkerError) as caught:
        database.call("worker_health")
    assert words in str(caught.value)


def test_the_start_of_a_body_is_redacted(server: HttpServer, database: Database) -> None:
    server.app.answer = Answer(418, TEXT, f"no {KEY} {'x' * 1000}", UnknownError)
    with pytest.raises(UnknownError) as caught:
        database.call("worker_health")
    assert "[redacted]" in str(caught.value)
    assert_is_a_sentence(str(caught.value))
    assert len(str(caught.value)) < 300


RUNS = {
    "notifications": lambda: run_notifications(Context()),
    "metrics_sync": lambda: run_metrics_sync(Context()),
    "connection_sync": lambda: run_connection_sync(MESSAGE, Context()),
    "retention": lambda: run_retention({}, Context()),
}


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("worker", RUNS)
def test_a_run_fails_in_its_class(
    server: HttpServer,
    worker: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for answer in each(server):
        caplog.clear()
        with pytest.raises(WorkerError) as caught:
            RUNS[worker]()
        assert type(caught.value) is answer.error, answer
        assert_is_a_sentence(str(caught.value))
        errors = [one.message for one in caplog.records if one.levelname == "ERROR"]
        assert errors == ["The run failed"]
        output = capsys.readouterr().out
        assert KEY not in output + caplog.text
        # its alarm: all use the same key, so one worker reports it
        is_told = '"CredentialsRefused":[1.0]' in output
        assert is_told == (worker == "notifications" and answer.error is CredentialsError), answer


@pytest.mark.usefixtures("settings")
def test_health_answers_503_with_the_code(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CACHE_SECONDS", -1.0)  # it caches an answer for some seconds
    for answer in each(server, KINDS):
        output = health.run_health()
        assert output["statusCode"] == 503, answer
        body = json.loads(output["body"])
        assert body["reason"].startswith("the database cannot be queried: ")
        assert KEY not in output["body"]


@pytest.mark.usefixtures("settings")
def test_the_doctor_reports_it_with_a_fix(server: HttpServer) -> None:
    for answer in each(server, KINDS):
        output = run_doctor({}, Context())
        assert output["status"] == "failed", answer
        sections = {one["section"]: one["findings"] for one in output["sections"]}
        (finding,) = sections["Database"]
        assert finding["level"] == "failed"
        assert finding["fix"]
        assert_is_a_sentence(finding["text"])


@pytest.mark.usefixtures("settings")
def test_a_command_ends_with_1_and_a_sentence(
    server: HttpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for answer in each(server, KINDS):
        out = io.StringIO()
        assert main(["dead", "list", "--json"], out) == 1, answer
        assert out.getvalue() == ""
        assert_is_a_sentence(capsys.readouterr().err)
