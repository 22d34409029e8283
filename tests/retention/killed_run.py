"""A retention run in a process of its own, which kills itself at a named step.

`python -m tests.retention.killed_run` reads one JSON object from stdin: url, key, as_of, bucket
(or null), kill_at (a step's name, or null), and where it is not the usual one timeout (of each
call, in seconds). S3 is where AWS_ENDPOINT_URL_S3 says. It prints the steps that it took, one a
line, before each is taken; steps are as in tests.notifications.killed_run: a call of the database,
and each request to S3.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config

from tests.notifications.killed_run import Steps, step_through
from tests.retention.world import TIMED
from workers.clock import SystemClock
from workers.database import Database
from workers.retention.archive import ColdArchive
from workers.retention.run import Retention


class SteppedDatabase(Database):
    steps: Steps
    as_of: datetime

    def call(self, function: str, **arguments: Any) -> Any:
        if function in TIMED:
            arguments["as_of"] = self.as_of.isoformat()
        self.steps.take(f"before {function}")
        answer = super().call(function, **arguments)
        self.steps.take(f"after {function}")
        return answer


def stepped_s3(steps: Steps, timeout: float) -> Any:
    """boto3's client, which counts each request before it is sent and after its answer."""
    config = Config(read_timeout=timeout, retries={"total_max_attempts": 1})
    client = boto3.client("s3", config=config)

    step_through(client, steps)
    return client


def main() -> None:
    order = json.load(sys.stdin)
    steps = Steps(order["kill_at"])
    timeout = order.get("timeout", 10.0)
    database = SteppedDatabase(order["url"], order["key"], timeout=timeout)
    database.steps = steps
    database.as_of = datetime.fromisoformat(order["as_of"])
    cold = ColdArchive(order["bucket"], stepped_s3(steps, timeout)) if order["bucket"] else None
    clock = SystemClock()
    report = Retention(database, clock, cold).run(clock.now() + 60)
    sys.stdout.write(f"ended {report.outcome}\n")


if __name__ == "__main__":
    main()
