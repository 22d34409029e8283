"""What was once stored is not lost, whatever happens to connections, mappings and responses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import requests

from local.fakes.meta import graph_error
from tests.metrics.connected import META_AD, one_account
from tests.metrics.sessions import Spoilt
from tests.metrics.sides import SIDES, Side
from tests.metrics.world import LOOK_BACK, TODAY, Served, World
from workers.metrics.sync_requests import Backfill
from workers.metrics.windows import Window

every_platform = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)


def connected(world: World, side: Side, ads: int = 2) -> tuple[str, str]:
    """A connection to an account, and a request that names its first ad."""
    side.put_account(world, ad_count=ads)
    return side.connect(world), world.request(**{side.mapping_key: side.ad_id(1)})


def pass_time(world: World, days: int, steps: int) -> None:
    for _ in range(steps):
        world.later(timedelta(days=days))
        world.sync_all()


def expected(world: World, side: Side, request: str, days: int, *numbers: int) -> dict[Any, Any]:
    served = {request: [side.served(number) for number in numbers or (1,)]}
    return world.expected(served, today=world.now.date(), days=days)


def delete(world: World, connection: str) -> None:
    """As people or a dashboard do, with all that refers to it."""
    world.connection.execute(
        "delete from metric_sync_logs where platform_connection_id = %s", (connection,)
    )
    world.connection.execute("delete from platform_connections where id = %s", (connection,))


@every_platform
def test_history_outlives_its_connection(world: World, side: Side) -> None:
    connection, request = connected(world, side)
    world.sync_all()
    pass_time(world, 20, 2)
    delete(world, connection)
    assert world.figures(side.name) == expected(world, side, request, 70)
    side.connect(world)
    world.later(timedelta(days=1))
    world.sync_all()
    # the request gets a second ad, and shows its look-back in addition to all of the first one's
    world.remap(request, **{side.mapping_key: [side.ad_id(1), side.ad_id(2)]})
    world.later(timedelta(days=1))
    world.sync_all()
    figures = world.figures(side.name)
    assert {key[1] for key in figures} >= {
        key[1] for key in expected(world, side, request, 72) if key[1] <= TODAY
    }
    recent = expected(world, side, request, LOOK_BACK, 1, 2)
    assert {key: figures.get(key) for key in recent} == recent


@every_platform
def test_an_account_that_requests_no_longer_name_keeps_its_figures(
    world: World, side: Side
) -> None:
    connection, request = connected(world, side)
    world.sync_all()
    before = world.figures(side.name)
    other = f"{int(side.account_id) + 1}"
    world.connection.execute(
        "update platform_connections set account_id = %s where id = %s", (other, connection)
    )
    put = getattr(world, f"{side.fake}_account")
    put(other, ads=[{"id": "99887766554433", "name": "Other"}])
    new = world.request(**{side.mapping_key: "99887766554433"})
    world.later(timedelta(minutes=10))  # not due by its frequency, but never read
    assert world.sync_all()[connection].status == "success"
    figures = world.figures(side.name)
    assert {key: value for key, value in figures.items() if key[0] == request} == before
    served = {new: [Served(side.fake, other, "99887766554433")]}
    assert {key: value for key, value in figures.items() if key[0] == new} == world.expected(served)


@pytest.mark.parametrize("how", ["forgotten", "request deleted"])
def test_an_ad_that_is_named_again_has_no_gap(world: World, how: str) -> None:
    side = SIDES["meta"]
    _, request = connected(world, side)
    world.sync_all()
    pass_time(world, 10, 2)
    if how == "forgotten":
        world.remap(request)
    else:
        world.connection.execute("delete from requests where id = %s", (request,))
    pass_time(world, 10, 4)
    assert world.figures() == {}
    if how == "forgotten":
        world.remap(request, meta_ad_id=side.ad_id(1))
    else:
        request = world.request(meta_ad_id=side.ad_id(1))
    world.plan()
    assert world.figures() == expected(world, side, request, 90)


def test_a_newly_named_ad_gets_its_whole_look_back_at_once(world: World) -> None:
    """Also for an account of which only the newest days are read each time."""
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film", "is_deleted": False}])
    connection = world.connect_meta("1001", frequency=60)
    world.sync_all()
    (unnamed,) = world.rows("select * from metric_unnamed_ads")
    assert (unnamed["ad_id"], unnamed["ad_name"]) == (META_AD, "Film")
    world.later(timedelta(hours=1))
    world.sync_all()
    window = world.last_log(connection)["details"]["window"]
    assert window == [f"{TODAY - timedelta(days=2)}", f"{TODAY}"]
    request = world.request(meta_ad_id=META_AD)
    world.later(timedelta(hours=1))
    world.sync_all()
    assert world.figures() == world.expected({request: [Served("meta", "1001", META_AD)]})
    assert world.rows("select * from metric_unnamed_ads") == []


@every_platform
@pytest.mark.parametrize("how", ["sync", "backfill"])
def test_what_someone_deleted_or_changed_is_restored(world: World, side: Side, how: str) -> None:
    connection, _ = connected(world, side)
    world.sync_all()
    before = world.figures(side.name)
    world.connection.execute(
        "delete from performance_metrics where metric_type <> 'spend' and date > %s",
        (TODAY - timedelta(days=20),),
    )
    world.connection.execute(
        "update performance_metrics set value = 99999 where date < %s", (TODAY,)
    )
    if how == "sync":
        world.sync_again()
    else:
        world.later(timedelta(minutes=1))
        asked = Backfill(Window(TODAY - timedelta(days=30), TODAY), lambda window, left: None)
        world.backfill(connection, asked, 280.0)
    assert world.last_log(connection)["status"] == "success"
    assert world.figures(side.name) == before


class Forgetful(requests.Session):
    """That many responses to reports by ad have no rows."""

    def __init__(self, world: World, times: int) -> None:
        super().__init__()
        self._world, self._left = world, times
        self._ads = world.meta.app.state()["accounts"]["1001"]["ads"]

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        if rest.get("params", {}).get("level") != "ad" or self._left == 0:
            return super().request(method, url, **rest)
        self._left -= 1
        self._world.change_account(self._world.meta, "1001", ads=[])
        try:
            return super().request(method, url, **rest)
        finally:
            self._world.change_account(self._world.meta, "1001", ads=self._ads)


def test_a_response_that_lacks_most_rows_is_requested_again(world: World) -> None:
    connection, served = one_account(world)
    world.sync_all()
    world.remember(connection, window_days=31)
    with Forgetful(world, 1) as session:
        world.session, usual = session, world.session
        assert world.sync_again()[connection].status == "success"
    assert world.figures() == world.expected(served)
    with Forgetful(world, 2) as session:
        world.session = session
        assert world.sync_again()[connection].status == "success"
    world.session = usual
    assert world.figures() == {}, "what is reported twice is believed"
    assert world.rows("select 1 from ad_metrics") == []


def test_figures_outlive_the_facts_that_retention_purged(world: World) -> None:
    side = SIDES["meta"]
    connection, request = connected(world, side)
    world.sync_all()
    before = world.figures()
    cutoff = world.now - timedelta(days=14)
    purge = "select purge_ad_metrics_batch(%s, 5) as purged"
    while world.rows(purge, cutoff)[0]["purged"]:
        pass
    kept = {row["date"] for row in world.rows("select distinct date from ad_metrics")}
    assert min(kept) >= TODAY - timedelta(days=15)
    aged = {key: value for key, value in before.items() if key[1] < min(kept)}
    assert aged

    # neither a mapping that moves away and back nor deriving touches these days
    other = world.request(meta_ad_id=side.ad_id(2))
    world.remap(request)
    world.plan()
    assert world.figures() == aged
    world.remap(request, meta_ad_id=side.ad_id(1))
    world.remap(other, meta_ad_id=[side.ad_id(1), side.ad_id(2)])
    world.plan()
    figures = world.figures()
    assert {key: figures.get(key) for key in before} == before
    assert not [key for key in figures if key[0] == other and key[1] < min(kept)]

    # days that are read again count again
    world.change_account(
        world.meta, "1001",
        restated={f"{side.ad_id(1)}/{min(before, key=lambda key: key[1])[1]}": {"clicks": 777}},
    )  # fmt: skip
    world.later(timedelta(minutes=1))
    asked = Backfill(Window(TODAY - timedelta(days=30), TODAY), lambda window, left: None)
    report = world.backfill(connection, asked, 280.0)
    assert report is not None
    assert report.status == "success"
    assert 777 in world.figures().values()


def test_restatements_are_recorded_with_the_first_value(world: World) -> None:
    connection, served = one_account(world, 1)
    world.sync_all()
    (request,) = served
    day = TODAY - timedelta(days=3)
    key = (request, day, "spend")
    first = world.figures().get(key)
    if first is None:
        day = next(found for (_, found, kind) in world.figures() if kind == "spend")
        key = (request, day, "spend")
        first = world.figures()[key]
    (ad,) = served[request]
    for spend in ("10.25", "11.75"):
        world.change_account(
            world.meta, "1001", restated={f"{ad.ad_id}/{day}": {"spend": spend, "impressions": 5}}
        )
        world.sync_again()
    history = world.rows("select * from metric_spend_changes where date = %s order by number", day)
    assert [(str(one["old_spend"]), str(one["new_spend"])) for one in history][1:] == [
        ("10.25", "11.75")
    ]
    assert history[0]["old_spend"] == first
    assert {one["sync_id"] for one in history} == {log["id"] for log in world.logs(connection)[1:]}


def test_a_backfill_reads_up_to_what_the_platform_keeps(world: World) -> None:
    connection, served = one_account(world, 2)
    world.sync_all()
    world.later(timedelta(minutes=1))
    edge = TODAY - timedelta(days=77)

    refusal = graph_error(3018, None, "The start date cannot be beyond 37 months")
    with Spoilt(lambda days: (400, refusal.body) if days.since <= edge else None) as session:
        world.session = session
        asked = Backfill(Window(TODAY - timedelta(days=200), TODAY), lambda window, left: None)
        report = world.backfill(connection, asked, 280.0)
    assert report is not None
    assert (report.status, report.not_kept_until) == ("success", edge)
    assert world.figures() == world.expected(served, days=76)
    assert world.last_log(connection)["details"]["not_kept_until"] == f"{edge}"
