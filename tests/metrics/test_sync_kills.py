"""Syncs of every platform that are killed (SIGKILL) at each of its requests.

The calls of the database are the same for all; `test_takeovers.py` has a kill at each of them.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.metrics.sides import SIDES, Side
from tests.metrics.test_takeovers import STEPS, killed_sync
from tests.metrics.world import World
from workers.metrics.planning import LEASE_SECONDS

# What each platform is asked in a sync of two windows, by the last part of the path.
REQUESTS = {
    "meta": ("account 1", *(f"insights {number}" for number in range(1, 5))),
    "google_ads": ("token 1", *(f"googleAds {number}" for number in range(1, 8))),
    "tiktok": ("info 1", *(f"get {number}" for number in range(1, 7)), "list 1", "list 2"),
    "linkedin": ("token 1", "account 1", *(f"adAnalytics {number}" for number in range(1, 5))),
}


def requests_of(platform: str) -> tuple[str, ...]:
    """Before and after each request to the platform."""
    return tuple(f"{when} {one}" for one in REQUESTS[platform] for when in ("before", "after"))


def steps_of(platform: str) -> tuple[str, ...]:
    """Where a crash can fall in a sync of the platform."""
    calls = (step for step in STEPS if step not in requests_of("meta"))
    return (*calls, *requests_of(platform))


def connect(world: World, side: Side) -> tuple[str, str]:
    """An account with an ad that a request names and one more: the connection and the request."""
    side.put_account(world, ad_count=2)
    return side.connect(world), world.request(**{side.mapping_key: side.ad_id(1)})


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_the_steps_are_those_of_a_sync(world: World, side: Side) -> None:
    connect(world, side)
    (sync_request,) = world.plan()[0]
    *taken, ended = killed_sync(world, sync_request, None)
    assert ended == "ended success"
    assert set(taken) == set(steps_of(side.name))


@pytest.mark.parametrize(
    ("platform", "step"),
    # after one request is before the next
    [(name, f"after {one}") for name in REQUESTS if name != "meta" for one in REQUESTS[name]],
)
def test_after_a_kill_the_next_sync_is_complete(world: World, platform: str, step: str) -> None:
    side = SIDES[platform]
    connection, request = connect(world, side)
    (sync_request,) = world.plan()[0]
    assert killed_sync(world, sync_request, step)[-1] == step
    world.later(timedelta(seconds=LEASE_SECONDS))
    assert world.sync_all()[connection].status == "success"
    assert world.figures(platform) == world.expected({request: [side.served(1)]})
    assert [log["status"] for log in world.logs()] == ["failed", "success"]
