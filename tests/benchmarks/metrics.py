"""Syncs of ad accounts through the real handler, and the plan of many connections."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.control import Control
from local.data_api import reload_schema
from local.distribute import LocalQueue
from local.fake_sqs import FakeSqs
from local.http_server import HttpServer
from local.invoke import REGION
from local.stack import ROOT, Running, Stack
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import API_LATENCY, distant, run_function, run_module
from tests.metrics.accounts import ACCOUNT_ID, CREDENTIALS, Account, connect_account, sync_event

DAYS = 31
PLATFORM_LATENCY = 0.050
QUEUE_LATENCY = 0.010
TIMEOUT = 300.0
CHUNK = 1000
CONNECTIONS = 1000
# As many syncs side by side as let all of them be planned at once.
PLAN_CONCURRENCY = 30

# What identifies a row of the ledger and a figure.
KEYS = {
    "ad_metrics": "connection_id, date, ad_id, ad_group_id",
    "performance_metrics": "request_id, platform, metric_type, date",
}
_COLUMNS = (
    "select column_name from information_schema.columns "
    "where table_schema = 'public' and table_name = %s"
)
_ROWS = "select json_agg(one)::text from {table} one"
_COUNT = "select count(*) from {table}"
# What PostgREST makes of an upsert. The local data API would take one several times as long.
_COPY = """
    create table bare_{table} (like {table} including defaults, unique ({key}));
    grant all on bare_{table} to service_role;
    create function put_{table}(rows jsonb) returns void language sql as $$
      insert into bare_{table}
      select * from jsonb_populate_recordset(null::bare_{table}, rows)
      on conflict ({key}) do update set {updates};
    $$;
