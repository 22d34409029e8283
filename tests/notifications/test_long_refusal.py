"""A long weekend without `chat:write`: the token passes `auth.test`, each post is refused."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise

import pytest

from tests.notifications.world import World
from workers.errors import CredentialsError

# `make test-long` queues 4,000.
ROWS = int(os.environ.get("REFUSED_ROWS", "400"))
CONFIGS = 20
HOURS = 88


@pytest.fixture
def _coming(world: World) -> None:
    """Due one after another, over all the hours."""
    world.connection.execute(
        """
        with config as (
          insert into notification_config (entity_type, event_type, channel_id, template)
          select 'request', 'load', 'C' || lpad(number::text, 8, '0'), '{{text}}'
            from generate_series(1, %(configs)s) number
          returning id, channel_id
        ), numbered as (
          select id, row_number() over (order by channel_id) - 1 as place from config
        )
        insert into notification_queue
          (config_id, entity_id, entity_type, event_data, next_attempt_at, created_at)
        select numbered.id, gen_random_uuid(), 'request',
               jsonb_build_object('text', lpad(number::text, 4, '0')), due.at, due.at
          from generate_series(1, %(rows)s) number
         cross join lateral (
                 select %(now)s + number * make_interval(hours => %(hours)s) / %(rows)s as at
               ) due
          join numbered on numbered.place = number %% %(configs)s
        """,
        {"configs": CONFIGS, "rows": ROWS, "hours": HOURS, "now": world.now},
    )


@pytest.mark.usefixtures("_coming")
def test_everything_is_delivered_afterwards_and_nothing_has_aged(world: World) -> None:
    world.without_scopes("chat:write")
    posts = []
    for _ in range(HOURS):
        world.clock.advance(3600)
        with suppress(CredentialsError):
            world.run()
        posts.append(world.posts())
    assert {after - before for before, after in pairwise(posts)} == {1}, "one message is tried"
    assert world.agency.stopped() == "missing_scope"
    assert world.messages() == []

    scopes = world.workspace.state()["tokens"][world.token]["scopes"]
    world.change_token(scopes=[*scopes, "chat:write"])
    total = world.run_until_ended(runs=60)
    assert (total.counts["sent"], total.counts["expired"]) == (ROWS, 0)
    assert world.agency.stopped() is None
    assert {d["attempts"] for d in world.agency.deliveries()} == {0}
    by_channel: dict[str, list[str]] = {}
    for message in world.messages():
        by_channel.setdefault(message.channel, []).append(message.text)
    assert all(texts == sorted(texts) for texts in by_channel.values())
    world.assert_kept()
