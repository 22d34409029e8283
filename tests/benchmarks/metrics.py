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
from urllib.parse import unquote_plus

import psycopg
from psycopg.types.json import Jsonb

from local.control import Control
from local.distribute import LocalQueue
from local.fakes.sqs import FakeSqs, queue_url
from local.http_server import HttpServer
from local.invoke import REGION
from local.services.data_api import reload_schema
from local.stack import ROOT, Running, Stack
from tests.benchmarks import original
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import (
    API_LATENCY,
    PLATFORM_LATENCY,
    QUEUE_LATENCY,
    distant,
    run_function,
    run_module,
)
from tests.benchmarks.sizes import Progress, Sizes
from tests.metrics.accounts import ACCOUNT_ID, CREDENTIALS, Account, connect_account, sync_event
from workers.metrics.planning import LEASE_SECONDS, SYNC_SECONDS
from workers.metrics.platforms import PLATFORMS

TIMEOUT = 300.0
CHUNK = 1000
# The original design takes the same time for each row, so a sample is enough.
ORIGINAL_SAMPLE = 20
# Enough concurrent syncs for all to be planned at once.
PLAN_CONCURRENCY = 30
# A bare loop must not request more rows at once than these platforms return.
MOST_ROWS = {"meta": None, "google_ads": None, "tiktok": 9_900, "linkedin": 14_900}

# What identifies a row of the ledger and a figure.
KEYS = {
    "ad_metrics": "platform, account_id, date, campaign_id, ad_group_id, ad_id",
    "performance_metrics": "request_id, platform, metric_type, date",
}
_COLUMNS = (
    "select column_name from information_schema.columns "
    "where table_schema = 'public' and table_name = %s"
)
_ROWS = "select json_agg(one)::text from {table} one"
_COUNT = "select count(*) from {table}"
# The SQL of an upsert by PostgREST; the local data API would take several times as long.
_COPY = """
    drop table if exists bare_{table} cascade;
    create table bare_{table} (like {table} including defaults, unique ({key}));
    grant all on bare_{table} to service_role;
    create or replace function put_{table}(rows jsonb) returns void language sql as $$
      insert into bare_{table}
      select * from jsonb_populate_recordset(null::bare_{table}, rows)
      on conflict ({key}) do update set {updates};
    $$;
"""

# How requests for reports other than by ad are recognized.
BESIDE = {
    "meta": ("level=account",),
    "google_ads": ("FROM campaign ", "FROM asset_group ", "cost_micros FROM customer "),
    "tiktok": ("RESERVATION_AD", "gmv_max/", "AUCTION_ADVERTISER"),
    "linkedin": ("pivot=ACCOUNT",),
}
MOST = 1.5
REQUESTS_PER_ROW = 1 / 500
REQUESTS_BESIDES = 15
# A quarter of the data API's statement timeout.
LONGEST_REQUEST = 2.0
# Which ads requests name, a step of settling, the plan, the check of the other workers' health, and
# the record of the run.
PLAN_REQUESTS = 5

SDK_PYTHON = ROOT / ".venv-bench" / "bin" / "python"


@dataclass(frozen=True)
class Sync:
    """One run of the sync, and what was observed."""

    seconds: float
    api_requests: int
    longest: float
    peak: float


@dataclass(frozen=True)
class Bare:
    """Seconds of what is measured in addition to the sync: reading in three ways, writing the rows
    to empty tables, writing the ledger's again, and the original design. `rows` is how many the
    platform reports."""

    rows: int
    fetch: float
    insert: float
    update: float
    reader: float
    sdk: float | None
    original: float


