"""The console in this process, over the tests' local stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from local.environment import of_stack
from local.invoke import invoke, scheduled_event
from server.console.project import Project
from server.console.serving import ConsoleServer
from tests.conftest import LocalStack
from tests.integration.processes import LONG
from tests.recycling import Snapshot
from workers.database import Database
from workers.settings import load_settings


@dataclass
class Console:
    """A running console, and a client with a session there."""

    stack: LocalStack
    project: Project
    server: ConsoleServer
    client: httpx.Client
    # What it printed where it was started.
    lines: list[str]

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """To the stack's database, as a superuser."""
        return self.stack.connection

    def sign_in_url(self) -> str:
        """An address that works once, as for a browser."""
        self.server.announce()
        return self.lines[-1].rpartition(": ")[2]

    def get(self, path: str, **headers: str) -> httpx.Response:
        """The answer to a request with a session; `headers` with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers=named)

    def page(self, path: str) -> str:
        """The HTML of a page that must exist."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def stranger(self) -> httpx.Client:
        """A client without a session; to be closed."""
        return _client(self.url)


@pytest.fixture
def console(stack: LocalStack) -> Iterator[Console]:
    """A console over the sample agency, in which nothing has run yet."""
    with serving(stack) as made:
        yield made


@contextmanager
def serving(stack: LocalStack, **changes: str) -> Iterator[Console]:
    """A console over that stack, until the end of the block; `changes` are settings."""
    lines: list[str] = []
    settings = load_settings({**stack.environment(), **changes})
    with closing(Database(settings.supabase_url, settings.supabase_service_role_key)) as database:
        project = Project(lambda: settings, lambda: database)
        server = ConsoleServer(project, "127.0.0.1", 0, lines.append)
        server.start()
        with _client(server.url) as client:
            made = Console(stack, project, server, client, lines)
            assert client.get(made.sign_in_url()).status_code == 303
            yield made
        server.close()


class _Synced:
    """The sample agency after its first syncs, to be restored for each test."""

    snapshot: Snapshot | None = None


@pytest.fixture
def synced(console: Console) -> Console:
    """The worker has read every account of the sample agency for the first time."""
    known = _Synced.snapshot
    if known is None or not known.restore(console.connection):
        event, environment = scheduled_event("metrics_sync"), of_stack(console.stack.running)
        summary = invoke("metrics_sync", event, environment)
        assert (summary["messages_handled"], summary["messages_failed"]) == (4, 0)
        _Synced.snapshot = Snapshot(console.connection)
    return console


def _client(url: str) -> httpx.Client:
    # an http address needs no certificates, which take longer to read than all else here
    return httpx.Client(base_url=url, timeout=LONG, verify=False, trust_env=False)  # noqa: S501
