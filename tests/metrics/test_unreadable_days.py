"""A day that cannot be read costs only that day, and an outage costs little."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from local.fakes import google_ads, linkedin, meta, tiktok
from tests.database.agency import NOW
from tests.metrics.sessions import Spoilt
from tests.metrics.sides import SIDES, Side
from tests.metrics.world import TODAY, World
from workers.metrics.platforms import PLATFORMS
from workers.metrics.windows import Window

BAD = TODAY - timedelta(days=10)
# What the platform may say about a window with the day: general errors, and nothing at all.
SAID = {
    "meta": [
        (500, meta.graph_error(1, 99, "An unknown error occurred").body),
        (500, meta.graph_error(2, None, "Un error inesperado").body),
        (400, meta.graph_error(100, 1487534, "Bitte reduzieren").body),
        (504, ""),
    ],
    "google_ads": [
        (500, google_ads.google_error("internalError", "INTERNAL_ERROR", 500).body),
        (504, '[{"error": {"code": 504, "status": "DEADLINE_EXCEEDED"}}]'),
    ],
    "tiktok": [
        (200, tiktok.tiktok_error(50000, "System error").body),
        (200, tiktok.tiktok_error(51010, "Internal time out").body),
    ],
    "linkedin": [
        (500, linkedin.linkedin_error(500, "INTERNAL_SERVER_ERROR").body),
        (504, ""),
    ],
}
CASES = [(SIDES[name], *said) for name, several in SAID.items() for said in several]


def reports(side: Side) -> int:
    """By how many a window is read."""
    return len(PLATFORMS[side.name].reports)


def connected(world: World, side: Side) -> tuple[str, str]:
    side.put_account(world, ad_count=2)
    return side.connect(world), world.request(**{side.mapping_key: side.ad_id(1)})


@pytest.mark.parametrize(
    ("side", "status", "body"), CASES, ids=[f"{side.name} {body[:40]}" for side, _, body in CASES]
)
def test_all_other_days_are_read_and_that_one_is_named(
    world: World, side: Side, status: int, body: str
) -> None:
    connection, request = connected(world, side)
    with Spoilt(lambda days: (status, body) if BAD in days else None) as session:
        world.session, usual = session, world.session
        report = world.sync_all()[connection]
        assert (report.status, report.code) == ("partial", "days_left_out")
        log = world.last_log(connection)
        assert set(log["details"]["days_left_out"]) == {f"{BAD}"}
        assert f"{BAD}" in log["error_message"]
        expected = world.expected({request: [side.served(1)]})
        assert world.figures(side.name) == {
            key: value for key, value in expected.items() if key[1] != BAD
        }
        assert world.last_synced_at(connection) == log["start_time"], "all that can be is read"
        assert log["details"]["requests"] <= 40 * reports(side)
        # it is not tried again immediately
        assert world.sync_again()[connection].code == "days_left_out"
        assert world.last_log(connection)["details"]["requests"] <= 2 + 4 * reports(side)
    world.session = usual
    world.later(timedelta(hours=1))
    world.make_due()
    assert world.sync_all()[connection].status == "success"
    assert world.figures(side.name) == expected


def hours_around(*expected: int) -> list[int]:
    """Those hours, some before and after each, and some far from all."""
    near = {hour + some for hour in expected for some in (-2, -1, 0, 1, 2)}
    return sorted(hour for hour in {0, *near, 22, 45, 90} if hour >= 0)


def test_a_left_out_day_is_tried_again_at_growing_intervals(world: World) -> None:
    side = SIDES["meta"]
    connection, _ = connected(world, side)
    tries: list[float] = []

    def spoil(days: Window) -> tuple[int, str] | None:
        if BAD not in days:
            return None
        if days.width == 1:
            tries.append(world.clock.now() / 3600)
        return 500, meta.graph_error(1, 99).body

    with Spoilt(spoil) as session:
        world.session = session
        for number, hour in enumerate(hours_around(1, 3, 7, 15, 31, 63)):
            # a sync takes its time, and waits are counted from its end
            world.later(timedelta(hours=hour, minutes=number) - (world.now - NOW))
            world.make_due()
            world.sync_all()
    hours = sorted({round(at) for at in tries})
    waits = [later - earlier for earlier, later in itertools.pairwise(hours)]
    assert waits == [1, 2, 4, 8, 16, 32]
    assert world.state(connection)["failures"] == 0


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_a_malformed_row_costs_only_its_day(world: World, side: Side) -> None:
    connection, request = connected(world, side)
    # an empty list is a valid response of Google's
    body = '[{"results": [{}]}]' if side.name == "google_ads" else "[]"
    with Spoilt(lambda days: (200, body) if BAD in days else None) as session:
        world.session = session
        report = world.sync_all()[connection]
    figures = world.figures(side.name)
    assert report.code == "days_left_out"
    expected = world.expected({request: [side.served(1)]})
    assert figures == {key: value for key, value in expected.items() if key[1] != BAD}


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_an_outage_costs_a_bounded_number_of_requests(world: World, side: Side) -> None:
    connection, _ = connected(world, side)
    status, body = SAID[side.name][0]
    with Spoilt(lambda days: (status, body)) as session:
        world.session = session
        report = world.sync_all()[connection]
    assert report.status == "failed"
    assert world.last_log(connection)["details"]["requests"] <= 40 * reports(side)
    assert world.rows("select 1 from metric_days where failures > 0") == [], "no day is at fault"


def test_a_tiktok_day_with_too_many_ads_is_requested_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.metrics.platforms.tiktok._MOST_ADS", 20)
    side = SIDES["tiktok"]
    connection, _ = connected(world, side)
    sizes = set()

    class Sizes(Spoilt):
        def request(self, method, url, **rest):  # type: ignore[no-untyped-def, override]
            if "page_size" in rest.get("params", {}):
                sizes.add(rest["params"]["page_size"])
            return super().request(method, url, **rest)

    side.put_account(world, ad_count=40)
    with Sizes(lambda days: None) as session:
        world.session = session
        report = world.sync_all()[connection]
    assert (report.status, report.code) == ("failed", "too_many_ads")
    assert len(sizes) == 1, "smaller pages hold no fewer ads"


def test_negative_amounts_are_corrections(world: World) -> None:
    side = SIDES["meta"]
    connection, request = connected(world, side)
    key = f"{side.ad_id(1)}/{BAD}"
    figures = {"impressions": 4, "clicks": 1, "spend": "-2.50", "reach": 4}
    side.put_account(world, ad_count=2, restated={key: figures})
    assert world.sync_all()[connection].status == "success"
    assert str(world.figures()[request, BAD, "spend"]) == "-2.5"
    assert world.figures() == world.expected({request: [side.served(1)]})
