"""A sync in its own process, which kills itself at a named step.

`python -m tests.metrics.killed_sync` reads one JSON object from stdin: settings (by field),
as_of, body (the sync request), kill_at (a step's name, or null), and, where not the defaults,
timeout (of each call), seconds (until the deadline) and store_rows (rows a call). It prints the
steps that it took, one a line, before each is taken; steps are as in
tests.notifications.killed_run: a call of the database, and each request to the platform.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.notifications.killed_run import SteppedDatabase, Steps
from workers.clock import SystemClock
from workers.metrics import ledger
from workers.metrics.sync import ConnectionSync
from workers.metrics.sync_requests import SyncRequest
from workers.settings import Settings


class SteppedSession(requests.Session):
    steps: Steps
    timeout: float | None

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        name = urlsplit(str(url)).path.rstrip("/").rpartition("/")[2].partition(":")[0]
        kind = "account" if name.removeprefix("act_").isdigit() else name
        self.steps.take(f"before {kind}")
        if self.timeout is not None:
            rest["timeout"] = self.timeout
        response = super().request(method, url, **rest)
        self.steps.take(f"after {kind}")
        return response


def main() -> None:
    parameters = json.load(sys.stdin)
    clock = SystemClock()
    begun, as_of = clock.now(), datetime.fromisoformat(parameters["as_of"])
    ledger.STORE_ROWS = parameters.get("store_rows", ledger.STORE_ROWS)
    steps = Steps(parameters["kill_at"])
    settings = Settings(**parameters["settings"])
    database = SteppedDatabase(
        settings.supabase_url,
        settings.supabase_service_role_key,
        lambda: as_of + timedelta(seconds=clock.now() - begun),
        parameters.get("timeout", 5.0),
    )
    session = SteppedSession()
    session.timeout = parameters.get("timeout")
    database.steps = session.steps = steps
    sync = ConnectionSync(database, settings, clock, lambda platform: session, lambda: 0.5)
    report = sync.run(
        SyncRequest.from_body(parameters["body"]), begun + parameters.get("seconds", 60)
    )
    sys.stdout.write(f"ended {report.status}\n")


if __name__ == "__main__":
    main()
