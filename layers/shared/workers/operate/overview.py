"""What ran and what waits, at a glance: status, the latest syncs, the queue."""

from __future__ import annotations

import argparse
from typing import Any, TextIO

from workers.database import Database
from workers.doctor.health import assess, read_worker_health
from workers.operate.command_line import limit, rows_of, verb
from workers.operate.output import as_json, show, show_page
from workers.settings import Settings

STATUSES = ("in_progress", "success", "partial", "failed")
LATEST_RUNS = 10


def add_subjects(subjects: Any) -> None:
    """`status`, `syncs list` and `queue list`."""
    verb(subjects, "status", status)
    syncs = subjects.add_parser("syncs", help="the syncs of ad accounts")
    one = verb(syncs.add_subparsers(required=True, metavar="VERB"), "list", list_syncs)
    one.add_argument("--status", choices=STATUSES, help="only those with this status")
    limit(one, 50)
    queue = subjects.add_parser("queue", help="the waiting notifications")
    limit(verb(queue.add_subparsers(required=True, metavar="VERB"), "list", list_queue), 50)


def status(database: Database, settings: Settings, options: argparse.Namespace, out: TextIO) -> int:
    """Whether each worker is healthy, what waits, and the latest runs; 1 if one is unhealthy."""
    found = read_worker_health(database.call("worker_health"))
    health = assess(found, settings.switched_off)
    runs = rows_of(database, "list_worker_runs", row_limit=LATEST_RUNS)
    if options.json:
        out.write(as_json({**health.body, "runs": runs}) + "\n")
        return 0 if health.status == 200 else 1
    workers = [
        {"worker": name, "reason": None, **state.as_json()}
        for name, state in health.workers.items()
    ]
    show(workers, ("worker", "status", "lastProcessedAt", "reason"), options, out, empty="")
    queue, synced_at = found.queue, found.workers["connection_sync"].succeeded_at
    out.write(
        f"\nQueue: {_about(queue.due)} due, {_about(queue.dead)} dead, "
        f"{queue.parked_destinations} destinations parked, "
        f"{_about(queue.without_destination)} without a destination.\n"
        f"Ad accounts: {found.failing_connections} failing, {found.parked_connections} parked; "
        f"last synced {synced_at.isoformat() if synced_at else 'never'}.\n\n"
    )
    columns = ("worker", "ended_at", "seconds", "outcome", "error_class")
    show(runs, columns, options, out, empty="No worker has run yet.")
    return 0 if health.status == 200 else 1


def list_syncs(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """The latest syncs of ad accounts, newest first."""
    rows = rows_of(database, "list_syncs", row_limit=options.limit + 1, only_status=options.status)
    columns = (
        "start_time", "platform", "account", "status", "seconds", "created", "updated", "error"
    )  # fmt: skip
    show_page(rows, columns, options, out, empty="No ad account has been synced yet.")
    return 0


def list_queue(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """The notifications that wait to be delivered, oldest first."""
    rows = rows_of(database, "list_waiting_notifications", row_limit=options.limit + 1)
    columns = ("id", "event_type", "created_at", "next_attempt_at", "attempts", "error")
    show_page(rows, columns, options, out, empty="Nothing is waiting.")
    return 0


def _about(count: int) -> str:
    return "10,000 or more" if count >= 10_000 else str(count)