"""

MOST = 1.5
REQUESTS_PER_ROW = 1 / 500
REQUESTS_BESIDES = 15
# A fourth of the data API's statement timeout.
LONGEST_REQUEST = 2.0
# The plan, the look at the other workers' health, and the record of the run.
PLAN_REQUESTS = 3

SDK_PYTHON = ROOT / ".venv-bench" / "bin" / "python"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sync:
    """One run of the sync and what was seen of it."""

    seconds: float
    api_requests: int
    longest: float
    peak: float


@dataclass(frozen=True)
class Bare:
    """Seconds of what is measured beside the sync: reading in three ways, the rows put into
    empty tables, and those of the ledger put there once more."""

    fetch: float
    insert: float
    update: float
    reader: float
    sdk: float | None


class Ground:
    """A stack whose parts are processes of their own and as far away as in the cloud."""

    def __init__(
        self, running: Running, proxy_url: str, connection: psycopg.Connection[Any], scratch: Path
    ) -> None:
        self.running = running
        self.connection = connection
        self.proxy = Control(proxy_url)
        self._scratch = scratch
        self.environment = {**running.environment(), "SUPABASE_URL": proxy_url}
        running.meta.configure(latency=PLATFORM_LATENCY)
        running.google.configure(latency=PLATFORM_LATENCY)

    def sync(self) -> Sync:
        """The one connection that there is, synced by the handler. Raises RuntimeError when
        that did not succeed."""
        event = sync_event(self.connection)
        self.proxy.clear_journal()
        told = run_function("connection_sync", TIMEOUT, self.environment, event)
        self._check_success()
        seen = [one["seconds"] for one in self.proxy.journal()]
        return Sync(told["seconds"], len(seen), max(seen) - API_LATENCY, told["peak"])

    def _check_success(self) -> None:
        found = self.connection.execute(
            "select status, error_message from metric_sync_logs order by start_time desc limit 1"
        ).fetchone()
        if found is None or found[0] != "success":
            raise RuntimeError(f"the sync ended otherwise than with success: {found}")

    def bare(self, account: Account, today: date, *, with_sdk: bool) -> Bare:
        """The floor's parts and the other readings of the account, after it was synced."""
        read = {
            "platform": account.platform,
            "credentials": CREDENTIALS[account.platform],
            "account_id": ACCOUNT_ID,
            "settings": {
                "supabase_url": self.environment["SUPABASE_URL"],
                "supabase_service_role_key": self.running.keys.secret,
                "slack_bot_token": self.environment["SLACK_BOT_TOKEN"],
                "meta_graph_url": self.running.meta_url,
                "google_ads_url": self.running.google_url,
                "google_token_url": f"{self.running.google_url}/token",
            },
            "since": f"{today - timedelta(days=DAYS - 1)}",
            "until": f"{today}",
        }
        write = {
            "url": self.environment["SUPABASE_URL"],
            "key": self.running.keys.secret,
            "chunk": CHUNK,
            "tables": self._copies(),
        }
        return Bare(
            fetch=_bare("fetch", read),
            insert=_bare("put", write),
            update=_bare("put", {**write, "tables": write["tables"][:1]}),
            reader=_bare("reader", read),
            sdk=self._sdk(read) if with_sdk else None,
        )

    def _copies(self) -> list[tuple[str, str]]:
        """For the ledger and for the figures a function that puts rows into an empty table like
        it, with nothing but its key, and a file of what the sync wrote."""
        made = []
        for table, key in KEYS.items():
            columns = self._all(_COLUMNS, table)
            updates = ", ".join(f"{one} = excluded.{one}" for one in columns)
            self.connection.execute(_COPY.format(table=table, key=key, updates=updates).encode())
            (rows,) = self._all(_ROWS.format(table=table))
            file = self._scratch / f"{table}.json"
            file.write_text(rows)
            made.append((f"put_{table}", str(file)))
        reload_schema(self.running.api_url)
        return made

    def _all(self, query: str, *values: str) -> list[Any]:
        return [row[0] for row in self.connection.execute(query.encode(), values or None)]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        (found,) = self._all(_COUNT.format(table=table))
        return int(found)

    def _sdk(self, read: Mapping[str, Any]) -> float:
        if not SDK_PYTHON.exists():
            raise RuntimeError("the SDK to compare with is missing: make bench installs it")
        order = {
            "graph": self.running.meta_url,
            "token": read["credentials"]["access_token"],
            **{name: read[name] for name in ("account_id", "since", "until")},
        }
        told = run_module("tests.benchmarks.sdk_read", [], {}, json.dumps(order), SDK_PYTHON)
        return float(told["seconds"])

    def plan(self) -> dict[str, Any]:
        """One pass of the plan by its handler."""
        with HttpServer(FakeSqs(), latency=QUEUE_LATENCY) as queue:
            environment = LocalQueue(queue).environment(
                {**self.environment, "AWS_REGION": REGION,
                 "METRICS_CONCURRENCY": str(PLAN_CONCURRENCY)}
            )  # fmt: skip
            self.proxy.clear_journal()
            return run_function("metrics_sync", TIMEOUT, environment, {})


def _bare(kind: str, order: Mapping[str, Any]) -> float:
    told = run_module("tests.benchmarks.bare", [], {}, json.dumps({"kind": kind, **order}))
    return float(told["seconds"])


def sync_meta(progress: Progress) -> list[Figure]:
    """An account of the usual size on Meta."""
    return _syncs("meta", 200, progress)


def sync_meta_large(progress: Progress) -> list[Figure]:
    """Ten times as large."""
    return _syncs("meta", 2000, progress)


def sync_google(progress: Progress) -> list[Figure]:
    """An account of the usual size on Google Ads."""
    return _syncs("google_ads", 200, progress)


def sync_google_large(progress: Progress) -> list[Figure]:
    """Ten times as large."""
    return _syncs("google_ads", 2000, progress)


NAMES = {"meta": "Meta", "google_ads": "Google Ads"}


