"""Syncs that run out of time and continue later, the days they read, and backfills."""

from __future__ import annotations

from datetime import date, timedelta
from io import BufferedReader, RawIOBase
from typing import Any

import requests
from urllib3 import HTTPResponse

from tests.metrics.connected import META_AD, one_account, sync_request_for
from tests.metrics.sessions import SlowSession
from tests.metrics.world import LOOK_BACK, NOW, TODAY, Served, World
from workers.metrics.sync_requests import Backfill
from workers.metrics.windows import Window


def test_a_sync_without_time_is_partial_and_the_next_ones_finish_it(world: World) -> None:
    connection, served = one_account(world, 40)
    world.meta.app.configure({"page_limit": 50})  # about 23 pages for the whole range
    seen: list[date] = []
    statuses = []
    with SlowSession(world, 5.0) as slow:
        world.session = slow
        while not statuses or statuses[-1] == "partial":
            before = world.clock.now()
            report = world.sync(sync_request_for(world, connection), seconds=60)
            assert world.clock.now() - before <= 60
            statuses.append(report.status)
            assert len(statuses) < 10
            log = world.last_log(connection)
            stored = {day for (_, day, _) in world.figures()}
            assert world.figures() == {
                key: value for key, value in world.expected(served).items() if key[1] in stored
            }, "what is stored is complete"
            done = [date.fromisoformat(since) for since, _ in log["details"]["windows"]]
            assert not set(done) & set(seen), "no window is read twice"
            seen += done
            world.later(timedelta(minutes=10))
    assert statuses[-1] == "success"
    assert len(statuses) > 2
    assert world.figures() == world.expected(served)
    assert world.last_synced_at(connection) is not None
    partial = world.logs(connection)[0]
    assert partial["status"] == "partial"
    assert partial["details"]["code"] == "out_of_time"


def test_a_slow_database_does_not_keep_a_sync_beyond_its_deadline(world: World) -> None:
    connection, served = one_account(world)
    sync_request = sync_request_for(world, connection)
    call = world.database.call
    steps = 0

    def slow(function: str, **arguments: Any) -> Any:
        nonlocal steps
        if function == "derive_account_days":
            steps += 1
            world.clock.advance(25)
            arguments["most"] = 1  # as if the account served very many requests
        return call(function, **arguments)

    world.database.call = slow  # type: ignore[method-assign]
    before = world.clock.now()
    assert world.sync(sync_request, seconds=60).status == "partial"
    assert world.clock.now() - before <= 60
    assert steps > 1
    world.database.call = call  # type: ignore[method-assign]
    world.later(timedelta(minutes=10))
    assert world.sync(sync_request_for(world, connection)).status == "success"
    assert world.figures() == world.expected(served)


class Drops(RawIOBase):
    """A body of which a byte arrives each second of the world's time."""

    def __init__(self, world: World, body: bytes) -> None:
        self._world = world
        self._left = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._world.clock.advance(1)
        arrived, self._left = self._left[:1], self._left[1:]
        buffer[: len(arrived)] = arrived
        return len(arrived)


