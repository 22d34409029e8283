"""A month of virtual time in which everything happens that can happen to ad accounts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest

from local.fakes.meta import app_throttled, graph_error
from tests.metrics.sessions import Spoilt
from tests.metrics.sides import SIDES, Side
from tests.metrics.world import LOOK_BACK, TODAY, Figures, Served, World
from workers.metrics.windows import Window

DAYS = 30
ADS = 3


class Account:
    """One of two on a platform: its connections, and a request for each of its ads."""

    def __init__(self, world: World, side: Side, number: int) -> None:
        self._world, self._side = world, side
        self.platform = side.name
        self.id = f"{int(side.account_id) + number}"
        self.ads = [f"{int(self.id) % 10**6:06}{ad:04}77" for ad in range(ADS)]
        put = getattr(world, f"{side.fake}_account")
        put(self.id, ads=[{"id": ad, "name": f"Ad {ad}"} for ad in self.ads])
        self.requests = [world.request(**{side.mapping_key: ad}) for ad in self.ads]
        self.connections = [self._connect()]

    def _connect(self) -> str:
        found: str = getattr(self._world, f"connect_{self._side.fake}")(self.id)
        return found

    @property
    def served(self) -> dict[str, list[Served]]:
        return {
            request: [Served(self._side.fake, self.id, ad)]
            for request, ad in zip(self.requests, self.ads, strict=True)
        }

    def delete_and_connect_anew(self) -> None:
        for connection in self.connections:
            self._world.connection.execute(
                "delete from metric_sync_logs where platform_connection_id = %s", (connection,)
            )
            self._world.connection.execute(
                "delete from platform_connections where id = %s", (connection,)
            )
        self.connections = [self._connect()]

    def double(self) -> None:
        self.connections.append(self._connect())

    def switch(self, *, on: bool) -> None:
        self._world.connection.execute(
            "update platform_connections set is_active = %s where id = any (%s::uuid[])",
            (on, self.connections),
        )

    def point(self, connection: str, account_id: str) -> None:
        self._world.connection.execute(
            "update platform_connections set account_id = %s where id = %s",
            (account_id, connection),
        )

    def rotate_secret(self, secret: str) -> None:
        """A token that is refused for a day; `secret` is the valid one of the fake's account."""
        self._world.connection.execute(
            "update platform_connections set credentials = credentials || "
            "jsonb_build_object('access_token', %s::text, 'refresh_token', %s::text) "
            "where id = any (%s::uuid[])",
            (secret, secret, self.connections),
        )

    def map(self, number: int, *, to_its_request: bool) -> None:
        metadata = {self._side.mapping_key: self.ads[number]} if to_its_request else {}
        self._world.remap(self.requests[number], **metadata)

    def restate(self, rng: Random, today: date) -> None:
        day = today - timedelta(days=rng.randrange(1, 7))
        key = f"{rng.choice(self.ads)}/{day}"
        figures = {"impressions": rng.randrange(50, 900), "clicks": 7, "spend": "7.50", "reach": 40}
        server = self._side.server(self._world)
        before = server.app.state()["accounts"][self.id]["restated"]
        self._world.change_account(server, self.id, restated={**before, key: figures})


def both_of_each(world: World) -> list[Account]:
    """Two accounts of each platform."""
    return [Account(world, side, number) for side in SIDES.values() for number in range(2)]


@pytest.fixture
def accounts(world: World) -> list[Account]:
    return both_of_each(world)


