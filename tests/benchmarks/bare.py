"""The least that a sync has to do, in a process of its own, timed from within.

`python -m tests.benchmarks.bare` reads one JSON object from stdin: `kind`, and what that needs.

  reader   {"platform", "credentials", "account_id", "environment", "since", "until"}: the
           workers' own reading, without what they do with the rows
  fetch    the same, by a bare loop with `requests`
  put      {"url", "key", "chunk", "tables": [[SQL function, file of rows], ...]}

It prints {"seconds", "rows"}. Clients are made within the time, modules loaded before.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import requests

from supabase import ClientOptions, create_client
from workers.clock import SystemClock
from workers.metrics.windows import Window
from workers.platforms import PLATFORMS
from workers.platforms.fetching import Reader
from workers.platforms.protocol import Connection
from workers.settings import Settings

FIELDS = "ad_id,ad_name,impressions,clicks,spend,reach,account_currency"
QUERY = (
    "SELECT segments.date, ad_group.id, ad_group_ad.ad.id, ad_group_ad.ad.name, "
    "customer.currency_code, metrics.impressions, metrics.clicks, metrics.cost_micros "
    "FROM ad_group_ad WHERE segments.date BETWEEN '{since}' AND '{until}'"
)
PAGE = 500


def read_with_reader(order: Mapping[str, Any]) -> int:
    """The workers' reading of the whole range."""
    row = {**order, "id": "", "account_name": ""}
    settings = Settings(**order["settings"])
    platform = PLATFORMS[order["platform"]].open(Connection.from_row(row), settings)
    window = Window(date.fromisoformat(order["since"]), date.fromisoformat(order["until"]))
    clock = SystemClock()
    with requests.Session() as session:
        reader = Reader(platform, session, clock, clock.now() + 300, random.random)
        return sum(len(page.rows) for page in reader.pages(window, platform.page_size))


def fetch(order: Mapping[str, Any]) -> int:
    """The same by the shortest loop."""
    with requests.Session() as session:
        return _FETCHES[order["platform"]](session, order)


def _fetch_meta(session: requests.Session, order: Mapping[str, Any]) -> int:
    url = f"{order['settings']['meta_graph_url']}/v26.0/act_{order['account_id']}/insights"
    days = {"since": order["since"], "until": order["until"]}
    params = {
        "level": "ad", "time_increment": "1", "time_range": json.dumps(days), "fields": FIELDS,
        "limit": str(PAGE), "access_token": order["credentials"]["access_token"],
    }  # fmt: skip
    rows = 0
    while True:
        answer = session.get(url, params=params).json()
        rows += len(answer["data"])
        if "next" not in answer.get("paging", {}):
            return rows
        params["after"] = answer["paging"]["cursors"]["after"]


def _fetch_google(session: requests.Session, order: Mapping[str, Any]) -> int:
    form = {"grant_type": "refresh_token", **order["credentials"]}
    token = session.post(order["settings"]["google_token_url"], data=form).json()["access_token"]
    answer = session.post(
        f"{order['settings']['google_ads_url']}/v26/customers/{order['account_id']}"
        "/googleAds:searchStream",
        json={"query": QUERY.format(**order)},
        headers={"Authorization": f"Bearer {token}"},
    )
    return sum(len(batch.get("results", [])) for batch in json.loads(answer.content))


_FETCHES = {"meta": _fetch_meta, "google_ads": _fetch_google}


def put(order: Mapping[str, Any]) -> int:
    """Rows into their tables, in chunks."""
    with httpx.Client(timeout=60) as http:
        supabase = create_client(
            order["url"],
            order["key"],
            ClientOptions(httpx_client=http, persist_session=False, auto_refresh_token=False),
        )
        sent = 0
        for function, rows in order["tables"]:
            for chunk in _chunks(iter(rows), order["chunk"]):
                supabase.rpc(function, {"rows": chunk}).execute()
                sent += len(chunk)
        return sent


def _chunks(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(rows, size)):
        yield chunk


KINDS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "reader": read_with_reader,
    "fetch": fetch,
    "put": put,
}


def main() -> None:
    """Do what stdin says."""
    order = json.load(sys.stdin)
    if "tables" in order:  # they are large, and reading them is no part of the work
        order["tables"] = [
            (function, json.loads(Path(file).read_text())) for function, file in order["tables"]
        ]
    started = time.monotonic()
    rows = KINDS[order["kind"]](order)
    print(json.dumps({"seconds": time.monotonic() - started, "rows": rows}))


if __name__ == "__main__":
    main()
