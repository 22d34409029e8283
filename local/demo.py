"""`make demo`: every worker, once, over the sample agency, and what came of it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.invoke import invoke, read_event
from local.stack import Running

Scene = Callable[[Running, Console], bool]


def play(running: Running, console: Console) -> bool:
    """Show every scene; False when one did not end as it should."""
    ended_well = [scene(running, console) for scene in SCENES]
    return all(ended_well)


def notifications(running: Running, console: Console) -> bool:
    """The queue before, a run, and what arrived where."""
    console.rule("Notifications: the dashboard's queue, to Slack")
    waiting = _query(running, _WAITING)
    console.print(
        f"\nThe agency's dashboard has queued {len(waiting)} notifications. In a minute "
        "EventBridge would start the worker; here it is started now.\n"
    )
    summary, told = _run("notifications", running)
    arrived = _arrived(running)

    table = Table(title="What arrived in Slack", title_justify="left")
    table.add_column("where")
    table.add_column("message", overflow="fold")
    for where, text in arrived:
        table.add_row(where, _readable(text))
    console.print(table, "")

    outcomes = _query(running, _OUTCOMES)
    table = Table(title="What the queue says now", title_justify="left")
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
        console.print("This is not what should have come of it:", style="bold red")
        console.print(f"{summary}\n{told}", markup=False)
    return well


SCENES: tuple[Scene, ...] = (notifications,)

_WAITING = "select id from notification_queue where not is_processed order by created_at"
_OUTCOMES = """
    select coalesce(outcome, 'waiting') as outcome, count(*),
           string_agg(distinct last_error, '; ') as why
      from notification_queue group by 1 order by 2 desc, 1
"""


def _run(function: str, running: Running) -> tuple[dict[str, Any], str]:
    """One pass of a function: its summary, and its log, which is shown only when it fails."""
    with tempfile.TemporaryFile() as log:
        try:
            event = read_event(function, None)
            summary = invoke(function, event, running.environment(), log=log.fileno())
        except Exception as error:
            log.seek(0)
            error.add_note(log.read().decode(errors="replace"))
            raise
        log.seek(0)
        return summary, log.read().decode(errors="replace")


def _query(running: Running, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(running.database_url, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def _arrived(running: Running) -> list[tuple[str, str]]:
    """Each message of the stand-in: where, and its text as it was sent; in order within one."""
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
    """As Slack shows it: entities are characters."""
    shown = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return escape(shown)
