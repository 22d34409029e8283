"""PostgREST in place of the local API, as far as a stand-in can test it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.services import data_api, node
from local.services.keys import Keys
from local.services.postgres import Postgres
from local.services.tether import Tether, TetherError
from local.stack import Stack
from tests.integration.data_api_client import local_client

STAND_IN = Path(__file__).with_name("data_api_postgrest_stand_in.py")
WHO = """
    create function who() returns text language sql as
      $$ select concat_ws('/', current_user, session_user, current_setting('statement_timeout')) $$
"""


@pytest.fixture
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called postgrest, which has to be used."""
    program = tmp_path / "postgrest"
    program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text(encoding='utf-8')}")
    program.chmod(0o755)
    monkeypatch.setenv("POSTGREST", str(program))
    return program


@pytest.fixture
def database_url(postgres: Postgres, migrated: str) -> Iterator[str]:
    url = postgres.create_database("on_postgrest", template=migrated)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(WHO)
    yield url
    postgres.drop_database("on_postgrest")


def call(url: str, function: str, key: str, bearer: str | None = None) -> tuple[int, Any]:
    headers = {"apikey": key, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    with local_client(headers=headers) as client:
        answer = client.post(f"{url}/rest/v1/rpc/{function}", json={})
    return answer.status_code, answer.json()


def test_postgrest_is_started_and_used(executable: Path, database_url: str) -> None:
    keys = Keys.generate()
    with Tether() as tether:
        url, child = data_api.start(
            tether,
            node.find(),
            database_url,
            keys,
            pool=3,
            max_rows=20,
            statement_timeout="700ms",
        )
        assert child.output().splitlines()[0] == "Data API: PostgREST 99.1"
        assert data_api.accepts_key(url, keys.secret)

        service = (200, "service_role/authenticator/700ms")
        assert call(url, "who", keys.secret) == service
        assert call(url, "who", keys.secret, keys.secret) == service
        assert call(url, "who", keys.legacy_service_role) == service
        assert call(url, "who", keys.publishable)[1].startswith("anon/")
        user = keys.user_token("a0000000-0000-4000-8000-000000000001")
        assert call(url, "who", keys.publishable, user)[1].startswith("authenticated/")
        assert call(url, "who", keys.secret, "garbage") == (401, {"code": "PGRST301"})

        for key, message in (("sb_secret_x", "Unregistered API key"), ("x", "Invalid API key")):
            status, body = call(url, "who", key)
            assert (status, body["message"]) == (401, message)
        with local_client(base_url=url) as client:
            assert client.get("/rest/v1/").json()["message"] == "No API key found in request"
            assert client.get("/elsewhere").json() == {
                "message": "no Route matched with those values"
            }
    settings = json.loads((executable.parent / "settings.json").read_text())
    assert settings.pop("PGRST_DB_URI").startswith("postgresql://authenticator:")
    assert settings.pop("PGRST_SERVER_PORT").isdigit()
    assert settings == {
        "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_MAX_ROWS": "20",
        "PGRST_DB_POOL": "3",
        "PGRST_JWT_SECRET": keys.jwt_secret,
        "PGRST_SERVER_HOST": "127.0.0.1",
    }


def test_a_function_is_found_after_the_schema_was_reloaded(
    executable: Path, database_url: str
) -> None:
    keys = Keys.generate()
    with Tether() as tether, psycopg.connect(database_url, autocommit=True) as connection:
        url, _ = data_api.start(tether, node.find(), database_url, keys)
        connection.execute("create function later() returns int language sql as 'select 1'")
        assert call(url, "later", keys.secret) == (404, {"code": "PGRST202"})
        data_api.reload_schema(url)
        assert call(url, "later", keys.secret) == (200, 1)
        left = connection.execute("select proname from pg_proc where proname like 'known_again%'")
        assert left.fetchall() == []


def test_the_stack_reports_it_and_can_be_reset(executable: Path) -> None:
    reported: list[str] = []
    with Stack(seed=False, progress=lambda what, seconds: reported.append(what)) as running:
        assert reported[0] == "Data API: PostgREST 99.1; Postgres 17"
        running.reset()
        assert call(running.api_url, "worker_health", running.keys.secret)[0] == 200


def test_the_gateway_reports_that_postgrest_has_ended(executable: Path, database_url: str) -> None:
    keys = Keys.generate()
    with Tether() as tether:
        url, _ = data_api.start(tether, node.find(), database_url, keys)
        os.kill(int((executable.parent / "pid").read_text()), signal.SIGKILL)
        reported = {"message": "An invalid response was received from the upstream server"}
        assert call(url, "who", keys.secret) == (502, reported)


def test_a_failed_start_of_postgrest_is_explained(executable: Path, database_url: str) -> None:
    (executable.parent / "refuses").touch()
    with Tether() as tether, pytest.raises(TetherError, match="something is wrong with the set"):
        data_api.start(tether, node.find(), database_url, Keys.generate())


def test_the_choice_of_postgrest(executable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = {"PATH": str(executable.parent)}
    assert data_api.chosen({"PATH": "/nowhere"}) is None
    assert data_api.chosen(on_path) == executable
    assert data_api.chosen({**on_path, "POSTGREST": "none"}) is None
    assert data_api.chosen({"PATH": "/nowhere", "POSTGREST": str(executable)}) == executable
    with pytest.raises(TetherError, match="not an executable program"):
        data_api.chosen({**on_path, "POSTGREST": "/nowhere/postgrest"})
    assert data_api.description() == "Data API: PostgREST 99.1"
    monkeypatch.setenv("POSTGREST", "none")
    assert data_api.description() == "Data API: local"


def test_another_program_is_refused(executable: Path) -> None:
    executable.write_text("#!/bin/sh\necho something else\n")
    with pytest.raises(TetherError, match="is not PostgREST: it printed 'something else'"):
        data_api.description()
    executable.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(TetherError, match="does not run"):
        data_api.description()
