"""Responses that are too large, truncated or interrupted are requested in smaller pieces."""

from __future__ import annotations

import pytest

from local.fakes.google_ads import late_stream_error
from tests.metrics.connected import (
    LINKEDIN,
    META_AD,
    TIKTOK,
    linkedin_ads,
    meta_and_google,
    tiktok_ads,
)
from tests.metrics.world import Served, World


def test_a_late_error_in_a_stream_fails_the_sync(world: World) -> None:
    connections = meta_and_google(world)
    world.google.app.configure({"batch_size": 1, **late_stream_error(1, times=None)})
    world.sync_all()
    for account in ("5000000001", "5000000002"):
        log = world.last_log(connections[account])
        assert log["status"] == "failed"
        assert log["details"]["code"] == "INTERNAL_ERROR"
        assert world.last_synced_at(connections[account]) is None
    assert world.last_log(connections["1001"])["status"] == "success"
    assert world.figures("google_ads") == {}, "half of a window makes no figure"


def test_a_stream_that_breaks_off_once_is_read_in_smaller_pieces(world: World) -> None:
    connections = meta_and_google(world)
    world.google.app.configure({"batch_size": 1, **late_stream_error(3, times=1)})
    reports = world.sync_all()
    assert reports[connections["5000000001"]].status == "success"
    assert reports[connections["5000000002"]].status == "success"


def test_too_much_data_narrows_the_window(world: World) -> None:
    ads = [{"id": f"{META_AD}{number}", "name": f"Ad {number}"} for number in range(30)]
    world.meta_account("1001", ads=ads)
    connection = world.connect_meta("1001")
    served = {
        world.request(meta_ad_id=ad["id"]): [Served("meta", "1001", ad["id"])] for ad in ads[:5]
    }
    world.meta.app.configure({"max_rows": 30 * 4})
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected(served)
    widths = [(until, since) for since, until in world.last_log(connection)["details"]["windows"]]
    assert widths == sorted(widths, reverse=True), "newest first"


def test_too_large_pages_are_made_smaller(world: World) -> None:
    ads = [{"id": f"{META_AD}{number}", "name": f"Ad {number}"} for number in range(60)]
    world.meta_account("1001", ads=ads)
    connection = world.connect_meta("1001")
    request = world.request(meta_ad_id=ads[0]["id"])
    world.meta.app.configure({"max_limit": 125})
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected({request: [Served("meta", "1001", ads[0]["id"])]})


def test_a_report_that_may_leave_ads_out_is_asked_for_in_smaller_pieces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.metrics.platforms.tiktok._MOST_ADS", 20)
    connection, served = tiktok_ads(world, 12)
    world.remember(connection, window_days=30)
    assert world.sync_all()[connection].status == "success"
    assert world.figures("tiktok") == world.expected(served)
    world.tiktok.app.configure({"most_ads": 20})
    world.tiktok_account(TIKTOK, ad_count=40)
    report = world.sync_again()[connection]
    assert (report.status, report.code) == ("failed", "too_many_ads"), "never a part of it"
    pages = {
        exchange["query"].partition("page_size=")[2].partition("&")[0]
        for exchange in world.tiktok.journal.listing()
        if exchange["path"].endswith("/report/integrated/get/")
    }
    assert pages == {"1000"}, "smaller pages are not tried: the report is too large, not a page"


def test_a_response_that_may_be_truncated_is_requested_in_smaller_pieces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.metrics.platforms.linkedin._MOST_ELEMENTS", 40)
    connection, served = linkedin_ads(world, 12)
    world.linkedin.app.configure({"most_elements": 40})
    world.remember(connection, window_days=31)
    assert world.sync_all()[connection].status == "success"
    assert world.figures("linkedin") == world.expected(served)
    world.linkedin_account(LINKEDIN, ad_count=60)
    report = world.sync_again()[connection]
    assert (report.status, report.code) == ("failed", "too_many_elements")