def events(world: World, accounts: list[Account], rng: Random) -> Iterator[bool]:
    """The days of the month, on which everything happens to some account: whether it is the first
    or more than restatements happened."""
    one, two, *others = rng.sample(accounts, len(accounts))
    meta = next(account for account in accounts if account.platform == "meta")
    secrets = {
        "meta": SIDES["meta"].secrets[0], "google_ads": SIDES["google_ads"].secrets[0],
        "tiktok": SIDES["tiktok"].secrets[0], "linkedin": SIDES["linkedin"].secrets[0],
    }  # fmt: skip
    plan: dict[int, Any] = {
        2: one.double,
        4: two.delete_and_connect_anew,
        6: lambda: others[0].switch(on=False),
        7: lambda: others[1].map(0, to_its_request=False),
        9: lambda: others[0].switch(on=True),
        10: lambda: others[2].rotate_secret("EAALOCALrefusedToken0000001"),
        12: lambda: others[2].rotate_secret(secrets[others[2].platform]),
        13: lambda: others[3].point(others[3].connections[0], others[3].id + "9"),
        15: lambda: others[3].point(others[3].connections[0], others[3].id),
        16: lambda: others[1].map(0, to_its_request=True),
        18: lambda: world.meta.faults.add(app_throttled(times=2)),
        20: one.delete_and_connect_anew,
        22: lambda: meta.map(1, to_its_request=False),
        23: lambda: meta.map(1, to_its_request=True),
    }
    for number in range(DAYS):
        if number in plan:
            plan[number]()
        for account in rng.sample(accounts, 3):
            account.restate(rng, world.now.date())
        yield number in plan or number == 0


def all_expected(world: World, accounts: list[Account]) -> dict[str, Figures]:
    today = world.now.date()
    found: dict[str, Figures] = {}
    for account in accounts:
        figures = world.expected(account.served, today=today, days=LOOK_BACK + DAYS + 5)
        found.setdefault(account.platform, {}).update(figures)
    return found


@pytest.mark.parametrize("seed", [1])
def test_at_the_end_every_figure_is_correct(
    world: World, accounts: list[Account], seed: int
) -> None:
    rng = Random(seed)  # noqa: S311 - of a test
    unreadable = TODAY + timedelta(days=8)
    body = graph_error(1, 99, "An unknown error occurred").body

    def spoil(days: Window) -> tuple[int, str] | None:
        # a day that Meta could not report on for a week
        lasts = unreadable <= world.now.date() <= unreadable + timedelta(days=7)
        return (500, body) if lasts and unreadable in days else None

    with Spoilt(spoil) as session:
        world.session, usual = session, world.session
        for number, something_happened in enumerate(events(world, accounts, rng)):
            for hours in (12, 12) if number % 3 == 0 else (24,):
                # what was restated on the other days is for the next sync to find
                reports = world.sync_all() if something_happened else {}
                for connection, report in reports.items():
                    if report.status == "success":
                        truthful(world, accounts, connection)
                world.later(timedelta(hours=hours))
        world.session = usual
        world.database.call("release_connections")
        world.sync_again()
        for _ in range(3):
            world.later(timedelta(days=1))
            reports = world.sync_all()
    assert {report.status for report in reports.values()} == {"success"}
    for platform, expected in all_expected(world, accounts).items():
        figures = world.figures(platform)
        first = TODAY - timedelta(days=LOOK_BACK)
        assert {key: one for key, one in figures.items() if key[1] >= first} == {
            key: one for key, one in expected.items() if key[1] >= first
        }


def truthful(world: World, accounts: list[Account], connection: str) -> None:
    """A log that says success says so of all days that it names."""
    platform, account_id = world.account_of(connection)
    since, until = map(date.fromisoformat, world.last_log(connection)["details"]["window"])
    for account in accounts:
        if (account.platform, account.id) != (platform, account_id):
            continue
        links = world.rows("select request_id::text from metric_ad_links where is_current")
        named = {row["request_id"] for row in links}
        served = {one: ads for one, ads in account.served.items() if one in named}
        expected = world.expected(served, today=until, days=(until - since).days)
        figures = world.figures(platform)
        wrong = {
            key: (figures.get(key), one) for key, one in expected.items() if figures.get(key) != one
        }
        assert not wrong, f"{platform} {account_id}: {list(wrong.items())[:3]}"
