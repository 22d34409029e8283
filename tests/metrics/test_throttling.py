"""Rate limits of the platforms: short waits are waited out, long ones pause what they concern."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from local.fakes.google_ads import google_error
from local.fakes.linkedin import linkedin_error, throttled
from local.fakes.meta import app_throttled, business_usage
from local.fakes.tiktok import too_frequent
from local.faults import Fault
from tests.metrics.connected import (
    META_AD,
    linkedin_ads,
    meta_and_google,
    sync_request_for,
    tiktok_ads,
)
from tests.metrics.platform_calls import ANALYTICS, INSIGHTS, REPORT, STREAM
from tests.metrics.world import GOOGLE_REFRESH, GOOGLE_SECRET, World


def test_an_app_throttle_pauses_that_platform_only(world: World) -> None:
    connections = meta_and_google(world)
    world.meta.faults.add(app_throttled(**INSIGHTS))
    world.sync_all()
    assert world.last_log(connections["1001"])["status"] == "failed"
    assert world.logs(connections["1002"]) == [], "what was in the queue respects the pause"
    assert world.last_log(connections["5000000001"])["status"] == "success"
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert pause["platform"] == "meta"

    world.meta.faults.clear()
    world.connection.execute("update platform_connections set last_synced_at = null")
    assert {one.account_id for one in world.plan()[0]} == {
        "5000000001",
        "5000000002",
    }
    world.later(timedelta(minutes=30))
    assert "1001" in {one.account_id for one in world.plan()[0]}


def exhausted(scope: str) -> Fault:
    return google_error(
        "quotaError", "RESOURCE_EXHAUSTED", 429, "Too many", "8962s", rate_scope=scope, **STREAM
    )


def test_a_daily_quota_of_the_project_pauses_all_that_use_it_and_no_others(world: World) -> None:
    connections = meta_and_google(world)
    # the number of the Cloud project is before the dash
    other_project = {"refresh_token": GOOGLE_REFRESH, "client_id": "400000000043-a.apps.example"}
    world.connect_google(
        "5000000003", credentials={**other_project, "client_secret": GOOGLE_SECRET}
    )
    same_project = {"refresh_token": GOOGLE_REFRESH, "client_id": "400000000042-b.apps.example"}
    world.connect_google("5000000004", credentials={**same_project, "client_secret": GOOGLE_SECRET})
    world.google.faults.add(exhausted("DEVELOPER"))
    world.sync(sync_request_for(world, connections["5000000001"]))
    (pause,) = world.rows("select * from metric_platform_pauses")
    assert (pause["platform"], pause["app"]) == ("google_ads", "400000000042")
    assert pause["paused_until"] > world.now + timedelta(seconds=8900)

    world.connection.execute("update metric_accounts set leased_until = null")
    planned = {one.account_id for one in world.plan()[0]}
    assert planned == {"5000000003", "1001", "1002"}


def test_a_quota_of_one_account_does_not_affect_others(world: World) -> None:
    connections = meta_and_google(world)
    world.google.faults.add(exhausted("ACCOUNT"))
    world.sync(sync_request_for(world, connections["5000000001"]))
    assert world.rows("select * from metric_platform_pauses") == []
    state = world.state(connections["5000000001"])
    assert state["not_before"] > world.now + timedelta(seconds=8900)


def test_metas_limits_of_other_requests_and_accounts_are_ignored(world: World) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film"}])
    connection = world.connect_meta("1001")
    management = {"type": "ads_management", "call_count": 100, "estimated_time_to_regain_access": 9}
    of_another = business_usage("1002", 100, 60)
    world.meta.app.configure(
        {
            "usage": {
                "app": {"X-App-Usage": {"call_count": 100}},
                "1001": {
                    "X-Business-Use-Case-Usage": {"1001": [management], **json.loads(of_another)}
                },
            }
        }
    )
    assert world.sync_all()[connection].status == "success"


@pytest.mark.parametrize(
    ("who", "paused"), [("APPLICATION", {"linkedin"}), ("MEMBER", set())], ids=["app", "member"]
)
def test_after_a_daily_quota_of_linkedin_the_next_sync_is_at_midnight_utc(
    world: World, who: str, paused: set[str]
) -> None:
    connection, _ = linkedin_ads(world)
    world.linkedin.faults.add(
        linkedin_error(
            429,
            "TOO_MANY_REQUESTS",
            f"Resource level throttle {who} DAY limit for calls to this resource is reached.",
            **ANALYTICS,
        )
    )
    world.sync_all()
    midnight = world.now.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    assert world.state(connection)["not_before"] == midnight
    pauses = world.rows("select platform, paused_until from metric_platform_pauses")
    assert {pause["platform"] for pause in pauses} == paused
    assert {pause["paused_until"] for pause in pauses} <= {midnight}

    asked = world.linkedin.journal.count("adAnalytics")
    world.later(timedelta(hours=11))
    assert world.sync_all() == {}
    world.linkedin.faults.clear()
    world.later(timedelta(hours=1, seconds=1))
    assert world.sync_all()[connection].status == "success"
    assert asked == 1


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
    assert world.meta.journal.count("insights") == 0, "the account's own response said so"
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
