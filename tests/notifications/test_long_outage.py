"""Slack is down for nine and a half hours, as it was on 2025-02-26, with a full queue."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import pairwise

import pytest

from local.faults import failing
from tests.notifications.world import Message, World

# `make test-long` queues 5,000.
CHANNELS = 100
EACH = int(os.environ.get("OUTAGE_EACH", "4"))
HOURS = 9.5
EVERY = 1800  # seconds between runs; a run each minute would only add idle runs


@pytest.fixture
def _queued(world: World) -> None:
    world.connection.execute(
        """
        with config as (
          insert into notification_config (entity_type, event_type, channel_id, template)
          select 'request', 'load', 'C' || lpad(number::text, 8, '0'), '{{text}}'
            from generate_series(1, %(channels)s) number
          returning id
        )
        insert into notification_queue
          (config_id, entity_id, entity_type, event_data, next_attempt_at, created_at)
        select config.id, gen_random_uuid(), 'request',
               jsonb_build_object('text', lpad(number::text, 3, '0')),
               %(now)s - interval '1 minute' + number * interval '1 millisecond',
               %(now)s - interval '1 minute' + number * interval '1 millisecond'
          from config, generate_series(1, %(each)s) number
        """,
        {"channels": CHANNELS, "each": EACH, "now": world.now},
    )


@pytest.mark.usefixtures("_queued")
def test_everything_is_delivered_afterwards_in_order_without_lost_attempts(world: World) -> None:
    world.spoil(failing(503, times=None, path="chat.postMessage"))
    for _ in range(int(HOURS * 3600 / EVERY)):
        assert world.run().counts["sent"] == 0
        world.clock.advance(EVERY)
    tried = world.posts()
    assert tried < 500, "an outage is probed, not hammered"

    world.slack_server.faults.clear()
    world.run_until_ended(runs=40)
    messages = world.messages()
    assert world.outcomes() == {"sent": CHANNELS * EACH}
    assert len(messages) == CHANNELS * EACH
    assert {delivery["attempts"] for delivery in world.agency.deliveries()} == {0}
    assert_paced(messages)
    world.assert_kept()


def assert_paced(messages: list[Message]) -> None:
    """In order within a channel, one a second there, and 300 + 5 a second in total."""
    channels: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        channels[message.channel].append(message)
    for each in channels.values():
        assert [message.text for message in each] == [f"{n:03}" for n in range(1, EACH + 1)]
        assert min(b.ts - a.ts for a, b in pairwise(each)) >= 1
    times = [message.ts for message in messages]
    span = 60
    first = 0
    for last, time in enumerate(times):
        while times[first] < time - span:
            first += 1
        assert last - first + 1 <= 300 + 5 * span
