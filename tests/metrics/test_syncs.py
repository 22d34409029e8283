"""Syncs that run out of time, are killed, come twice, or reach back; and their order."""

from __future__ import annotations

import runpy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date, timedelta
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

import pytest
import requests
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from urllib3 import HTTPResponse

from local.fakes.google_ads import google_error
from local.fakes.meta import graph_error
from local.http_server import HttpServer
from tests import forked
from tests.metrics.world import LOOK_BACK, NOW, SECRETS, TODAY, Served, World
from workers.composition.container import forget_clients
from workers.errors import TransientError
from workers.metrics.orders import SyncOrder
from workers.metrics.planning import LEASE_SECONDS, plan_syncs
from workers.metrics.platforms import NAMES
from workers.metrics.sync import Backfill, ConnectionSync
from workers.metrics.windows import Window
from workers.telemetry import logger

ROOT = Path(__file__).resolve().parents[2]
AD = "23851000000000001"
STEPS = tuple(
    f"{when} {step}"
    for step in (
        "begin_metric_sync 1",
        "account 1",
        "load_ad_links 1",
        "insights 1",
        "store_ad_metrics 1",
        "finish_metric_window 1",
        "insights 2",
        "store_ad_metrics 2",
        "finish_metric_window 2",
        "settle_ad_links 1",
        "end_metric_sync 1",
    )
    for when in ("before", "after")
)


class SlowSession(requests.Session):
    """Each request takes `seconds` of the world's time."""

    def __init__(self, world: World, seconds: float) -> None:
        super().__init__()
        self._world = world
        self._seconds = seconds

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        self._world.clock.advance(self._seconds)
        return super().request(method, url, **rest)


def one_account(world: World, count: int = 4) -> tuple[str, dict[str, list[Served]]]:
    """A connection to an account of `count` ads, each of a request of its own."""
    ads = [{"id": f"{AD}{number:02d}", "name": f"Ad {number}"} for number in range(count)]
    world.meta_account("1001", ads=ads)
    served = {world.request(meta_ad_id=ad["id"]): [Served("meta", "1001", ad["id"])] for ad in ads}
    return world.connect_meta("1001"), served


def order_for(world: World, connection: str) -> SyncOrder:
    (order,) = [one for one in world.plan()[0] if one.connection_id == connection]
    return order


