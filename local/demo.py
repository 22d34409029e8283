"""`make demo`: runs every worker once over the sample agency and shows the results."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row, scalar_row
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.environment import of_stack
from local.invoke import invoke, scheduled_event
from local.stack import Running

Scene = Callable[[Running, Console], bool]
Row = TypeVar("Row")


@dataclass(frozen=True)
class _Outcome:
    """How many notifications ended or wait like this, and why."""

    outcome: str
    count: int
    why: str | None


@dataclass(frozen=True)
class _Account:
    """An ad account and its last sync; rows of ads that requests name are `matched`."""

    platform: str
    account: str
    status: str
    window: str | None
    rows: int
    matched: int
    unmatched: int
    created: int
    updated: int
    why: str


@dataclass(frozen=True)
class _Day:
    """What was spent on a day, in euros."""

    date: date
    by_platform: dict[str, float]
    total: Decimal


@dataclass(frozen=True)
class _Fact:
    """One ad on one day."""

    ad_id: str
    account_id: str
    date: date


@dataclass(frozen=True)
class _Ages:
    """Rows of activity: all active ones, those of them that are due, and archived ones."""

    active: int
    due: int
    archived: int


def play(running: Running, console: Console) -> bool:
    """Show every scene; False if one had an unexpected result."""
    ended_well = [scene(running, console) for scene in SCENES]
    return all(ended_well)


def notifications(running: Running, console: Console) -> bool:
    """The queue, a run, and what arrived where."""
    console.rule("Notifications: the dashboard's queue, to Slack")
    waiting = _count(running, _WAITING)
    console.print(
        f"\nThe agency's dashboard has queued {waiting} notifications. In a minute "
        "EventBridge would start the worker; here it is started now.\n"
    )
    summary, log = _run("notifications", running)
    arrived = _arrived(running)

    table = Table(title="What arrived in Slack", title_justify="left")
    table.add_column("where")
    table.add_column("message", overflow="fold")
    for where, text in arrived:
        table.add_row(where, _readable(text))
    console.print(table, "")

    outcomes = _query(running, _Outcome, _OUTCOMES)
    table = Table(title="The queue now", title_justify="left")
    for heading in ("outcome", "notifications", "why"):
        table.add_column(heading)
    for one in outcomes:
        table.add_row(one.outcome, str(one.count), escape(one.why or ""))
    console.print(table, "")

    counts = Counter({one.outcome: one.count for one in outcomes})
    well = (
        summary["outcome"] == "drained"
        and summary["sent"] == len(arrived) == counts["sent"]
        and sum(counts.values()) == waiting
        and not any("<!channel>" in text for _, text in arrived)
    )
    if well:
        console.print(
            f"[bold]{summary['sent']} delivered[/bold], {summary['skipped']} skipped, "
            f"{summary['expired']} expired, {summary['dead']} dead. A client's <!channel> and "
            "@here arrived as plain characters.\n",
            highlight=False,
        )
    else:
        console.print("Unexpected result:", style="bold red")
        console.print(f"{summary}\n{log}", markup=False)
    return well


def metrics(running: Running, console: Console) -> bool:
    """A plan and the syncs of the connected ad accounts, twice, and what was stored."""
    console.rule("Metrics: the ad platforms' figures, to the agency's requests")
    connected = _count(running, "select count(*) from platform_connections where is_active")
    console.print(
        f"\nThe agency has connected {connected} ad accounts. Every ten minutes "
        "EventBridge would start the plan, which sends one message per account that is due.\n"
    )
    first, log = _run("metrics_sync", running)
    accounts = _query(running, _Account, _ACCOUNTS)
    console.print(_account_table("The first sync", accounts))
    console.print(_spend_chart(_query(running, _Day, _SPEND)), "")

    restated = _restate_a_day(running)
    _execute(running, "update platform_connections set last_synced_at = null")
    second, second_log = _run("metrics_sync", running)
    again = _query(running, _Account, _ACCOUNTS)
    console.print(_account_table("A second sync, after Meta restated a day", again), "")

    well = (
        first["planned"] == second["planned"] == connected == len(accounts)
        and first["messages_failed"] == second["messages_failed"] == 0
        and all(one.status == "success" for one in (*accounts, *again))
        and all(one.created > 0 for one in accounts)
        and not any(one.created for one in again)
        and sum(one.updated for one in again) > 0
    )
    if well:
        stored = _count(running, "select count(*) from performance_metrics")
        console.print(
            f"[bold]{len(accounts)} accounts, {stored} figures[/bold]. The second sync created "
            f"none and updated those of {restated:%B %-d}; ads that no request names are counted, "
            "not stored.\n",
            highlight=False,
        )
    else:
        console.print("Unexpected result:", style="bold red")
        console.print(f"{first}\n{second}\n{log}\n{second_log}", markup=False)
    return well


def retention(running: Running, console: Console) -> bool:
    """What is past its retention, before and after a run."""
    console.rule("Retention: old rows archived, older ones deleted")
    (before,) = _query(running, _Ages, _AGES)
    _execute(running, _LONG_ARCHIVED)
    console.print(
        f"\nOf {before.active} entries in the activity log {before.due} are older than 90 "
        "days. Once a week EventBridge would start the worker.\n"
    )
    summary, log = _run("retention", running)
    (after,) = _query(running, _Ages, _AGES)

    table = Table(title="What the run did", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("policy", "status", "archived", "purged"):
        table.add_column(heading, justify="left" if heading in ("policy", "status") else "right")
    for one in summary["policies"]:
        table.add_row(one["entity_type"], one["status"], str(one["archived"]), str(one["purged"]))
    console.print(table)

    (activity,) = [one for one in summary["policies"] if one["entity_type"] == "activity_log"]
    well = bool(
        summary["outcome"] == "complete"
        and activity["archived"] == before.due == before.active - after.active
        and after.due == 0
        and after.archived + activity["purged"] == before.due + LONG_ARCHIVED
    )
    if well:
        console.print(
            f"[bold]{activity['archived']} archived, {activity['purged']} purged[/bold]; "
            f"{after.active} entries are active, {after.archived} in the archive.\n",
            highlight=False,
        )
    else:
        console.print("Unexpected result:", style="bold red")
        console.print(f"{before}\n{after}\n{summary}\n{log}", markup=False)
    return well


SCENES: tuple[Scene, ...] = (notifications, metrics, retention)

LONG_ARCHIVED = 250
_LONG_ARCHIVED = f"""
    insert into archived_activity_log (id, entity_type, entity_id, action, created_at)
    select gen_random_uuid(), 'request', gen_random_uuid(), 'edited',
           now() - interval '2 years' + number * interval '1 hour'
      from generate_series(1, {LONG_ARCHIVED}) number
