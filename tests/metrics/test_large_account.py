"""Large accounts: how much memory they take, and whether the right rows are stored.

`make test` reads four days of 1,500 ads; `make test-long` 31 days of 10,000, and of 50,000 in as
many syncs as that takes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from local.fakes.ad_facts import total
from tests.benchmarks.network import run_function
from tests.conftest import LocalStack
from tests.metrics.accounts import Account, connect_account, sync_event

ADS = int(os.environ.get("LARGE_ACCOUNT_ADS", "1500"))
DAYS = int(os.environ.get("LARGE_ACCOUNT_DAYS", "4"))
SMALL = 500
TIMEOUT = 300.0

MOST_MEMORY = 256.0
MOST_GROWTH = 1.3
# Up to that many ads: a day with more has the rows of several windows.
GROWTH_UP_TO = 10_000
MOST_SYNCS = 10
# One in that many requests is compared with what the fake reported.
LOOKED_AT_ONE_IN = 97


@dataclass(frozen=True)
class Run:
    """Syncs in processes of their own: the most memory that one had, in MB. `until` is the last
    day that they read."""

    account: Account
    until: date
    memory: float


@pytest.mark.parametrize("platform", ["meta", "google_ads"])
def test_a_large_account_takes_no_more_memory_than_a_small_one(
    stack: LocalStack, platform: str
) -> None:
    small = sync(stack, platform, SMALL)
    large = sync(stack, platform, ADS)

    assert large.memory < MOST_MEMORY
    assert ADS > GROWTH_UP_TO or large.memory < small.memory * MOST_GROWTH
    assert rows_in_ledger(stack) == large.account.rows(large.until, DAYS)
    for request_id in list(large.account.requests)[::LOOKED_AT_ONE_IN]:
        assert sums(stack, request_id) == reported(large, request_id)


def sync(stack: LocalStack, platform: str, ads: int) -> Run:
    """An account of so many ads, half of them named by requests, synced for the first time, until
    all of it is read."""
    account = connect_account(stack.running, stack.connection, platform, ads, ads // 2)
    environment = {**stack.environment(), "METRICS_LOOK_BACK_DAYS": str(DAYS - 1)}
    memory = 0.0
    for _ in range(MOST_SYNCS):
        event = sync_event(stack.connection)
        result = run_function("connection_sync", TIMEOUT, environment, event)
        memory = max(memory, result["peak"])
        log = last_log(stack)
        if log["status"] != "partial":
            break
    assert log["status"] == "success"
    until = date.fromisoformat(log["window"][1])
    return Run(account, until, memory)


def last_log(stack: LocalStack) -> dict[str, Any]:
    """How the latest sync ended, and the range that it read."""
    found = stack.connection.execute(
        "select status, details -> 'window' from metric_sync_logs order by start_time desc limit 1"
    ).fetchone()
    assert found is not None
    return {"status": found[0], "window": found[1]}


def rows_in_ledger(stack: LocalStack) -> int:
    found = stack.connection.execute("select count(*) from ad_metrics").fetchone()
    assert found is not None
    return int(found[0])


def sums(stack: LocalStack, request_id: str) -> dict[tuple[date, str], Decimal]:
    """The figures of a request that are sums, by day and kind."""
    return {
        (day, kind): value
        for day, kind, value in stack.connection.execute(
            "select date, metric_type, value from performance_metrics where request_id = %s "
            "and metric_type in ('impressions', 'clicks', 'spend')",
            (request_id,),
        )
    }


def reported(run: Run, request_id: str) -> dict[tuple[date, str], Decimal]:
    """The same, worked out from what the fake has to report."""
    found: dict[tuple[date, str], Decimal] = {}
    for number in range(DAYS):
        day = run.until - timedelta(days=number)
        ads = run.account.requests[request_id]
        facts = [one for ad in ads if (one := run.account.facts(ad, day)) is not None]
        if facts:
            sum_of = total(facts)
            found[day, "impressions"] = Decimal(sum_of.impressions)
            found[day, "clicks"] = Decimal(sum_of.clicks)
            found[day, "spend"] = sum_of.spend
    return found
