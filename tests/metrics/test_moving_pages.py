"""Pages that shift while they are read lose no row and count none twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import requests
from urllib3 import HTTPResponse

from local.fakes.meta import graph_error
from local.fakes.tiktok import tiktok_error
from local.faults import Fault
from tests.metrics.connected import META_AD, TIKTOK, tiktok_ads
from tests.metrics.sessions import Between
from tests.metrics.sides import SIDES
from tests.metrics.world import TODAY, Served, World


@pytest.mark.parametrize("change", ["vanished", "restated"])
def test_pages_that_shift_while_they_are_read_are_read_again(world: World, change: str) -> None:
    connection, served = tiktok_ads(world, 8)
    world.tiktok.app.configure({"page_limit": 7})
    first = "1790000000000000"
    day = TODAY if change == "vanished" else TODAY - timedelta(days=1)
    state = world.tiktok.app.state()["accounts"][TIKTOK]
    # the very first row is removed or added: those after it shift by one
    figures = {"impressions": 5, "clicks": 1, "spend": "1", "reach": 1}
    before: dict[str, Any] = {f"{first}/{day}": figures}
    values: dict[str, Any] = {"restated": before}
    after: dict[str, Any] = {"restated": before, "vanished": [f"{first}/{day}"]}
    if change == "restated":
        values, after = after, values
    world.tiktok_account(TIKTOK, **{**state, **values})
    move = Between(lambda: world.tiktok_account(TIKTOK, **{**state, **after}), page="2")
    with move as session:
        world.session = session
        assert world.sync_all()[connection].status == "success"
    assert world.figures("tiktok") == world.expected(served)


class Again(requests.Session):
    """Puts the last row of a page of Meta's in front of the next one's, once."""

    def __init__(self) -> None:
        super().__init__()
        self._last: list[Any] = []
        self._is_done = False

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        response = super().request(method, url, **rest)
        if "insights" in str(url):
            page = json.loads(response.raw.read())
            last, self._last = self._last, page["data"][-1:]
            if "after" in rest["params"] and not self._is_done:
                page["data"] = last + page["data"]
                self._is_done = True
            response.raw = HTTPResponse(BytesIO(json.dumps(page).encode()), preload_content=False)
        return response


def test_a_row_that_a_later_page_repeats_is_not_counted_twice(world: World) -> None:
    ads = [{"id": f"{META_AD}{number}", "name": "Film"} for number in range(8)]
    world.meta_account("1001", ads=ads)
    world.meta.app.configure({"page_limit": 7})
    connection = world.connect_meta("1001")
    served = {world.request(meta_ad_id=ad["id"]): [Served("meta", "1001", ad["id"])] for ad in ads}
    with Again() as session:
        world.session = session
        assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected(served)


def test_pages_that_keep_shifting_are_not_a_success(world: World) -> None:
    connection, _ = tiktok_ads(world, 8)
    world.tiktok.app.configure({"page_limit": 2})
    state = world.tiktok.app.state()["accounts"][TIKTOK]
    gone = False

    class Restless(requests.Session):
        def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
            nonlocal gone
            gone = not gone
            vanished = [f"1790000000000000/{TODAY - timedelta(days=n)}" for n in range(40)]
            world.tiktok_account(TIKTOK, **{**state, "vanished": vanished if gone else []})
            return super().request(method, url, **rest)

    with Restless() as session:
        world.session = session
        report = world.sync_all()[connection]
    assert (report.status, report.code) == ("failed", "pages_moved")
    assert world.last_synced_at(connection) is None
    read = world.last_log(connection)["details"]["windows"]
    for _, day, _ in world.figures("tiktok"):
        assert any(since <= str(day) <= until for since, until in read), "half of a window"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("meta", graph_error(100, None, "(#100) Invalid cursors values")),
        ("tiktok", tiktok_error(40002, "page: Not a valid page.")),
    ],
)
def test_an_expired_cursor_does_not_end_the_sync(world: World, name: str, refusal: Fault) -> None:
    side = SIDES[name]
    side.put_account(world, ad_count=8)
    side.server(world).app.configure({side.small_pages: 7})
    connection = side.connect(world)
    served = {world.request(**{side.mapping_key: side.ad_id(1)}): [side.served(1)]}
    side.server(world).faults.add(replace(refusal, path=side.path, skip=1))
    assert world.sync_all()[connection].status == "success"
    assert world.figures(name) == world.expected(served)
    assert [one["struck"] for one in side.server(world).faults.listing()] == [1]
