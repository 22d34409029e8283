"""Commands for notifications that were not posted, or are not to be, and for what stands still."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, TextIO

from workers.database import Database
from workers.operate.command_line import confirmed, limit, row_id, verb
from workers.operate.output import as_json, show, show_page
from workers.settings import Settings

# So many at a time stay well within the API's statement timeout.
REDRIVE_BATCH = 1000
# What `skip` says of each notification.
SKIPPED = {
    "skipped": "skipped.",
    "in_flight": "not skipped: it is being posted at the moment.",
    "ended": "not skipped: it has ended already.",
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
    one.add_argument("--all", action="store_true", help="every one")
    one.add_argument("--yes", action="store_true", help="do not ask")

    one = verb(subjects, "skip", skip)
    one.add_argument("ids", nargs="+", type=row_id, metavar="ID", help="a notification's id")

    parked = subjects.add_parser("parked", help="what waits until something is fixed")
    verbs = parked.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "list", list_parked)
    one = verb(verbs, "release", release_parked)
    one.add_argument(
        "destination", nargs="?", help="the channel or person, as `parked list` has it"
    )
    one.add_argument("--all", action="store_true", help="every one")


def _choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=row_id, metavar="ID", help="only those of this config")
    parser.add_argument("--error", metavar="CODE", help="only those that ended with this code")


def list_dead(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Dead and expired notifications, newest first."""
    rows = database.call(
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
    """One notification with its whole delivery log."""
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
        sys.stderr.write("Say which: an ID, or --config and --error, or --all.\n")
        return 2
    if options.all and not confirmed("Deliver every dead and expired notification?", options):
        return 1
    total = 0
    while True:
        count = database.call("redrive_notifications", **which, row_limit=REDRIVE_BATCH)
        total += count
        if count < REDRIVE_BATCH:
            break
    if options.json:
        out.write(json.dumps({"redriven": total}) + "\n")
    else:
        out.write(f"{total} will be delivered by the next run.\n")
    return 0 if total or not options.id else 1


def skip(database: Database, settings: Settings, options: argparse.Namespace, out: TextIO) -> int:
    """End notifications that wait, so that they are not posted."""
    told = {one: _skip(database, one) for one in dict.fromkeys(options.ids)}
    if options.json:
        out.write(json.dumps(told) + "\n")
    else:
        for one, came_of_it in told.items():
            out.write(f"{one}: {SKIPPED[came_of_it]}\n")
    return 0 if set(told.values()) == {"skipped"} else 1


def _skip(database: Database, notification: str) -> str:
    """What came of it: a key of SKIPPED."""
    if database.call("skip_notifications", notification_ids=[notification]):
        return "skipped"
    found = database.call("show_notification", id=notification)
    if found is None:
        return "unknown"
    if any(delivery["state"] == "sending" for delivery in found["deliveries"]):
        return "in_flight"
    return "ended"


def list_parked(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """What stands still, longest first: why, since when, how much waits, when it is tried."""
    rows = database.call("list_parked")
    columns = (
        "destination", "config_id", "event_type", "since", "waiting", "next_probe", "code",
        "reason",
    )  # fmt: skip
    if not options.json:
        rows = [_named(row) for row in rows]
    show(rows, columns, options, out, empty="Nothing is parked.")
    return 0


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """For people: a row of neither destination nor config is of all delivery."""
    is_all = row["destination"] is None and row["config_id"] is None
    return {**row, "destination": "(all)"} if is_all else row


def release_parked(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Have a parked channel or person tried again by the next run."""
    if bool(options.destination) == options.all:
        sys.stderr.write("Say which: a channel or person, or --all.\n")
        return 2
    count = database.call("release_parked", destination=options.destination)
    if options.json:
        out.write(json.dumps({"released": count}) + "\n")
    elif options.destination and not count:
        sys.stderr.write(
            f"{options.destination} is not parked. `parked list` says what is, by destination.\n"
        )
    else:
        out.write(f"{count} released.\n")
    return 0 if count or options.all else 1
