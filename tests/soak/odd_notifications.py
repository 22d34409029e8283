"""Notifications that no producer should queue, and some will: each ends all the same."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from tests.database.agency import NOW
from tests.notifications.world import World

ODD_CHANNEL = "C9ODD0000"
# Where those go at last whose user had no slack_id.
WANDERER = "U0BEN00000"
DATA: tuple[Any, ...] = (
    None, [], "a text", 7, False, {"text": None}, {"text": [[{"deep": [[]]}]]}, {"text": "\ufffe"},
    {"text": "x" * 50_000}, {"text": "<!channel> <@U0AVA00000> & </a>"}, {"text": "```{{text}}```"},
    {"request_id": "no uuid", "text": ""}, {"request_id": {}, "": "{{", "{{text}}": 1e300},
)  # fmt: skip
TEMPLATES = (
    None, "", " \n\t", "{{", "{{text", "{{no key}}", "{{missing}}", "<{{text}}|{{text}}>",
    "<@{{text}}>", "&{{text}};", "{{text}}" * 3000, "<" * 5000, "\u202e\ufffe\u0001",
)  # fmt: skip
# What is odd about a row besides. Two weeks back is past its time.
VALUES: tuple[dict[str, Any], ...] = (
    {}, {}, {"entity_type": "planet"}, {"attempts": None}, {"max_attempts": None},
    {"max_attempts": 1}, {"is_processed": None}, {"next_attempt_at": None},
    {"created_at": None, "next_attempt_at": None}, {"created_at": NOW - timedelta(days=14)},
    {"next_attempt_at": NOW - timedelta(days=14)},
)  # fmt: skip
# Each of a config of its own, or of none at all. An empty channel is nowhere to go.
CONFIGS: tuple[dict[str, Any] | None, ...] = (
    None, {"is_active": False}, {"is_active": None}, {"channel_id": " "}, {"channel_id": None},
    {}, {}, {},
)  # fmt: skip


def queue_odd_ones(world: World, rng: random.Random, wanderer: str) -> int:
    """Some of them; how many. `wanderer` is a user without a slack_id."""
    count = rng.randint(0, 4)
    for _ in range(count):
        kind = rng.choice((*CONFIGS, {"channel_id": None, "user_id": wanderer}))
        config = None
        if kind is not None:
            usual = {"channel_id": ODD_CHANNEL, "template": rng.choice(TEMPLATES)}
            config = world.agency.config(**{**usual, **kind})
        values = {"created_at": world.now, "next_attempt_at": world.now, **rng.choice(VALUES)}
        world.agency.notification(config, rng.choice(DATA), **values)
    return count


def mend_the_routes(world: World, wanderer: str) -> None:
    """What had nowhere to go now has."""
    world.agency.channel(ODD_CHANNEL)
    world.connection.execute(
        "update profiles set slack_id = %s where id = %s", (WANDERER, wanderer)
    )
