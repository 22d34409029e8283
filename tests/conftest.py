"""Real parts for the tests: one Postgres for the session, one local stack, emptied per test."""

from __future__ import annotations

import os
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg.rows import dict_row

from local.environment import isolate
from local.services.data_api import description as describe_data_api
from local.services.data_api import start as start_data_api
from local.services.keys import Keys
from local.services.node import MODULES, ensure_installed
from local.services.postgres import Postgres, apply_files, bootstrap, server_directory
from local.services.postgres import start as start_postgres
from local.services.tether import Tether
from local.stack import Running, Stack
from tests.recycling import Snapshot
from workers import redaction

ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    """Before any test is imported, and in each of the processes that run them."""
    isolate()  # no setting of the developer's shell reaches a test
    zoneinfo.reset_tzpath(to=())  # as in the functions, whose PYTHONTZPATH is empty
    # How long an example takes is the machine's business. `make test-long` tries many more.
    settings.register_profile(
        "untimed",
        settings.default,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "50")),
    )
    settings.load_profile("untimed")


def pytest_report_header() -> str:
    """Which data API the tests run on."""
    return describe_data_api()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A machine may lack what a test needs, which is then skipped by name; CI must not."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if "CI" in os.environ and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _remembered_secrets() -> Iterator[None]:
    """What a test's credentials leave behind would be taken out of the next one's texts."""
    pools = redaction._lasting, redaction._remembered
    before = [dict(pool) for pool in pools]
    yield
    for pool, known in zip(pools, before, strict=True):
        pool.clear()
        pool.update(known)


@pytest.fixture(scope="session", autouse=True)
def _away_from_any_dotenv(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The commands that read `.env` look where they are started."""
    os.chdir(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running Postgres 17 with no database of ours yet."""
    with Tether(server_directory()) as tether:
        yield start_postgres(tether)


@pytest.fixture(scope="session")
def migrations() -> list[Path]:
    return sorted((ROOT / "supabase" / "migrations").glob("*.sql"))


@dataclass(frozen=True)
class Api:
    """A data API over a migrated database."""

    url: str
    keys: Keys
    database_url: str
    user_id: str = "a0000000-0000-4000-8000-000000000001"

    def connect(self) -> psycopg.Connection[Any]:
        """As a superuser, past the API."""
        return psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row)


@pytest.fixture(scope="session")
def api(postgres: Postgres, migrated: str) -> Iterator[Api]:
    """The data API; its database is shared, so a test that needs it empty empties it."""
    keys = Keys.generate()
    database_url = postgres.create_database("api", template=migrated)
    with Tether() as tether:
        url, _ = start_data_api(tether, ensure_installed(), database_url, keys)
        made = Api(url, keys, database_url)
        with made.connect() as connection:
            connection.execute("insert into auth.users (id) values (%s)", (made.user_id,))
        yield made


@pytest.fixture(scope="session")
def supabase_cli() -> list[str]:
    """The Supabase CLI's command line, telemetry off."""
    node = ensure_installed(with_dev=True)
    os.environ.update(SUPABASE_TELEMETRY_DISABLED="1", DO_NOT_TRACK="1")
    return [str(node.executable), str(MODULES / "supabase" / "dist" / "supabase.js")]


@pytest.fixture(scope="session")
def migrated(postgres: Postgres, migrations: list[Path]) -> str:
    """The name of a database with the migrations applied, to be cloned."""
    url = postgres.create_database("migrated")
    bootstrap(url)
    apply_files(url, migrations)
    return "migrated"