"""  # noqa: S608 - a constant
_AGES = """
    select count(*) as active,
           count(*) filter (where created_at < now() - interval '90 days') as due,
           (select count(*) from archived_activity_log) as archived
      from activity_log
"""

_ACCOUNTS = """
    select distinct on (connection.id)
           connection.platform, connection.account_name as account, log.status,
           log.details ->> 'window' as "window",
           (log.details ->> 'rows')::int as rows,
           (log.details ->> 'matched_rows')::int as matched,
           (log.details ->> 'unmatched_ads')::int as unmatched,
           coalesce(log.metrics_created, 0) as created,
           coalesce(log.metrics_updated, 0) as updated,
           coalesce(log.error_message, '') as why
      from metric_sync_logs log
      join platform_connections connection on connection.id = log.platform_connection_id
     order by connection.id, log.start_time desc
"""
_SPEND = """
    select date, jsonb_object_agg(platform, spent) as by_platform, sum(spent) as total
      from (select date, platform, sum(value) as spent from performance_metrics
             where metric_type = 'spend'
               and date > (select max(date) from performance_metrics) - 10
             group by date, platform) by_day
     group by date order by date
"""
CHART_WIDTH = 30
_WAITING = "select count(*) from notification_queue where not is_processed"
_OUTCOMES = """
    select coalesce(outcome, 'waiting') as outcome, count(*),
           string_agg(distinct last_error, '; ') as why
      from notification_queue group by 1 order by 2 desc, 1
