"""Ad accounts of any size in a running stack, connected and partly named by requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle, islice
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.distribute import sqs_event
from local.fakes.ad_facts import Facts, Platform, facts, generated_ad_id
from local.invoke import REGION
from local.stack import Running
from workers.metrics.facts import Level
from workers.metrics.planning import LEASE_SECONDS, SYNC_SECONDS
from workers.metrics.platforms import MAPPING_KEYS, PLATFORMS
from workers.metrics.sync_requests import SyncRequest

ACCOUNT_ID = "4200000001"
CREDENTIALS = {
    "meta": {"access_token": "EAALOCALlargeAccountToken0000000000000001"},
    "google_ads": {
        "refresh_token": "1//local-large-account",
        "client_id": "400000000001-local.apps.googleusercontent.com",
        "client_secret": "GOCSPX-local-sample-secret",
    },
    "tiktok": {"access_token": "localtiktoklargeaccounttoken000000000001"},
    "linkedin": {
        "refresh_token": "AQlocalLinkedinLargeAccountToken00000000001",
        "client_id": "77localsample01",
        "client_secret": "WPL_AP1.local-linkedin-sample-secret",
    },
}
FAKES: dict[str, Platform] = {
    "meta": "meta", "google_ads": "google", "tiktok": "tiktok", "linkedin": "linkedin",
}  # fmt: skip
# How many ads each request names, in turn.
ADS_OF_REQUESTS = (1, 1, 1, 2)


@dataclass(frozen=True)
class Account:
    """A connected account; `requests` has the ads that each request names."""

    platform: str
    connection_id: str
    requests: dict[str, list[str]]

    @property
    def named_ads(self) -> list[str]:
        """Every ad that a request names."""
        return [ad for ads in self.requests.values() for ad in ads]

    def facts(self, ad_id: str, day: date) -> Facts | None:
        """What the fake reports for an ad and day."""
        return facts(ACCOUNT_ID, ad_id, day)

    def rows(self, until: date, days: int) -> int:
        """How many rows there are to be stored of the days until then."""
        span = [until - timedelta(days=number) for number in range(days)]
        return sum(self.facts(ad, day) is not None for ad in self.named_ads for day in span)


def connect_account(
    running: Running, connection: psycopg.Connection[Any], platform: str, ads: int, named: int
) -> Account:
    """An account of `ads` ads, the first `named` of which belong to requests; nothing else is
    connected afterwards."""
    _put_account(running, platform, ads)
    connection.execute(
        "truncate platform_connections, requests, ad_metrics, metric_accounts, metric_days, "
        "metric_named_ads, metric_names, metric_unnamed_ads cascade"
    )
    found = connection.execute(
        """
        insert into platform_connections
          (platform, credentials, account_id, account_name, sync_frequency)
        values (%s, %s, %s, 'A large account', 1440)
        returning id::text
        """,
        (platform, Jsonb(CREDENTIALS[platform]), ACCOUNT_ID),
    ).fetchone()
    assert found is not None
    requests = {
        _name_ads(connection, PLATFORMS[platform].mapping_keys["ad"], ids): ids
        for ids in _shared_out(platform, named)
    }
    connection.execute("analyze")
    return Account(platform, found[0], requests)


def keys_as_json() -> dict[str, dict[Level, str]]:
    """The keys of requests.metadata, as refresh_ad_links takes them."""
    return {platform: dict(levels) for platform, levels in MAPPING_KEYS.items()}


def sync_event(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Plans the connection, whether it is due or not: the event that Lambda makes of it."""
    connection.execute("update platform_connections set last_synced_at = null")
    connection.execute("select refresh_ad_links(%s, null, 1000000)", (Jsonb(keys_as_json()),))
    found = connection.execute(
        "select plan_metric_syncs(10, %s::interval, %s::interval)",
        (f"{LEASE_SECONDS} seconds", f"{SYNC_SECONDS} seconds"),
    ).fetchone()
    assert found is not None
    (planned,) = found[0]["planned"]
    sync_request = SyncRequest(**planned)
    return sqs_event({"id": planned["token"], "body": sync_request.body(), "sent_at": 0}, REGION)


def _put_account(running: Running, platform: str, ads: int) -> None:
    credentials = CREDENTIALS[platform]
    account = {
        "name": "A large account", "currency": "EUR", "time_zone": "UTC", "ads": [],
        "ad_count": ads, "restated": {}, "vanished": [], "is_manager": False, "tokens": [],
        "refresh_tokens": [],
    }  # fmt: skip
    # what may see the account is called like the credential
    for kind in ("access_token", "refresh_token"):
        if kind in credentials:
            account[f"{kind.removeprefix('access_')}s"] = [credentials[kind]]
    control = running.ad_platforms[platform]
    control.replace_state({**control.state(), "accounts": {ACCOUNT_ID: account}})


def _shared_out(platform: str, named: int) -> Iterator[list[str]]:
    fake = FAKES[platform]
    ids = iter([generated_ad_id(fake, ACCOUNT_ID, number + 1) for number in range(named)])
    for count in cycle(ADS_OF_REQUESTS):
        if not (taken := list(islice(ids, count))):
            return
        yield taken


def _name_ads(connection: psycopg.Connection[Any], key: str, ads: list[str]) -> str:
    found = connection.execute(
        "insert into requests (title, request_type, metadata) values ('A request', 'creative', %s)"
        " returning id::text",
        (Jsonb({key: ads if len(ads) > 1 else ads[0]}),),
    ).fetchone()
    assert found is not None
    return str(found[0])