class Databases:
    """A migrated, empty database for one test after the other: the same, until one of them changes
    its schema."""

    def __init__(self, postgres: Postgres, template: str) -> None:
        self._postgres, self._template = postgres, template
        self._name: str | None = None
        # kept from test to test: one that begins reads the whole catalogue first
        self._keeper: psycopg.Connection[Any] | None = None
        self._empty: Snapshot | None = None

    def take(self) -> psycopg.Connection[Any]:
        """A connection to it."""
        if self._name is None or not self._is_restored():
            self._make(f"test_{uuid.uuid4().hex[:12]}")
        assert self._name is not None
        return self._connect(self._name)

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()

    def _is_restored(self) -> bool:
        assert self._keeper is not None
        assert self._empty is not None
        return self._empty.restore(self._keeper)

    def _make(self, name: str) -> None:
        self.close()
        if self._name is not None:
            self._postgres.drop_database(self._name)
        self._postgres.create_database(name, template=self._template)
        self._name, self._keeper = name, self._connect(name)
        self._empty = self._empty or Snapshot(self._keeper)

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self._postgres.url(name), autocommit=True, row_factory=dict_row)


@pytest.fixture(scope="session")
def databases(postgres: Postgres, migrated: str) -> Iterator[Databases]:
    made = Databases(postgres, migrated)
    yield made
    made.close()


@pytest.fixture
def db(databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a migrated, empty database of the test's own."""
    with databases.take() as connection:
        yield connection


@dataclass(frozen=True)
class LocalStack:
    """A running stack and a superuser's connection to its database."""

    running: Running
    connection: psycopg.Connection[Any]

    def environment(self) -> dict[str, str]:
        """What the workers need to use it."""
        return self.running.environment()

    def queue_notifications(self, count: int, channels: int) -> None:
        """Queue `count` due notifications, evenly over `channels` new channels."""
        workspace = self.running.slack.state()
        self.running.slack.replace_state({**workspace, "any_channel": True})
        self.connection.execute(
            """
            with config as (
              insert into notification_config (entity_type, event_type, channel_id, template)
              select 'request', 'load', 'C' || lpad(number::text, 8, '0'), '{{number}}'
                from generate_series(1, %(channels)s) number
              returning id, channel_id
            )
            insert into notification_queue
              (config_id, entity_id, entity_type, event_data, next_attempt_at, created_at)
            select config.id, gen_random_uuid(), 'request', jsonb_build_object('number', number),
                   now() - interval '1 hour' + number * interval '1 millisecond',
                   now() - interval '1 hour' + number * interval '1 millisecond'
              from config, generate_series(1, %(count)s / %(channels)s) number
            """,
            {"count": count, "channels": channels},
        )


class SampleStack:
    """A running stack, brought back to the sample agency for each test."""

    def __init__(self, stack: Stack, running: Running) -> None:
        self.running = running
        self.database_stopped = stack.database_stopped
        self._sample: Snapshot | None = None
        self._keeper: psycopg.Connection[Any] | None = None

    def reset(self) -> None:
        """As after `make up`."""
        if self._sample is None or not self._is_restored(self._sample):
            self.running.reset()
            with self.connect() as connection:
                self._sample = Snapshot(connection)
        else:
            self.running.reset_fakes()

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.running.database_url, autocommit=True)

    def _is_restored(self, sample: Snapshot) -> bool:
        try:
            if self._keeper is None:
                self._keeper = self.connect()
            if sample.restore(self._keeper):
                return True
        except psycopg.OperationalError:  # it was recreated meanwhile, or is gone
            pass
        self.close()
        return False

    def close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None


@pytest.fixture(scope="session")
def sample_stack() -> Iterator[SampleStack]:
    stack = Stack()
    with stack as running:
        made = SampleStack(stack, running)
        yield made
        made.close()


@pytest.fixture
def stack(sample_stack: SampleStack) -> Iterator[LocalStack]:
    """The local stack with the sample agency, as after `make up`."""
    sample_stack.reset()
    with sample_stack.connect() as connection:
        yield LocalStack(sample_stack.running, connection)


@pytest.fixture
def database_stopped(
    sample_stack: SampleStack,
) -> Callable[[], AbstractContextManager[None]]:
    """Stops the Postgres server of the local stack while a block runs."""
    return sample_stack.database_stopped