class DropSession(requests.Session):
    """The figures trickle in."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        response = super().request(method, url, **rest)
        if "insights" in str(url):
            drops = BufferedReader(Drops(self._world, response.raw.read()))
            response.raw = HTTPResponse(drops, response.headers, 200, preload_content=False)
        return response


def test_a_trickling_response_does_not_keep_a_sync_beyond_its_deadline(world: World) -> None:
    connection, served = one_account(world)
    sync_request = sync_request_for(world, connection)
    before = world.clock.now()
    with DropSession(world) as session:
        world.session, usual = session, world.session
        assert world.sync(sync_request, seconds=60).status == "partial"
    assert world.clock.now() - before <= 60
    assert world.state(connection)["window_days"] == 1, "the next sync asks for less"
    world.session = usual
    world.later(timedelta(minutes=10))
    assert world.sync(sync_request_for(world, connection)).status == "success"
    assert world.figures() == world.expected(served)


def test_a_day_that_was_not_over_is_read_again_by_a_sync_that_continues_after_it(
    world: World,
) -> None:
    connection, served = one_account(world, 40)
    world.meta.app.configure({"page_limit": 50})
    with SlowSession(world, 5.0) as slow:
        world.session, usual = slow, world.session
        assert world.sync(sync_request_for(world, connection), seconds=60).status == "partial"
    assert world.rows("select 1 from metric_days where date = %s", TODAY)
    world.session = usual
    ad, *_ = (ads[0].ad_id for ads in served.values())
    whole_day = {"impressions": 987_654, "clicks": 4321, "spend": "765.43", "reach": 98_765}
    world.later(timedelta(hours=20))
    world.change_account(world.meta, "1001", restated={f"{ad}/{TODAY}": whole_day})
    assert world.sync(sync_request_for(world, connection)).status == "success"
    figures = world.figures()
    expected = world.expected(served, today=TODAY + timedelta(days=1))
    assert {key: figures[key] for key in expected} == expected


def test_an_account_that_is_too_large_for_its_window_gets_narrower_ones(world: World) -> None:
    connection, served = one_account(world, 10)
    world.remember(connection, window_days=31)
    world.meta.app.configure({"page_limit": 10})
    statuses = []
    with SlowSession(world, 6.0) as slow:
        world.session = slow
        while not statuses or statuses[-1] == "partial":
            statuses.append(world.sync(sync_request_for(world, connection), seconds=60).status)
            assert len(statuses) < 20
            world.later(timedelta(minutes=10))
    assert statuses[-1] == "success"
    assert world.figures() == world.expected(served)


def test_the_range_is_in_the_accounts_own_days(world: World) -> None:
    world.meta_account(
        "1001", ads=[{"id": META_AD, "name": "Film"}], time_zone="Pacific/Kiritimati"
    )
    connection = world.connect_meta("1001")
    request = world.request(meta_ad_id=META_AD)
    world.sync_all()
    tomorrow = TODAY + timedelta(days=1)  # it is 14 hours later there
    assert world.last_log(connection)["details"]["window"] == [
        f"{tomorrow - timedelta(days=LOOK_BACK)}", f"{tomorrow}"
    ]  # fmt: skip
    assert world.figures() == world.expected(
        {request: [Served("meta", "1001", META_AD)]}, today=tomorrow
    )


def test_a_backfill_reaches_back_and_continues_where_it_stopped(world: World) -> None:
    connection, served = one_account(world, 20)
    world.sync_all()
    world.later(timedelta(minutes=1))
    asked = Window(TODAY - timedelta(days=200), TODAY - timedelta(days=31))
    world.connection.execute("update metric_accounts set window_days = 20")
    progress: list[tuple[Window, int]] = []
    backfill = Backfill(asked, lambda window, left: progress.append((window, left)))
    with SlowSession(world, 10.0) as slow:
        world.session = slow
        first = world.backfill(connection, backfill, 60)
        assert first is not None
        assert first.status == "partial"
        days_left = progress[-1][1]
        assert 0 < days_left < asked.width
        second = world.backfill(connection, backfill, 600)
    assert second is not None
    assert second.status == "success"
    assert progress[-1][1] == 0
    assert len({window for window, _ in progress}) == len(progress), "nothing is read twice"
    assert world.figures() == world.expected(served, days=200)
    assert world.last_synced_at(connection) == NOW, "a backfill is not a sync of today"


def test_a_backfill_does_not_run_during_a_sync_nor_a_sync_during_it(world: World) -> None:
    connection, _ = one_account(world)
    asked = Backfill(Window(TODAY - timedelta(days=60), TODAY), lambda window, left: None)
    sync_request_for(world, connection)
    assert world.backfill(connection, asked, 60) is None
