"""The figures in performance_metrics are the platforms' own, whatever changes between syncs."""

from __future__ import annotations

from decimal import Decimal

from tests.metrics.world import TODAY, Served, World

MAPPED = "meta_ad_id"


def many_ads(count: int, first: int = 1) -> list[dict[str, str]]:
    return [
        {"id": f"238510000000{number:05d}", "name": f"Ad {number}"}
        for number in range(first, first + count)
    ]


def test_a_whole_account_is_stored_as_reported(world: World) -> None:
    ads = many_ads(200)
    world.meta_account("1001", ads=ads)
    connection = world.connect_meta("1001")
    served = {}
    for number in range(60):  # one ad each
        ad = ads[number]["id"]
        served[world.request(meta_ad_id=ad)] = [Served("meta", "1001", ad)]
    for number in range(60, 100, 4):  # four ads each: as text and as numbers
        four = [ad["id"] for ad in ads[number : number + 4]]
        served[world.request(meta_ad_id=[four[0], f" {four[1]} ", int(four[2]), four[3]])] = [
            Served("meta", "1001", ad) for ad in four
        ]

    report = world.sync_all()[connection]

    expected = world.expected(served)
    assert world.figures() == expected
    assert report.status == "success"
    log = world.last_log(connection)
    assert (log["status"], log["metrics_created"], log["metrics_updated"]) == (
        "success", len(expected), 0
    )  # fmt: skip
    assert log["details"]["unmatched_ads"] == 100
    assert log["details"]["currency"] == "EUR"
    assert world.last_synced_at(connection) == world.now


def test_a_second_sync_creates_nothing_and_updates_what_changed(world: World) -> None:
    world.meta_account("1001", ads=many_ads(3))
    connection = world.connect_meta("1001")
    first, second = (ad["id"] for ad in many_ads(2))
    request = world.request(meta_ad_id=[first, second])
    served = {request: [Served("meta", "1001", first), Served("meta", "1001", second)]}
    world.sync_all()
    before = world.figures()
    stamps = world.rows("select id, updated_at from performance_metrics order by id")

    world.sync_again()
    log = world.last_log(connection)
    assert (log["metrics_created"], log["metrics_updated"]) == (0, 0)
    assert world.rows("select id, updated_at from performance_metrics order by id") == stamps

    day = next(day for (_, day, kind) in sorted(before) if kind == "cpc")
    world.change_account(
        world.meta, "1001",
        restated={f"{first}/{day}": {"impressions": 777, "clicks": 7, "spend": "7.77", "reach": 7}},
    )  # fmt: skip
    world.sync_again()
    after = world.figures()
    assert after == world.expected(served)
    changed = {key for key in after if after[key] != before.get(key)}
    assert {key[1] for key in changed} == {day}
    log = world.last_log(connection)
    assert log["metrics_created"] == len(after.keys() - before.keys())
    assert log["metrics_updated"] >= len(changed) - log["metrics_created"]


def test_a_vanished_day_is_deleted(world: World) -> None:
    world.meta_account("1001", ads=many_ads(1))
    world.connect_meta("1001")
    (ad,) = (ad["id"] for ad in many_ads(1))
    request = world.request(meta_ad_id=ad)
    served = {request: [Served("meta", "1001", ad)]}
    world.sync_all()
    day = min(day for (_, day, _) in world.figures())
    world.change_account(world.meta, "1001", vanished=[f"{ad}/{day}"])
    world.sync_again()
    assert day not in {day for (_, day, _) in world.figures()}
    assert world.figures() == world.expected(served)
    assert world.rows("select 1 from ad_metrics where date = %s", day) == []


def test_two_accounts_serve_one_request(world: World) -> None:
    world.meta_account("1001", ads=many_ads(1))
    world.meta_account("1002", ads=many_ads(1, first=2))
    world.connect_meta("1001")
    world.connect_meta("1002")
    one, two = (ad["id"] for ad in many_ads(2))
    request = world.request(meta_ad_id=[one, two])
    world.sync_all()
    assert world.figures() == world.expected(
        {request: [Served("meta", "1001", one), Served("meta", "1002", two)]}
    )


def test_money_of_two_currencies_is_not_summed(world: World) -> None:
    world.meta_account("1001", ads=many_ads(1))
    world.meta_account("1002", ads=many_ads(1, first=2), currency="SEK")
    world.connect_meta("1001")
    second = world.connect_meta("1002")
    one, two = (ad["id"] for ad in many_ads(2))
    request = world.request(meta_ad_id=[one, two])
    world.sync_all()
    expected = world.expected({request: [Served("meta", "1001", one), Served("meta", "1002", two)]})
    assert world.figures() == expected
    both = world.rows("select date from ad_metrics group by date having count(*) = 2")
    assert both
    logs = [log["details"]["mixed_currency_days"] for log in world.logs()]
    assert max(logs) == len(both)
    assert world.last_log(second)["status"] == "success"


def test_a_moved_mapping_moves_all_its_history(world: World) -> None:
    world.meta_account("1001", ads=many_ads(2))
    world.connect_meta("1001")
    one, two = (ad["id"] for ad in many_ads(2))
    first = world.request(meta_ad_id=[one, two])
    second = world.request(meta_ad_id=two)
    world.sync_all()
    for _ in range(5):
        world.next_day()
        world.sync_all()
    world.remap(first, meta_ad_id=one)
    world.remap(second, meta_ad_id=[two])
    third = world.request(meta_ad_id=two)
    world.next_day()
    world.sync_all()
    today = world.now.date()
    assert world.figures() == world.expected(
        {
            first: [Served("meta", "1001", one)],
            second: [Served("meta", "1001", two)],
            third: [Served("meta", "1001", two)],
        },
        today=today,
        days=36,
    )


def test_names_currency_and_account_are_with_each_figure(world: World) -> None:
    world.meta_account("1001", ads=many_ads(2))
    connection = world.connect_meta("1001", platform="facebook")
    one, two = (ad["id"] for ad in many_ads(2))
    single = world.request(meta_ad_id=one)
    world.request(meta_ad_id=[one, two])
    world.sync_all()
    log = world.last_log(connection)
    (row,) = world.rows(
        "select distinct source, source_detail, sync_id, platform from performance_metrics "
        "where request_id = %s",
        single,
    )
    assert row["platform"] == "meta"
    assert row["sync_id"] == log["id"]
    assert row["source_detail"] == {
        "ads": 1,
        "ad_id": one,
        "ad_name": "Ad 1",
        "currency": "EUR",
        "time_zones": ["Europe/Oslo"],
        "account_ids": ["1001"],
    }
    assert TODAY in {day for (_, day, _) in world.figures()}
    assert all(isinstance(value, Decimal) for value in world.figures().values())