def test_a_sync_without_time_is_partial_and_the_next_ones_finish_it(world: World) -> None:
    connection, served = one_account(world, 40)
    world.meta.app.configure({"page_limit": 50})  # some 23 pages for the whole range
    seen: list[date] = []
    statuses = []
    with SlowSession(world, 5.0) as slow:
        world.session = slow
        while not statuses or statuses[-1] == "partial":
            before = world.clock.now()
            report = world.sync(order_for(world, connection), seconds=60)
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
    order = order_for(world, connection)
    call = world.database.call
    steps = 0

    def slow(function: str, **arguments: Any) -> Any:
        nonlocal steps
        if function == "finish_metric_window":
            steps += 1
            world.clock.advance(4)
            arguments["most"] = 2  # as if the window held very much
        return call(function, **arguments)

    world.database.call = slow  # type: ignore[method-assign]
    before = world.clock.now()
    assert world.sync(order, seconds=60).status == "partial"
    assert world.clock.now() - before <= 60
    assert steps > 1
    world.database.call = call  # type: ignore[method-assign]
    world.later(timedelta(minutes=10))
    assert world.sync(order_for(world, connection)).status == "success"
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
    """The figures come in drops."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
        response = super().request(method, url, **rest)
        if "insights" in str(url):
            drops = BufferedReader(Drops(self._world, response.raw.read()))
            response.raw = HTTPResponse(drops, response.headers, 200, preload_content=False)
        return response


def test_an_answer_in_drops_does_not_keep_a_sync_beyond_its_deadline(world: World) -> None:
    connection, served = one_account(world)
    order = order_for(world, connection)
    before = world.clock.now()
    with DropSession(world) as session:
        world.session, usual = session, world.session
        assert world.sync(order, seconds=60).status == "partial"
    assert world.clock.now() - before <= 60
    assert world.state(connection)["window_days"] == 1, "the next sync asks for less"
    world.session = usual
    world.later(timedelta(minutes=10))
    assert world.sync(order_for(world, connection)).status == "success"
    assert world.figures() == world.expected(served)


def test_a_day_that_was_not_over_is_read_again_by_a_sync_that_goes_on_after_it(
    world: World,
) -> None:
    connection, served = one_account(world, 40)
    world.meta.app.configure({"page_limit": 50})
    with SlowSession(world, 5.0) as slow:
        world.session, usual = slow, world.session
        assert world.sync(order_for(world, connection), seconds=60).status == "partial"
    assert world.rows("select 1 from metric_days where date = %s", TODAY)
    world.session = usual
    ad, *_ = (ads[0].ad_id for ads in served.values())
    whole_day = {"impressions": 987_654, "clicks": 4321, "spend": "765.43", "reach": 98_765}
    world.later(timedelta(hours=20))
    world.change_account(world.meta, "1001", restated={f"{ad}/{TODAY}": whole_day})
    assert world.sync(order_for(world, connection)).status == "success"
    figures = world.figures()
    expected = world.expected(served, today=TODAY + timedelta(days=1))
    assert {key: figures[key] for key in expected} == expected


def test_an_account_that_is_too_large_for_its_window_gets_narrower_ones(world: World) -> None:
    connection, served = one_account(world, 10)
    world.connection.execute(
        "insert into metric_connection_states (connection_id, window_days) values (%s, 31)",
        (connection,),
    )
    world.meta.app.configure({"page_limit": 10})
    statuses = []
    with SlowSession(world, 6.0) as slow:
        world.session = slow
        while not statuses or statuses[-1] == "partial":
            statuses.append(world.sync(order_for(world, connection), seconds=60).status)
            assert len(statuses) < 12
            world.later(timedelta(minutes=10))
    assert statuses[-1] == "success"
    assert world.figures() == world.expected(served)


def test_the_range_is_in_the_accounts_own_days(world: World) -> None:
    world.meta_account("1001", ads=[{"id": AD, "name": "Film"}], time_zone="Pacific/Kiritimati")
    connection = world.connect_meta("1001")
    request = world.request(meta_ad_id=AD)
    world.sync_all()
    tomorrow = TODAY + timedelta(days=1)  # it is 14 hours later there
    assert world.last_log(connection)["details"]["window"] == [
        f"{tomorrow - timedelta(days=LOOK_BACK)}", f"{tomorrow}"
    ]  # fmt: skip
    assert world.figures() == world.expected(
        {request: [Served("meta", "1001", AD)]}, today=tomorrow
    )


def test_a_plan_is_not_made_twice(world: World) -> None:
    connection, _ = one_account(world)
    orders, plan = world.plan()
    assert [order.connection_id for order in orders] == [connection]
    assert plan.planned == 1
    again, second = world.plan()
    assert (again, second.in_flight) == ([], 1)
    world.later(timedelta(seconds=LEASE_SECONDS - 1))
    assert world.plan()[0] == []
    world.later(timedelta(seconds=1))
    assert len(world.plan()[0]) == 1, "a lost message costs one lease"


def test_only_what_is_due_is_planned(world: World) -> None:
    world.meta_account("1001")
    due = world.connect_meta("1001")
    fresh = world.connect_meta("1001", frequency=60)
    inactive = world.connect_meta("1001")
    world.connection.execute(
        "update platform_connections set last_synced_at = %s where id = %s",
        (world.now - timedelta(minutes=59), fresh),
    )
    world.connection.execute(
        "update platform_connections set is_active = false where id = %s", (inactive,)
    )
    assert {order.connection_id for order in world.plan()[0]} == {due}
    world.later(timedelta(minutes=1))
    assert {order.connection_id for order in world.plan()[0]} == {fresh}


def test_a_thousand_connections_are_planned_as_they_can_be_done(world: World) -> None:
    world.connection.execute(
        "insert into platform_connections (platform, account_id, credentials) "
        "select 'meta', 'act_' || number, '{}' from generate_series(1, 1000) number"
    )
    calls: list[str] = []
    call = world.database.call

    def counted(function: str, **arguments: Any) -> Any:
        calls.append(function)
        return call(function, **arguments)

    world.database.call = counted  # type: ignore[method-assign]
    planned: set[str] = set()
    passes = 0
    while len(planned) < 1000:
        orders, plan = world.plan(concurrency=10)
        passes += 1
        assert len(calls) <= 20
        calls.clear()
        # at half a minute each, ten side by side do 400 within a lease less the longest sync
        assert plan.planned == len(orders) <= 400
        assert plan.left == 1000 - len(planned) - len(orders)
        assert not planned & {order.connection_id for order in orders}
        assert world.plan(concurrency=10)[0] == []
        planned |= {order.connection_id for order in orders}
        world.connection.execute(
            "update metric_connection_states set leased_until = null, token = null;"
            "update platform_connections set last_synced_at = %s "
            "where id in (select connection_id from metric_connection_states)".replace(
                "%s", f"'{world.now.isoformat()}'"
            )
        )
        calls.clear()
    assert passes == 3


def test_what_could_not_be_sent_is_planned_again_at_once(world: World) -> None:
    connection, _ = one_account(world)

    class Refusing:
        def send(self, bodies: Any) -> list[int]:
            return list(range(len(bodies)))

    plan = plan_syncs(world.database, Refusing(), NAMES, 10)
    assert (plan.planned, plan.unsent, plan.left) == (0, 1, 1)
    assert [order.connection_id for order in world.plan()[0]] == [connection]


def test_eight_planners_at_once_plan_each_connection_once(world: World) -> None:
    world.meta_account("1001")
    for _ in range(40):
        world.connect_meta("1001")
    with ThreadPoolExecutor(8) as pool:
        plans = list(pool.map(lambda _: world.plan()[0], range(8)))
    ids = [order.connection_id for orders in plans for order in orders]
    assert len(ids) == len(set(ids))
    world.later(timedelta(seconds=0))
    assert len(ids) + len(world.plan()[0]) == 40


def test_a_second_planner_at_the_same_moment_plans_nothing(world: World) -> None:
    """Else both would fill what room there is."""
    one_account(world)
    plan = "select plan_metric_syncs('{}', 10, '15 minutes', '5 minutes', %s)"
    with world.api.connect() as other, other.transaction():
        other.execute(plan, (world.now,))
        orders, told = world.plan()
        assert (orders, told.planned, told.left) == ([], 0, 0)
    assert world.plan()[1].in_flight == 1


def test_a_repeated_message_does_nothing(world: World) -> None:
    connection, _ = one_account(world)
    order = order_for(world, connection)
    assert world.sync(order).status == "success"
    requests_before = world.meta.journal.count()
    assert world.sync(order).status == "stale"
    assert world.meta.journal.count() == requests_before
    assert len(world.logs()) == 1


def test_of_two_at_once_one_works(world: World) -> None:
    connection, served = one_account(world)
    order = order_for(world, connection)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: world.sync(order), range(4)))
    assert sorted(report.status for report in reports) == ["stale", "stale", "stale", "success"]
    assert len(world.logs()) == 1
    assert world.figures() == world.expected(served)


def test_a_sync_that_was_taken_over_writes_nothing_more(world: World) -> None:
    connection, _ = one_account(world)
    order = order_for(world, connection)

    class Takeover(SlowSession):
        """While the first request is under way, another sync gets the connection."""

        def request(self, method: str | bytes, url: str | bytes, **rest: Any) -> requests.Response:  # type: ignore[override]
            if "insights" in str(url):
                world.connection.execute(
                    "update metric_connection_states set token = gen_random_uuid()"
                )
            return super().request(method, url, **rest)

    with Takeover(world, 1.0) as session:
        world.session = session
        assert world.sync(order).status == "lost"
    assert world.rows("select 1 from ad_metrics") == []
    assert world.figures() == {}
    assert world.last_synced_at(connection) is None


def test_a_sync_that_was_taken_over_at_its_end_is_no_success(world: World) -> None:
    connection, _ = one_account(world)
    order = order_for(world, connection)
    call = world.database.call

    def overtaken(function: str, **arguments: Any) -> Any:
        if function == "end_metric_sync":
            world.connection.execute(
                "update metric_connection_states set token = gen_random_uuid()"
            )
        return call(function, **arguments)

    world.database.call = overtaken  # type: ignore[method-assign]
    assert world.sync(order).status == "lost"
    assert world.last_synced_at(connection) is None
    assert world.last_log(connection)["status"] == "in_progress"
    assert world.state(connection)["token"] is not None, "the other one still has it"


def test_connections_of_one_request_at_once_end_with_the_whole_sum(world: World) -> None:
    served = []
    for account in range(1001, 1007):
        world.meta_account(str(account), ads=[{"id": f"{AD}{account}", "name": "Film"}])
        world.connect_meta(str(account))
        served.append(Served("meta", str(account), f"{AD}{account}"))
    request = world.request(meta_ad_id=[ad.ad_id for ad in served])
    orders, _ = world.plan()

    def sync(order: SyncOrder) -> str:
        with requests.Session() as session:
            one = ConnectionSync(
                world.database, world.settings, world.clock, lambda _: session, lambda: 0.5
            )
            return one.run(order, world.clock.now() + 280).status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(sync, orders)) == {"success"}
    assert world.figures() == world.expected({request: served})


def killed_sync(world: World, order: SyncOrder, kill_at: str | None) -> list[str]:
    settings = {name: value for name, value in asdict(world.settings).items() if value is not None}
    told = {
        "settings": settings,
        "as_of": world.now.isoformat(),
        "body": order.body(),
        "kill_at": kill_at,
    }
    return forked.killed_run("tests.metrics.killed_sync", told)


def test_the_steps_are_those_of_a_sync(world: World) -> None:
    connection, _ = one_account(world)
    *taken, ended = killed_sync(world, order_for(world, connection), None)
    assert ended == "ended success"
    assert set(taken) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_the_next_plan_after_the_lease_finishes_it(world: World, step: str) -> None:
    connection, served = one_account(world)
    order = order_for(world, connection)
    assert killed_sync(world, order, step)[-1] == step
    expected = world.expected(served)
    for key, value in world.figures().items():
        assert expected[key] == value, "nothing half-done is shown"

    world.later(timedelta(seconds=LEASE_SECONDS))
    if step == "after end_metric_sync 1":
        assert world.last_log(connection)["status"] == "success"
    else:
        orders, plan = world.plan()
        assert [one.connection_id for one in orders] == [connection]
        assert plan.orphans == (step != "before begin_metric_sync 1")
        assert world.sync(orders[0]).status == "success"
    assert world.figures() == expected
    assert {log["status"] for log in world.logs()} <= {"success", "failed"}


def test_a_failing_database_is_the_error_that_comes_out(world: World) -> None:
    connection, _ = one_account(world)
    order = order_for(world, connection)
    call = world.database.call

    def failing(function: str, **arguments: Any) -> Any:
        if function == "store_ad_metrics":
            raise TransientError("the database is away", code="57P03")
        return call(function, **arguments)

    world.database.call = failing  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="the database is away"):
        world.sync(order)
    log = world.last_log(connection)
    assert (log["status"], log["details"]["code"]) == ("failed", "57P03")
    assert world.last_synced_at(connection) is None
    assert world.state(connection)["not_before"] is None, "the next plan tries again"
    world.later(timedelta(minutes=10))
    with pytest.raises(TransientError):
        world.sync(order_for(world, connection))
    assert world.state(connection)["not_before"] == world.now + timedelta(minutes=20)


def test_a_backfill_reaches_back_and_goes_on_where_it_stopped(world: World) -> None:
    connection, served = one_account(world, 20)
    world.sync_all()
    world.later(timedelta(minutes=1))
    asked = Window(TODAY - timedelta(days=200), TODAY - timedelta(days=31))
    world.connection.execute("update metric_connection_states set window_days = 20")
    told: list[tuple[Window, int]] = []
    backfill = Backfill(asked, lambda window, left: told.append((window, left)))
    with SlowSession(world, 10.0) as slow:
        world.session = slow
        first = world.backfill(connection, backfill, 60)
        assert first is not None
        assert first.status == "partial"
        days_left = told[-1][1]
        assert 0 < days_left < asked.width
        second = world.backfill(connection, backfill, 600)
    assert second is not None
    assert second.status == "success"
    assert told[-1][1] == 0
    assert len({window for window, _ in told}) == len(told), "nothing is read twice"
    assert world.figures() == world.expected(served, days=200)
    assert world.last_synced_at(connection) == NOW, "a backfill is no sync of today"


def test_a_backfill_waits_for_no_sync_and_is_not_disturbed_by_one(world: World) -> None:
    connection, _ = one_account(world)
    asked = Backfill(Window(TODAY - timedelta(days=60), TODAY), lambda window, left: None)
    order_for(world, connection)
    assert world.backfill(connection, asked, 60) is None


class LambdaContext:
    """As much of Lambda's as the handler takes."""

    function_name = "connection_sync"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:000000000000:function:connection_sync"
    aws_request_id = "a-request"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def test_a_log_line_names_no_sync_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("supabase_url", "supabase_service_role_key", "slack_bot_token"):
        monkeypatch.setenv(name.upper(), getattr(world.settings, name))
    connection, _ = one_account(world)
    assert world.sync_all()[connection].status == "success"
    assert logger.get_current_keys()["connection_id"] == connection
    handler = runpy.run_path(str(ROOT / "functions/connection_sync/app.py"))["lambda_handler"]
    message = {"messageId": "1", "body": "{}", "eventSource": "aws:sqs"}
    try:
        with pytest.raises(BatchProcessingError):
            handler({"Records": [message]}, LambdaContext())
    finally:
        forget_clients()
    assert not {"sync_id", "connection_id"} & set(logger.get_current_keys())


