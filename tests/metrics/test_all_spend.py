"""Everything that spends is read, and what was read is compared with the account's own total."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from threading import Lock
from typing import Any

import pytest

from local.fakes import tiktok
from local.fakes.ad_facts import Several, ad_records
from local.faults import failing
from tests.metrics.sides import SIDES, Side
from tests.metrics.test_levels import ADS, CAMPAIGNS
from tests.metrics.world import LOOK_BACK, TODAY, Served, World
from workers.answers import Answer
from workers.doctor.platform_checks import check_totals
from workers.doctor.report import Account, read_accounts

every_platform = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
GOOGLE, TIKTOK = SIDES["google_ads"], SIDES["tiktok"]
# Requests of a sync that reads one window, in addition to sign-in and account.
REPORTS = {"meta": 2, "google_ads": 3, "tiktok": 4, "linkedin": 2}
SHOPS = [
    {"id": "1850000000000001", "name": "Shop", "store": "74001"},
    {"id": "1850000000000002", "name": "Shop live", "store": "74001"},
    {"id": "1850000000000003", "name": "Other shop", "store": "74002"},
]


def spent(world: World, side: Side, days: int = LOOK_BACK) -> dict[str, Decimal]:
    """The account's spend by day, from the truth."""
    account = side.server(world).app.state()["accounts"][side.account_id]
    whole = Several("", "", ad_records(side.fake, side.account_id, account))
    found = {}
    for number in range(days + 1):
        day = TODAY - timedelta(days=number)
        facts = whole.on(day.toordinal())
        found[f"{day}"] = facts.spend if facts else Decimal()
    return found


def is_of_totals(request: Any) -> bool:
    text = f"{request.query}{request.body!r}"
    words = ("ADVERTISER", "pivot=ACCOUNT", "FROM customer", "level=account")
    return any(word in text for word in words) and "descriptive_name" not in text


def put(world: World, side: Side) -> None:
    if side is GOOGLE:
        side.put_account(world, ads=ADS, campaigns=CAMPAIGNS)
    elif side is TIKTOK:
        ads: list[dict[str, Any]] = [
            {"id": side.ad_id(number), "name": f"Ad {number}", "is_reserved": number == 2}
            for number in range(1, 4)
        ]
        side.put_account(world, ads=ads, campaigns=SHOPS)
    else:
        side.put_account(world, ads=[
            {"id": side.ad_id(number), "name": f"Ad {number}", "is_deleted": number == 2}
            for number in range(1, 4)
        ])  # fmt: skip


def accounts(world: World) -> list[Account]:
    """As the doctor reads them."""
    report = Answer.of("doctor_report", world.database.call("doctor_report"))
    return read_accounts(report)


@every_platform
def test_all_spend_of_the_account_is_read(world: World, side: Side) -> None:
    put(world, side)
    connection = side.connect(world)
    world.request(**{side.mapping_key: [side.ad_id(1), ADS[0]["id"]]})
    assert world.sync_all()[connection].status == "success"
    truth = spent(world, side)
    days = world.rows("select date, spend_read, spend_named, spend_total from metric_days")
    tail = Decimal("1e-10")  # LinkedIn's, of a binary fraction
    assert {f"{day['date']}" for day in days} == set(truth)
    for day in days:
        assert abs(day["spend_read"] - truth[f"{day['date']}"]) < tail, day
        assert day["spend_named"] <= day["spend_read"]
        if side is not TIKTOK:  # its total is that of auctions
            assert abs(day["spend_total"] - day["spend_read"]) < tail, day
    details = world.last_log(connection)["details"]
    assert abs(Decimal(details["total_difference"])) < tail * 100
    assert details["days_that_differ"] == {}
    over = sum((one for day, one in truth.items() if day != f"{TODAY}"), Decimal())
    if side is not TIKTOK:
        assert abs(Decimal(details["spend_total"]) - over) < tail * 100
    assert "reports_left_out" not in details
    (row,) = accounts(world)
    assert list(check_totals(side.name, row)) == []


@every_platform
def test_a_sync_without_such_campaigns_takes_one_request_for_each_report(
    world: World, side: Side
) -> None:
    side.put_account(world, ad_count=2)
    connection = side.connect(world)
    world.sync_all()
    details = world.last_log(connection)["details"]
    sign_in = side.name in ("google_ads", "linkedin")
    windows = len(details["windows"])
    assert details["requests"] == sign_in + 1 + windows * REPORTS[side.name]


