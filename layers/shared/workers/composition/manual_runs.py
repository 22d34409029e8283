"""Work that a person starts, from a terminal or from the console, with its clients."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

from workers.clock import Clock, SystemClock
from workers.composition.retention import WORKER, open_archive
from workers.composition.runs import recorded_run
from workers.database import Database
from workers.metrics.outcomes import SyncReport
from workers.metrics.planning import refresh_links
from workers.metrics.platforms import MAPPING_KEYS
from workers.metrics.platforms.fetching import Session
from workers.metrics.sync import ConnectionSync
from workers.metrics.sync_requests import Backfill
from workers.metrics.windows import Window
from workers.retention.report import PolicyReport, RetentionReport
from workers.retention.run import Retention
from workers.settings import Settings

# It ends when it is done or interrupted.
_A_DAY = 86_400.0


def carry_out_retention(
    database: Database,
    settings: Settings,
    progress: Callable[[PolicyReport], None],
    *,
    dry_run: bool = False,
    as_of: datetime | None = None,
    clock: Clock | None = None,
) -> RetentionReport:
    """Carries out the policies, as a recorded run, on what is due now or was due `as_of`, until
    `clock` is stopped; `dry_run` counts and changes nothing."""
    clock = clock or SystemClock()
    retention = Retention(database, clock, open_archive(settings), progress, as_of)
    with recorded_run(WORKER, clock, lambda: database) as record:
        report = retention.dry_run() if dry_run else retention.run(clock.now() + _A_DAY)
        record.end(report.outcome, succeeded=report.outcome == "complete", counts=report.summary())
    return report


def due_for_retention(database: Database, as_of: datetime | None = None) -> RetentionReport:
    """What a run would take now, or of what was due `as_of`; not recorded as a run."""
    return Retention(database, SystemClock(), as_of=as_of).dry_run()


def read_past(
    database: Database,
    settings: Settings,
    connection_id: str,
    asked: Window,
    progress: Callable[[Window, int], None],
    clock: Clock | None = None,
) -> SyncReport | None:
    """Reads a range of an account's past, until `clock` is stopped; called again, it continues
    where it stopped. Returns None while the account is being synced. `progress` is called with each
    window and the days left."""
    clock = clock or SystemClock()
    refresh_links(database, MAPPING_KEYS)
    with closing(Session()) as session:
        sync = ConnectionSync(database, settings, clock, lambda _: session, random.random)
        return sync.backfill(connection_id, Backfill(asked, progress), clock.now() + _A_DAY)
