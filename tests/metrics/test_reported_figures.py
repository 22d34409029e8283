"""Figures are as the platform reports them, also of deleted ads; unknown values have no row."""

from __future__ import annotations

from tests.metrics.connected import META_AD, TIKTOK, tiktok_ads
from tests.metrics.sides import SIDES
from tests.metrics.world import SECRETS, Served, World


def test_google_figures_are_as_reported(world: World) -> None:
    ads = [
        {"id": f"7000000{number:05d}", "name": f"Ad {number}", "ad_groups": groups}
        for number, groups in enumerate([["1"], ["1", "2", "3"], ["4"], ["5"]])
    ]
    world.google_account("5000000001", ads=ads, manager="9000000001")
    world.google_account("9000000001", ads=[], is_manager=True)
    credentials = {
        "refresh_token": SECRETS[2], "client_id": "400000000042-test.apps.googleusercontent.com",
        "client_secret": SECRETS[3], "login_customer_id": "900-000-0001",
    }  # fmt: skip
    connection = world.connect_google("5000000001", credentials=credentials, platform="google")
    served = {
        world.request(google_ad_id=ads[0]["id"]): [Served("google", "5000000001", ads[0]["id"])],
        world.request(google_ad_id=[ads[1]["id"], int(ads[2]["id"])]): [
            Served("google", "5000000001", ad["id"]) for ad in ads[1:3]
        ],
    }
    world.google.app.configure({"batch_size": 7})
    report = world.sync_all()[connection]
    assert report.status == "success"
    assert report.counts["unmatched_ads"] == 1
    assert world.figures("google_ads") == world.expected(served)
    assert "reach" not in {kind for (_, _, kind) in world.figures("google_ads")}


def test_deleted_ads_keep_their_past_and_unknown_values_have_no_row(world: World) -> None:
    connection, served = tiktok_ads(world, 2)
    ads = world.tiktok.app.state()["accounts"][TIKTOK]["ads"]
    world.tiktok_account(TIKTOK, ads=[{**ad, "is_deleted": True} for ad in ads])
    world.tiktok.app.configure({"dashes": ["reach"], "number_ids": True})
    assert world.sync_all()[connection].status == "success"
    expected = world.expected(served)
    assert world.figures("tiktok") == {
        key: value for key, value in expected.items() if key[2] != "reach"
    }


def test_ads_that_are_deleted_on_meta_keep_their_past(world: World) -> None:
    world.meta_account("1001", ads=[{"id": META_AD, "name": "Film", "is_deleted": True}])
    served = {world.request(meta_ad_id=META_AD): [Served("meta", "1001", META_AD)]}
    connection = world.connect_meta("1001")
    assert world.sync_all()[connection].status == "success"
    assert world.figures() == world.expected(served)
    assert world.figures()


def test_the_ledger_is_exact_and_figures_have_six_decimals(world: World) -> None:
    side = SIDES["linkedin"]  # whose sums have the tail of a binary fraction
    side.put_account(world, ad_count=1)
    side.connect(world)
    world.request(**{side.mapping_key: side.ad_id(1)})
    world.sync_all()

    ledger = world.rows(
        "select (measures ->> 'spend')::numeric as spend from ad_metrics "
        "where measures ->> 'spend' <> '0'"
    )
    figures = world.rows("select value from performance_metrics where metric_type = 'spend'")
    assert ledger
    assert all(-row["spend"].as_tuple().exponent > 6 for row in ledger)
    assert all(-row["value"].as_tuple().exponent <= 6 for row in figures)
    assert {round(row["spend"], 6) for row in ledger} <= {row["value"] for row in figures}
