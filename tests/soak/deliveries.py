"""A round of notifications: queued, disturbed, and brought to an end."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

from local.faults import slack_error
from tests.notifications.test_crashes import DIRECT, KINDS, LOOKING, REFUSED, STEPS
from tests.notifications.world import ENDED, TOKEN, World, world_over
from tests.soak.chaos import TIMEOUT_SECONDS, Kind, end_faults, kinds, spoil
from tests.soak.ground import Ground
from tests.soak.odd_notifications import (
    ODD_CHANNEL,
    WANDERER,
    fix_the_routes,
    queue_odd_ones,
)
from tests.soak.processes import assert_listed, run_process
from tests.soak.tally import Tally, assert_silent
from workers.errors import WorkerError

JUMPS = (0.5, 5.0, 31.0, 61.0, 175.0, 1000.0)
# The share of rounds in which posts cannot be looked up, so that repeats get marked.
BLIND_SHARE = 0.2
REFUSALS: list[Kind] = [
    lambda: slack_error("internal_error", when="after"),
    lambda: slack_error("no_text", path="chat.postMessage"),
    lambda: slack_error("brand_new_error"),
    lambda: slack_error("channel_not_found", path="chat.postMessage"),
]
REQUESTS = [f"5b8e7a0e-6f0c-4d7e-9a55-0c5a3c7a000{number}" for number in range(3)]
RECORDS = ("", "", "record_notification_progress", "claim_notifications")

# The error's code, or the text for what was never attempted.
DEAD_BY_REASON = """
select coalesce(delivery.error_code, queued.last_error) as reason, count(*)
  from notification_queue queued
  left join notification_deliveries delivery
    on delivery.notification_id = queued.id and delivery.state = 'dead'
 where queued.outcome = 'dead'
 group by 1
