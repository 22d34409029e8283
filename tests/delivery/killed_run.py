"""A run of the worker in a process of its own, which kills itself at a named step.

`python -m tests.delivery.killed_run` reads one JSON object from stdin: url, key, token,
slack_url, as_of, kill_at (a step's name, or null), poison (a channel whose posts kill the
process, or null), and where it is not the usual one timeout (of each call, in seconds). It
prints the steps that it took, one a line, before each is taken.

A step is a call to the outside, `before` or `after` it took effect, with its number: that is
where a crash can fall between two effects.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from tests.delivery.virtual_time import TimedDatabase
from workers.clock import SystemClock
from workers.notifications.drain import Drain
from workers.notifications.rendering import Message
from workers.settings import Settings
from workers.slack import Posted, Slack


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


class SteppedDatabase(TimedDatabase):
    steps: Steps

    def call(self, function: str, **arguments: Any) -> Any:
        self.steps.take(f"before {function}")
        answer = super().call(function, **arguments)
        self.steps.take(f"after {function}")
        return answer


class SteppedSlack(Slack):
    steps: Steps
    poison: str | None

    def post(self, channel: str, message: Message, delivery_id: str) -> Posted:
        if channel == self.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps.take("before post")
        posted = super().post(channel, message, delivery_id)
        self.steps.take("after post")
        return posted

    def history(self, channel: str, oldest: float, latest: float | None = None) -> dict[str, str]:
        self.steps.take("before history")
        found = super().history(channel, oldest, latest)
        self.steps.take("after history")
        return found


def main() -> None:
    order = json.load(sys.stdin)
    clock = SystemClock()
    begun, as_of = clock.now(), datetime.fromisoformat(order["as_of"])
    steps = Steps(order["kill_at"])
    timeout = order.get("timeout", 5.0)
    database = SteppedDatabase(
        order["url"], order["key"], lambda: as_of + timedelta(seconds=clock.now() - begun), timeout
    )
    settings = Settings(
        supabase_url=order["url"],
        supabase_service_role_key=order["key"],
        slack_bot_token=order["token"],
        slack_api_url=order["slack_url"],
        slack_channel_rate=0.0,
    )
    slack = SteppedSlack(settings.slack_bot_token, settings.slack_api_url, timeout=timeout)
    database.steps = slack.steps = steps
    slack.poison = order["poison"]
    Drain(database, slack, settings, clock, lambda: 0.5).run(begun + 60)


if __name__ == "__main__":
    main()
