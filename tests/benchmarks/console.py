"""The console's pages over a large project: the time of each page and of its database calls, and
the bytes of a first visit."""

from __future__ import annotations

import math
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from local.stack import Running, Stack
from server.console.project import Project
from server.console.serving import ConsoleServer
from tests.benchmarks.figures import Figure
from tests.benchmarks.sizes import Progress, Sizes
from tests.server.console.large import TABLES, fill, first_account, without_indexes
from workers.clock import utc_now
from workers.database import Database
from workers.settings import load_settings

PAGE_SECONDS = 0.3
SQL_SECONDS = 0.025
FIRST_VISIT_BYTES = 200_000
# Tables that are filled before their indexes are built.
LARGEST = ("notification_queue", "notification_deliveries", "ad_metrics", "performance_metrics")
_NOTE = (
    "Console: server and database on this machine, no latency added; a page's 95th percentile. Of "
    "its questions the slowest, straight from the database: the median of its times on a "
    "processor, where Linux tells them, so that other work on the machine does not count (all is "
    "in memory). Bytes are those of a page with styles and scripts, uncompressed."
)

# A function of the database with its arguments.
Call = tuple[str, dict[str, Any]]


class Recorded(Database):
    """Records its calls."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self.calls: list[Call] = []

    def call(self, function: str, **arguments: Any) -> Any:
        self.calls.append((function, arguments))
        return super().call(function, **arguments)


def console(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Every page that uses the database."""
    amounts, now = sizes.console, utc_now()
    with Stack(seed=False) as stack, _connected(stack) as connection:
        connection.execute("set maintenance_work_mem = '512MB'")
        connection.execute("set work_mem = '256MB'")
        with without_indexes(connection, *LARGEST):
            fill(connection, amounts, now, progress)
            progress("indexes")
        for table in TABLES:
            connection.execute(f"vacuum analyze {table}".encode())
        with _serving(stack) as (client, database):
            figures: list[Figure] = []
            largest = 0
            for path in _paths(connection):
                progress(path)
                measured, size = _page(client, database, connection, path, sizes.visits)
                figures += measured
                largest = max(largest, size)
    return [*figures, _first_visit(largest)]


@contextmanager
def _connected(stack: Running) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(stack.database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@contextmanager
def _serving(stack: Running) -> Iterator[tuple[httpx.Client, Recorded]]:
    """A console and a client with a session."""
    settings = load_settings(stack.environment())
    url, key = settings.supabase_url, settings.supabase_service_role_key
    lines: list[str] = []
    with closing(Recorded(url, key)) as database:
        project = Project(lambda: settings, lambda: database)
        server = ConsoleServer(project, "127.0.0.1", 0, lines.append)
        server.start()
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            server.announce()
            client.get(lines[-1].rpartition(": ")[2])
            yield client, database
        server.close()


def _paths(connection: psycopg.Connection[Any]) -> list[str]:
    """One of each page; of lists also some filters and a later page."""
    platform, account = first_account()
    request = _value(
        connection, "select request_id from metric_ad_links where id = %s", f"{account}a0"
    )
    day = _value(
        connection,
        "select max(date) from performance_metrics where request_id = %s and platform = %s",
        request, platform,
    )  # fmt: skip
    newest = "select id from notification_queue order by created_at desc limit 1"
    run = "select id from worker_runs order by ended_at desc limit 1"
    further = quote(f'{{"platform":"{platform}","account_id":"{account}"}}')
    return [
        "/",
        f"/runs/{_value(connection, run)}",
        "/notifications",
        "/notifications?state=dead",
        "/notifications?event=event_1",
        "/notifications?channel=C00000001",
        "/notifications?text=nowhere+to+be+found",
        f"/notifications/{_value(connection, newest)}",
        "/metrics",
        f"/metrics?after={further}",
        f"/metrics/account?platform={platform}&id={account}",
        f"/metrics/unnamed?platform={platform}&id={account}",
        "/metrics/requests",
        "/metrics/requests?find=equest+4",
        f"/metrics/requests/{request}",
        f"/metrics/requests/{request}/{platform}/{day}",
        "/retention",
        "/doctor",
    ]


def _page(
    client: httpx.Client,
    database: Recorded,
    connection: psycopg.Connection[Any],
    path: str,
    count: int,
) -> tuple[list[Figure], int]:
    """Its figures, and the bytes of a first visit."""
    database.calls.clear()
    first = client.get(path)
    if first.status_code != 200:
        raise RuntimeError(f"{path}: {first.status_code} {first.text[:500]}")
    calls = list(database.calls)
    visits = _times(count, lambda: client.get(path))
    took = visits[math.ceil(len(visits) * 0.95) - 1]
    asked = [(_asked(count, connection, *call), call[0]) for call in calls]
    name = re.sub(r"[0-9a-f]{8}-[-0-9a-f]{27}", "ID", re.sub("after=.*", "after=...", path))
    figures = [
        Figure(f"console {name}", took * 1000, "ms",
               target=f"at most {PAGE_SECONDS * 1000:.0f} ms", met=took <= PAGE_SECONDS,
               note=_NOTE),
        *(
            Figure(f"  {function}", spent * 1000, "ms",
                   target=f"at most {SQL_SECONDS * 1000:.0f} ms", met=spent <= SQL_SECONDS)
            for spent, function in sorted(asked)[-1:]
        ),
    ]  # fmt: skip
    return figures, len(first.content) + sum(_sizes(client, first.text))


def _sizes(client: httpx.Client, page: str) -> Iterator[int]:
    """The sizes of what the page needs in addition to itself."""
    for address in set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page)):
        yield len(client.get(unescape(address)).content)


def _first_visit(size: int) -> Figure:
    return Figure(
        "console, a first visit to the largest page",
        size / 1000,
        "KB",
        target=f"at most {FIRST_VISIT_BYTES / 1000:.0f} KB",
        met=size <= FIRST_VISIT_BYTES,
        at_any_size=True,
    )


def _asked(
    count: int, connection: psycopg.Connection[Any], function: str, arguments: Mapping[str, Any]
) -> float:
    """How long the database works on the answer."""
    given = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder()) for name in arguments
    )
    query = sql.SQL("select length({}({})::text)").format(sql.Identifier(function), given)
    values = [Jsonb(one) if isinstance(one, dict) else one for one in arguments.values()]
    spent = Path(f"/proc/{connection.info.backend_pid}/schedstat")

    def clock() -> float:
        return int(spent.read_text().split()[0]) / 1e9

    took = _times(
        count,
        lambda: connection.execute(query, values).fetchone(),
        clock if os.access(spent, os.R_OK) else time.perf_counter,
    )
    return statistics.median(took)


def _times(
    count: int, work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Sorted times of some calls, after one to warm up, measured by that clock."""
    work()
    took: list[float] = []
    for _ in range(count):
        begun = clock()
        work()
        took.append(clock() - begun)
    return sorted(took)


def _value(connection: psycopg.Connection[Any], query: str, *arguments: Any) -> Any:
    row = connection.execute(query.encode(), arguments).fetchone()
    assert row is not None
    (value,) = row.values()
    return value