def test_no_secret_is_told_anywhere(
    world: World, meta_server: HttpServer, google_server: HttpServer,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    one_account(world)
    world.google_account("5000000001", ads=[{"id": "700000000001", "name": "Banner"}])
    world.connect_google("5000000001")
    world.request(google_ad_id="700000000001")
    quoting = f"Invalid token {SECRETS[0]} (access_token={SECRETS[0]}&x=1) {SECRETS[1]}"
    reports = [world.sync_all()]
    for fault in (
        graph_error(190, None, quoting, times=1),
        graph_error(1, None, quoting, status=500, times=None),
    ):
        world.meta.faults.clear()
        world.meta.faults.add(fault)
        reports.append(world.sync_again())
    world.google.faults.add(
        google_error(
            "quotaError",
            "RESOURCE_EXHAUSTED",
            429,
            f"no {SECRETS[2]} {SECRETS[3]}",
            "9s",
            path="googleAds:searchStream",
        )
    )
    reports.append(world.sync_again())

    told = capfd.readouterr()
    for server in (meta_server, google_server):
        for exchange in server.journal.listing():
            for secret in (*SECRETS, "access_token=", "token=EAA"):
                assert secret not in exchange["path"] + "?" + exchange["query"]
    rows = world.rows("select * from metric_sync_logs")
    states = world.rows("select * from metric_connection_states")
    assert len(rows) >= 6
    for text in (told.out, told.err, str(rows), str(states), str(reports)):
        for secret in SECRETS:
            assert secret not in text
    assert "[redacted]" in str(rows)


def test_a_failure_that_quotes_a_secret_is_recorded_without_it(world: World) -> None:
    connection, _ = one_account(world)
    order = order_for(world, connection)
    call = world.database.call

    def quoting(function: str, **arguments: Any) -> Any:
        if function == "store_ad_metrics":
            raise TransientError(f"it broke off at {SECRETS[0]}", code="57P03")
        return call(function, **arguments)

    world.database.call = quoting  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        world.sync(order)
    told = world.last_log(connection)["error_message"]
    assert told.endswith("it broke off at [redacted]")