@every_platform
def test_a_differing_total_is_reported(world: World, side: Side) -> None:
    """An ad that the reports by ad lack, as when a platform leaves some out."""
    put(world, side)
    connection = side.connect(world)
    world.sync_all()
    app: Any = side.server(world).app
    lost = next(one for one in app._records[side.account_id] if one.kind == "ad")
    usual = app._records[side.account_id]

    handle, one_at_a_time = app.handle, Lock()

    def handled(request: Any) -> Any:
        with one_at_a_time:
            rest = [one for one in usual if one != lost]
            app._records[side.account_id] = usual if is_of_totals(request) else rest
            return handle(request)

    app.handle = handled
    try:
        world.sync_again()
    finally:
        del app.handle
    details = world.last_log(connection)["details"]
    missing = sum(
        (facts.spend for number in range(1, LOOK_BACK + 1)
         if (facts := lost.on((TODAY - timedelta(days=number)).toordinal()))), Decimal(),
    )  # fmt: skip
    assert abs(Decimal(details["total_difference"]) - missing) < Decimal("1e-8")
    assert 0 < len(details["days_that_differ"]) <= 10
    (row,) = accounts(world)
    (found,) = check_totals(side.name, row)
    assert found.level == "warning"
    assert details["total_difference"] in found.text
    (listed,) = world.database.call("list_connections")
    assert listed["total_difference"] == details["total_difference"]


@every_platform
def test_a_failing_total_does_not_prevent_reading_the_days(world: World, side: Side) -> None:
    put(world, side)
    connection = side.connect(world)
    request = world.request(**{side.mapping_key: side.ad_id(1)})
    app: Any = side.server(world).app
    handle = app.handle

    def handled(one: Any) -> Any:
        if is_of_totals(one):
            return handle(type(one)(one.method, "/nowhere", "", one.headers, b""))
        return handle(one)

    app.handle = handled
    try:
        assert world.sync_all()[connection].status == "success"
    finally:
        del app.handle
    details = world.last_log(connection)["details"]
    assert set(details["reports_left_out"]) == {"total"}
    assert "total_difference" not in details
    if side is not GOOGLE:
        assert world.figures(side.name) == world.expected({request: [side.served(1)]})


def test_google_campaigns_without_ads_are_figures(world: World) -> None:
    put(world, GOOGLE)
    GOOGLE.connect(world)
    account = GOOGLE.account_id
    served = {
        world.request(google_campaign_id="2501"): [Served("google", account, "2501", "campaign")],
        world.request(google_campaign_id="2502"): [Served("google", account, "2502", "campaign")],
        world.request(google_asset_group_id="1801"): [
            Served("google", account, "1801", "asset_group")
        ],
    }
    world.sync_all()
    assert world.figures("google_ads") == world.expected(served)
    detail = world.rows(
        "select distinct source_detail from performance_metrics where request_id = %s",
        list(served)[1],
    )
    assert [one["source_detail"]["without_ads"] for one in detail] == [[{"campaign_id": "2502"}]]


def test_tiktoks_reservations_and_gmv_max_are_figures(world: World) -> None:
    put(world, TIKTOK)
    connection = TIKTOK.connect(world)
    campaigns = [one["id"] for one in SHOPS]
    served = {
        world.request(tiktok_ad_id=TIKTOK.ad_id(2)): [TIKTOK.served(2)],
        world.request(tiktok_campaign_id=campaigns): [
            Served("tiktok", TIKTOK.account_id, one, "campaign") for one in campaigns
        ],
    }
    world.chosen("conversions", "conversion_value", "roas")
    world.sync_all()
    assert world.figures("tiktok") == world.expected(served)
    assert {kind for (request, _, kind) in world.figures("tiktok") if request == list(served)[1]
            } == {"spend", "conversions", "conversion_value", "roas"}  # fmt: skip
    # the shops' list, and two shops, in addition to ads, reservations and the total
    details = world.last_log(connection)["details"]
    assert details["requests"] == 1 + len(details["windows"]) * (REPORTS["tiktok"] + 2)


def test_without_access_to_gmv_max_the_rest_is_read_and_stored_rows_stay(world: World) -> None:
    put(world, TIKTOK)
    connection = TIKTOK.connect(world)
    campaign = SHOPS[0]["id"]
    served = {
        world.request(tiktok_ad_id=TIKTOK.ad_id(1)): [TIKTOK.served(1)],
        world.request(tiktok_campaign_id=campaign): [
            Served("tiktok", TIKTOK.account_id, campaign, "campaign")
        ],
    }
    world.sync_all()
    expected = world.expected(served)
    assert world.figures("tiktok") == expected
    world.tiktok.faults.add(
        tiktok.tiktok_error(40001, "No permission", path="gmv_max/store/list/", times=None)
    )
    assert world.sync_again()[connection].status == "success"
    assert "40001" in world.last_log(connection)["details"]["reports_left_out"]["gmv_max"]
    (row,) = accounts(world)
    (found,) = check_totals("tiktok", row)
    assert "gmv_max" in found.text
    assert "permission" in found.fix
    assert world.figures("tiktok") == expected
    world.tiktok.faults.clear()
    world.tiktok.faults.add(failing(503, path="gmv_max/store/list/", times=None))
    assert world.sync_again()[connection].status == "failed", "a failure is not a refusal"
    assert world.figures("tiktok") == expected
