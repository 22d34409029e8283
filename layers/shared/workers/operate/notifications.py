"""Commands for notifications that were not posted, or are not to be, and for what is parked."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, TextIO

from workers.answers import Answer, read_whole
from workers.database import Database
from workers.operate.command_line import confirmed, limit, row_id, rows_of, verb
from workers.operate.output import Row, as_json, show, show_page
from workers.settings import Settings

# This many at a time stay well within the API's statement timeout.
REDRIVE_BATCH = 1000
# What `skip` says of each notification.
SKIPPED = {
    "skipped": "skipped.",
    "in_flight": "not skipped: it is being posted right now.",
    "ended": "not skipped: it has already ended.",
    "unknown": "there is no such notification.",
}


def add_subjects(subjects: Any) -> None:
    """`dead list | show | redrive`, `skip` and `parked list | release`."""
    dead = subjects.add_parser("dead", help="notifications that ended without being posted")
    verbs = dead.add_subparsers(required=True, metavar="VERB")
    one = verb(verbs, "list", list_dead)
    _choice(one)
    limit(one, 100)
    verb(verbs, "show", show_dead).add_argument("id", type=row_id, help="the notification's id")
    one = verb(verbs, "redrive", redrive_dead)
    one.add_argument("id", nargs="?", type=row_id, help="the notification's id")
    _choice(one)
    one.add_argument("--all", action="store_true", help="all of them")
    one.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    one = verb(subjects, "skip", skip)
    one.add_argument("ids", nargs="+", type=row_id, metavar="ID", help="a notification's id")

    parked = subjects.add_parser("parked", help="what waits until something is fixed")
    verbs = parked.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "list", list_parked)
    one = verb(verbs, "release", release_parked)
    one.add_argument(
        "destination", nargs="?", help="the channel or person, as `parked list` shows it"
    )
    one.add_argument("--all", action="store_true", help="all of them")


def _choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=row_id, metavar="ID", help="only those of this config")
    parser.add_argument("--error", metavar="CODE", help="only those that ended with this code")


def list_dead(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Dead and expired notifications, newest first."""
    rows = rows_of(
        database,
        "list_dead_notifications",
        config_id=options.config,
        error_code=options.error,
        row_limit=options.limit + 1,
    )
    columns = (
        "id", "event_type", "outcome", "created_at", "destinations", "in_doubt", "error_code",
        "error",
    )  # fmt: skip
    show_page(rows, columns, options, out, empty="No dead letters.")
    return 0


def show_dead(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """One notification with its complete delivery log."""
    found = database.call("show_notification", id=options.id)
    if found is None:
        sys.stderr.write(f"There is no notification {options.id}.\n")
        return 1
    out.write(as_json(found, indent=2) + "\n")
    return 0


def redrive_dead(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Deliver dead and expired notifications after all."""
    which = {
        "notification_id": options.id,
        "config_id": options.config,
        "error_code": options.error,
    }
    by_id, by_choice = bool(options.id), bool(options.config or options.error)
    if by_id + by_choice + options.all != 1:
        sys.stderr.write("Pass an ID, or --config and --error, or --all.\n")
        return 2
    if options.all and not confirmed("Deliver every dead and expired notification?", options):
        return 1
    function, total = "redrive_notifications", 0
    while True:
        answer = database.call(function, **which, row_limit=REDRIVE_BATCH)
        count = read_whole(function, answer)
        total += count
        if count < REDRIVE_BATCH:
            break
    if options.json:
        out.write(json.dumps({"redriven": total}) + "\n")
    else:
        out.write(f"{total} will be delivered by the next run.\n")
    return 0 if total or not options.id else 1


def skip(database: Database, settings: Settings, options: argparse.Namespace, out: TextIO) -> int:
    """End waiting notifications, so that they are not posted."""
    results = {one: _skip(database, one) for one in dict.fromkeys(options.ids)}
    if options.json:
        out.write(json.dumps(results) + "\n")
    else:
        for one, result in results.items():
            out.write(f"{one}: {SKIPPED[result]}\n")
    return 0 if set(results.values()) == {"skipped"} else 1


def _skip(database: Database, notification: str) -> str:
    """The result: a key of SKIPPED."""
    function = "skip_notifications"
    if read_whole(function, database.call(function, notification_ids=[notification])):
        return "skipped"
    value = database.call("show_notification", id=notification)
    if value is None:
        return "unknown"
    found = Answer.of("show_notification", value)
    if any(delivery.text("state") == "sending" for delivery in found.inners("deliveries")):
        return "in_flight"
    return "ended"


def list_parked(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """What is parked, longest first: why, since when, how many wait, when it is retried."""
    rows = rows_of(database, "list_parked")
    columns = (
        "destination", "config_id", "event_type", "since", "waiting", "next_probe", "code",
        "reason",
    )  # fmt: skip
    if not options.json:
        rows = [_named(row) for row in rows]
    show(rows, columns, options, out, empty="Nothing is parked.")
    return 0


def _named(row: Row) -> Row:
    """For people: a row with neither a destination nor a config is about all delivery."""
    is_all = row.get("destination") is None and row.get("config_id") is None
    return {**row, "destination": "(all)"} if is_all else row


def release_parked(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Have the next run retry a parked channel or person."""
    if bool(options.destination) == options.all:
        sys.stderr.write("Pass a channel or person, or --all.\n")
        return 2
    function = "release_parked"
    count = read_whole(function, database.call(function, destination=options.destination))
    if options.json:
        out.write(json.dumps({"released": count}) + "\n")
    elif options.destination and not count:
        sys.stderr.write(
            f"{options.destination} is not parked. `parked list` shows what is, by destination.\n"
        )
    else:
        out.write(f"{count} released.\n")
    return 0 if count or options.all else 1
