"""Commands for notifications that were not posted and configs that wait."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, TextIO

from workers.database import Database
from workers.operate.command_line import confirmed, row_id, verb
from workers.operate.output import as_json, show
from workers.settings import Settings

# So many at a time stay well within the API's statement timeout.
REDRIVE_BATCH = 1000


def add_subjects(subjects: Any) -> None:
    """`dead list | show | redrive` and `parked list | release`."""
    dead = subjects.add_parser("dead", help="notifications that ended without being posted")
    verbs = dead.add_subparsers(required=True, metavar="VERB")
    one = verb(verbs, "list", list_dead)
    _choice(one)
    one.add_argument("--limit", type=_positive, default=100, help="at most so many (100)")
    verb(verbs, "show", show_dead).add_argument("id", type=row_id, help="the notification's id")
    one = verb(verbs, "redrive", redrive_dead)
    one.add_argument("id", nargs="?", type=row_id, help="the notification's id")
    _choice(one)
    one.add_argument("--all", action="store_true", help="every one")
    one.add_argument("--yes", action="store_true", help="do not ask")

    parked = subjects.add_parser("parked", help="configs that wait for something to be mended")
    verbs = parked.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "list", list_parked)
    one = verb(verbs, "release", release_parked)
    one.add_argument("id", nargs="?", type=row_id, help="the config's id")
    one.add_argument("--all", action="store_true", help="every one")


def _positive(text: str) -> int:
    """Raises argparse's error for what is not a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


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
        row_limit=options.limit,
    )
    columns = ("id", "event_type", "outcome", "created_at", "destinations", "error_code", "error")
    show(rows, columns, options, out, empty="No dead letters.")
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
    if not any(which.values()) and not options.all:
        sys.stderr.write("Say which: an ID, --config, --error or --all.\n")
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


def list_parked(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Parked configs, with the reason and how much waits."""
    rows = database.call("list_parked_configs")
    columns = ("config_id", "event_type", "since", "waiting", "code", "reason")
    show(rows, columns, options, out, empty="Nothing is parked.")
    return 0


def release_parked(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Let a parked config's notifications go on."""
    if not options.id and not options.all:
        sys.stderr.write("Say which: a config's ID or --all.\n")
        return 2
    count = database.call("release_parked_configs", config_id=options.id)
    if options.json:
        out.write(json.dumps({"released": count}) + "\n")
    else:
        out.write(f"{count} released.\n")
    return 0 if count or not options.id else 1
