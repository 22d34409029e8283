"""The account is what is synced, whichever connections lead to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.fakes.meta import app_throttled, graph_error, token_expired
from tests.metrics.connected import one_account
from tests.metrics.platform_calls import INSIGHTS
from tests.metrics.world import META_SECRET, META_TOKEN, Served, World
from workers.metrics.platforms import NAMES

AD = "120210000000000123"
REFUSED = {"access_token": "EAALOCALofYesterday000001", "app_secret": META_SECRET}


def film(world: World) -> dict[str, list[Served]]:
    world.meta_account("1001", ads=[{"id": AD, "name": "Film"}])
    return {world.request(meta_ad_id=AD): [Served("meta", "1001", AD)]}


@pytest.mark.parametrize(
    ("platform", "written", "account"),
    [
        ("facebook", "act_1001", ("meta", "1001")),
        (" Instagram ", "1001", ("meta", "1001")),
        ("google", "123-456-7890", ("google_ads", "1234567890")),
        ("google_ads", "customers/1234567890", ("google_ads", "1234567890")),
        ("linkedin", "urn:li:sponsoredAccount:5", ("linkedin", "5")),
        ("tiktok", "\t7000\u00a0000\u200b1\n", ("tiktok", "70000001")),
        ("meta", " my account ", ("meta", "my account")),
        ("meta", None, ("meta", "")),
        ("snapchat", "1", ("snapchat", "1")),
    ],
)
def test_an_account_has_one_name(
    world: World, platform: str, written: str | None, account: tuple[str, str]
) -> None:
    assert (
        world.account_of(world.connect_meta("1", platform=platform, account_id=written)) == account
    )


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20))
def test_a_name_in_canonical_form_is_unchanged(world: World, written: str) -> None:
    (row,) = world.rows(
        "select metric_account_id(%s) as once, metric_account_id(metric_account_id(%s)) as twice",
        written, written,
    )  # fmt: skip
    assert row["once"] == row["twice"]


def test_the_database_knows_the_aliases(world: World) -> None:
    for name, main in NAMES.items():
        (row,) = world.rows("select metric_platform(%s) as main", name.upper())
        assert row["main"] == main


def test_of_two_connections_one_reads_and_both_are_up_to_date(world: World) -> None:
    served = film(world)
    first = world.connect_meta("1001", frequency=1440)
    second = world.connect_meta("1001", platform="facebook", account_id="1001", frequency=60)
    (sync_request,), plan = world.plan()
    assert (plan.planned, sync_request.platform, sync_request.account_id) == (1, "meta", "1001")
    report = world.sync(sync_request)
    assert report.connection_id in (first, second)
    assert world.figures() == world.expected(served)
    assert world.last_synced_at(first) == world.last_synced_at(second) == world.now
    (log,) = world.logs()
    assert str(log["platform_connection_id"]) == report.connection_id
    assert world.meta.journal.count("insights") == 4, "of two windows, nothing is read twice"
    (row,) = world.rows("select distinct connection_id::text from metric_days")
    assert row["connection_id"] == report.connection_id

    world.later(timedelta(minutes=59))
    assert world.plan()[0] == []
    world.later(timedelta(minutes=1))
    assert len(world.plan()[0]) == 1, "by the shortest frequency"


@pytest.mark.parametrize("refusal", ["credentials", "permission"])
def test_where_one_connection_is_refused_another_takes_over(world: World, refusal: str) -> None:
    served = film(world)
    first = world.connect_meta("1001", credentials=REFUSED if refusal == "credentials" else {
        "access_token": META_TOKEN, "app_secret": META_SECRET})  # fmt: skip
    second = world.connect_meta("1001", account_name="Stand-in")
    world.connection.execute(
        "update platform_connections set created_at = created_at - interval '1 day' where id = %s",
        (first,),
    )
    if refusal == "permission":
        world.meta.faults.add(graph_error(200, path="act_1001", times=1))
    report = world.sync_all()[second]
    assert (report.status, report.is_parked) == ("success", False)
    assert world.figures() == world.expected(served)
    assert str(world.logs()[0]["platform_connection_id"]) == second
    assert (world.state(first)["parked_at"] is not None) == (refusal == "credentials")
    assert world.state(second)["parked_at"] is None
    assert world.last_synced_at(first) == world.now, "its account is up to date"
    world.sync_again()
    assert str(world.logs()[1]["platform_connection_id"]) == second, "it continues reading"


def test_a_first_refusal_of_a_good_token_is_asked_again(world: World) -> None:
    connection, served = one_account(world)
    world.sync_all()
    world.meta.faults.add(token_expired(path="act_1001/insights", times=1))
    report = world.sync_again()[connection]
    assert (report.status, report.is_parked) == ("success", False)
    world.meta.faults.add(token_expired(**INSIGHTS))
    report = world.sync_again()[connection]
    assert (report.status, report.is_parked) == ("failed", True)
    world.meta.faults.clear()
    assert world.figures() == world.expected(served)


def test_thirty_connections_of_one_token_make_one_notification(world: World) -> None:
    world.agency.config("C0OPERATORS", entity_type="platform_connection", event_type="sync_failed")
    for number in range(30):
        world.connect_meta(f"2{number:03}", credentials=REFUSED)
    other = world.connect_meta("3001", credentials={**REFUSED, "access_token": "EAALOCALother1234"})
    reports = world.sync_all()
    assert all(report.is_parked for report in reports.values())
    assert len(reports) == 31
    queued = world.rows("select entity_id::text from notification_queue")
    assert len(queued) == 2
    assert other in {row["entity_id"] for row in queued}


def test_a_queued_sync_respects_a_pause(world: World) -> None:
    for number in range(8):
        world.meta_account(f"100{number}", ads=[])
        world.connect_meta(f"100{number}")
    world.meta.faults.add(app_throttled(times=None))
    sync_requests, _ = world.plan()
    reports = [world.sync(sync_request) for sync_request in sync_requests]
    assert [report.status for report in reports] == ["failed", *["paused"] * 7]
    assert sum(one["struck"] for one in world.meta.faults.listing()) == 1
    held = world.rows("select 1 from metric_accounts where token is not null")
    assert held == [], "the next plan after the pause may take them"


def test_a_pause_of_one_app_does_not_affect_others(world: World) -> None:
    world.meta_account("1001")
    world.meta_account("1002")
    world.connect_meta("1001")
    other = {"access_token": META_TOKEN, "app_id": "43", "app_secret": META_SECRET}
    connection = world.connect_meta("1002", credentials=other)
    world.meta.faults.add(app_throttled(path="act_1001", times=None))
    reports = world.sync_all()
    assert reports[connection].status == "success"
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert (pause["platform"], pause["app"]) == ("meta", "42")


def test_a_short_pause_is_waited_out(world: World) -> None:
    connection, served = one_account(world)
    world.connection.execute(
        "insert into metric_platform_pauses values ('meta', '42', %s, 'a moment')",
        (world.now + timedelta(seconds=15),),
    )
    sync_requests, _ = world.plan()
    assert sync_requests == []
    world.connection.execute("delete from metric_platform_pauses")
    (sync_request,), _ = world.plan()
    world.connection.execute(
        "insert into metric_platform_pauses values ('meta', '42', %s, 'a moment')",
        (world.now + timedelta(seconds=15),),
    )
    assert world.sync(sync_request).status == "success"
    assert world.clock.now() >= 15
    assert world.figures() == world.expected(served)
    assert world.last_synced_at(connection) is not None


def test_a_last_sync_in_the_future_is_ignored(world: World) -> None:
    connection, _ = one_account(world)
    world.sync_all()
    world.connection.execute(
        "update platform_connections set last_synced_at = %s", (world.now + timedelta(days=400),)
    )
    assert world.sync_all()[connection].status == "success"
    assert world.last_synced_at(connection) == world.now


def test_hourly_accounts_read_the_newest_days_and_once_a_day_all(world: World) -> None:
    world.meta_account("1001", ad_count=10)
    connection = world.connect_meta("1001", frequency=60)
    world.meta.app.configure({"page_limit": 50})
    rows = []
    for days in (3, 0):
        world.settings = replace(world.settings, metrics_recent_days=days)
        world.sync_all()
        read = 0
        for _ in range(24):
            world.later(timedelta(hours=1))
            read += world.sync_all()[connection].counts["rows"]
        rows.append(read)
    assert rows[1] >= 5 * rows[0]