def _syncs(platform: str, ads: int, progress: Progress) -> list[Figure]:
    today = datetime.now(UTC).date()
    with _ground(progress) as ground:
        account = connect_account(ground.running, ground.connection, platform, ads, ads // 2)
        first = ground.sync()
        progress(f"synced in {first.seconds:.2f} s; now again")
        again = ground.sync()
        progress(f"synced in {again.seconds:.2f} s; now the floor")
        bare = ground.bare(account, today, with_sdk=platform == "meta" and ads == 200)
        rows = account.rows(today, DAYS)
        stored = ground.count("ad_metrics")
        figures = ground.count("performance_metrics")
    floor = bare.fetch + bare.insert
    ratio = first.seconds / floor
    allowed = rows * REQUESTS_PER_ROW + REQUESTS_BESIDES
    return [
        Figure(
            f"sync of {ads:,} ads x {DAYS} days on {NAMES[platform]}",
            first.seconds,
            "s",
            floor=floor,
            target=f"at most {MOST} x the floor: {ratio:.2f}",
            met=ratio <= MOST,
            note=_NOTE,
        ),
        Figure("  again, nothing changed", again.seconds, "s", floor=bare.fetch + bare.update),
        Figure("  its reading alone", bare.reader, "s", floor=bare.fetch, original=bare.sdk),
        Figure(
            "  its data-API requests",
            first.api_requests,
            "",
            target=f"at most 1 in 500 rows and {REQUESTS_BESIDES}: {allowed:.0f}",
            met=first.api_requests <= allowed,
        ),
        Figure(
            "  its longest data-API request",
            first.longest,
            "s",
            target=f"at most {LONGEST_REQUEST:g} s",
            met=first.longest <= LONGEST_REQUEST,
        ),
        Figure("  its most memory", first.peak, "MB"),
        Figure(
            f"  rows lost or too many, of {rows:,} ({figures:,} figures)",
            abs(stored - rows),
            "",
            target="none",
            met=stored == rows,
        ),
    ]


_NOTE = (
    f"Syncs: half of the ads are named by requests; the platform's stand-in with "
    f"{PLATFORM_LATENCY * 1000:.0f} ms, the data API with {API_LATENCY * 1000:.0f} ms latency; "
    "from the handler's call to its return in a fresh process. Floor: a bare loop that fetches "
    "the same rows, and one that upserts the ledger's rows and the figures, which the sync "
    f"leaves to the database, {CHUNK:,} a request into tables with nothing but their keys; the "
    "second time the ledger's rows only. Original, for reading: Meta's Python SDK."
)


def plan_connections(progress: Progress) -> list[Figure]:
    """A thousand connections that are all due."""
    with _ground(progress) as ground:
        _connect_many(ground.connection)
        told = ground.plan()
        seen = ground.proxy.journal()
    planned = told["summary"]["planned"]
    database = sum(one["seconds"] for one in seen)
    return [
        Figure(
            f"plan of {CONNECTIONS:,} connections",
            told["seconds"],
            "s",
            note=f"Plan: all due, sent in tens to a queue with {QUEUE_LATENCY * 1000:.0f} ms "
            "latency.",
        ),
        Figure("  in the database, latency included", database, "s"),
        Figure(
            "  data-API requests",
            len(seen),
            "",
            target=f"at most {PLAN_REQUESTS}",
            met=len(seen) <= PLAN_REQUESTS,
        ),
        Figure(
            "  not planned", CONNECTIONS - planned, "", target="none", met=planned == CONNECTIONS
        ),
    ]


def _connect_many(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        """
        insert into platform_connections
          (platform, credentials, account_id, account_name, sync_frequency)
        select 'meta', %s, number::text, 'Account ' || number, 1440
          from generate_series(1, %s) number
        """,
        (Jsonb(CREDENTIALS["meta"]), CONNECTIONS),
    )
    connection.execute("analyze")


@contextmanager
def _ground(progress: Progress) -> Iterator[Ground]:
    with (
        Stack(seed=False) as running,
        distant(running.api_url) as proxy_url,
        psycopg.connect(running.database_url, autocommit=True) as connection,
        tempfile.TemporaryDirectory() as scratch,
    ):
        progress("the stack is up")
        yield Ground(running, proxy_url, connection, Path(scratch))
