"""One pass of `python -m server --once` in its own process, at a time that a test sets.

`tests.forked` runs it. The request has `workers`; `as_of`, the database's time at the start; and
`seconds`, the most that a run may take. All else comes from the environment, as for any server.
"""

from __future__ import annotations

import json
import sys
import zoneinfo
from datetime import datetime, timedelta

from server import runs
from server.once import run_once
from tests.notifications.virtual_time import TimedDatabase
from workers.clock import SystemClock
from workers.composition import container


def main() -> None:
    request = json.load(sys.stdin)
    zoneinfo.reset_tzpath(to=())
    clock = SystemClock()
    started_at, as_of = clock.now(), datetime.fromisoformat(request["as_of"])

    def made(url: str, key: str) -> TimedDatabase:
        return TimedDatabase(url, key, lambda: as_of + timedelta(seconds=clock.now() - started_at))

    container.Database = made  # type: ignore[assignment,misc]
    for worker in request["workers"]:
        runs.RUN_SECONDS[worker] = request["seconds"]  # type: ignore[index]
    sys.exit(run_once(request["workers"]))
