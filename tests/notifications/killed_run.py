"""A run of the worker in its own process, which kills itself at a named step.

`python -m tests.notifications.killed_run` reads one JSON object from stdin: url, key, token,
slack_url, as_of, kill_at (a step's name, or null), poison (a channel whose posts kill the process,
or null), and optionally timeout (of each call, in seconds), rate (messages a second in a channel;
by default no limit), linger (seconds; by default none) and threads (by default off). It prints each
step, one per line, before it takes it.

A step is a call to the outside, `before` or `after` it took effect, with its number: that is where
a crash can fall between two effects. Every SQL function and every Slack method counts, so that no
new call of a worker goes unnoticed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from tests.notifications.virtual_time import REAL_PATIENCE, TimedDatabase
from workers.clock import SystemClock
from workers.notifications.drain import Drain
from workers.notifications.rendering import Message
from workers.notifications.slack import Posted, Slack
from workers.settings import Settings


class Steps:
    """Counts the steps and ends the process at the chosen one."""

    def __init__(self, kill_at: str | None) -> None:
        self._kill_at = kill_at
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, name: str) -> None:
        with self._lock:
            self._taken[name] += 1
            step = f"{name} {self._taken[name]}"
            sys.stdout.write(step + "\n")
            sys.stdout.flush()
            if step == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def kinds_of(steps: Iterable[str]) -> set[str]:
    """The steps without their numbers."""
    return {step.rpartition(" ")[0] for step in steps}


def step_through(client: Any, steps: Steps) -> None:
    """Makes a boto3 client count each call, before it is sent and after its answer."""
    service = client.meta.service_model.service_name
    client.meta.events.register(
        f"before-call.{service}", lambda model, **_: steps.take(f"before {model.name}")
    )
    client.meta.events.register(
        f"after-call.{service}", lambda model, **_: steps.take(f"after {model.name}")
    )


class SteppedDatabase(TimedDatabase):
    steps: Steps

    def call(self, function: str, **arguments: Any) -> Any:
        self.steps.take(f"before {function}")
        answer = super().call(function, **arguments)
        self.steps.take(f"after {function}")
        return answer


class SteppedSlack(Slack):
    def __init__(
        self, token: str, api_url: str, timeout: float, steps: Steps, poison: str | None
    ) -> None:
        super().__init__(token, api_url, timeout)
        self._poison = poison
        call = self._client.api_call

        def stepped(method: str, **arguments: Any) -> Any:
            steps.take(f"before {method}")
            answer = call(method, **arguments)
            steps.take(f"after {method}")
            return answer

        self._client.api_call = stepped  # type: ignore[method-assign]

    def post(self, channel: str, message: Message, delivery_id: str, **where: Any) -> Posted:
        if channel == self._poison:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().post(channel, message, delivery_id, **where)


def main() -> None:
    order = json.load(sys.stdin)
    clock = SystemClock()
    begun, as_of = clock.now(), datetime.fromisoformat(order["as_of"])
    steps = Steps(order["kill_at"])
    timeout = order.get("timeout", REAL_PATIENCE)
    database = SteppedDatabase(
        order["url"], order["key"], lambda: as_of + timedelta(seconds=clock.now() - begun), timeout
    )
    settings = Settings(
        supabase_url=order["url"],
        supabase_service_role_key=order["key"],
        slack_bot_token=order["token"],
        slack_api_url=order["slack_url"],
        slack_channel_rate=order.get("rate", 0.0),
        notification_linger_seconds=order.get("linger", 0.0),
        notification_threads=order.get("threads", "off"),
    )
    slack = SteppedSlack(
        settings.slack_bot_token, settings.slack_api_url, timeout, steps, order["poison"]
    )
    # the margin before the deadline, however long a call takes on a busy machine
    slack.timeout = min(timeout, 5.0)
    database.steps = steps
    Drain(database, slack, settings, clock, lambda: 0.5).run(begun + 120)


if __name__ == "__main__":
    main()
