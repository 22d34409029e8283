"""What ran and what waits, at a glance: status, the latest syncs, the queue."""

from __future__ import annotations

import argparse
from typing import Any, TextIO

from workers.database import Database
from workers.doctor.health import assess
from workers.operate.command_line import positive, verb
from workers.operate.output import as_json, say, show
from workers.settings import Settings

STATUSES = ("in_progress", "success", "partial", "failed")
LATEST_RUNS = 10


def add_subjects(subjects: Any) -> None:
    """`status`, `syncs list` and `queue list`."""
    verb(subjects, "status", status)
    syncs = subjects.add_parser("syncs", help="the syncs of ad accounts")
    one = verb(syncs.add_subparsers(required=True, metavar="VERB"), "list", list_syncs)
    one.add_argument("--status", choices=STATUSES, help="only those that ended so")
    _limit(one)
    queue = subjects.add_parser("queue", help="the notifications that wait")
    _limit(verb(queue.add_subparsers(required=True, metavar="VERB"), "list", list_queue))


def _limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=positive, default=50, help="at most so many (50)")


def status(database: Database, settings: Settings, options: argparse.Namespace, out: TextIO) -> int:
    """Whether each worker is well, what waits, and the latest runs; 1 if one is not well."""
    health = assess(database.call("worker_health"), settings.switched_off)
    runs = database.call("list_worker_runs", row_limit=LATEST_RUNS)
    if options.json:
        out.write(as_json({**health.body, "runs": runs}) + "\n")
        return 0 if health.status == 200 else 1
    queue, connections = health.body["queue"], health.body["connections"]
    workers = [
        {"worker": name, "reason": None, **found} for name, found in health.body["workers"].items()
    ]
    show(workers, ("worker", "status", "lastProcessedAt", "reason"), options, out, empty="")
    out.write(
        f"\nQueue: {_about(queue['due'])} due, {_about(queue['dead'])} dead, "
        f"{queue['parkedDestinations']} destinations parked, "
        f"{_about(queue['withoutDestination'])} without one.\n"
        f"Ad accounts: {connections['failing']} failing, {connections['parked']} parked; last "
        f"synced {connections['lastSyncedAt'] or 'never'}.\n\n"
    )
    columns = ("worker", "ended_at", "seconds", "outcome", "error_class")
    show(runs, columns, options, out, empty="No worker has run yet.")
    return 0 if health.status == 200 else 1


def list_syncs(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """The latest syncs of ad accounts, newest first."""
    rows = database.call("list_syncs", row_limit=options.limit + 1, only_status=options.status)
    columns = (
        "start_time", "platform", "account", "status", "seconds", "created", "updated", "error"
    )  # fmt: skip
    _show_page(rows, columns, options, out, empty="No ad account was synced yet.")
    return 0


def list_queue(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """The notifications that wait to be delivered, oldest first."""
    rows = database.call("list_waiting_notifications", row_limit=options.limit + 1)
    columns = ("id", "event_type", "created_at", "next_attempt_at", "attempts", "error")
    _show_page(rows, columns, options, out, empty="Nothing waits.")
    return 0


def _show_page(
    rows: list[dict[str, Any]],
    columns: tuple[str, ...],
    options: argparse.Namespace,
    out: TextIO,
    *,
    empty: str,
) -> None:
    """Of one row more than asked for only that there are more is said."""
    show(rows[: options.limit], columns, options, out, empty=empty)
    if len(rows) > options.limit:
        say(f"There are more than these {options.limit}: --limit shows further ones.")


def _about(count: int) -> str:
    return "10,000 or more" if count >= 10_000 else str(count)
