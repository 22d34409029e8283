"""The SQL between the platforms' rows and the dashboard's figures."""

from __future__ import annotations

import random
import uuid
from collections import Counter, defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.database.agency import NOW
from tests.metrics.world import TODAY, Served, World
from workers.metrics.planning import refresh_links
from workers.metrics.platforms import MAPPING_KEYS

AD = "23851000000000001"
DERIVE = "select derive_account_days(%s, %s, null, 10, null, '6 minutes', %s)"
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
    """Takes the connection's account as a sync would; the sync's token."""
    token = str(uuid.uuid4())
    world.remember(
        connection, token=token, leased_until=NOW + timedelta(hours=1), sync_id=uuid.uuid4(),
        attempted_at=NOW,
    )  # fmt: skip
    return token


def refresh(world: World) -> None:
    refresh_links(world.database, MAPPING_KEYS)


def settle(world: World, most: int = 1000) -> int:
    """How many steps it took."""
    steps = 0
    while not world.database.call("settle_ad_links", most=most)["is_finished"]:
        steps += 1
    return steps


def row(ad: str, day: date = TODAY, group: str = "", **measures: Any) -> dict[str, Any]:
    known = {name: value for name, value in measures.items() if value is not None}
    return {"ad_id": ad, "ad_group_id": group, "campaign_id": "", "date": f"{day}", "kind": "ad",
            "measures": known, "currency": None}  # fmt: skip


