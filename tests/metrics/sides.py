"""What the tests for all ad platforms need to know about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.fakes import google_ads, linkedin, meta, tiktok
from local.fakes.ad_facts import Platform as FakePlatform
from local.fakes.ad_facts import generated_ad_id
from local.faults import Fault
from local.http_server import HttpServer
from tests.metrics.world import (
    GOOGLE_REFRESH,
    GOOGLE_SECRET,
    LINKEDIN_REFRESH,
    LINKEDIN_SECRET,
    META_SECRET,
    META_TOKEN,
    TIKTOK_TOKEN,
    Served,
    World,
)
from workers.metrics.platforms import PLATFORMS


@dataclass(frozen=True)
class Side:
    """One platform: `name` is the workers' name for it, `fake` that of `World.servers`.

    `path` is where its rows are asked for, `secrets` are those of its connection. `refused`
    makes the fault by which a connection's credentials are refused, `quoting` one that quotes a
    text. `small_pages` is the setting with which its fake gives that many rows at once;
    empty where it has no pages. `account_forms` and `ad_forms` are how people paste their ids, with
    the id in place of {}. `is_streamed` where its reports are read as they come.
    """

    name: str
    fake: FakePlatform
    account_id: str
    path: str
    secrets: tuple[str, ...]
    refused: Callable[[], Fault]
    quoting: Callable[[str], Fault]
    small_pages: str = ""
    account_forms: tuple[str, ...] = ("{}",)
    ad_forms: tuple[str, ...] = ("{}",)
    is_streamed: bool = False

    @property
    def mapping_key(self) -> str:
        return PLATFORMS[self.name].mapping_keys["ad"]

    def ad_id(self, number: int) -> str:
        """The id of the account's ad of that number, from 1."""
        return generated_ad_id(self.fake, self.account_id, number)

    def served(self, number: int) -> Served:
        return Served(self.fake, self.account_id, self.ad_id(number))

    def server(self, world: World) -> HttpServer:
        return world.servers[self.fake]

    def put_account(self, world: World, **values: Any) -> None:
        """The account in the fake."""
        put = getattr(world, f"{self.fake}_account")
        put(self.account_id, **values)

    def connect(self, world: World) -> str:
        """A connection to the account; its id."""
        connect: Callable[[str], str] = getattr(world, f"connect_{self.fake}")
        return connect(self.account_id)

    def connect_as(self, world: World, account_id: str) -> str:
        """A connection whose account id someone pasted in this form; its id."""
        connection = self.connect(world)
        world.connection.execute(
            "update platform_connections set account_id = %s where id = %s",
            (account_id, connection),
        )
        return connection


SIDES = {
    side.name: side
    for side in (
        Side(
            "meta", "meta", "1001", "act_1001/insights", (META_TOKEN, META_SECRET),
            refused=lambda: meta.token_expired(times=None),
            quoting=lambda text: meta.graph_error(200, None, text, times=None),
            small_pages="page_limit",
            account_forms=("act_{}",),
        ),
        Side(
            "google_ads", "google", "5000000001", "googleAds:searchStream",
            (GOOGLE_REFRESH, GOOGLE_SECRET),
            refused=lambda: google_ads.invalid_grant(times=None),
            quoting=lambda text: google_ads.google_error(
                "authorizationError", "USER_PERMISSION_DENIED", 403, text,
                path="googleAds:searchStream", times=None,
            ),
            small_pages="batch_size",
            is_streamed=True,
            account_forms=("customers/{}", "500-000-0001", "500\u2011000\u20110001"),
            ad_forms=("customers/5000000001/adGroupAds/1~{}", "customers/5000000001/ads/{}"),
        ),
        Side(
            "tiktok", "tiktok", "7000000000000000001", "report/integrated/get/",
            (TIKTOK_TOKEN,),
            refused=lambda: tiktok.tiktok_error(40105, times=None),
            quoting=lambda text: tiktok.tiktok_error(
                40001, text, path="report/integrated/get/", times=None
            ),
            small_pages="page_limit",
        ),
        Side(
            "linkedin", "linkedin", "507000042", "adAnalytics",
            (LINKEDIN_REFRESH, LINKEDIN_SECRET),
            refused=lambda: linkedin.token_expired(path="adAccounts/507000042", times=None),
            quoting=lambda text: linkedin.linkedin_error(
                403, "ACCESS_DENIED", text, path="adAnalytics", times=None
            ),
            account_forms=("urn:li:sponsoredAccount:{}",),
            ad_forms=("urn:li:sponsoredCreative:{}",),
        ),
    )
}  # fmt: skip
