"""`make demo`: runs every worker once over the sample agency and shows the results."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import psycopg
from psycopg.rows import dict_row
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.environment import of_stack
from local.invoke import invoke, scheduled_event
from local.stack import Running

Scene = Callable[[Running, Console], bool]


def play(running: Running, console: Console) -> bool:
    """Show every scene; False if one had an unexpected result."""
    ended_well = [scene(running, console) for scene in SCENES]
    return all(ended_well)


def notifications(running: Running, console: Console) -> bool:
    """The queue, a run, and what arrived where."""
    console.rule("Notifications: the dashboard's queue, to Slack")
    waiting = _query(running, _WAITING)
    console.print(
        f"\nThe agency's dashboard has queued {len(waiting)} notifications. In a minute "
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

    outcomes = _query(running, _OUTCOMES)
    table = Table(title="The queue now", title_justify="left")
    for heading in ("outcome", "notifications", "why"):
        table.add_column(heading)
    for row in outcomes:
        table.add_row(row["outcome"], str(row["count"]), escape(row["why"] or ""))
    console.print(table, "")

    counts = Counter({row["outcome"]: row["count"] for row in outcomes})
    well = (
        summary["outcome"] == "drained"
        and summary["sent"] == len(arrived) == counts["sent"]
        and sum(counts.values()) == len(waiting)
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
    connected = _query(running, "select 1 from platform_connections where is_active")
    console.print(
        f"\nThe agency has connected {len(connected)} ad accounts. Every ten minutes "
        "EventBridge would start the plan, which sends one message per account that is due.\n"
    )
    first, log = _run("metrics_sync", running)
    accounts = _query(running, _ACCOUNTS)
    console.print(_account_table("The first sync", accounts))
    console.print(_spend_chart(_query(running, _SPEND)), "")

    restated = _restate_a_day(running)
    _execute(running, "update platform_connections set last_synced_at = null")
    second, second_log = _run("metrics_sync", running)
    again = _query(running, _ACCOUNTS)
    console.print(_account_table("A second sync, after Meta restated a day", again), "")

    well = (
        first["planned"] == second["planned"] == len(connected) == len(accounts)
        and first["messages_failed"] == second["messages_failed"] == 0
        and all(row["status"] == "success" for row in (*accounts, *again))
        and all(row["created"] > 0 for row in accounts)
        and not any(row["created"] for row in again)
        and sum(row["updated"] for row in again) > 0
    )
    if well:
        stored = _query(running, "select count(*) from performance_metrics")[0]["count"]
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
    before = _query(running, _AGES)[0]
    _execute(running, _LONG_ARCHIVED)
    console.print(
        f"\nOf {before['active']} entries in the activity log {before['due']} are older than 90 "
        "days. Once a week EventBridge would start the worker.\n"
    )
    summary, log = _run("retention", running)
    after = _query(running, _AGES)[0]

    table = Table(title="What the run did", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("policy", "status", "archived", "purged"):
        table.add_column(heading, justify="left" if heading in ("policy", "status") else "right")
    for one in summary["policies"]:
        table.add_row(one["entity_type"], one["status"], str(one["archived"]), str(one["purged"]))
    console.print(table)

    (activity,) = [one for one in summary["policies"] if one["entity_type"] == "activity_log"]
    well = bool(
        summary["outcome"] == "complete"
        and activity["archived"] == before["due"] == before["active"] - after["active"]
        and after["due"] == 0
        and after["archived"] + activity["purged"] == before["due"] + LONG_ARCHIVED
    )
    if well:
        console.print(
            f"[bold]{activity['archived']} archived, {activity['purged']} purged[/bold]; "
            f"{after['active']} entries are active, {after['archived']} in the archive.\n",
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
_WAITING = "select id from notification_queue where not is_processed order by created_at"
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


def _account_table(title: str, accounts: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("platform", "account", "sync"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "ours", "others", "new", "changed"):
        table.add_column(heading, justify="right")
    for row in accounts:
        counts = (row["rows"], row["matched"], row["unmatched"], row["created"], row["updated"])
        table.add_row(
            escape(row["platform"]),
            escape(row["account"]),
            f"{row['status']} {escape(row['why'])}".strip(),
            *map(str, counts),
        )
    return table


def _spend_chart(days: list[dict[str, Any]]) -> Table:
    """Spend by day and platform, and a bar for each day."""
    table = Table(title="Spend of the agency's requests, EUR", title_justify="left", box=None)
    platforms = sorted({name for row in days for name in row["by_platform"]})
    table.add_column("day")
    for name in platforms:
        table.add_column(name, justify="right")
    table.add_column("")
    most = max((row["total"] for row in days), default=1)
    for row in days:
        spent = (f"{row['by_platform'].get(name, 0):.2f}" for name in platforms)
        bar = "█" * round(CHART_WIDTH * row["total"] / most)
        table.add_row(f"{row['date']:%b %d}", *spent, bar)
    return table


def _restate_a_day(running: Running) -> date:
    """Make the fake Meta restate one day of one matched ad; returns the day."""
    (row,) = _query(
        running,
        "select ad_id, account_id, date from ad_metrics where platform = 'meta' "
        "and measures ->> 'clicks' <> '0' "
        "order by date desc, ad_id offset 3 limit 1",
    )
    state = running.meta.state()
    state["accounts"][row["account_id"]]["restated"] = {
        f"{row['ad_id']}/{row['date']}": {
            "impressions": 4321, "clicks": 98, "spend": "76.50", "reach": 3210,
        }
    }  # fmt: skip
    running.meta.replace_state(state)
    restated: date = row["date"]
    return restated


def _execute(running: Running, statement: str) -> None:
    with psycopg.connect(running.database_url) as connection:
        connection.execute(statement.encode())


def _query(running: Running, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(running.database_url, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


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
