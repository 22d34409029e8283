"""The database edge against the data API, and against what may answer in its place."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator

import pytest

from local.faults import Fault, redirect
from local.http_server import HttpServer
from local.services.proxy import proxy
from tests.conftest import Api
from workers.database import Database
from workers.errors import ConfigurationError, CredentialsError, PermanentError, TransientError

RUN = str(uuid.uuid4())

Open = Callable[..., Database]


@pytest.fixture
def connected() -> Iterator[Open]:
    """Makes databases that are closed at the end."""
    made: list[Database] = []

    def connect(url: str, key: str, **options: float) -> Database:
        made.append(Database(url, key, **options))
        return made[-1]

    yield connect
    for database in made:
        database.close()


@pytest.fixture
def between(api: Api) -> Iterator[HttpServer]:
    """A proxy before the data API, to spoil its answers."""
    with proxy(api.url) as server:
        yield server


@pytest.mark.parametrize("key", ["secret", "legacy_service_role"])
def test_both_forms_of_the_key_call_functions(connected: Open, api: Api, key: str) -> None:
    database = connected(api.url, getattr(api.keys, key))
    with api.connect() as connection:
        connection.execute("truncate worker_leases")
    started = database.call("start_notification_run", run_id=RUN)
    assert started["acquired"] is True


@pytest.mark.parametrize("letter", ["\x00", "\ud83d", "\ude00\x00"], ids=ascii)
def test_characters_that_cannot_be_stored_are_replaced_everywhere(
    connected: Open, api: Api, letter: str
) -> None:
    mark = "\ufffd" * len(letter)
    database = connected(api.url, api.keys.secret)
    database.call(
        "record_worker_run",
        worker="letters", outcome=f"a{letter}b", succeeded=True, seconds=1.0,
        counts={"names": [f"{letter}{letter}", {f"key{letter}": f"😀{letter}"}, 1, None, True]},
        error_class=None, error=f"{letter}",
    )  # fmt: skip
    with api.connect() as connection:
        row = connection.execute(
            "delete from worker_runs where worker = 'letters' returning outcome, counts, error"
        ).fetchone()
    assert row == {
        "outcome": f"a{mark}b",
        "counts": {"names": [2 * mark, {f"key{mark}": f"😀{mark}"}, 1, None, True]},
        "error": mark,
    }


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("publishable", ConfigurationError),
        ("legacy_anon", ConfigurationError),
        ("sb_secret_of_another_project", CredentialsError),
    ],
)
def test_a_key_without_the_right_is_named(
    connected: Open, api: Api, key: str, error: type[Exception]
) -> None:
    database = connected(api.url, getattr(api.keys, key, key))
    with pytest.raises(error, match="key") as caught:
        database.call("lock_and_get_notifications", batch_size=1)
    assert key not in str(caught.value)


def test_a_missing_function_asks_for_the_migrations(connected: Open, api: Api) -> None:
    with pytest.raises(ConfigurationError, match="operate migrate"):
        connected(api.url, api.keys.secret).call("no_such_function")


def test_a_call_that_a_function_refuses_is_permanent(connected: Open, api: Api) -> None:
    with pytest.raises(PermanentError, match="at least 1"):
        connected(api.url, api.keys.secret).call("archive_old_activities", days_to_keep=0)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset"),
        Fault("reset", when="after"),
        Fault("close"),
        Fault("truncate", when="after"),
        Fault("answer", status=503, body="<html>upstream</html>"),
        Fault("answer", status=502, body=""),
        Fault("answer", status=429, body="slow down"),
        Fault("answer", status=429, body=json.dumps({"message": "rate limit exceeded"})),
        Fault("answer", status=200, body="<html>Sign in</html>"),
        Fault("answer", status=504, body=json.dumps({"code": "PGRST003", "message": "no pool"})),
        Fault("answer", status=500, body=json.dumps({"code": "57014", "message": "canceled"})),
        Fault("answer", status=500, body=json.dumps({"code": "40P01", "message": "deadlock"})),
    ],
    ids=lambda fault: f"{fault.how}-{fault.when}-{fault.status}",
)
def test_temporary_problems_are_transient(
    connected: Open, api: Api, between: HttpServer, fault: Fault
) -> None:
    database = connected(between.url, api.keys.secret)
    between.faults.add(fault)
    with pytest.raises(TransientError) as caught:
        database.call("lock_and_get_notifications", batch_size=1)
    assert api.keys.secret not in str(caught.value)
    assert database.call("lock_and_get_notifications", batch_size=1) == []


def test_a_silent_api_is_transient(connected: Open, api: Api, between: HttpServer) -> None:
    between.faults.add(Fault("hang", seconds=30))
    with pytest.raises(TransientError, match="no answer in time"):
        connected(between.url, api.keys.secret, timeout=0.2).call("lock_and_get_notifications")


def test_a_refused_connection_is_transient(connected: Open, api: Api) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(TransientError, match="no connection could be made"):
        connected(url, api.keys.secret).call("lock_and_get_notifications")


def test_a_name_that_dns_does_not_know_is_transient(connected: Open, api: Api) -> None:
    database = connected("http://nowhere.invalid", api.keys.secret)
    with pytest.raises(TransientError, match="no connection could be made"):
        database.call("lock_and_get_notifications")


def test_a_redirect_is_not_followed_and_names_the_setting(
    connected: Open, api: Api, between: HttpServer
) -> None:
    between.faults.add(redirect("http://127.0.0.1:9/"))
    with pytest.raises(ConfigurationError, match="SUPABASE_URL"):
        connected(between.url, api.keys.secret).call("list_parked")
