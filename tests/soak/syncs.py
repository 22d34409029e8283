"""A round of syncs: planned, disturbed, and brought to a success."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import date, timedelta
from typing import Any

import requests
from postgrest.exceptions import APIError

from local.http_server import HttpServer
from local.proxy import proxy
from tests.metrics.sides import SIDES, Side
from tests.metrics.test_syncs import STEPS
from tests.metrics.world import LOOK_BACK, Figures, Served, World
from tests.soak.chaos import TIMEOUT_SECONDS, end_faults, kinds, spoil
from tests.soak.ground import Ground
from tests.soak.processes import run_process
from tests.soak.tally import Tally, assert_silent
from workers.errors import WorkerError
from workers.metrics.orders import SyncOrder
from workers.metrics.planning import LEASE_SECONDS

URLS = {
    "meta": ("meta_graph_url",),
    "google": ("google_ads_url", "google_token_url"),
    "tiktok": ("tiktok_api_url",),
    "linkedin": ("linkedin_api_url", "linkedin_token_url"),
}


class ImpatientSession(requests.Session):
    """Waits for no answer longer than the soak has time."""

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        return super().request(method, url, **{**rest, "timeout": TIMEOUT_SECONDS})


class Round:
    """One connection per chosen platform, and what each must show."""

    def __init__(
        self, ground: Ground, world: World, between: HttpServer, rng: random.Random, tally: Tally
    ) -> None:
        """`between` stands before the data API."""
        self._ground, self._world, self._rng, self._tally = ground, world, rng, tally
        self._between = between
        self._served: dict[str, dict[str, list[Served]]] = {}
        self._sides: dict[str, Side] = {}
        for side in rng.sample(list(SIDES.values()), rng.randint(1, 3)):
            self._connect(side)
        world.session = ImpatientSession()

    def _connect(self, side: Side) -> None:
        world, ads = self._world, self._rng.randint(2, 6)
        side.put_account(world, ad_count=ads + self._rng.randint(0, 3))
        if side.small_pages:
            side.server(world).app.configure({side.small_pages: self._rng.randint(20, 200)})
        connection = side.connect(world)
        self._sides[connection] = side
        self._served[connection] = {
            world.request(**{side.mapping_key: side.ad_id(number)}): [side.served(number)]
            for number in range(1, ads + 1)
        }

    def disturb(self) -> None:
        """Everything is due, and something happens to each sync."""
        self._world.connection.execute("update platform_connections set last_synced_at = null")
        orders: list[SyncOrder] = []
        with suppress(WorkerError, APIError):
            orders, _ = self._world.plan()
        for order in orders:
            self._disturbed_sync(order)
            self._check(order.connection_id)
        # a lease runs out, and with it the pauses of an account; a new day lets older ones end
        self._world.later(timedelta(seconds=LEASE_SECONDS))
        if self._rng.random() < 0.3:
            self._world.next_day()

    def _disturbed_sync(self, order: SyncOrder) -> None:
        side = self._sides[order.connection_id]
        server = side.server(self._world)
        spoil(server, self._rng, kinds(side.secrets[0]), within=6, paths=("", side.path))
        spoil(
            self._between, self._rng, kinds(self._ground.api.keys.secret), within=6,
            paths=("", "store_ad_metrics", "finish_metric_window", "end_metric_sync"),
        )  # fmt: skip
        if self._rng.random() < 0.6:
            how = self._sync_in_a_process(order, side)
        else:
            how = self._sync_in_virtual_time(order)
        self._tally.add("sync runs", how)
        end_faults(server, self._tally)
        end_faults(self._between, self._tally)

    def _sync_in_virtual_time(self, order: SyncOrder) -> str:
        try:
            report = self._world.sync(order, self._rng.choice((20.0, 60.0, 280.0)))
        except (WorkerError, APIError) as error:
            return f"raised {type(error).__name__} (virtual time)"
        return f"{report.status} (virtual time)"

    def _sync_in_a_process(self, order: SyncOrder, side: Side) -> str:
        told = {
            "settings": self._settings(side),
            "as_of": self._world.now.isoformat(),
            "body": order.body(),
            "kill_at": self._rng.choice((None, self._rng.choice(STEPS))),
            "timeout": TIMEOUT_SECONDS,
            "seconds": self._rng.choice((13.0, 60.0)),
        }
        ended = run_process(
            "tests.metrics.killed_sync", told, patience=self._ground.patience(self._rng),
            passed=lambda seconds: self._world.later(timedelta(seconds=seconds)),
        )  # fmt: skip
        assert_silent(ended.said, self._ground.secrets)
        return ended.how

    def _settings(self, side: Side) -> dict[str, Any]:
        known = asdict(self._world.settings)
        settings = {name: value for name, value in known.items() if value is not None}
        url = side.server(self._world).url
        reached = self._ground.reached(url, self._rng, self._tally)
        for name in URLS[side.stand_in]:
            settings[name] = settings[name].replace(url, reached)
        return settings

    def finish(self) -> None:
        """With all well, each connection comes to a success within days."""
        left = set(self._sides)
        for _ in range(8):
            self._world.connection.execute("update platform_connections set last_synced_at = null")
            for connection, report in self._world.sync_all().items():
                self._check(connection)
                if report.status == "success":
                    left.discard(connection)
            if not left:
                break
            self._world.next_day()
        assert not left, f"no success: {[self._world.last_log(one) for one in left]}"
        for log in self._world.logs():
            self._tally.add("syncs by status", log["status"])
        for table in ("metric_sync_logs", "metric_connection_states", "metric_platform_pauses"):
            assert_silent(self._world.rows(f"select * from {table}"), self._ground.secrets)  # noqa: S608

    def _check(self, connection: str) -> None:
        """What is shown is true, and all of it is there where a sync says that it succeeded."""
        served = self._served[connection]
        today = self._world.now.date()
        shown = {
            key: value
            for key, value in self._world.figures(self._sides[connection].name).items()
            if key[0] in served
        }
        truth = self._world.expected(served, today, LOOK_BACK + 30)
        wrong = {key: value for key, value in shown.items() if truth.get(key) != value}
        assert not wrong, f"figures that differ from the truth: {dict(list(wrong.items())[:5])}"
        if self._has_just_succeeded(connection):
            since = today - timedelta(days=LOOK_BACK)
            missing = _since(truth, since).keys() - shown.keys()
            assert not missing, f"a success, but {len(missing)} figures are missing"

    def _has_just_succeeded(self, connection: str) -> bool:
        logs = self._world.logs(connection)
        age = self._world.now - logs[-1]["start_time"] if logs else timedelta.max
        return bool(logs) and logs[-1]["status"] == "success" and age < timedelta(minutes=5)


def _since(figures: Figures, since: date) -> Figures:
    return {key: value for key, value in figures.items() if key[1] >= since}


def play(ground: Ground, rng: random.Random, tally: Tally) -> None:
    """One round. Raises AssertionError where a promise is broken."""
    with proxy(ground.api.url) as between:
        world = World(replace(ground.api, url=between.url), ground.platforms)
        try:
            one = Round(ground, world, between, rng, tally)
            for _ in range(rng.randint(1, 2)):
                one.disturb()
            one.finish()
        finally:
            world.close()
