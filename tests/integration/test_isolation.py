"""What a developer's shell and `.env` say about a real project reaches nothing that is not asked
to use it.

Every setting there is, in both places, leads to a server that writes down what arrives.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from local.http_server import HttpServer, Stateless
from local.wire import Request, Response
from tests.ablation.__main__ import Copy
from tests.integration.processes import (
    communicate,
    eventually,
    temporary_directory,
)
from workers.settings import Settings

AWS = {
    "AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real", "AWS_REGION": "eu-west-1",
    "WORKERS_SECRET_NAME": "agency-dashboard-workers/prod",
}  # fmt: skip
# Tests of the suite that start handlers, commands and processes.
TESTS = (
    "tests/integration/test_operate.py::test_redrive",
    "tests/integration/test_doctor.py::test_a_healthy_setup_has_no_failures",
    "tests/integration/test_invoke.py::test_a_stack_that_is_up_is_used",
)


class Recorder(Stateless):
    """An application that takes anything; its server's journal has all that arrived."""

    def handle(self, request: Request) -> Response:
        return Response.of_json({"ok": True})


def foreign_settings(server: HttpServer) -> dict[str, str]:
    """A value for every setting that its own check takes: the server where it is an address."""
    candidates = (
        server.url, f"{server.url}/api/", f"http://key@127.0.0.1:{server.port}/1",
        f"{server.url}/requests/{{id}}", "xoxb-of-production", "sb_secret_of_production", "v99.0",
        "v99", "209912", "park", "1", "true", "on", "de-DE", "conversions", "of-production",
    )  # fmt: skip
    found = {}
    for setting in fields(Settings):
        for candidate in candidates:
            try:
                setting.metadata["parse"](candidate)
            except ValueError:
                continue
            found[setting.name.upper()] = candidate
            break
    database = f"postgresql://postgres:hunter2@127.0.0.1:{server.port}/postgres"
    return {**found, **AWS, "AWS_ENDPOINT_URL": server.url, "SUPABASE_DB_URL": database}


class Clone:
    """A copy of the project in which everything names production."""

    def __init__(self, copy: Copy, settings: Mapping[str, str], scratch: Path) -> None:
        self._copy, self.scratch = copy, scratch
        lines = [f"{name}={value}" for name, value in settings.items()]
        (copy.root / ".env").write_text("\n".join(lines) + "\n")
        self._settings = settings

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **self._settings, "TMPDIR": str(self.scratch)}
        return subprocess.Popen(
            [str(self._copy.python), *arguments],
            cwd=self._copy.root, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str]:
        with self.start(*arguments) as process:
            out, _ = communicate(process)
        return process.returncode, out


@pytest.fixture(scope="module")
def production() -> Iterator[HttpServer]:
    with HttpServer(Recorder()) as server:
        yield server


@pytest.fixture(scope="module")
def clone(production: HttpServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    with temporary_directory() as scratch:
        made = Copy(tmp_path_factory.mktemp("isolation"))
        yield Clone(made, foreign_settings(production), scratch)


@pytest.fixture(autouse=True)
def _nothing_arrives(production: HttpServer) -> Iterator[None]:
    yield
    assert production.journal.listing("") == []


def test_the_server_is_where_every_address_leads(production: HttpServer) -> None:
    settings = foreign_settings(production)
    assert {name for name, value in settings.items() if str(production.port) in value} >= {
        one.name.upper() for one in fields(Settings) if one.name.endswith("_url")
    }
    assert set(settings) >= {one.name.upper() for one in fields(Settings)}


def test_the_demo_shows_the_messages_of_the_sample_agency(clone: Clone) -> None:
    status, out = clone.run("-m", "local", "demo")
    assert status == 0, out
    # with NOTIFICATION_EXPIRY_HOURS=1 of production all of them would expire
    assert "8 delivered, 1 skipped, 1 expired, 0 dead" in out
    assert "#creative" in out
    assert "@here love it & ship it" in out
    assert out.endswith("To see it in a browser: make console\n")
    assert "\x1b[" not in out, "colours are for terminals"
    assert all(len(line) <= 80 for line in out.splitlines())
    assert list(clone.scratch.iterdir()) == []


def test_up_and_reset(clone: Clone) -> None:
    with clone.start("-m", "local", "up") as up:
        assert up.stdout is not None
        eventually(lambda: "Ctrl-C stops it" in (up.stdout.readline() if up.stdout else ""), "up")
        status, out = clone.run("-m", "local", "reset")
        assert (status, out) == (0, "The stack was reset to the sample agency.\n")
        status, out = clone.run("-m", "local", "invoke", "notifications")
        assert status == 0, out
        up.terminate()
        communicate(up)


def test_the_tests_themselves(clone: Clone) -> None:
    status, out = clone.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS
    )
    assert status == 0, out[-4000:]
