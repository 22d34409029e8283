"""The SQL between the platforms' rows and the dashboard's figures."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.database.agency import NOW
from tests.metrics.world import TODAY, Served, World

AD = "23851000000000001"
DAYS = [TODAY - timedelta(days=number) for number in range(4)]
FACTS = st.fixed_dictionaries(
    {
        "impressions": st.none() | st.integers(0, 10**6),
        "clicks": st.none() | st.integers(0, 1000),
        "spend": st.none() | st.decimals(0, 10**6, places=6).map(str),
        "reach": st.none() | st.integers(0, 1000),
    }
)
RATIOS = (
    ("cpm", "spend", "impressions", 1000),
    ("cpc", "spend", "clicks", 1),
    ("ctr", "clicks", "impressions", 100),
)
KEYS = st.tuples(st.sampled_from("abcde"), st.sampled_from(["", "g"]), st.sampled_from(DAYS))


def begin(world: World, connection: str) -> str:
    """Takes the connection as a sync would; the sync's token."""
    token = str(uuid.uuid4())
    world.connection.execute(
        "insert into metric_connection_states (connection_id, token, leased_until, sync_id) "
        "values (%s, %s, %s, gen_random_uuid()) on conflict (connection_id) do update "
        "set token = excluded.token, leased_until = excluded.leased_until, "
        "sync_id = excluded.sync_id",
        (connection, token, NOW + timedelta(hours=1)),
    )
    return token


def store(world: World, connection: str, token: str, rows: list[dict[str, Any]]) -> None:
    account = {
        "platform": "meta", "account_id": "1", "currency": "EUR", "time_zone": "Europe/Oslo"
    }  # fmt: skip
    world.connection.execute(
        "select store_ad_metrics(%s, %s, %s, %s, '6 minutes', %s)",
        (connection, token, Jsonb(account), Jsonb(rows), NOW),
    )


def finish(world: World, connection: str, token: str, most: int) -> None:
    while True:
        (row,) = world.rows(
            "select finish_metric_window(%s, %s, 'meta', %s, %s, %s, '6 minutes', %s) as step",
            connection, token, DAYS[-1], DAYS[0], most, NOW,
        )  # fmt: skip
        if row["step"]["is_finished"]:
            return


