"""Commands for the ad accounts: list, connect, remove, release, backfill."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from typing import Any, TextIO

from workers.answers import read_flag, read_whole
from workers.clock import SystemClock, utc_now
from workers.composition.manual_runs import read_past
from workers.database import Database
from workers.errors import WorkerError
from workers.metrics.platforms import PLATFORMS, find_platform
from workers.metrics.platforms.fetching import Reader, Session
from workers.metrics.platforms.protocol import Connection, Platform
from workers.metrics.windows import Window, past_window
from workers.operate.command_line import (
    confirmed,
    one_or_all,
    positive,
    row_id,
    rows_of,
    verb,
)
from workers.operate.output import plain, quiet_logger, say, show
from workers.settings import Settings


def add_subjects(subjects: Any) -> None:
    """`connections list | add | remove | release`, and `backfill`."""
    connections = subjects.add_parser("connections", help="the connected ad accounts")
    verbs = connections.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "list", list_connections)
    one_or_all(verb(verbs, "release", release), "connection")

    one = verb(verbs, "add", add)
    one.add_argument("platform", help=f"one of: {', '.join(PLATFORMS)}")
    one.add_argument("account", help="the account's id, as the platform shows it")
    one.add_argument("--name", help="its display name")
    one.add_argument("--every", type=positive, metavar="MINUTES", help="between syncs (1440)")
    one.add_argument("--unchecked", action="store_true", help="do not ask the platform first")
    one = verb(verbs, "remove", remove)
    one.add_argument("id", type=row_id, help="the connection's id")
    one.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    one = verb(subjects, "backfill", backfill)
    one.add_argument("id", type=row_id, help="the connection's id")
    one.add_argument("--since", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    one.add_argument("--until", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")


def list_connections(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Each connection, its last sync, and what it is waiting for."""
    columns = (
        "id", "platform", "account", "state", "last_synced_at", "last_status", "unread_days",
        "total_difference", "until", "reason",
    )  # fmt: skip
    rows = rows_of(database, "list_connections")
    show(rows, columns, options, out, empty="No ad account is connected.")
    return 0


def add(database: Database, settings: Settings, options: argparse.Namespace, out: TextIO) -> int:
    """Connect an account, or replace its credentials: a JSON object on standard input."""
    platform = find_platform(options.platform)
    if platform is None:
        sys.stderr.write(f"Unknown platform; use one of: {', '.join(PLATFORMS)}.\n")
        return 2
    if sys.stdin.isatty():
        sys.stderr.write("The credentials, as JSON, then Ctrl-D (they are not shown again):\n")
    try:
        credentials = json.loads(sys.stdin.read())
    except ValueError:
        credentials = None
    if not isinstance(credentials, dict):
        sys.stderr.write('Standard input is not a JSON object such as {"access_token": "..."}.\n')
        return 2
    connection = Connection(
        id="", platform=platform.name, account_id=options.account, account_name=options.name,
        credentials=credentials,
    )  # fmt: skip
    opened = platform.open(connection, settings)  # raises if it cannot work
    if not options.unchecked and not _works(opened):
        return 1
    added = database.call(
        "connect_account",
        platform=platform.name,
        account_id=options.account,
        credentials=credentials,
        account_name=options.name,
        sync_frequency=options.every,
    )
    out.write(
        json.dumps({"id": added}) + "\n"
        if options.json
        else f"{added} is connected; the next plan syncs it.\n"
    )
    return 0


def _works(platform: Platform) -> bool:
    """Shows what the platform says about the account; false if something failed."""
    clock = SystemClock()
    with closing(Session()) as session:
        reader = Reader(platform, session, clock, clock.now() + 60, random.random)
        try:
            findings = list(platform.check(reader.fetch_json))
        except WorkerError as error:
            say(str(error))
            return False
    for finding in findings:
        say(f"{finding.level}: {finding.text}")
        if finding.fix:
            sys.stderr.write(f"  {plain(finding.fix)}\n")
    return not any(finding.level == "failed" for finding in findings)


def remove(database: Database, settings: Settings, options: argparse.Namespace, out: TextIO) -> int:
    """Stop syncing a connection; its figures are kept."""
    if not confirmed("Stop syncing this account?", options):
        return 1
    function = "disconnect_account"
    removed = read_flag(function, database.call(function, connection_id=options.id))
    if options.json:
        out.write(json.dumps({"removed": int(removed)}) + "\n")
    else:
        out.write("Syncing has stopped.\n" if removed else "There is no such active connection.\n")
    return 0 if removed else 1


def release(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Have the next plan sync a parked or waiting connection."""
    if not options.id and not options.all:
        sys.stderr.write("Pass a connection's ID or --all.\n")
        return 2
    function = "release_connections"
    count = read_whole(function, database.call(function, connection_id=options.id))
    out.write(json.dumps({"released": count}) + "\n" if options.json else f"{count} released.\n")
    return 0 if count or not options.id else 1


def backfill(
    database: Database, settings: Settings, options: argparse.Namespace, out: TextIO
) -> int:
    """Read past days of a connection's account; run again with the same range, it continues where
    it stopped."""
    try:
        asked = past_window(options.since, options.until, utc_now().date())
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with quiet_logger():
        report = read_past(database, settings, options.id, asked, _progress(asked))
    if report is None:
        sys.stderr.write("The account is being synced right now: try again in a minute.\n")
        return 1
    if options.json:
        out.write(json.dumps(report.summary()) + "\n")
    else:
        counts = report.counts
        out.write(
            f"{report.status}{f' ({report.code})' if report.code else ''}: "
            f"{counts['rows']} rows read, {counts['figures_created']} figures created, "
            f"{counts['figures_updated']} updated.\n"
        )
    if report.not_kept_until:
        sys.stderr.write(f"The platform has no data up to {report.not_kept_until}.\n")
    if report.status != "success":
        sys.stderr.write("Run the same command to continue. Why it stopped: connections list\n")
        return 1
    return 0


def _progress(asked: Window) -> Callable[[Window, int], None]:
    """One line that is rewritten in a terminal, otherwise one line per window."""
    end = "\r" if sys.stderr.isatty() else "\n"

    def show_window(window: Window, days_left: int) -> None:
        done = 100 * (asked.width - days_left) // asked.width
        sys.stderr.write(f"{window} read, {done:3} % of {asked.width} days{end}")
        sys.stderr.flush()

    return show_window
