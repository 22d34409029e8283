"""Each figure says whether its day was over when it was read, and that changes once."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.metrics.sides import SIDES, Side
from tests.metrics.world import TODAY, World


def complete(world: World, request: str) -> dict[date, bool]:
    """By day, what all figures of it say."""
    found = world.rows(
        "select date, bool_and(is_complete) as every, bool_or(is_complete) as any "
        "from performance_metrics where request_id = %s group by date", request,
    )  # fmt: skip
    assert all(row["every"] == row["any"] for row in found)
    return {row["date"]: row["every"] for row in found}


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_today_is_complete_once_it_is_over(world: World, side: Side) -> None:
    side.put_account(world, ad_count=3)
    connection = side.connect(world)
    request = world.request(**{side.mapping_key: [side.ad_id(n) for n in (1, 2, 3)]})
    world.sync_all()
    first = complete(world, request)
    assert first[TODAY] is False
    assert all(is_over for day, is_over in first.items() if day != TODAY)
    world.sync_again()
    assert complete(world, request) == first
    assert world.last_log(connection)["metrics_updated"] == 0
    values = {key: one for key, one in world.figures(side.name).items() if key[1] == TODAY}

    world.next_day()
    world.sync_all()
    assert complete(world, request)[TODAY] is True
    # none of its numbers differs, and so it stays
    after = {key: one for key, one in world.figures(side.name).items() if key[1] == TODAY}
    assert after == values
    world.next_day()
    world.sync_all()
    rows = world.rows(
        "select distinct updated_at from performance_metrics where request_id = %s and date = %s",
        request, TODAY,
    )  # fmt: skip
    assert [row["updated_at"] for row in rows] == [world.now - timedelta(days=1)]


def test_a_day_is_over_once_it_is_over_for_every_account(world: World) -> None:
    world.meta_account("1001", ads=[{"id": "23851", "name": "East"}],
                       time_zone="Pacific/Kiritimati")  # fmt: skip
    world.meta_account("1002", ads=[{"id": "23852", "name": "West"}], time_zone="Pacific/Honolulu")
    world.connect_meta("1001")
    world.connect_meta("1002")
    both = world.request(meta_ad_id=["23851", "23852"])
    east = world.request(meta_ad_id="23851")
    world.sync_all()
    found = world.rows("select date, account_id, is_complete from ad_metrics")
    of_both = {
        day: all(row["is_complete"] for row in found if row["date"] == day)
        for day in {row["date"] for row in found}
    }
    assert complete(world, both) == of_both
    today_in_the_east = TODAY + timedelta(days=1)
    assert complete(world, east) == {
        day: day < today_in_the_east for day in complete(world, east)
    }  # fmt: skip