"""


def play(ground: Ground, rng: random.Random, tally: Tally) -> None:
    """One round. Raises AssertionError for a broken promise."""
    with world_over(ground.api) as world:
        channels = [f"C{number}SOAK000" for number in range(rng.randint(1, 4))]
        configs = [world.agency.config(channel, template="{{text}}") for channel in channels]
        configs.append(world.agency.config(user_id=world.agency.user("U0AVA00000")))
        wanderer = world.agency.user(slack_id=None)
        # derived from an earlier draw, so that a round that once broke a promise replays the same
        world.settings_of_runs = {"notification_threads": "off" if len(channels) % 2 else "on"}
        if rng.random() < BLIND_SHARE:
            world.without_scopes("channels:history", "groups:history")
        queued = 0
        for _ in range(rng.randint(1, 3)):
            queued += _queue(world, rng, configs)
            queued += queue_odd_ones(world, rng, wanderer)
            _disturbed_run(ground, world, rng, tally)
            _check_meanwhile(world, queued)
            world.clock.advance(rng.choice(JUMPS))
        fix_the_routes(world, wanderer)
        _finish(world)
        _count(world, queued, tally)
        _check(ground, world, queued)


def _queue(world: World, rng: random.Random, configs: list[str]) -> int:
    count = 0
    for config in configs:
        for _ in range(rng.randint(0, 6)):
            count += 1
            created = world.now + timedelta(milliseconds=count)
            world.queue(
                config, f"number {count}", created_at=created, next_attempt_at=world.now,
                entity_id=REQUESTS[count % len(REQUESTS)],
            )  # fmt: skip
    return count


def _disturbed_run(ground: Ground, world: World, rng: random.Random, tally: Tally) -> None:
    own_process = rng.random() < 0.7
    bad = [*kinds(TOKEN), *REFUSALS, *REFUSALS]
    if not own_process:
        # in virtual time, a hanging request would arrive minutes after it was sent
        bad = [kind for kind in bad if (kind().how, kind().when) != ("hang", "before")]
    spoil(world.slack_server, rng, bad, paths=("", "chat.postMessage"))
    spoil(world.between, rng, kinds(ground.api.keys.secret), paths=RECORDS)
    if own_process:
        how = _run_in_a_process(ground, world, rng, tally)
    else:
        how = _run_in_virtual_time(world)
    tally.add("notification runs", how)
    end_faults(world.slack_server, tally)
    end_faults(world.between, tally)


def _run_in_virtual_time(world: World) -> str:
    try:
        return f"{world.run(seconds=60.0, slack_timeout=0.5).outcome} (virtual time)"
    except WorkerError as error:
        return f"raised {type(error).__name__} (virtual time)"


def _run_in_a_process(ground: Ground, world: World, rng: random.Random, tally: Tally) -> str:
    order = {
        "url": ground.reached(world.between.url, rng, tally),
        "key": world.api.keys.secret,
        "token": TOKEN,
        "slack_url": f"{ground.reached(world.slack_server.url, rng, tally)}/api/",
        "as_of": world.now.isoformat(),
        "kill_at": rng.choice((None, rng.choice((*STEPS, *LOOKING, *DIRECT, *REFUSED)))),
        "poison": None,
        "timeout": TIMEOUT_SECONDS,
        "threads": world.settings_of_runs["notification_threads"],
        "linger": rng.choice((0.0, 0.0, 0.0, 0.0, 1.5)),
    }
    ended = run_process(
        "tests.notifications.killed_run", order, patience=ground.patience(rng),
        passed=world.clock.advance,
    )  # fmt: skip
    assert_listed(ended.steps, KINDS)
    assert_silent(ended.said, ground.secrets)
    return ended.how


def _finish(world: World) -> None:
    """Once Slack works and the workers run, everything ends."""
    world.clock.advance(1000)
    for _ in range(12):
        world.connection.execute("select release_parked(as_of => %s)", (world.now,))
        world.run()
        if world.has_ended():
            return
        # what had no route is tried again within ten minutes
        world.clock.advance(700)


def _check_meanwhile(world: World, queued: int) -> None:
    assert len(world.queued()) == queued, "a notification was lost"
    copies = world.copies()
    assert max(copies.values(), default=0) <= 1, f"unmarked copies: {copies.most_common(3)}"


def _check(ground: Ground, world: World, queued: int) -> None:
    _check_meanwhile(world, queued)
    left = _unended(world)
    assert not left, f"lost: {left}"
    world.assert_kept()
    _check_order(world)
    for table in (
        "notification_queue", "notification_deliveries", "notification_unrouted",
        "slack_destinations", "slack_threads", "slack_workspace",
    ):  # fmt: skip
        rows = world.connection.execute(f"select * from {table}").fetchall()  # noqa: S608
        assert_silent(rows, ground.secrets)


def _unended(world: World) -> list[dict[str, Any]]:
    return [row for row in world.queued() if row["outcome"] not in ENDED]


def _check_order(world: World) -> None:
    """Within a channel, what was sent at the first attempt is in order of its due time, across
    configs and killed runs. A killed run may have recorded no attempt that Slack knows of."""
    attempts = _attempts_in_slack(world)
    rows = world.connection.execute(
        "select id::text, destination, message_ts::numeric as ts, due_at "
        "from notification_deliveries "
        "where state = 'sent' and attempts = 0 and history = '[]' and lost_claims < 3 "
        "and destination <> %s and destination <> %s "
        "order by destination, due_at, queued_at, notification_id",
        (ODD_CHANNEL, WANDERER),
    ).fetchall()
    for first, second in pairwise(row for row in rows if attempts[row["id"]] == 1):
        if first["destination"] == second["destination"]:
            assert first["ts"] < second["ts"], f"out of order: {first}, {second}"


def _attempts_in_slack(world: World) -> Counter[str]:
    """How often each delivery was posted, accepted or not."""
    posts = world.slack_server.journal.listing("chat.postMessage")
    return Counter(
        json.loads(post["body"])["metadata"]["event_payload"]["delivery_id"] for post in posts
    )


def _count(world: World, queued: int, tally: Tally) -> None:
    for outcome, count in world.outcomes().items():
        tally.add("notifications", outcome, count)
    gone = queued - len(world.queued())
    tally.add("notifications", "lost", gone + len(_unended(world)))
    deliveries = Counter(message.delivery_id for message in world.messages())
    tally.add("duplicates", "marked", deliveries.total() - len(deliveries))
    unmarked = world.copies()
    tally.add("duplicates", "unmarked", unmarked.total() - len(unmarked))
    for row in world.connection.execute(DEAD_BY_REASON).fetchall():
        tally.add("dead by reason", row["reason"], row["count"])
