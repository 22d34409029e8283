"""A round of metrics: plans and syncs that are disturbed, and brought to success.

Meanwhile the platforms restate what they reported, and the queue repeats messages and delays some.
"""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from datetime import date, timedelta
from typing import Any

import requests

from local.fakes.sqs import queue_url
from local.http_server import HttpServer
from local.services.proxy import proxy
from tests.integration.moto_s3 import CREDENTIALS
from tests.metrics.sides import SIDES, Side
from tests.metrics.test_plan_kills import KINDS as PLAN_KINDS
from tests.metrics.test_plan_kills import REFUSED as PLAN_STEPS
from tests.metrics.test_sync_kills import steps_of
from tests.metrics.test_takeovers import RARE_STEPS
from tests.metrics.world import LOOK_BACK, Figures, Served, World
from tests.notifications.killed_run import kinds_of
from tests.soak.chaos import TIMEOUT_SECONDS, end_faults, kinds, spoil
from tests.soak.ground import Ground
from tests.soak.processes import assert_listed, run_process
from tests.soak.tally import Tally, assert_silent
from workers.errors import WorkerError
from workers.metrics.planning import LEASE_SECONDS
from workers.metrics.sync_requests import SyncRequest

# The age of the days that a platform may restate: every sync of a round re-reads them.
RESTATED_DAYS = 12
URLS = {
    "meta": ("meta_graph_url",),
    "google": ("google_ads_url", "google_token_url"),
    "tiktok": ("tiktok_api_url",),
    "linkedin": ("linkedin_api_url", "linkedin_token_url"),
}


class ImpatientSession(requests.Session):
    """Does not wait for an answer longer than the soak has time."""

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        return super().request(method, url, **{**rest, "timeout": TIMEOUT_SECONDS})


