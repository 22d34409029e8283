"""A pass of the plan in its own process, which kills itself at a named step.

`python -m tests.metrics.killed_plan` reads one JSON object from stdin: url, key, as_of, queue_url,
kill_at (a step's name, or null), and where it is not the usual one timeout (of each call, in
seconds). SQS is where AWS_ENDPOINT_URL_SQS says. It prints the steps that it took, one a line,
before each is taken; steps are as in tests.notifications.killed_run: a call of the database, and
each batch of messages.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime

import boto3
from botocore.config import Config

from tests.notifications.killed_run import SteppedDatabase, Steps, step_through
from workers.metrics.planning import plan_syncs
from workers.metrics.platforms import MAPPING_KEYS
from workers.metrics.sync_queue import SyncQueue


def main() -> None:
    parameters = json.load(sys.stdin)
    as_of = datetime.fromisoformat(parameters["as_of"])
    steps = Steps(parameters["kill_at"])
    timeout = parameters.get("timeout", 5.0)
    database = SteppedDatabase(parameters["url"], parameters["key"], lambda: as_of, timeout)
    database.steps = steps
    # as many tries as the plan's own client has: a batch may be sent twice
    config = Config(read_timeout=timeout, retries={"mode": "standard", "total_max_attempts": 2})
    client = boto3.client("sqs", config=config)
    step_through(client, steps)
    plan = plan_syncs(database, SyncQueue(parameters["queue_url"], client), MAPPING_KEYS, 10)
    sys.stdout.write(f"ended planned {plan.planned}, unsent {plan.unsent}\n")


if __name__ == "__main__":
    main()
