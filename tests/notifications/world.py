"""The worker between a real database and a fake for Slack, in virtual time."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from local.fakes.slack import FakeSlack
from local.faults import Fault
from local.http_server import HttpServer
from local.services.proxy import proxy
from tests.conftest import Api
from tests.database.agency import NOW, Agency
from tests.notifications.virtual_time import REAL_PATIENCE, TimedDatabase, VirtualClock
from tests.recycling import empty
from workers.clock import SystemClock
from workers.database import Database
from workers.notifications.drain import Drain
from workers.notifications.report import Report
from workers.notifications.slack import Slack
from workers.settings import Settings

TOKEN = "xoxb-local-1-sample"  # as in local/fakes/workspace.json
TABLES = (
    "notification_queue, notification_config, notification_unrouted, slack_destinations, "
    "slack_threads, slack_workspace, worker_leases, slack_connected_channels, requests, profiles"
)
ENDED = ("sent", "dead", "skipped", "expired")
T = TypeVar("T", bound=Database)


@dataclass(frozen=True)
class Message:
    """One message in the workspace."""

    channel: str
    text: str
    delivery_id: str
    is_marked: bool
    ts: float
    thread_ts: float | None
    is_broadcast: bool


class World:
    """What a scenario needs: rows, faults, runs, and their results."""

    token = TOKEN

    def __init__(self, api: Api, slack: HttpServer, between: HttpServer) -> None:
        self.api = api
        self.slack_server = slack
        self.between = between
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            api.database_url, autocommit=True, row_factory=dict_row
        )
        empty(self.connection, TABLES)
        self.agency = Agency(self.connection)
        app = slack.app
        assert isinstance(app, FakeSlack)
        self.workspace = app
        slack.reset()
        between.reset()
        self.change_workspace(any_channel=True)
        self.clock = VirtualClock(NOW, self._set_slack_time)
        self._databases: list[Database] = []
        # deliveries whose message someone deleted
        self.deleted: set[str] = set()
        # the default for all runs
        self.settings_of_runs: dict[str, Any] = {}

    def _set_slack_time(self, now: datetime) -> None:
        self.workspace.configure({"time": now.timestamp()})

    def close(self) -> None:
        for database in self._databases:
            database.close()
        empty(self.connection, TABLES)
        self.connection.close()

    def change_workspace(self, **parts: Any) -> None:
        """Replace whole parts of the workspace."""
        self.workspace.replace_state({**self.workspace.state(), **parts})

    def change_token(self, **parts: Any) -> None:
        """Change the bot token: `scopes` or `revoked`."""
        tokens = self.workspace.state()["tokens"]
        self.change_workspace(tokens={TOKEN: {**tokens[TOKEN], **parts}})

    def without_scopes(self, *missing: str) -> None:
        scopes = self.workspace.state()["tokens"][TOKEN]["scopes"]
        self.change_token(scopes=[scope for scope in scopes if scope not in missing])

    def change_channel(self, channel: str, **parts: Any) -> None:
        channels = self.workspace.state()["channels"]
        usual = {"name": channel, "private": False, "archived": False, "member": True}
        self.change_workspace(channels={**channels, channel: {**usual, **parts}})

    def notify(self, channel: str = "C0FIRST00", text: str = "hello", **values: Any) -> str:
        """Queue one notification for a channel, with its own config."""
        config = self.agency.config(channel, template="{{text}}")
        return self.queue(config, text, **values)

    def queue(self, config: str, text: str = "hello", **values: Any) -> str:
        values = {"next_attempt_at": self.now, "created_at": self.now, **values}
        return self.agency.notification(config, {"text": text}, **values)

    def spoil(self, *faults: Fault) -> None:
        """What the fake for Slack is to do wrong."""
        for fault in faults:
            self.slack_server.faults.add(fault)

    @property
    def has_threads(self) -> bool:
        """Whether its runs post in threads."""
        return self.settings_of_runs.get("notification_threads") == "on"

    @property
    def now(self) -> datetime:
        return self.clock.as_of()

    def drain(self, *, slack_timeout: float | None = None, **settings: Any) -> Drain:
        """`slack_timeout` is in real seconds. Without it an answer may take any time, however
        busy the machine is, and the run keeps a margin of two virtual seconds for it."""
        made = self.settings(**settings)
        slack = Slack(TOKEN, made.slack_api_url, timeout=slack_timeout or REAL_PATIENCE)
        slack.timeout = slack_timeout or 2.0
        return Drain(self.new_database(), slack, made, self.clock, random.Random(7).random)  # noqa: S311

    def drain_in_real_time(self, **settings: Any) -> Callable[[float], Report]:
        """A run by the real clocks of the machine and the database, with this many seconds."""
        clock = SystemClock()
        database = self.closing(Database(self.between.url, self.api.keys.secret))
        slack = Slack(TOKEN, f"{self.slack_server.url}/api/")
        drain = Drain(database, slack, self.settings(**settings), clock, lambda: 0.5)
        return lambda seconds: drain.run(clock.now() + seconds)

    def settings(self, **settings: Any) -> Settings:
        """The settings of a run against this world."""
        return Settings(
            supabase_url=self.between.url,
            supabase_service_role_key=self.api.keys.secret,
            slack_bot_token=TOKEN,
            slack_api_url=f"{self.slack_server.url}/api/",
            **{**self.settings_of_runs, **settings},
        )

    def run(self, *, seconds: float = 110.0, **settings: Any) -> Report:
        """One run of the worker, with this much virtual time before its deadline."""
        return self.drain(**settings).run(self.clock.now() + seconds)

    def run_until_ended(self, *, runs: int = 12, **settings: Any) -> Report:
        """A run each minute until everything has ended; returns their total counts."""
        total = Report()
        for _ in range(runs):
            total.counts += self.run(**settings).counts
            if self.has_ended():
                return total
            self.clock.advance(60)
        raise AssertionError(f"not ended after {runs} runs: {self.queued()}")

    def leave_announced(self) -> None:
        """Claim what is due and announce it, as a run that dies before it posts."""
        run = str(uuid.uuid4())
        database = self.new_database()
        database.call("start_notification_run", run_id=run)
        claimed = database.call(
            "claim_notifications", run_id=run, batch_size=500, threads=self.has_threads
        )
        starting = [
            {
                "id": one["id"],
                "token": one["token"],
                "post_id": one["id"],
                "parent_ts": one["thread_ts"],
            }
            for one in claimed["deliveries"]
        ]
        database.call("record_notification_progress", run_id=run, starting=starting)

    def new_database(self) -> TimedDatabase:
        return self.closing(TimedDatabase(self.between.url, self.api.keys.secret, self.clock.as_of))

    def closing(self, database: T) -> T:
        """The same, closed together with the world."""
        self._databases.append(database)
        return database

    def queued(self) -> list[dict[str, Any]]:
        return self.connection.execute(
            "select * from notification_queue order by created_at, id"
        ).fetchall()

    def has_ended(self) -> bool:
        """Whether nothing waits any longer."""
        return all(row["outcome"] in ENDED or row["is_processed"] for row in self.queued())

    def outcomes(self) -> Counter[str | None]:
        return Counter(row["outcome"] for row in self.queued())

    def messages(self) -> list[Message]:
        """All messages in Slack, in order of arrival."""
        found = [
            Message(
                channel,
                message["text"],
                message["metadata"]["event_payload"]["delivery_id"],
                "repeat" in message["text"],
                float(message["ts"]),
                float(message["thread_ts"])
                if message["thread_ts"] not in (None, message["ts"])
                else None,
                message.get("subtype") == "thread_broadcast",
            )
            for channel, messages in self.workspace.state()["messages"].items()
            for message in messages
            if message.get("subtype") != "tombstone"
        ]
        return sorted(found, key=lambda message: message.ts)

    def delete(self, message: Message) -> None:
        """As a person does in Slack."""
        self.workspace.delete_message(message.channel, f"{message.ts:.6f}")
        self.deleted.add(message.delivery_id)

    def copies(self) -> Counter[str]:
        """How many messages each delivery has in Slack without a note that it may be a repeat."""
        return Counter(m.delivery_id for m in self.messages() if not m.is_marked)

    def posts(self) -> int:
        """How many posts were attempted."""
        return self.slack_server.journal.count("chat.postMessage")

    def assert_kept(self) -> None:
        """The promise: nothing lost, at most one unmarked copy, attempts within bounds."""
        for row in self.queued():
            assert row["outcome"] in ENDED or row["is_processed"], row
            assert 0 <= (row["attempts"] or 0) <= (row["max_attempts"] or 5)
        messages = self.messages()
        unmarked = Counter(m.delivery_id for m in messages if not m.is_marked)
        assert max(unmarked.values(), default=0) <= 1
        standing = self.deleted | {message.delivery_id for message in messages}
        for delivery in self.agency.deliveries():
            assert delivery["state"] not in ("pending", "sending", "unknown")
            assert delivery["claim_token"] is None
            if delivery["state"] == "sent":
                assert str(delivery["id"]) in standing


@contextmanager
def world_over(api: Api) -> Iterator[World]:
    """A world with its own servers."""
    with HttpServer(FakeSlack()) as slack, proxy(api.url) as between:
        world = World(api, slack, between)
        try:
            yield world
        finally:
            world.close()