class Round:
    """One connection per chosen platform, and what each must show."""

    def __init__(
        self, ground: Ground, world: World, between: HttpServer, rng: random.Random, tally: Tally
    ) -> None:
        """`between` is a proxy in front of the data API."""
        self._ground, self._world, self._rng, self._tally = ground, world, rng, tally
        self._between = between
        self._ads: dict[str, int] = {}
        # earlier truths that each connection's figures may still show
        self._earlier: dict[str, list[Figures]] = {}
        self._late: list[SyncRequest] = []
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
        self._ads[connection] = ads
        self._earlier[connection] = []
        self._served[connection] = {
            world.request(**{side.mapping_key: side.ad_id(number)}): [side.served(number)]
            for number in range(1, ads + 1)
        }

    def disturb(self) -> None:
        """Make everything due, and disturb the plan and each sync."""
        self._world.connection.execute("update platform_connections set last_synced_at = null")
        for connection in self._sides:
            if self._rng.random() < 0.4:
                self._restate(connection)
        self._disturbed_plan()
        for sync_request in self._arriving():
            connection = self._connection_of(sync_request)
            before = len(self._world.logs(connection))
            for _ in range(self._rng.choice((1, 1, 2))):
                self._disturbed_sync(sync_request)
                self._check(connection)
            begun = len(self._world.logs(connection)) - before
            assert begun <= 1, f"one sync request began {begun} syncs"
        # leases and the pauses of accounts expire; a new day lets older ones end
        self._world.later(timedelta(seconds=LEASE_SECONDS))
        if self._rng.random() < 0.3:
            self._world.next_day()

    def _restate(self, connection: str) -> None:
        """The platform restates some days of one ad and no longer reports another."""
        side = self._sides[connection]
        server = side.server(self._world)
        self._earlier[connection].append(self._truth(connection))
        account = server.app.state()["accounts"][side.account_id]
        restated, vanished = dict(account["restated"]), list(account["vanished"])
        for _ in range(self._rng.randint(1, 4)):
            impressions = self._rng.randint(1, 5000)
            restated[self._some_day(connection)] = {
                "impressions": impressions,
                "clicks": self._rng.randint(0, impressions),
                "spend": f"{self._rng.randint(0, 99999) / 100:.2f}",
                "reach": self._rng.randint(1, impressions),
            }
        vanished += [self._some_day(connection) for _ in range(self._rng.randint(0, 2))]
        self._world.change_account(server, side.account_id, restated=restated, vanished=vanished)
        self._tally.add("restated", side.name)

    def _some_day(self, connection: str) -> str:
        """An ad and a day, in the form of the fakes' state."""
        ad = self._sides[connection].ad_id(self._rng.randint(1, self._ads[connection]))
        day = self._world.now.date() - timedelta(days=self._rng.randint(0, RESTATED_DAYS))
        return f"{ad}/{day}"

    def _disturbed_plan(self) -> None:
        sqs = self._ground.sqs
        sqs.reset()
        spoil(sqs, self._rng, kinds("AWS4-HMAC-SHA256 Signature=42"), within=3)
        spoil(
            self._between, self._rng, kinds(self._ground.api.keys.secret), within=3,
            paths=("plan_metric_syncs", "drop_metric_plans"),
        )  # fmt: skip
        if self._rng.random() < 0.3:
            sqs.configure({"refuse": [{"contains": self._rng.choice(list(self._sides))}]})
        reached = self._ground.reached(sqs.url, self._rng, self._tally)
        parameters = {
            "url": self._ground.reached(self._between.url, self._rng, self._tally),
            "key": self._world.api.keys.secret,
            "as_of": self._world.now.isoformat(),
            "queue_url": queue_url(sqs),
            "kill_at": self._rng.choice((None, self._rng.choice(PLAN_STEPS))),
            "timeout": TIMEOUT_SECONDS,
        }
        ended = run_process(
            "tests.metrics.killed_plan", parameters, patience=self._ground.patience(self._rng),
            passed=lambda seconds: self._world.later(timedelta(seconds=seconds)),
            environment={**CREDENTIALS, "AWS_ENDPOINT_URL_SQS": reached},
        )  # fmt: skip
        self._tally.add("plan runs", ended.how)
        assert_listed(ended.steps, PLAN_KINDS)
        assert_silent(ended.said, self._ground.secrets)
        end_faults(sqs, self._tally)
        end_faults(self._between, self._tally)

    def _arriving(self) -> list[SyncRequest]:
        """What the queue delivers now, in any order; some of it repeated, some delayed."""
        held, self._late = self._late, []
        sent = [SyncRequest.from_body(one["body"]) for one in self._ground.sqs.app.state()]
        if not sent:  # the plan failed; the next one after the lease expires takes over
            self._world.later(timedelta(seconds=LEASE_SECONDS))
            sent, _ = self._world.plan()
        for sync_request in dict.fromkeys(sent):
            if self._rng.random() < 0.15:
                self._late.append(sync_request)
        arriving = [sync_request for sync_request in sent if sync_request not in self._late] + held
        self._rng.shuffle(arriving)
        return list(dict.fromkeys(arriving))

    def _connection_of(self, sync_request: SyncRequest) -> str:
        """The only connection to the account."""
        (found,) = (
            one for one in self._sides if self._world.sync_requests_for([sync_request], one)
        )
        return found

    def _disturbed_sync(self, sync_request: SyncRequest) -> None:
        side = self._sides[self._connection_of(sync_request)]
        server = side.server(self._world)
        spoil(server, self._rng, kinds(side.secrets[0]), within=6, paths=("", side.path))
        spoil(
            self._between, self._rng, kinds(self._ground.api.keys.secret), within=6,
            paths=("", "store_metric_days", "derive_account_days", "check_account_days",
                   "end_metric_sync"),
        )  # fmt: skip
        if self._rng.random() < 0.6:
            how = self._sync_in_a_process(sync_request, side)
        else:
            how = self._sync_in_virtual_time(sync_request)
        self._tally.add("sync runs", how)
        end_faults(server, self._tally)
        end_faults(self._between, self._tally)

    def _sync_in_virtual_time(self, sync_request: SyncRequest) -> str:
        try:
            report = self._world.sync(sync_request, self._rng.choice((20.0, 60.0, 280.0)))
        except WorkerError as error:
            return f"raised {type(error).__name__} (virtual time)"
        return f"{report.status} (virtual time)"

    def _sync_in_a_process(self, sync_request: SyncRequest, side: Side) -> str:
        steps = (*steps_of(side.name), *RARE_STEPS)
        request = {
            "settings": self._settings(side),
            "as_of": self._world.now.isoformat(),
            "body": sync_request.body(),
            "kill_at": self._rng.choice((None, self._rng.choice(steps))),
            "timeout": TIMEOUT_SECONDS,
            "seconds": self._rng.choice((13.0, 60.0)),
        }
        ended = run_process(
            "tests.metrics.killed_sync", request, patience=self._ground.patience(self._rng),
            passed=lambda seconds: self._world.later(timedelta(seconds=seconds)),
        )  # fmt: skip
        assert_listed(ended.steps, kinds_of(steps))
        assert_silent(ended.said, self._ground.secrets)
        return ended.how

    def _settings(self, side: Side) -> dict[str, Any]:
        known = asdict(self._world.settings)
        settings = {name: value for name, value in known.items() if value is not None}
        url = side.server(self._world).url
        reached = self._ground.reached(url, self._rng, self._tally)
        for name in URLS[side.fake]:
            settings[name] = settings[name].replace(url, reached)
        return settings

    def finish(self) -> None:
        """Without faults, each connection succeeds within days and then shows the truth."""
        # what takes long now is a busy machine
        self._world.session = requests.Session()
        for sync_request in self._late:
            assert self._world.sync(sync_request).status == "stale", "its lease has expired"
        self._all_succeed()
        # a round reads no day twice: the next round finds what was restated meanwhile
        self._world.next_day()
        self._earlier = {connection: [] for connection in self._sides}
        self._all_succeed()
        for connection in self._sides:
            self._check(connection)
        self._check_nothing_is_open()
        for log in self._world.logs():
            self._tally.add("syncs by status", log["status"])
        for table in (
            "metric_sync_logs",
            "metric_accounts",
            "metric_connection_states",
            "metric_platform_pauses",
            "metric_days",
        ):
            assert_silent(self._world.rows(f"select * from {table}"), self._ground.secrets)  # noqa: S608

    def _all_succeed(self) -> None:
        left = set(self._sides)
        for _ in range(8):
            self._world.connection.execute("update platform_connections set last_synced_at = null")
            for connection, report in self._world.sync_all().items():
                if report.status == "success":
                    left.discard(connection)
            if not left:
                return
            self._world.next_day()
        raise AssertionError(f"no success: {[self._world.last_log(one) for one in left]}")

    def _check_nothing_is_open(self) -> None:
        held = self._world.rows("select 1 from metric_accounts where token is not null")
        assert not held, f"{len(held)} connections are still held"
        statuses = {log["status"] for log in self._world.logs()}
        assert "in_progress" not in statuses, "the log of a killed sync was never closed"

    def _truth(self, connection: str) -> Figures:
        """What the platform now reports for the days that are or will be relevant."""
        ahead = 20
        until = self._world.now.date() + timedelta(days=ahead)
        return self._world.expected(self._served[connection], until, LOOK_BACK + 30 + ahead)

    def _check(self, connection: str) -> None:
        """What is shown is or was true, and is complete when a sync reports success."""
        served = self._served[connection]
        shown = {
            key: value
            for key, value in self._world.figures(self._sides[connection].name).items()
            if key[0] in served
        }
        truths = [self._truth(connection), *self._earlier[connection]]
        wrong = {
            key: value
            for key, value in shown.items()
            if value not in [truth.get(key) for truth in truths]
        }
        assert not wrong, f"figures that differ from the truth: {dict(list(wrong.items())[:5])}"
        if self._has_just_succeeded(connection):
            today = self._world.now.date()
            since = today - timedelta(days=LOOK_BACK)
            asked = set.intersection(*(_between(truth, since, today) for truth in truths))
            missing = asked - shown.keys()
            assert not missing, f"a success, but {len(missing)} figures are missing"

    def _has_just_succeeded(self, connection: str) -> bool:
        logs = self._world.logs(connection)
        age = self._world.now - logs[-1]["start_time"] if logs else timedelta.max
        return bool(logs) and logs[-1]["status"] == "success" and age < timedelta(minutes=5)


def _between(figures: Figures, since: date, until: date) -> set[tuple[str, date, str]]:
    return {key for key in figures if since <= key[1] <= until}


def play(ground: Ground, rng: random.Random, tally: Tally) -> None:
    """One round. Raises AssertionError for a broken promise."""
    with proxy(ground.api.url) as between:
        world = World(replace(ground.api, url=between.url), ground.platforms)
        try:
            one = Round(ground, world, between, rng, tally)
            for _ in range(rng.randint(1, 2)):
                one.disturb()
            one.finish()
        finally:
            world.close()
