"""Notifications that no producer should queue but some will: each must still end."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from tests.database.agency import NOW
from tests.notifications.world import World

ODD_CHANNEL = "C9ODD0000"
# The slack_id of the user who had none at first.
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
# What else is odd about a row. Two weeks ago is past its expiry.
VALUES: tuple[dict[str, Any], ...] = (
    {}, {}, {"entity_type": "planet"}, {"attempts": None}, {"max_attempts": None},
    {"max_attempts": 1}, {"is_processed": None}, {"next_attempt_at": None},
    {"created_at": None, "next_attempt_at": None}, {"created_at": NOW - timedelta(days=14)},
    {"next_attempt_at": NOW - timedelta(days=14)},
)  # fmt: skip
# Each has its own config, or none. An empty channel means no route.
CONFIGS: tuple[dict[str, Any] | None, ...] = (
    None, {"is_active": False}, {"is_active": None}, {"channel_id": " "}, {"channel_id": None},
    {}, {}, {},
)  # fmt: skip


def queue_odd_ones(world: World, rng: random.Random, wanderer: str) -> int:
    """Queue some of them; returns how many. `wanderer` is a user without a slack_id."""
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


def fix_the_routes(world: World, wanderer: str) -> None:
    """Give what had no route one."""
    world.agency.channel(ODD_CHANNEL)
    world.connection.execute(
        "update profiles set slack_id = %s where id = %s", (WANDERER, wanderer)
    )