def store(
    world: World, token: str, rows: list[dict[str, Any]], days: list[date] = DAYS, parts: int = 1
) -> None:
    """What a sync does with days that it read, the rows in that many calls."""
    size = -(-len(rows) // parts) or 1
    pieces = [rows[start : start + size] for start in range(0, len(rows), size)] or [[]]
    for number, piece in enumerate(pieces[1:]):
        world.database.call(
            "stage_metric_rows", token=token, part=number, rows=piece, lease="6 minutes"
        )
    world.database.call(
        "store_metric_days", token=token, lease="6 minutes", days=[f"{day}" for day in days],
        account={"currency": "EUR", "time_zone": "Europe/Oslo", "today": f"{TODAY}"},
        kinds=["ad", "asset_group", "campaign"], rows=pieces[0],
        names=[
            {"level": "ad", "id": ad, "name": ad} for ad in sorted({one["ad_id"] for one in rows})
        ],
    )  # fmt: skip


def derive(
    world: World, token: str, most: int = 100, days: list[date] = DAYS, how: str = "derive"
) -> dict[str, int]:
    """The counts of all steps."""
    counts: Counter[str] = Counter()
    after = None
    while True:
        step = world.database.call(
            f"{how}_account_days", token=token, days=[f"{day}" for day in days], after=after,
            most=most, chosen=[], lease="6 minutes",
        )  # fmt: skip
        after = step.pop("after")
        counts.update(step)
        if after is None:
            return dict(counts)


def damage(world: World, chance: random.Random) -> None:
    """Figures are deleted and changed manually."""
    for row in world.rows("select id from performance_metrics order by request_id, date"):
        if chance.random() < 0.2:
            world.connection.execute("delete from performance_metrics where id = %s", (row["id"],))
        elif chance.random() < 0.2:
            world.connection.execute(
                "update performance_metrics set value = value + 1 where id = %s", (row["id"],)
            )


def expected(
    facts: dict[tuple[str, str, date], dict[str, Any]], requests: dict[str, str]
) -> dict[tuple[str, date, str], Decimal]:
    """The figures of requests (by the ad letters that they name), worked out independently."""
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
def test_figures_are_sums_in_any_order_and_any_pieces(
    world: World,
    first: dict[tuple[str, str, date], dict[str, Any]],
    changes: dict[tuple[str, str, date], dict[str, Any]],
    seed: int,
    most: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - of a test
    world.connection.execute(
        "truncate ad_metrics, metric_names, metric_named_ads, metric_accounts, metric_ad_links, "
        "performance_metrics, requests, metric_days cascade"
    )
    world.connection.execute("delete from platform_connections")
    connection = world.connect_meta("1")
    requests = {ads: world.request(meta_ad_id=list(ads)) for ads in ("a", "bc", "cd")}
    refresh(world)

    kept = {key: one for key, one in first.items() if chance.random() < 0.8}
    for facts in (first, {**kept, **changes}):
        token = begin(world, connection)
        rows = [row(ad, day, group, **one) for (ad, group, day), one in facts.items()]
        chance.shuffle(rows)
        store(world, token, rows, parts=chance.randint(1, 4))
        if chance.random() < 0.3:  # an answer lost, the call made again
            store(world, token, rows)
        derive(world, token, most)
        assert world.figures() == expected(facts, requests)
        ledger = world.rows("select ad_id, ad_group_id, date from ad_metrics")
        assert {(one["ad_id"], one["ad_group_id"], one["date"]) for one in ledger} == set(facts)
        assert world.rows("select 1 from metric_staged_rows") == []
        world.database.call("mark_metric_days", token=token, connection_id=connection,
                            days={f"{day}": {} for day in DAYS}, lease="6 minutes")  # fmt: skip
        for how in ("derive", "check"):
            counts = derive(world, token, how=how)
            assert not counts["created"] + counts["updated"] + counts["deleted"]
        damage(world, chance)
        derive(world, token, most, how="check")
        assert world.figures() == expected(facts, requests)


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


def shared_request(world: World) -> tuple[str, list[str]]:
    """A request with the ads `a` and `b` of two accounts: its id, and the tokens of syncs that
    hold them and have stored a row of today each, of 3 and of 4 clicks."""
    connections = [world.connect_meta("1"), world.connect_meta("2")]
    request = world.request(meta_ad_id=["a", "b"])
    refresh(world)
    tokens = [begin(world, connection) for connection in connections]
    for token, ad, clicks in zip(tokens, "ab", (3, 4), strict=True):
        store(world, token, [row(ad, clicks=clicks)])
    return request, tokens


def test_no_figure_has_half_of_a_day(world: World) -> None:
    """A day in two parts: the first is not visible before the second is stored."""
    request, tokens = shared_request(world)
    rows = [row("b", group=f"{number}", clicks=10) for number in range(2)]
    world.database.call("stage_metric_rows", token=tokens[1], part=0, rows=rows, lease="6 minutes")
    derive(world, tokens[0])
    assert world.figures() == {(request, TODAY, "clicks"): 7}
    store(world, tokens[1], [row("b", group="last", clicks=1)])
    derive(world, tokens[1])
    assert world.figures() == {(request, TODAY, "clicks"): 24}


def test_of_two_accounts_that_derive_at_once_the_later_sees_both(world: World) -> None:
    request, tokens = shared_request(world)
    world.connection.execute("delete from ad_metrics where ad_id = 'b'")
    with world.api.connect() as first, world.api.connect() as second, ThreadPoolExecutor() as pool:
        with first.transaction():
            first.execute(DERIVE, (tokens[0], DAYS, NOW))
            store(world, tokens[1], [row("b", clicks=4)])
            later = pool.submit(second.execute, DERIVE, (tokens[1], DAYS, NOW))
            wait_until_it_waits(world, second, later)
        later.result(timeout=30)
    assert world.figures() == {(request, TODAY, "clicks"): 7}


@pytest.mark.parametrize("is_deleted_first", [True, False])
def test_a_request_that_is_deleted_while_its_figures_are_derived(
    world: World, is_deleted_first: bool
) -> None:
    request, tokens = shared_request(world)
    steps: list[tuple[Any, ...]] = [
        ("delete from requests where id = %s", (request,)),
        (DERIVE, (tokens[0], DAYS, NOW)),
    ]
    if not is_deleted_first:
        steps.reverse()
    with world.api.connect() as first, world.api.connect() as second, ThreadPoolExecutor() as pool:
        with first.transaction():
            first.execute(*steps[0])
            later = pool.submit(second.execute, *steps[1])
            wait_until_it_waits(world, second, later)
        later.result(timeout=30)
    assert world.figures() == {}


def wait_until_it_waits(world: World, session: Any, work: Future[Any]) -> None:
    """Until the session's statement waits for a lock of another, or is done."""
    while not work.done() and not world.rows(
        "select 1 where cardinality(pg_blocking_pids(%s)) > 0", session.info.backend_pid
    ):
        pass


def test_two_connections_to_one_account_are_not_added_up(world: World) -> None:
    world.meta_account("1001", ads=[{"id": AD, "name": "Film"}])
    world.connect_meta("1001")
    world.connect_meta("1001", platform="facebook")
    request = world.request(meta_ad_id=AD)
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
    # what was stored of its ads is there for the next request that names them
    again = world.request(meta_ad_id=AD)
    world.plan()
    assert world.figures() == world.expected({again: [Served("meta", "1001", AD)]})


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
    refresh(world)
    rows = world.rows("select level, id from metric_ad_links where platform = 'meta'")
    assert {(one["level"], one["id"]) for one in rows} == {("ad", id_) for id_ in found}


def test_more_links_than_the_apis_row_cap_are_loaded(world: World) -> None:
    world.connection.execute(
        "insert into requests (title, request_type, metadata) "
        "select 'R', 'creative', jsonb_build_object('meta_ad_id', number::text) "
        "from generate_series(1, 3000) number"
    )
    steps, after = 0, None
    while not steps or after:
        after = world.database.call(
            "refresh_ad_links", mapping_keys={"meta": {"ad": "meta_ad_id"}}, after=after, most=700
        )["after"]
        steps += 1
    assert steps == 5
    loaded: list[str] = []
    after, pages = None, 0
    while not pages or after:
        page = world.database.call(
            "load_named_ads", platform="meta", account_id="1", after=after, most=1100
        )
        loaded += page["named"]["ad"]
        after, pages = page["after"], pages + 1
    assert pages == 3
    assert len(set(loaded)) == len(loaded) == 3000


def test_a_long_history_is_settled_in_slices_of_days(world: World) -> None:
    connection = world.connect_meta("1")
    token = begin(world, connection)
    refresh(world)
    days = [TODAY - timedelta(days=number) for number in range(40)]
    store(world, token, [row(ad, day, clicks=1) for ad in "abc" for day in days], days)
    request = world.request(meta_ad_id=["a", "b", "c"])
    refresh(world)
    assert settle(world, most=30) >= 4
    assert world.figures() == {(request, day, "clicks"): 3 for day in days}
    world.remap(request, meta_ad_id="a")
    refresh(world)
    settle(world, most=30)
    assert world.figures() == {(request, day, "clicks"): 1 for day in days}
    world.remap(request)
    refresh(world)
    settle(world, most=30)
    assert world.figures() == {}
    assert world.rows("select 1 from metric_ad_links") == []
    assert world.rows("select 1 from metric_unsettled_requests") == []


def test_the_history_of_restatements_is_kept_and_bounded(world: World) -> None:
    connection = world.connect_meta("1")
    request = world.request(meta_ad_id=["a", "b"])
    refresh(world)
    for number in range(33):
        token = begin(world, connection)
        store(world, token, [row("a", spend=f"{number}.50"), row("b", spend="1")], [TODAY])
    history = world.rows("select * from metric_spend_changes order by number")
    assert {str(one["request_id"]) for one in history} == {request}
    assert [one["number"] for one in history] == list(range(1, 31))
    assert (history[0]["old_spend"], history[0]["new_spend"]) == (Decimal("1.5"), Decimal("2.5"))
    assert history[-1]["new_spend"] == Decimal("33.5")
    store(world, begin(world, connection), [row("a", spend="32.50"), row("b", spend="1")], [TODAY])
    assert len(world.rows("select 1 from metric_spend_changes")) == 30, "nothing changed"
    store(world, begin(world, connection), [], [TODAY])
    assert world.rows("select 1 from ad_metrics") == []


def test_unchanged_rows_are_not_written(world: World) -> None:
    connection = world.connect_meta("1")
    world.request(meta_ad_id=["a", "b"])
    refresh(world)
    rows = [row(ad, day, clicks=1, spend="2.50") for ad in "ab" for day in DAYS]
    store(world, begin(world, connection), rows)
    before = world.rows("select ctid, xmin, ad_id, date from ad_metrics order by ad_id, date")
    store(world, begin(world, connection), rows)
    after = world.rows("select ctid, xmin, ad_id, date from ad_metrics order by ad_id, date")
    assert after == before