class Ground:
    """A stack whose parts are separate processes with the latency of the cloud."""

    def __init__(
        self, running: Running, proxy_url: str, connection: psycopg.Connection[Any], scratch: Path
    ) -> None:
        self.running = running
        self.connection = connection
        self.proxy = Control(proxy_url)
        self._scratch = scratch
        self.environment = {**running.environment(), "SUPABASE_URL": proxy_url}
        for platform in running.ad_platforms.values():
            platform.configure(latency=PLATFORM_LATENCY)

    def sync(self, days: int) -> Sync:
        """Sync the only connection through the handler. Raises RuntimeError if that fails."""
        event = sync_event(self.connection)
        self.proxy.clear_journal()
        for control in self.running.ad_platforms.values():
            control.clear_journal()
        environment = {**self.environment, "METRICS_LOOK_BACK_DAYS": str(days - 1)}
        ended = run_function("connection_sync", TIMEOUT, environment, event)
        self._check_success()
        seen = [one["seconds"] for one in self.proxy.journal()]
        return Sync(ended["seconds"], len(seen), max(seen) - API_LATENCY, ended["peak"])

    def further_requests(self, platform: str) -> tuple[int, int]:
        """The last sync's requests in addition to reports by ad: how many there were, and how many
        are allowed, one for each window and report."""
        log = self.connection.execute(
            "select jsonb_array_length(details -> 'windows') from metric_sync_logs "
            "order by start_time desc limit 1"
        ).fetchone()
        assert log is not None
        asked = (
            unquote_plus(f"{one['path']}?{one['query']} {one['body']}")
            for one in self.running.ad_platforms[platform].journal()
        )
        count = sum(any(word in text for word in BESIDE[platform]) for text in asked)
        return count, log[0] * (len(PLATFORMS[platform].reports) - 1)

    def _check_success(self) -> None:
        found = self.connection.execute(
            "select status, error_message from metric_sync_logs order by start_time desc limit 1"
        ).fetchone()
        if found is None or found[0] != "success":
            raise RuntimeError(f"the sync did not succeed: {found}")

    def bare(self, account: Account, ads: int, today: date, days: int, *, with_sdk: bool) -> Bare:
        """The parts of the floor and the alternatives for the account, after it was synced."""
        read = self._reading(account, ads, today, days)
        write = {
            "url": self.environment["SUPABASE_URL"],
            "key": self.running.keys.secret,
            "chunk": CHUNK,
            "tables": self._copies(),
        }
        fetched = _bare("fetch", read)
        return Bare(
            rows=fetched["rows"],
            fetch=fetched["seconds"],
            insert=_bare("put", write)["seconds"],
            update=_bare("put", {**write, "tables": write["tables"][:1]})["seconds"],
            reader=_bare("reader", read)["seconds"],
            sdk=self._sdk(read) if with_sdk else None,
            original=self._original(account, ads, fetched["rows"]),
        )

    def _reading(self, account: Account, ads: int, today: date, days: int) -> dict[str, Any]:
        most, longest = MOST_ROWS[account.platform], PLATFORMS[account.platform].longest_window
        return {
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
                "tiktok_api_url": f"{self.running.tiktok_url}/open_api",
                "linkedin_api_url": f"{self.running.linkedin_url}/rest",
                "linkedin_token_url": f"{self.running.linkedin_url}/token",
            },
            "since": f"{today - timedelta(days=days - 1)}",
            "until": f"{today}",
            "days_at_once": min(days, longest or days, most // ads if most else days),
        }

    def _original(self, account: Account, ads: int, rows: int) -> float:
        """Half of the account's ads are named, so half of the sample is, too."""
        named = account.named_ads[: ORIGINAL_SAMPLE // 2]
        sample = [*named, *(f"9{number}" for number in range(len(named)))]
        found = self.connection.execute(
            "select to_jsonb(one) from performance_metrics one limit 1"
        ).fetchone()
        assert found is not None
        key = PLATFORMS[account.platform].mapping_keys["ad"]
        seconds = original.store(self.environment, sample, key, "put_performance_metrics", found[0])
        return seconds * rows / len(sample)

    def _copies(self) -> list[tuple[str, str]]:
        """For the ledger and the figures: a function that writes rows to an empty copy of the table
        with only its key, and a file of what the sync wrote."""
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
        request = {
            "graph": self.running.meta_url,
            "token": read["credentials"]["access_token"],
            **{name: read[name] for name in ("account_id", "since", "until")},
        }
        ended = run_module("tests.benchmarks.sdk_read", [], {}, json.dumps(request), SDK_PYTHON)
        return float(ended["seconds"])

    def plan(self, queue: HttpServer) -> dict[str, Any]:
        """One plan by its handler."""
        self.proxy.clear_journal()
        environment = LocalQueue(queue).environment(
            {**self.environment, "AWS_REGION": REGION,
             "METRICS_CONCURRENCY": str(PLAN_CONCURRENCY)}
        )  # fmt: skip
        return run_function("metrics_sync", TIMEOUT, environment, {})

    def bare_plan(self, queue: HttpServer) -> float:
        """The seconds of the minimum that does the same."""
        request = {
            "url": self.environment["SUPABASE_URL"],
            "key": self.running.keys.secret,
            "queue_url": queue_url(queue),
            "arguments": {
                "concurrency": PLAN_CONCURRENCY,
                "lease": f"{LEASE_SECONDS} seconds",
                "longest": f"{SYNC_SECONDS} seconds",
            },
        }
        environment = LocalQueue(queue).environment({"AWS_REGION": REGION})
        return float(_bare("plan", request, environment)["seconds"])


def _bare(
    kind: str, request: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    stdin = json.dumps({"kind": kind, **request})
    return run_module("tests.benchmarks.bare", [], environment or {}, stdin)


def syncs(platform: str) -> Callable[[Progress, Sizes], list[Figure]]:
    """The benchmark of a platform's syncs: accounts of the usual size, and large ones."""

    def measure(progress: Progress, sizes: Sizes) -> list[Figure]:
        with _ground(progress) as ground:
            return [
                figure
                for ads in sizes.ads
                for figure in _sync(ground, platform, ads, sizes.days, progress)
            ]

    return measure


TITLES = {"meta": "Meta", "google_ads": "Google Ads", "tiktok": "TikTok", "linkedin": "LinkedIn"}


def _sync(ground: Ground, platform: str, ads: int, days: int, progress: Progress) -> list[Figure]:
    today = datetime.now(UTC).date()
    account = connect_account(ground.running, ground.connection, platform, ads, ads // 2)
    first = ground.sync(days)
    progress(f"{ads:,} ads synced in {first.seconds:.2f} s; now again")
    further, allowed_further = ground.further_requests(platform)
    again = ground.sync(days)
    progress(f"synced in {again.seconds:.2f} s; now the floor and the original design")
    bare = ground.bare(account, ads, today, days, with_sdk=platform == "meta" and ads == 200)
    rows = account.rows(today, days)
    stored = ground.count("ad_metrics")
    figures = ground.count("performance_metrics")
    floor = bare.fetch + bare.insert
    ratio = first.seconds / floor
    allowed = rows * REQUESTS_PER_ROW + REQUESTS_BESIDES
    return [
        Figure(
            f"sync of {ads:,} ads x {days} days on {TITLES[platform]}",
            first.seconds,
            "s",
            floor=floor,
            original=bare.original,
            target=f"at most {MOST} x the floor: {ratio:.2f}",
            met=ratio <= MOST,
            note=_NOTE,
        ),
        Figure("  again, nothing changed", again.seconds, "s", floor=bare.fetch + bare.update),
        Figure("  only its reading", bare.reader, "s", floor=bare.fetch, original=bare.sdk),
        Figure(
            f"  its data-API requests, of {bare.rows:,} rows read",
            first.api_requests,
            "",
            original=bare.rows + figures,
            target=f"at most 1 in 500 stored rows and {REQUESTS_BESIDES}: {allowed:.0f}",
            met=first.api_requests <= allowed,
        ),
        Figure(
            "  its longest data-API request",
            first.longest,
            "s",
            target=f"at most {LONGEST_REQUEST:g} s",
            met=first.longest <= LONGEST_REQUEST,
        ),
        Figure(
            "  its requests to the platform in addition to reports by ad",
            further,
            "",
            target=f"at most one for each window and report: {allowed_further}",
            met=further <= allowed_further,
            at_any_size=True,
        ),
        Figure("  its peak memory", first.peak, "MB"),
        Figure(
            f"  rows lost or too many, of {rows:,} ({figures:,} figures)",
            abs(stored - rows),
            "",
            target="none",
            met=stored == rows,
            at_any_size=True,
        ),
    ]


_NOTE = (
    f"Syncs: half of the ads are named by requests; the platform's fake with "
    f"{PLATFORM_LATENCY * 1000:.0f} ms, the data API with {API_LATENCY * 1000:.0f} ms latency; "
    "from the handler's call to its return in a fresh process. Floor: a bare loop that fetches "
    "the same rows, and one that upserts the ledger's rows and the figures, which the sync "
    f"leaves to the database, {CHUNK:,} a request into tables with nothing but their keys; the "
    "second time the ledger's rows only. Original: for each row that is read a search for the "
    "requests that name its ad, and for each of those seven upserts; without the reading, measured "
    f"on {ORIGINAL_SAMPLE} rows and scaled; for reading alone it is Meta's Python SDK."
)


def plan_connections(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Many connections, all of them due."""
    count = sizes.connections
    with _ground(progress) as ground, HttpServer(FakeSqs(), latency=QUEUE_LATENCY) as queue:
        _connect_many(ground.connection, count)
        ran = ground.plan(queue)
        requests = ground.proxy.count()
        progress(f"planned in {ran['seconds']:.2f} s; now the floor")
        _connect_many(ground.connection, count)
        floor = ground.bare_plan(queue)
    planned = ran["summary"]["planned"]
    return [
        Figure(
            f"plan of {count:,} connections",
            ran["seconds"],
            "s",
            floor=floor,
            note=f"Plan: all due, sent in tens to a queue with {QUEUE_LATENCY * 1000:.0f} ms "
            "latency. Floor: the same statement, and the messages sent by a bare loop.",
        ),
        Figure(
            "  data-API requests",
            requests,
            "",
            target=f"at most {PLAN_REQUESTS}",
            met=requests <= PLAN_REQUESTS,
            at_any_size=True,
        ),
        Figure(
            "  not planned",
            count - planned,
            "",
            target="none",
            met=planned == count,
            at_any_size=True,
        ),
    ]


def _connect_many(connection: psycopg.Connection[Any], count: int) -> None:
    connection.execute("truncate platform_connections, metric_accounts cascade")
    connection.execute(
        """
        insert into platform_connections
          (platform, credentials, account_id, account_name, sync_frequency)
        select 'meta', %s, number::text, 'Account ' || number, 1440
          from generate_series(1, %s) number
        """,
        (Jsonb(CREDENTIALS["meta"]), count),
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