def expected(
    facts: dict[tuple[str, str, date], dict[str, Any]], requests: dict[str, str]
) -> dict[tuple[str, date, str], Decimal]:
    """The figures of requests (by the ad letters that they name), worked out by hand."""
    found: dict[tuple[str, date, str], Decimal] = {}
    for ads, request in requests.items():
        days: dict[date, list[dict[str, Any]]] = defaultdict(list)
        for (ad, _, day), one in facts.items():
            if ad in ads:
                days[day].append(one)
        for day, several in days.items():
            sums = {
                kind: sum((Decimal(one[kind]) for one in several), Decimal())
                for kind in ("impressions", "clicks", "spend")
                if all(one[kind] is not None for one in several)
            }
            for kind, over, under, times in RATIOS:
                if over in sums and sums.get(under):
                    exact = sums[over] * times / sums[under]
                    found[request, day, kind] = exact.quantize(Decimal("0.000001"), ROUND_HALF_UP)
            found |= {(request, day, kind): value for kind, value in sums.items()}
            if len(several) == 1 and several[0]["reach"] is not None:
                found[request, day, "reach"] = Decimal(several[0]["reach"])
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(KEYS, FACTS, max_size=25),
    st.dictionaries(KEYS, FACTS, max_size=10),
    st.integers(0, 2**32),
    st.integers(1, 9),
)
def test_figures_are_the_sums_whatever_the_order_and_the_pieces(
    world: World,
    first: dict[tuple[str, str, date], dict[str, Any]],
    changes: dict[tuple[str, str, date], dict[str, Any]],
    seed: int,
    most: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - of a test
    world.connection.execute(
        "truncate ad_metrics, metric_ad_links, performance_metrics, requests, metric_days cascade"
    )
    world.connection.execute("delete from platform_connections")
    connection = world.connect_meta("1")
    requests = {ads: world.request(meta_ad_id=list(ads)) for ads in ("a", "bc", "cd")}
    world.connection.execute("select refresh_ad_links('meta', 'meta_ad_id')")

    kept = {key: one for key, one in first.items() if chance.random() < 0.8}
    for facts in (first, {**kept, **changes}):
        token = begin(world, connection)
        rows = [
            {"ad_id": ad, "ad_group_id": group, "date": f"{day}", "ad_name": ad, **one}
            for (ad, group, day), one in facts.items()
        ]
        chance.shuffle(rows)
        while rows:
            size = chance.randint(1, 6)
            store(world, connection, token, rows[:size])
            if chance.random() < 0.3:  # an answer lost, the call made again
                store(world, connection, token, rows[:size])
            rows = rows[size:]
        finish(world, connection, token, most)
        assert world.figures() == expected(facts, requests)
        ledger = world.rows("select ad_id, ad_group_id, date from ad_metrics")
        assert {(row["ad_id"], row["ad_group_id"], row["date"]) for row in ledger} == set(facts)
        assert world.rows("select 1 from ad_metrics where is_pending") == []


def test_older_rows_are_replaced_and_what_people_entered_is_kept(world: World) -> None:
    world.meta_account("1001", ads=[{"id": AD, "name": "Film"}], vanished=[f"{AD}/{TODAY}"])
    world.connect_meta("1001")
    request = world.request(meta_ad_id=AD)
    other = world.request(meta_ad_id="of an account that is not connected")
    older = TODAY - timedelta(days=60)
    insert = (
        "insert into performance_metrics (request_id, platform, metric_type, value, date, source) "
        "values (%s, %s, %s, 1, %s, %s)"
    )
    yesterday = TODAY - timedelta(days=1)
    replaced = [
        (request, "meta", "spend", yesterday, "api_sync"),
        (request, "meta", "spend", yesterday, "api_sync"),
        (request, "meta", "impressions", TODAY, "api_sync"),  # nothing is reported for today
        (request, "meta", "impressions", TODAY, "api_sync"),
    ]
    kept = [
        (request, "meta", "spend", yesterday, "manual_entry"),
        (request, "meta", "spend", yesterday, "manual_entry"),
        (request, "meta", "conversions", yesterday, "api_sync"),  # of no type that we derive
        (request, "meta", "spend", older, "api_sync"),  # outside of the range
        (request, "tiktok", "spend", yesterday, "api_sync"),
        (other, "meta", "spend", yesterday, "api_sync"),
        (None, "meta", "spend", yesterday, "api_sync"),
        (None, "meta", "spend", yesterday, "api_sync"),
    ]
    for values in (*replaced, *kept):
        world.connection.execute(insert, values)
    before = world.rows("select * from performance_metrics where derived is null order by id")
    assert len(before) == 12

    world.sync_all()

    left = world.rows("select * from performance_metrics where derived is null order by id")
    assert [row for row in before if row in left] == left, "not one value of them changed"
    assert sorted(
        (str(row["request_id"]), row["platform"], row["metric_type"], row["date"], row["source"])
        for row in left
    ) == sorted((str(request_id), *rest) for request_id, *rest in kept)
    derived = {
        (str(row["request_id"]), row["date"], row["metric_type"]): row["value"]
        for row in world.rows("select * from performance_metrics where derived")
    }
    assert derived == world.expected({request: [Served("meta", "1001", AD)]})


def shared_request(world: World) -> tuple[str, list[str], list[str]]:
    """A request with the ads `a` and `b` of two connections: its id, theirs, and the tokens of
    syncs that hold them and have stored a row of today each, of 3 and of 4 clicks."""
    connections = [world.connect_meta("1"), world.connect_meta("2")]
    request = world.request(meta_ad_id=["a", "b"])
    world.connection.execute("select refresh_ad_links('meta', 'meta_ad_id')")
    tokens = [begin(world, connection) for connection in connections]
    for connection, token, ad, clicks in zip(connections, tokens, "ab", (3, 4), strict=True):
        store(
            world, connection, token, [{"ad_id": ad, "ad_group_id": "", "date": f"{TODAY}",
            "ad_name": ad, "impressions": None, "clicks": clicks, "spend": None, "reach": None}],
        )  # fmt: skip
    return request, connections, tokens


def test_what_another_sync_is_still_reading_is_in_no_figure(world: World) -> None:
    request, connections, tokens = shared_request(world)
    finish(world, connections[0], tokens[0], 10)
    assert world.figures() == {(request, TODAY, "clicks"): 3}
    finish(world, connections[1], tokens[1], 10)
    assert world.figures() == {(request, TODAY, "clicks"): 7}


def test_a_settled_link_shows_nothing_of_a_window_that_was_half_read(world: World) -> None:
    request, connections, tokens = shared_request(world)
    finish(world, connections[0], tokens[0], 10)
    world.connection.execute(
        "update metric_ad_links set is_settled = false where request_id = %s", (request,)
    )
    world.connection.execute(
        "select settle_ad_links(%s, %s, 'meta', 10, '6 minutes', %s)",
        (connections[1], tokens[1], NOW),
    )
    assert world.figures() == {(request, TODAY, "clicks"): 3}


def test_of_two_connections_that_finish_at_once_the_later_sees_both(world: World) -> None:
    request, connections, tokens = shared_request(world)
    step = "select finish_metric_window(%s, %s, 'meta', %s, %s, 10, '6 minutes', %s)"
    arguments = [
        (connection, token, DAYS[-1], DAYS[0], NOW)
        for connection, token in zip(connections, tokens, strict=True)
    ]
    with world.api.connect() as first, world.api.connect() as second, ThreadPoolExecutor() as pool:
        with first.transaction():
            first.execute(step, arguments[0])
            later = pool.submit(second.execute, step, arguments[1])
            waiting: list[dict[str, Any]] = []
            while not waiting and not later.done():
                waiting = world.rows(
                    "select 1 where cardinality(pg_blocking_pids(%s)) > 0",
                    second.info.backend_pid,
                )
        later.result(timeout=30)
    assert world.figures() == {(request, TODAY, "clicks"): 7}


def test_two_connections_to_one_account_are_not_added_up(world: World) -> None:
    world.meta_account("1001", ads=[{"id": AD, "name": "Film"}])
    world.connect_meta("1001")
    world.connect_meta("1001", platform="facebook")
    request = world.request(meta_ad_id=AD)
    world.sync_all()
    assert world.figures() == world.expected({request: [Served("meta", "1001", AD)]})


def test_a_connection_can_be_deleted_and_made_anew(world: World) -> None:
    world.meta_account("1001", ads=[{"id": AD, "name": "Film"}])
    first = world.connect_meta("1001")
    request = world.request(meta_ad_id=AD)
    world.sync_all()
    world.connection.execute("delete from metric_sync_logs")
    world.connection.execute("delete from platform_connections where id = %s", (first,))
    assert world.rows("select 1 from ad_metrics") == []
    world.connect_meta("1001")
    world.later(timedelta(minutes=1))
    world.sync_all()
    assert world.figures() == world.expected({request: [Served("meta", "1001", AD)]})


def test_a_request_can_be_deleted(world: World) -> None:
    world.meta_account("1001", ads=[{"id": AD, "name": "Film"}])
    connection = world.connect_meta("1001")
    request = world.request(meta_ad_id=AD)
    world.sync_all()
    world.connection.execute("delete from requests where id = %s", (request,))
    assert world.sync_again()[connection].status == "success"
    assert world.figures() == {}
    assert world.rows("select 1 from ad_metrics where date > %s", TODAY - timedelta(days=30)) == []


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"meta_ad_id": "1"}, {"1"}),
        ({"meta_ad_id": 23851234567890123456}, {"23851234567890123456"}),
        ({"meta_ad_id": [" 1 ", 2, None, "", {"id": 3}, ["4"]]}, {"1", "2"}),
        ({"meta_ad_id": None}, set()),
        ({"meta_ad_id": {"id": "1"}}, set()),
        ({"meta_ad_id": True}, set()),
        (["meta_ad_id"], set()),
        ("meta_ad_id", set()),
        ({"google_ad_id": "1"}, set()),
    ],
)
def test_what_metadata_may_hold(world: World, metadata: Any, found: set[str]) -> None:
    world.agency.request(metadata=Jsonb(metadata))
    rows = world.rows("select ad_id from named_ads('meta_ad_id')")
    assert {row["ad_id"] for row in rows} == found


def test_more_links_than_the_apis_row_cap_are_loaded(world: World) -> None:
    world.connection.execute(
        "insert into requests (title, request_type, metadata) "
        "select 'R', 'creative', jsonb_build_object('meta_ad_id', number::text) "
        "from generate_series(1, 3000) number"
    )
    loaded: list[str] = []
    page = [""]
    while page:
        page = world.database.call(
            "load_ad_links", platform="meta", mapping_key="meta_ad_id",
            after=loaded[-1] if loaded else None, most=1100,
        )  # fmt: skip
        loaded += page
    assert len(set(loaded)) == len(loaded) == 3000
