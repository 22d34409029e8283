"""Two servers over one database keep the same promises as one worker: for deliveries in any order
of events, and for ad accounts over a month of events."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import timedelta
from random import Random

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from local.fakes.google_ads import fake_google_ads
from local.fakes.linkedin import fake_linkedin
from local.fakes.meta import fake_meta
from local.fakes.tiktok import fake_tiktok
from tests import forked
from tests.conftest import Api
from tests.metrics import world as metrics
from tests.metrics.test_month import Account, all_expected, both_of_each, events, truthful
from tests.notifications.test_state_machine import EXAMPLES, Deliveries
from workers.settings import Settings

SERVERS = 2
# The most that a run takes, in real seconds: it leaves longer waits to the next run.
SECONDS = 20.0


def pass_of_each(worker: str, known: Settings, as_of: str) -> float:
    """One pass of each server, at the same time; returns the seconds that both took."""
    environment = {"LOG_FORMAT": "json"} | {
        field.name.upper(): str(getattr(known, field.name))
        for field in fields(Settings)
        if field.default is MISSING or getattr(known, field.name) != field.default
    }
    order = {"workers": [worker], "as_of": as_of, "seconds": SECONDS}
    started_at = time.monotonic()
    servers = [forked.Run("tests.server.timed_pass", order, environment) for _ in range(SERVERS)]
    for ended in [server.ended() for server in servers]:
        # a failed run is an event too
        assert ended.status in (0, 1), ended.out + ended.err
        assert "Traceback" not in ended.err, ended.err
    return time.monotonic() - started_at


class ServedDeliveries(Deliveries):
    """The servers run in place of the worker."""

    def a_run(self, **options: float) -> None:
        known = self.world.settings(slack_channel_rate=0.0, notification_linger_seconds=0.0)
        took = pass_of_each("notifications", known, self.world.now.isoformat())
        self.world.clock.advance(max(took, SECONDS))


def test_any_order_of_events_with_two_servers(api: Api) -> None:
    machine = type("Machine", (ServedDeliveries,), {"api": api})
    few = settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 5, stateful_step_count=12)
    run_state_machine_as_test(machine, settings=few)


@pytest.fixture
def world(api: Api) -> Iterator[metrics.World]:
    with (
        fake_meta() as meta,
        fake_google_ads() as google,
        fake_tiktok() as tiktok,
        fake_linkedin() as linkedin,
    ):
        fakes = {"meta": meta, "google": google, "tiktok": tiktok, "linkedin": linkedin}
        made = metrics.World(api, fakes)
        yield made
        made.close()


@pytest.fixture
def accounts(world: metrics.World) -> list[Account]:
    return both_of_each(world)


def test_a_month_of_ad_accounts_with_two_servers(
    world: metrics.World, accounts: list[Account]
) -> None:
    every_day = "SERVED_EVERY_DAY" in os.environ
    for something_happened in events(world, accounts, Random(2)):  # noqa: S311 - of a test
        if something_happened or every_day:
            synced(world, accounts)
        world.next_day()
    world.database.call("release_connections")
    for _ in range(2):
        synced(world, accounts)
        # on a busy machine a pass takes a while: what it read last is due a day after that
        world.later(timedelta(days=1, hours=1))
    synced(world, accounts)
    assert {log["status"] for log in world.logs()[-len(accounts) :]} == {"success"}
    first = metrics.TODAY - timedelta(days=metrics.LOOK_BACK)
    for platform, expected in all_expected(world, accounts).items():
        figures = world.figures(platform)
        assert {key: one for key, one in figures.items() if key[1] >= first} == {
            key: one for key, one in expected.items() if key[1] >= first
        }


def synced(world: metrics.World, accounts: list[Account]) -> None:
    """A pass of each: what is logged as done is done, by one of them only."""
    before = len(world.logs())
    pass_of_each("metrics", world.settings, world.now.isoformat())
    # what could not be read is due again immediately
    done = [log for log in world.logs()[before:] if log["status"] == "success"]
    connections = [str(log["platform_connection_id"]) for log in done]
    read = list(map(world.account_of, connections))
    assert len(read) == len(set(read)), "an account was read by both"
    for connection in connections:
        truthful(world, accounts, connection)
