"""The figures that a deployment chooses, on each platform: from the underlying events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from local.fakes.ad_facts import ad_records
from tests.metrics.sides import SIDES, Side
from tests.metrics.world import LOOK_BACK, USUAL, World
from workers.metrics.facts import measures_of
from workers.metrics.platforms import PLATFORMS
from workers.settings import OPTIONAL_FIGURES

every_platform = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
# What a platform does not have.
ABSENT = {
    "meta": set(), "google_ads": {"link_clicks", "frequency"}, "tiktok": set(), "linkedin": set(),
}  # fmt: skip
ATTRIBUTION = {
    "meta": ["1d_click", "7d_click"], "google_ads": ["conversion_action"], "tiktok": ["ad_group"],
    "linkedin": ["conversion"],
}  # fmt: skip


def put(world: World, side: Side) -> None:
    ads = [{"id": side.ad_id(number), "name": f"Ad {number}"} for number in range(1, 5)]
    ads[0]["attribution"] = "1d_click"
    side.put_account(world, ads=ads)


def look_back(world: World, side: Side) -> int:
    return max(LOOK_BACK, PLATFORMS[side.name].attribution_days)


def test_the_settings_name_what_the_database_derives(world: World) -> None:
    kinds = {row["metric_type"]: row for row in world.rows("select * from metric_kinds()")}
    assert {name for name, kind in kinds.items() if kind["is_usual"]} == set(USUAL)
    assert {name for name, kind in kinds.items() if not kind["is_usual"]} == set(OPTIONAL_FIGURES)
    always = {"impressions", "clicks", "spend", "reach"}
    for name in OPTIONAL_FIGURES:
        needed = {kinds[name]["measure"], kinds[name]["per"]} - {None} - always
        assert measures_of([name]) == needed, name


@every_platform
def test_every_figure_is_derived_from_its_events(world: World, side: Side) -> None:
    world.chosen(*OPTIONAL_FIGURES)
    put(world, side)
    connection = side.connect(world)
    one, both = side.ad_id(1), [side.ad_id(1), side.ad_id(2)]
    alone = world.request(**{side.mapping_key: one})
    of_two = world.request(**{side.mapping_key: both})
    served = {alone: [side.served(1)], of_two: [side.served(1), side.served(2)]}
    assert world.sync_all()[connection].status == "success"
    figures = world.figures(side.name)
    assert figures == world.expected(served, days=look_back(world, side))
    found = {kind for _, _, kind in figures}
    assert found - set(USUAL) == set(OPTIONAL_FIGURES) - ABSENT[side.name]
    assert any(value for (_, _, kind), value in figures.items() if kind == "conversion_value")
    rows = world.rows(
        "select metric_type, source_detail -> 'attribution' as attribution "
        "from performance_metrics "
        "where request_id = %s and date = %s",
        of_two,
        max(day for request, day, kind in figures if kind == "roas" and request == of_two),
    )
    attributed = {"conversions", "conversion_value", "cost_per_conversion", "roas"}
    for row in rows:
        is_attributed = row["metric_type"] in attributed
        assert (row["attribution"] is not None) == is_attributed, row
        if is_attributed:
            assert set(row["attribution"]) <= set(ATTRIBUTION[side.name])


@every_platform
def test_later_conversions_restate_their_day(world: World, side: Side) -> None:
    world.chosen("conversions", "conversion_value")
    put(world, side)
    side.connect(world)
    request = world.request(**{side.mapping_key: side.ad_id(2)})
    world.sync_all()
    before = world.figures(side.name)
    for _ in range(9):
        world.next_day()
        world.sync_all()
    after = world.figures(side.name)
    days = look_back(world, side) + 9
    assert after == world.expected({request: [side.served(2)]}, world.now.date(), days)
    grown = {
        key for key, value in before.items()
        if key[2] == "conversions" and after[key] > value and key[1] < world.now.date()
    }  # fmt: skip
    assert grown, "none was added later"


@every_platform
def test_figures_come_and_go_with_the_setting(world: World, side: Side) -> None:
    put(world, side)
    connection = side.connect(world)
    served = {world.request(**{side.mapping_key: side.ad_id(1)}): [side.served(1)]}
    world.sync_all()
    usual = world.figures(side.name)
    assert usual == world.expected(served)
    asked = [f"{one['path']}?{one['query']}{one['body']}" for one in
             side.server(world).journal.listing()]  # fmt: skip
    for word in ("conversion", "action", "attribution", "video", "landing", "link"):
        assert not any(word in one.lower().replace("linkedin", "") for one in asked), word
    world.chosen("frequency", "conversions")
    world.sync_again()
    days = look_back(world, side)
    assert world.figures(side.name) == world.expected(served, days=days)
    world.settings = replace(world.settings, metrics_figures=(), metrics_look_back_days=days)
    world.sync_again()
    assert world.figures(side.name) == world.expected(served, days=days)
    assert world.last_log(connection)["status"] == "success"
    kept = {key: one for key, one in world.figures(side.name).items() if key in usual}
    assert kept == usual


def test_what_counts_as_a_conversion_on_meta_is_a_setting(world: World) -> None:
    side = SIDES["meta"]
    world.chosen("conversions", "conversion_value")
    world.settings = replace(world.settings, meta_conversion_actions=("lead",))
    put(world, side)
    side.connect(world)
    world.request(meta_ad_id=side.ad_id(2))
    world.sync_all()
    account = side.server(world).app.state()["accounts"][side.account_id]
    (record,) = [one for one in ad_records("meta", "1001", account) if one.id == side.ad_id(2)]
    found = world.figures()
    today = world.now.date().toordinal()
    for (_, day, kind), value in found.items():
        events = record.more_on(day.toordinal(), today, 7).events
        if kind == "conversions":
            assert value == sum(one.action == "lead" for one in events)
        elif kind == "conversion_value":
            assert value == Decimal(0)


def test_an_older_workers_rows_of_figures_that_are_not_chosen_stay(world: World) -> None:
    side = SIDES["meta"]
    put(world, side)
    side.connect(world)
    request = world.request(meta_ad_id=side.ad_id(1))
    day = world.now.date() - timedelta(days=3)
    for kind in ("conversions", "impressions"):
        world.connection.execute(
            "insert into performance_metrics (request_id, platform, metric_type, value, date, "
            "source) values (%s, 'meta', %s, 7, %s, 'api_sync')", (request, kind, day),
        )  # fmt: skip
    world.sync_all()
    rows = world.rows(
        "select metric_type, value, derived from performance_metrics where request_id = %s "
        "and date = %s and metric_type in ('conversions', 'impressions') order by 1", request, day,
    )  # fmt: skip
    assert (rows[0]["metric_type"], rows[0]["value"]) == ("conversions", Decimal(7))
    assert [row["derived"] for row in rows[1:]] == [True]
