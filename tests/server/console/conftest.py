"""The console in this process, over the tests' local stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from server.console.project import Project
from server.console.serving import ConsoleServer
from tests.conftest import LocalStack
from tests.integration.processes import LONG
from workers.database import Database
from workers.settings import load_settings


@dataclass
class Console:
    """A console that answers, and a client with a session there."""

    stack: LocalStack
    project: Project
    server: ConsoleServer
    client: httpx.Client
    # What it told whoever started it, a line each.
    told: list[str]

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.server.url

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """To the stack's database, as a superuser."""
        return self.stack.connection

    def sign_in_url(self) -> str:
        """An address that lets in once, as for a browser."""
        self.server.announce()
        return self.told[-1].rpartition(": ")[2]

    def get(self, path: str, **headers: str) -> httpx.Response:
        """The answer to somebody with a session; `headers` with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers=named)

    def page(self, path: str) -> str:
        """The HTML of a page that has to be there."""
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
def serving(stack: LocalStack) -> Iterator[Console]:
    """A console over that stack, until the end of the block."""
    told: list[str] = []
    settings = load_settings(stack.environment())
    with closing(Database(settings.supabase_url, settings.supabase_service_role_key)) as database:
        project = Project(lambda: settings, lambda: database)
        server = ConsoleServer(project, "127.0.0.1", 0, told.append)
        server.start()
        with _client(server.url) as client:
            made = Console(stack, project, server, client, told)
            assert client.get(made.sign_in_url()).status_code == 303
            yield made
        server.close()


def _client(url: str) -> httpx.Client:
    # an http address needs no certificates, which take longer to read than all else here
    return httpx.Client(base_url=url, timeout=LONG, verify=False, trust_env=False)  # noqa: S501
