"""Rate limits of the platforms: short waits are waited out, long ones pause what they are for."""

from __future__ import annotations

from datetime import timedelta

from local.fakes.google_ads import google_error
from local.fakes.linkedin import throttled
from local.fakes.meta import app_throttled, business_usage
from local.fakes.tiktok import too_frequent
from tests.metrics.connected import META_AD, linkedin_ads, meta_and_google, tiktok_ads
from tests.metrics.platform_calls import ANALYTICS, INSIGHTS, REPORT, STREAM
from tests.metrics.world import World


def test_an_app_throttle_pauses_the_platform_and_no_other(world: World) -> None:
    connections = meta_and_google(world)
    world.meta.faults.add(app_throttled(**INSIGHTS))
    world.sync_all()
    assert world.last_log(connections["1001"])["status"] == "failed"
    assert world.logs(connections["1002"]) == [], "what was on its way heeds the pause"
    assert world.last_log(connections["5000000001"])["status"] == "success"
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "meta"

    world.meta.faults.clear()
    world.connection.execute("update platform_connections set last_synced_at = null")
    assert {order.account_id for order in world.plan()[0]} == {"5000000001", "5000000002"}
    world.later(timedelta(minutes=30))
    assert "1001" in {order.account_id for order in world.plan()[0]}


def test_a_daily_quota_pauses_google(world: World) -> None:
    meta_and_google(world)
    world.google.faults.add(
        google_error("quotaError", "RESOURCE_EXHAUSTED", 429, "Too many", "8962s", **STREAM)
    )
    world.sync_all()
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "google_ads"
    assert pause["paused_until"] > world.now + timedelta(seconds=8900)


def test_a_short_wait_is_waited_out(world: World) -> None:
    connections = meta_and_google(world)
    world.google.faults.add(
        google_error(
            "quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", 429, "", "2s", **{**STREAM, "times": 1}
        )
    )
    reports = world.sync_all()
    assert {report.status for report in reports.values()} == {"success"}
    assert world.clock.now() >= 2
    assert world.last_synced_at(connections["5000000001"]) is not None


def test_a_limit_that_is_near_is_not_reached(world: World) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film"}])
    connection = world.connect_meta("1001")
    world.request(meta_ad_id=META_AD)
    world.meta.app.configure(
        {"usage": {"1001": {"X-Business-Use-Case-Usage": business_usage("1001", 93, 5)}}}
    )
    report = world.sync_all()[connection]
    assert (report.status, report.code) == ("failed", "limit_near")
    assert world.meta.journal.count("insights") == 0, "the account's own answer told it"
    assert world.state(connection)["not_before"] == world.now + timedelta(minutes=5)


def test_a_short_tiktok_limit_is_waited_out_and_a_long_one_pauses_the_platform(
    world: World,
) -> None:
    connection, _ = tiktok_ads(world)
    world.tiktok.faults.add(too_frequent(**{**REPORT, "times": 2}))
    assert world.sync_all()[connection].status == "success"
    assert world.clock.now() >= 20
    world.tiktok.faults.clear()
    world.tiktok.faults.add(too_frequent(**REPORT))
    report = world.sync_again()[connection]
    assert (report.status, report.code) == ("failed", "40100")
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "tiktok"


def test_a_linkedin_throttle_pauses_the_platform(world: World) -> None:
    connection, _ = linkedin_ads(world)
    world.linkedin.faults.add(throttled(**ANALYTICS))
    assert world.sync_all()[connection].code == "TOO_MANY_REQUESTS"
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "linkedin"
    assert pause["paused_until"] > world.now + timedelta(seconds=300)
