"""Connections to the fakes' accounts, with requests that name their ads; syncs and outcomes."""

from __future__ import annotations

from typing import Any

from tests.metrics.world import Served, World
from workers.metrics.sync_requests import SyncRequest

TIKTOK, LINKEDIN = "7000000000000000001", "507000042"
META_AD = "23851000000000001"
GOOGLE_AD = "700000000001"


def one_account(world: World, count: int = 4) -> tuple[str, dict[str, list[Served]]]:
    """A connection to an account of `count` ads, each named by its own request."""
    ads = [{"id": f"{META_AD}{number:02d}", "name": f"Ad {number}"} for number in range(count)]
    world.meta_account("1001", ads=ads)
    served = {world.request(meta_ad_id=ad["id"]): [Served("meta", "1001", ad["id"])] for ad in ads}
    return world.connect_meta("1001"), served


def meta_and_google(world: World) -> dict[str, str]:
    """Two accounts on each platform, each with an ad that its own request names."""
    for account in ("1001", "1002"):
        world.meta_account(account, ads=[{"id": f"{META_AD}{account}", "name": "Film"}])
        world.request(meta_ad_id=f"{META_AD}{account}")
    for account in ("5000000001", "5000000002"):
        ad = {"id": f"{GOOGLE_AD}{account}", "name": "Banner", "ad_groups": ["1", "2"]}
        world.google_account(account, ads=[ad])
        world.request(google_ad_id=f"{GOOGLE_AD}{account}")
    return {
        "1001": world.connect_meta("1001"),
        "1002": world.connect_meta("1002"),
        "5000000001": world.connect_google("5000000001"),
        "5000000002": world.connect_google("5000000002"),
    }


def only_failed(world: World, connections: dict[str, str], account: str) -> None:
    """That account's sync failed; the others are complete."""
    for other, connection in connections.items():
        status = world.last_log(connection)["status"]
        assert status == ("failed" if other == account else "success"), (other, status)
        assert (world.last_synced_at(connection) is None) == (other == account)


def tiktok_ads(world: World, count: int = 1, **values: Any) -> tuple[str, dict[str, list[Served]]]:
    """A connection to an account of so many ads, each named by its own request."""
    ads = [{"id": f"17900000000000{number:02d}", "name": f"Ad {number}"} for number in range(count)]
    world.tiktok_account(TIKTOK, ads=ads, **values)
    served = {
        world.request(tiktok_ad_id=ad["id"]): [Served("tiktok", TIKTOK, ad["id"])] for ad in ads
    }
    return world.connect_tiktok(TIKTOK), served


def linkedin_ads(world: World, count: int = 1) -> tuple[str, dict[str, list[Served]]]:
    """A connection to an account of so many creatives, each named by its own request."""
    ads = [{"id": f"33000000{number:02d}", "name": f"Ad {number}"} for number in range(count)]
    world.linkedin_account(LINKEDIN, ads=ads)
    served = {
        world.request(linkedin_creative_id=ad["id"]): [Served("linkedin", LINKEDIN, ad["id"])]
        for ad in ads
    }
    return world.connect_linkedin(LINKEDIN), served


def sync_request_for(world: World, connection: str) -> SyncRequest:
    (sync_request,) = world.sync_requests_for(world.plan()[0], connection)
    return sync_request
