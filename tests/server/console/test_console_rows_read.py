"""No page reads more because there is more: counted in rows, not in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from server.console.pages.figures import CHARTED
from tests.database.agency import NOW
from tests.server.console.large import TABLES, Amounts, charted_day, fill, first_account
from workers.metrics.platforms import PLATFORMS

SMALL = Amounts(
    notifications=400, channels=8, runs=100, requests=6, accounts=4, ads=6, days=40, charted=33,
    unnamed=20, activity=300,
)  # fmt: skip
GROWTH = (3, 9)
LIMIT, DUE_DAYS = 5, 5
MONTH = 31
SINCE, UNTIL = f"{NOW.date() - timedelta(days=MONTH - 1)}", f"{NOW.date()}"

# The requests of each of the twenty clients.
REQUESTS_OF_A_CLIENT = 1 + GROWTH[-1] * SMALL.requests // 20
OF_A_MONTH = len(PLATFORMS) * MONTH
# The rows that a call may read for its page, however many there are. Titles and stalled parts are
# searched for in a limited number of rows.
MOST: Mapping[str, int] = {
    # each with its days, their changes, its log, its connection and a fact
    "accounts": (LIMIT + 1) * (2 * MONTH + 8),
    # its days; any connection of the project may be to it
    "account": 2 * MONTH + 8 + 2 * GROWTH[-1] * SMALL.accounts,
    "unnamed": (LIMIT + 1) * 4,
    # each with its spend, and what it names
    "requests": LIMIT * (OF_A_MONTH + 20),
    "requests that name an ad": OF_A_MONTH + 20 + 2 * GROWTH[-1] * SMALL.requests,
    "request": len(CHARTED) * OF_A_MONTH + 50,
    # each fact with its link and three names
    "figure": 50 + LIMIT * 10,
    # up to the limit for each day, and for all earlier days
    "activity that is due": 2 * (DUE_DAYS + 1) * LIMIT,
    "notifications that are due": 2 * (DUE_DAYS + 1) * LIMIT,
    "sync logs that are due": 2 * (DUE_DAYS + 1) * LIMIT,
    # with what was sent in the last hours, up to 5,000: test_overview_rows_read.py
    "overview": 2_500 + GROWTH[-1] * SMALL.notifications,
    # each with its data and its deliveries
    "notifications": (LIMIT + 1) * 8,
    "dead notifications": (LIMIT + 1) * 8,
    "notifications of an event": (LIMIT + 1) * 8,
    "notifications of a channel": (LIMIT + 1) * 8,
    "notification": 1_300,
    "actions": LIMIT + 1,
    # the notification, its deliveries
    "what a redrive would affect": 10,
    # each with its requests, and of each the spend of two weeks
    "spend": (LIMIT + 1) * (1 + REQUESTS_OF_A_CLIENT * (1 + len(PLATFORMS) * 14)),
}


@pytest.fixture
def grown(db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """With statistics from when the tables were small."""
    for table in TABLES:
        db.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
    fill(db, SMALL, NOW)
    db.execute("analyze")
    return db


def times(amounts: Amounts, factor: int) -> Amounts:
    """`times` as much, with the same ads per account and days per figure."""
    return replace(
        amounts,
        **{
            name: getattr(amounts, name) * factor
            for name in ("notifications", "runs", "requests", "accounts", "unnamed", "activity")
        },
        days=amounts.days + 10 * factor,
    )


def questions(db: psycopg.Connection[Any]) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """By name, the SQL call of a page, with its arguments."""
    platform, account = first_account()
    platforms = list(PLATFORMS)
    request = value(db, "select request_id from metric_ad_links where id = %s", f"{account}a0")
    after = {"platform": platform, "account_id": account}
    before = Jsonb({"created_at": NOW.isoformat(), "id": "f" * 8 + "-ffff" * 3 + "-" + "f" * 12})
    return {
        "accounts": ("console_accounts(%s, %s, %s, null, %s)", (LIMIT, SINCE, UNTIL, NOW)),
        "accounts, further on": (
            "console_accounts(%s, %s, %s, %s, %s)", (LIMIT, SINCE, UNTIL, Jsonb(after), NOW)
        ),
        "account": ("console_account(%s, %s, %s, %s, %s)", (platform, account, SINCE, UNTIL, NOW)),
        "unnamed": ("console_unnamed_ads(%s, %s, %s)", (platform, account, LIMIT)),
        "unnamed, further on": (
            "console_unnamed_ads(%s, %s, %s, %s)",
            (platform, account, LIMIT,
             Jsonb({"spend": "20", "campaign_id": "", "ad_group_id": "", "ad_id": ""})),
        ),
        "requests": ("console_requests(%s, %s, %s, %s)", (LIMIT, SINCE, UNTIL, platforms)),
        "requests, further on": (
            "console_requests(%s, %s, %s, %s, null, %s)", (LIMIT, SINCE, UNTIL, platforms, before)
        ),
        "requests that name an ad": (
            "console_requests(%s, %s, %s, %s, %s)", (LIMIT, SINCE, UNTIL, platforms, f"{account}a0")
        ),
        "request": (
            "console_request(%s, %s, %s, %s, %s, %s)",
            (request, SINCE, UNTIL, platforms, list(CHARTED), LIMIT),
        ),
        "figure": (
            "console_figure(%s, %s, %s, %s, %s)", (request, platform, charted_day(NOW), LIMIT, 50)
        ),
        "activity that is due": due("activity_log", 1, 2),
        "notifications that are due": due("notification_queue", 0, 0),
        "sync logs that are due": due("metric_sync_logs", 5, 5),
        "overview": ("console_overview(20, 20, '6 hours', '1 hour', %s)", (NOW,)),
        "notifications": ("console_notifications(row_limit => %s)", (LIMIT,)),
        "dead notifications": ("console_notifications('dead', row_limit => %s)", (LIMIT,)),
        "notifications of an event": (
            "console_notifications(event_type => 'event_1', row_limit => %s)", (LIMIT,)
        ),
        "notifications of a channel": (
            "console_notifications(destination => 'C00000001', row_limit => %s)", (LIMIT,)
        ),
        "notification": (
            "console_notification(%s)",
            (value(db, "select id from notification_queue order by created_at limit 1"),),
        ),
        "actions": ("list_console_actions(row_limit => %s)", (LIMIT,)),
        "actions, further on": (
            "list_console_actions(%s, %s, %s)", (NOW - timedelta(hours=9), "f" * 32, LIMIT)
        ),
        "what a redrive would affect": (
            "console_scope('redrive', %s)",
            (Jsonb({"ids": [str(value(
                db, "select id from notification_queue where attempts = 5 order by id limit 1"
            ))]}),),
        ),
        "spend": (
            "console_client_spend(%s, %s, %s, %s)",
            (LIMIT, f"{NOW.date() - timedelta(days=13)}", UNTIL, platforms),
        ),
    }  # fmt: skip


def due(entity_type: str, active: int, archive: int) -> tuple[str, tuple[Any, ...]]:
    """With cutoffs of so many days, so that some rows are due."""
    cutoffs = NOW - timedelta(days=active), NOW - timedelta(days=archive)
    return "console_due_days(%s, %s, %s, %s, %s)", (entity_type, *cutoffs, DUE_DAYS, LIMIT)


def value(db: psycopg.Connection[Any], query: str, *arguments: Any) -> Any:
    row = db.execute(query.encode(), arguments).fetchone()
    assert row is not None
    (one,) = row.values()
    return one


def rows_read(db: psycopg.Connection[Any], call: str, arguments: tuple[Any, ...]) -> int:
    """By a call, which returns something."""
    with db.transaction():
        before = counted(db)
        assert value(db, f"select public.{call}", *arguments), call
        return counted(db) - before


def counted(db: psycopg.Connection[Any]) -> int:
    return int(
        value(
            db,
            "select sum(seq_tup_read + idx_tup_fetch) from pg_stat_xact_user_tables "
            "where relname = any (%s)",
            list(TABLES),
        )
    )


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_no_page_reads_more_because_there_is_more(
    grown: psycopg.Connection[Any], statistics: str
) -> None:
    for factor in GROWTH:
        fill(grown, times(SMALL, factor), NOW)
        if statistics == "fresh":
            grown.execute("analyze")
        asked = questions(grown)
        read = {name: rows_read(grown, *question) for name, question in asked.items()}
        assert all(read.values()), "each found something"
        too_many = {name: n for name, n in read.items() if n > MOST[name.partition(",")[0]]}
        assert not too_many, f"at {factor}: {read}"