"""


def _run(function: str, running: Running) -> tuple[dict[str, Any], str]:
    """Run a function once: its summary, and its log, which is shown only if it fails."""
    with tempfile.TemporaryFile() as log:
        try:
            event = scheduled_event(function)
            summary = invoke(function, event, of_stack(running), log=log.fileno())
        except Exception as error:
            log.seek(0)
            error.add_note(log.read().decode(errors="replace"))
            raise
        log.seek(0)
        return summary, log.read().decode(errors="replace")


def _account_table(title: str, accounts: list[_Account]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("platform", "account", "sync"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "ours", "others", "new", "changed"):
        table.add_column(heading, justify="right")
    for one in accounts:
        counts = (one.rows, one.matched, one.unmatched, one.created, one.updated)
        table.add_row(
            escape(one.platform),
            escape(one.account),
            f"{one.status} {escape(one.why)}".strip(),
            *map(str, counts),
        )
    return table


def _spend_chart(days: list[_Day]) -> Table:
    """Spend by day and platform, and a bar for each day."""
    table = Table(title="Spend of the agency's requests, EUR", title_justify="left", box=None)
    platforms = sorted({name for day in days for name in day.by_platform})
    table.add_column("day")
    for name in platforms:
        table.add_column(name, justify="right")
    table.add_column("")
    most = max((day.total for day in days), default=Decimal(1))
    for day in days:
        spent = (f"{day.by_platform.get(name, 0):.2f}" for name in platforms)
        bar = "█" * round(CHART_WIDTH * day.total / most)
        table.add_row(f"{day.date:%b %d}", *spent, bar)
    return table


def _restate_a_day(running: Running) -> date:
    """Make the fake Meta restate one day of one matched ad; returns the day."""
    (fact,) = _query(
        running,
        _Fact,
        "select ad_id, account_id, date from ad_metrics where platform = 'meta' "
        "and measures ->> 'clicks' <> '0' "
        "order by date desc, ad_id offset 3 limit 1",
    )
    state = running.meta.state()
    state["accounts"][fact.account_id]["restated"] = {
        f"{fact.ad_id}/{fact.date}": {
            "impressions": 4321, "clicks": 98, "spend": "76.50", "reach": 3210,
        }
    }  # fmt: skip
    running.meta.replace_state(state)
    return fact.date


def _execute(running: Running, statement: str) -> None:
    with psycopg.connect(running.database_url) as connection:
        connection.execute(statement.encode())


def _query(running: Running, kind: type[Row], query: str) -> list[Row]:
    with psycopg.connect(running.database_url, row_factory=class_row(kind)) as connection:
        return connection.execute(query.encode()).fetchall()


def _count(running: Running, query: str) -> int:
    with psycopg.connect(running.database_url, row_factory=scalar_row) as connection:
        (count,) = connection.execute(query.encode()).fetchall()
    return int(count)


def _arrived(running: Running) -> list[tuple[str, str]]:
    """Each message in the fake: its channel, and its text as sent; in order within a channel."""
    workspace = running.slack.state()
    places = {id_: f"#{channel['name']}" for id_, channel in workspace["channels"].items()}
    places |= {
        f"D{id_[1:]}": f"{person['name']} (direct message)"
        for id_, person in workspace["users"].items()
    }
    arrived = [
        (places.get(conversation, conversation), message["text"])
        for conversation, messages in workspace["messages"].items()
        for message in messages
    ]
    return sorted(arrived, key=lambda one: one[0])


def _readable(text: str) -> str:
    """As Slack shows it, with entities decoded."""
    shown = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return escape(shown)
