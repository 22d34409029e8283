"""Requests name ads, ad groups, asset groups and campaigns: each fact counts once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.fakes.ad_facts import AdRecord, ad_records
from tests.metrics.sides import SIDES, Side
from tests.metrics.world import TODAY, Served, World
from workers.metrics.facts import Level
from workers.metrics.platforms import PLATFORMS

every_platform = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
GOOGLE = SIDES["google_ads"]
# A Google account whose ads are in several ad groups, next to campaigns without any.
ADS = [
    {"id": "70000000001", "name": "Banner", "ad_groups": ["1501", "1502"]},
    {"id": "70000000002", "name": "Search", "ad_groups": ["1502"]},
    {"id": "70000000101", "name": "Film", "ad_groups": ["1503"]},
]
CAMPAIGNS = [
    {"id": "2501", "name": "Performance Max", "asset_groups": ["1801", "1802"], "is_more": True},
    {"id": "2502", "name": "Without asset groups"},
]


def levels_of(side: Side) -> dict[Level, str]:
    return dict(PLATFORMS[side.name].mapping_keys)


def records(world: World, side: Side) -> list[AdRecord]:
    account = side.server(world).app.state()["accounts"][side.account_id]
    return ad_records(side.fake, side.account_id, account)


def id_at(level: str, record: AdRecord) -> str:
    return {"ad": record.id, "ad_group": record.group, "asset_group": record.ad_group,
            "campaign": record.campaign}[level]  # fmt: skip


def served(side: Side, level: str, id_: str) -> Served:
    return Served(side.fake, side.account_id, id_, level)


EACH_LEVEL = [
    pytest.param(side, level, id=f"{name}-{level}")
    for name, side in SIDES.items()
    for level in levels_of(side)
]


@pytest.mark.parametrize(("side", "level"), EACH_LEVEL)
def test_a_name_at_any_level_stands_for_all_that_it_has(
    world: World, side: Side, level: Level
) -> None:
    if side is GOOGLE:
        side.put_account(world, ads=ADS, campaigns=CAMPAIGNS)
    else:
        side.put_account(world, ad_count=25)
    connection = side.connect(world)
    kind = "asset_group" if level == "asset_group" else "ad"
    ids = list(dict.fromkeys(id_at(level, one) for one in records(world, side) if one.kind == kind))
    key = levels_of(side)[level]
    requests = {
        world.request(**{key: ids[0]}): [served(side, level, ids[0])],
        world.request(**{key: ids[:2]}): [served(side, level, one) for one in ids[:2]],
        world.request(**{key: int(ids[-1])}): [served(side, level, ids[-1])],
    }
    assert world.sync_all()[connection].status == "success"
    assert world.figures(side.name) == world.expected(requests)
    world.sync_again()
    log = world.last_log(connection)
    assert (log["metrics_created"], log["metrics_updated"]) == (0, 0)


@every_platform
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_what_several_names_of_a_request_match_counts_once(
    world: World, side: Side, data: st.DataObject
) -> None:
    world.connection.execute("truncate platform_connections, requests, ad_metrics cascade")
    world.connection.execute("truncate metric_accounts, metric_named_ads, metric_days cascade")
    world.connection.execute("truncate metric_names, metric_unnamed_ads")
    if side is GOOGLE:
        side.put_account(world, ads=ADS, campaigns=CAMPAIGNS)
    else:
        side.put_account(world, ad_count=12)
    side.connect(world)
    keys = levels_of(side)
    places = [
        (level, id_)
        for one in records(world, side)
        for level in keys
        if (id_ := id_at(level, one)) and (level == "asset_group") <= (one.kind == "asset_group")
        and not (level == "ad_group" and one.kind != "ad")
    ]  # fmt: skip
    requests: dict[str, list[Served]] = {}
    for _ in range(data.draw(st.integers(1, 3))):
        named = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=5, unique=True))
        metadata: dict[str, list[str]] = {}
        for level, id_ in named:
            metadata.setdefault(keys[level], []).append(id_)
        requests[world.request(**metadata)] = [served(side, *one) for one in named]
    world.sync_all()
    assert world.figures(side.name) == world.expected(requests)


@every_platform
def test_names_that_move_between_levels_take_their_figures_with_them(
    world: World, side: Side
) -> None:
    side.put_account(world, ad_count=12)
    side.connect(world)
    keys = levels_of(side)
    first, other = records(world, side)[0], records(world, side)[-1]
    request = world.request(**{keys["ad"]: first.id})
    neighbour = world.request(**{keys["campaign"]: first.campaign})
    always = {neighbour: [served(side, "campaign", first.campaign)]}
    world.sync_all()
    for names in (
        [("campaign", first.campaign)],
        [("campaign", first.campaign), ("ad", first.id)],
        [("ad_group", first.group), ("campaign", other.campaign)],
        [("ad", first.id), ("ad", other.id)],
        [],
    ):
        metadata: dict[str, list[str]] = {}
        for level, id_ in names:
            metadata.setdefault(keys[level], []).append(id_)  # type: ignore[index]
        world.remap(request, **metadata)
        world.plan()
        wanted = {**always, request: [served(side, *one) for one in names]}
        assert world.figures(side.name) == world.expected(wanted), names


def test_a_newly_named_campaign_gets_its_whole_look_back_at_once(world: World) -> None:
    """Also for an account of which only the newest days are read each time."""
    GOOGLE.put_account(world, ads=ADS, campaigns=CAMPAIGNS)
    connection = world.connect_google(GOOGLE.account_id, frequency=60)
    world.sync_all()
    unnamed = world.rows("select kind, count(*) from metric_unnamed_ads group by 1 order by 1")
    assert [(one["kind"], one["count"]) for one in unnamed] == [
        ("ad", 4), ("asset_group", 2), ("campaign", 2)
    ]  # fmt: skip
    details = world.last_log(connection)["details"]
    assert details["unmatched_ads"] == 7, "an ad in two ad groups is one"
    assert {"campaign_id": "2502", "campaign_name": "Without asset groups"} in (
        details["unmatched_examples"]
    )
    for level, id_ in (("asset_group", "1801"), ("ad_group", "1502"), ("campaign", "2502")):
        world.later(timedelta(hours=1))
        world.sync_all()
        window = world.last_log(connection)["details"]["window"]
        assert window == [f"{TODAY - timedelta(days=2)}", f"{TODAY}"]
        request = world.request(**{levels_of(GOOGLE)[level]: id_})  # type: ignore[index]
        world.later(timedelta(hours=1))
        world.sync_all()
        expected = world.expected({request: [served(GOOGLE, level, id_)]})
        assert {key: one for key, one in world.figures("google_ads").items() if key[0] == request
                } == expected  # fmt: skip


def test_restated_spend_of_a_campaign_is_recorded_once(world: World) -> None:
    side = SIDES["meta"]
    side.put_account(world, ad_count=3)
    side.connect(world)
    first = records(world, side)[0]
    request = world.request(meta_campaign_id=first.campaign, meta_ad_id=first.id)
    world.sync_all()
    before = world.figures()
    day = max(day for (_, day, kind) in before if kind == "spend")
    side.put_account(world, ad_count=3, restated={f"{first.id}/{day}": {"spend": "987.65"}})
    world.sync_again()
    after = world.figures()
    assert after == world.expected({request: [served(side, "campaign", first.campaign)]})
    (change,) = world.rows("select old_spend, new_spend from metric_spend_changes")
    assert change["old_spend"] == before[request, day, "spend"]
    assert change["new_spend"] == after[request, day, "spend"]
