"""Timed syncs of one account, all of whose ads are named, with the tree that PYTHONPATH names.

It is run as a file, so that it also works for a tree without this module. It reads {"platform",
"latency", "ads", "days", "more"} from stdin, with the platform's latency in seconds. The last line
on stdout is

  {"first", "again", "recent": {"seconds", "requests", "rows", "wal", "growth", "peak"},
   "derived", "inserted"}

with the requests to the platform, the rows that it reported, bytes of WAL and of growth of the
ledger and the figures, and the peak memory in MB. Only with `more`: `recent`, a third sync, once
the account is synced hourly; `derived`, the seconds that the database takes to derive all figures,
in the sync's steps, and `inserted`, those of one plain insert of the same rows.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from typing import Any

import psycopg

from tests.benchmarks import metrics
from tests.benchmarks.network import PLATFORM_LATENCY
from tests.metrics.accounts import connect_account

TOKEN = "00000000-0000-4000-8000-000000000017"
# As in a sync of 2,000 ads: the days of a window, and the days of requests in a step.
WINDOW = 2
DERIVE_DAYS = 2000

_DAYS = "select distinct date from ad_metrics order by date desc"
_STEP = "select derive_account_days(%s, %s, %s::uuid, %s, '{}', interval '6 minutes')"
_WAL = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
_SIZE = (
    "select pg_total_relation_size('ad_metrics') + pg_total_relation_size('performance_metrics')"
)
_LOG = (
    "select (details ->> 'requests')::integer, (details ->> 'rows')::integer "
    "from metric_sync_logs order by start_time desc limit 1"
)


def main() -> None:
    """See above."""
    request = json.load(sys.stdin)
    with metrics._ground(lambda what: None) as ground:
        connect_account(
            ground.running, ground.connection, request["platform"], request["ads"], request["ads"]
        )
        latency = request["latency"] or PLATFORM_LATENCY
        ground.running.ad_platforms[request["platform"]].configure(latency=latency)
        result = {
            "first": _sync(ground, request["days"]),
            "again": _sync(ground, request["days"]),
        }
        if request["more"]:
            result["recent"] = _hourly(ground, request["days"])
            result["inserted"], result["derived"] = _deriving(ground.connection)
    print(json.dumps(result))


def _sync(ground: metrics.Ground, days: int) -> dict[str, Any]:
    ground.connection.execute("checkpoint")
    wal, size = _one(ground, _WAL), _one(ground, _SIZE)
    sync = ground.sync(days)
    requests, rows = ground.connection.execute(_LOG).fetchone()
    return {
        "seconds": sync.seconds,
        "requests": requests,
        "rows": rows,
        "wal": _one(ground, _WAL) - wal,
        "growth": _one(ground, _SIZE) - size,
        "peak": sync.peak,
    }


def _hourly(ground: metrics.Ground, days: int) -> dict[str, Any]:
    ground.connection.execute("update platform_connections set sync_frequency = 60")
    return _sync(ground, days)


def _deriving(connection: psycopg.Connection[Any]) -> tuple[float, float]:
    """Seconds of a plain insert of all figures, and of deriving them."""
    connection.execute("create table kept as select * from performance_metrics")
    connection.execute("truncate performance_metrics")
    started = time.monotonic()
    connection.execute(
        "insert into performance_metrics select * from kept order by date, request_id"
    )
    inserted = time.monotonic() - started
    connection.execute("truncate performance_metrics")
    connection.execute(
        "update metric_accounts set token = %s, sync_id = gen_random_uuid(), "
        "leased_until = now() + interval '1 hour', attempted_at = now()",
        (TOKEN,),
    )
    days = [day for (day,) in connection.execute(_DAYS)]
    started = time.monotonic()
    for first in range(0, len(days), WINDOW):
        _derive(connection, days[first : first + WINDOW])
    derived = time.monotonic() - started
    found = connection.execute("select count(*) from performance_metrics").fetchone()
    assert found == connection.execute("select count(*) from kept").fetchone()
    return inserted, derived


def _derive(connection: psycopg.Connection[Any], days: list[date]) -> None:
    after = None
    while True:
        (step,) = connection.execute(_STEP, (TOKEN, days, after, DERIVE_DAYS // WINDOW)).fetchone()
        after = step["after"]
        if after is None:
            return


def _one(ground: metrics.Ground, query: str) -> float:
    (found,) = ground.connection.execute(query.encode()).fetchone()
    return float(found)


if __name__ == "__main__":
    main()
