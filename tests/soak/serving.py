"""`make soak-serve`: two servers over one database for as long as requested. One only runs; the
other is stopped and killed. The data API goes away, the database restarts, keys are rotated and
settings re-read, while notifications, ad accounts and old activity keep coming.

At the end everything was delivered once, each activity row is in one table, and the memory of the
server that stayed has not grown.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from local.environment import isolate
from local.faults import Fault
from local.http_server import HttpServer
from local.services.proxy import proxy
from local.stack import BOT_TOKEN, Running, Stack
from tests.integration.processes import eventually
from tests.server.process import ServerProcess, server

CHANNELS = 4
# The share of rounds before memory is measured: each rotated key is remembered for masking, with a
# pattern of 3 kB, and the allocator's arenas fill for the first twenty minutes.
WARM_UP = 1 / 3
MOST_GROWTH_MB = 5.0
# One second stands for a minute of the schedules.
PACE = {
    "NOTIFICATIONS_SCHEDULE": "rate(1 second)",
    "METRICS_SCHEDULE": "rate(10 seconds)",
    "RETENTION_SCHEDULE": "rate(30 seconds)",
    "NOTIFICATION_LINGER_SECONDS": "0",
    "SLACK_CHANNEL_RATE": "0",
    "SLACK_WORKSPACE_RATE": "0",
}
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


class Days:
    """What happens to the two servers, round by round, all determined by one seed."""

    def __init__(
        self,
        running: Running,
        database_stopped: Callable[[], AbstractContextManager[None]],
        gateway: HttpServer,
        token: Path,
        seed: int,
    ) -> None:
        self._running = running
        self._database_stopped = database_stopped
        self._gateway = gateway
        self._token = token
        self._random = random.Random(seed)  # noqa: S311
        self._environment = {
            **running.environment(), **PACE, "SUPABASE_URL": gateway.url,
            "DATABASE_URL": running.database_url, "SLACK_BOT_TOKEN_FILE": str(token),
        }  # fmt: skip
        del self._environment["SLACK_BOT_TOKEN"]
        self._connection = self._connected()
        self._queued = 0
        self._open = ExitStack()
        self.counts: Counter[str] = Counter()
        self.memory: list[float] = []

    @contextmanager
    def started(self) -> Iterator[None]:
        """Both servers run within the block."""
        self._token.write_text(BOT_TOKEN, encoding="utf-8")
        workspace = self._running.slack.state()
        self._running.slack.replace_state({**workspace, "any_channel": True})
        self._connection.execute(
            "insert into notification_config (entity_type, event_type, channel_id, template) "
            "select 'request', 'soak', 'C0SOAK00' || number, '{{number}}' "
            "from generate_series(1, %s) number",
            (CHANNELS,),
        )
        with self._open:
            self.steady, self._unlucky = self._server(), self._server()
            yield
        self._connection.close()

    def round(self) -> None:
        """Queue work, and let something happen."""
        self._work()
        happening = self._random.choice(
            [self._end, self._end, self._rotate, self._outage, self._restart, self._hup]
        )
        happening()
        self.counts["rounds"] += 1
        # everything still works while the next round's work is waiting
        runs = len(self.steady.of("notifications_run"))
        self.steady.wait_for("notifications_run", runs + 2)
        self.memory.append(resident(self.steady))

    def settle(self) -> None:
        """Let both finish; check every promise."""
        self._gateway.faults.clear()
        self._token.write_text(BOT_TOKEN, encoding="utf-8")
        # what a kill left behind is free now, not in a minute
        self._connection.execute(
            "update notification_deliveries "
            "set last_attempt_at = last_attempt_at - interval '2 minutes' where state <> 'sent'"
        )
        eventually(lambda: len(self._delivered()) == self._queued, "not all is delivered")
        assert self.steady.process.poll() is None, "the server that should keep running has ended"
        assert self.steady.end() == 0
        if self._unlucky.process.poll() is None:
            assert self._unlucky.end() == 0
        copies = self._delivered()
        assert set(copies.values()) == {1}, f"twice: {copies - Counter(dict.fromkeys(copies, 1))}"
        both = "select count(*) from activity_log join archived_activity_log using (id)"
        assert self._one(both) == 0, "rows in two tables"
        dead = "select count(*) from notification_deliveries where state = 'dead'"
        assert self._one(dead) == 0, "some are dead"

    def _connected(self) -> psycopg.Connection:
        return psycopg.connect(self._running.database_url, autocommit=True)

    def _server(self) -> ServerProcess:
        started = self._open.enter_context(server(self._environment))
        started.wait_for("ready")
        return started

    # --- what happens ---

    def _work(self) -> None:
        count = self._random.randint(1, 30)
        self._connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, event_data) "
            "select (select id from notification_config where event_type = 'soak' "
            "         order by channel_id offset number %% %(channels)s limit 1), "
            "       gen_random_uuid(), 'request', jsonb_build_object('number', number) "
            "  from generate_series(%(first)s::int, %(last)s::int) number",
            {"channels": CHANNELS, "first": self._queued + 1, "last": self._queued + count},
        )
        self._queued += count
        self._connection.execute(
            "update platform_connections set last_synced_at = last_synced_at - interval '1 day'"
        )
        self._connection.execute(
            "insert into activity_log (entity_type, entity_id, action, created_at) "
            "select 'request', gen_random_uuid(), 'soak', now() - interval '200 days' "
            "from generate_series(1, 50)"
        )

    def _end(self) -> None:
        number = self._random.choice(ENDS)
        if number is signal.SIGKILL:
            self._unlucky.process.kill()
            self._unlucky.wait()
            # what it held is free now, not in a minute
            self._connection.execute("update worker_leases set expires_at = now()")
        else:
            assert self._unlucky.end(number) == 0
        self.counts[number.name] += 1
        self._unlucky = self._server()

    def _rotate(self) -> None:
        self.counts["rotated"] += 1
        both = (self.steady, self._unlucky)
        before = sum(len(each.of("run_failed")) for each in both)
        self._token.write_text("xoxb-of-yesterday", encoding="utf-8")
        for each in both:
            each.process.send_signal(signal.SIGHUP)

        def is_noticed() -> bool:
            return sum(len(each.of("run_failed")) for each in both) > before

        while not is_noticed():
            # a run that started with the old token still delivers what comes
            self._work()
            eventually(
                lambda: is_noticed() or len(self._delivered()) == self._queued, "neither notices"
            )
        self._token.write_text(BOT_TOKEN, encoding="utf-8")

    def _outage(self) -> None:
        self.counts["outages"] += 1
        failed = len(self.steady.of("run_failed"))
        self._gateway.faults.add(Fault("close", times=None))
        self.steady.wait_for("run_failed", failed + 1)
        self._gateway.faults.clear()

    def _restart(self) -> None:
        """Stop the Postgres server in the middle of a drain, and start it again."""
        self.counts["restarts"] += 1
        failed = len(self.steady.of("run_failed"))
        before = len(self._delivered())
        eventually(lambda: len(self._delivered()) > before or before == self._queued, "no drain")
        with self._database_stopped():
            self.steady.wait_for("run_failed", failed + 1)
        self._connection.close()
        self._connection = self._connected()

    def _hup(self) -> None:
        self.counts["SIGHUP"] += 1
        read = len(self.steady.of("settings_read"))
        self.steady.process.send_signal(signal.SIGHUP)
        self.steady.wait_for("settings_read", read + 1)

    def _delivered(self) -> Counter[str]:
        """The soak's own messages, and how often each is there."""
        return Counter(
            message["text"]
            for channel, messages in self._running.slack.state()["messages"].items()
            if channel.startswith("C0SOAK")
            for message in messages
        )

    def _one(self, query: str) -> Any:
        row = self._connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def resident(started: ServerProcess) -> float:
    """Its resident memory, in MB."""
    text = Path(f"/proc/{started.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s*(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


def main() -> int:
    """The exit status: 0, or 1 if memory grew; an assertion names a broken promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.serving", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="determines what happens when")
    options = parser.parse_args()
    isolate()
    # the servers are ended as well: nothing else would stop them
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stack = Stack()
    with (
        stack as running,
        proxy(running.api_url) as gateway,
        tempfile.TemporaryDirectory() as folder,
    ):
        token = Path(folder) / "token"
        days = Days(running, stack.database_stopped, gateway, token, options.seed)
        with days.started():
            end_at = time.monotonic() + options.minutes * 60
            while time.monotonic() < end_at:
                days.round()
                print(f"{days.memory[-1]:.1f} MB", dict(days.counts), flush=True)
            days.settle()
    first = days.memory[int(len(days.memory) * WARM_UP)]
    growth = days.memory[-1] - first
    print(f"{growth:+.1f} MB since {first:.1f} MB; at most {MOST_GROWTH_MB:g}")
    return 0 if growth <= MOST_GROWTH_MB else 1


if __name__ == "__main__":
    sys.exit(main())
