"""The minimum that a sync or a plan has to do, in its own process, timed from within.

`python -m tests.benchmarks.bare` reads one JSON object from stdin: `kind`, and its inputs.

  reader   {"platform", "credentials", "account_id", "settings", "since", "until",
           "days_at_once"}: the workers' own reader, without processing the rows
  fetch    the same with a bare loop over `requests`
  put      {"url", "key", "chunk", "tables": [[SQL function, file of rows], ...]}
  plan     {"url", "key", "arguments": those of plan_metric_syncs, "queue_url"}: the statement,
           and the messages, batch after batch

It prints {"seconds", "rows"}. The time includes creating clients, but not loading modules.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import httpx
import requests

from supabase import Client, ClientOptions, create_client
from workers.answers import Answer
from workers.clock import SystemClock
from workers.metrics.platforms import PLATFORMS
from workers.metrics.platforms.fetching import Reader
from workers.metrics.platforms.protocol import Connection
from workers.metrics.windows import Window
from workers.settings import Settings

META_FIELDS = (
    "ad_id,ad_name,adset_id,adset_name,campaign_id,campaign_name,account_currency,impressions,"
    "clicks,spend,reach"
)
GOOGLE_QUERY = (
    "SELECT segments.date, campaign.id, campaign.name, ad_group.id, ad_group.name, "
    "ad_group_ad.ad.id, ad_group_ad.ad.name, customer.currency_code, "
    "metrics.impressions, metrics.clicks, metrics.cost_micros "
    "FROM ad_group_ad WHERE segments.date BETWEEN '{since}' AND '{until}'"
)
LINKEDIN_QUERY = (
    "adAnalytics?q=statistics&pivots=List(CAMPAIGN_GROUP,CAMPAIGN,CREATIVE)"
    "&timeGranularity=DAILY&dateRange=(start:{since},end:{until})&accounts=List(urn%3Ali%3AsponsoredAccount%3A{account_id})&fields=pivotValues,"
    "dateRange,impressions,clicks,costInLocalCurrency,approximateMemberReach"
)
META_PAGE = 500
TIKTOK_PAGE = 1000
MESSAGES = 10


def read_with_reader(request: Mapping[str, Any]) -> int:
    """Read the whole range with the workers' reader."""
    row = {**request, "id": "", "account_name": ""}
    settings = Settings(**request["settings"])
    platform = PLATFORMS[request["platform"]].open(
        Connection.from_answer(Answer("f", row)), settings
    )
    clock = SystemClock()
    with requests.Session() as session:
        reader = Reader(platform, session, clock, clock.now() + 300, random.random)
        return sum(
            len(page.rows)
            for since, until in _windows(request)
            for page in reader.pages(Window(since, until), platform.page_size)
        )


def fetch(request: Mapping[str, Any]) -> int:
    """Read it with the shortest possible loop."""
    with requests.Session() as session:
        ask = _FETCHES[request["platform"]](session, request)
        return sum(ask(since, until) for since, until in _windows(request))


def _windows(request: Mapping[str, Any]) -> Iterator[tuple[date, date]]:
    """The range in pieces of as many days as the platform returns at once."""
    since, until = (date.fromisoformat(request[name]) for name in ("since", "until"))
    while since <= until:
        last = min(until, since + timedelta(days=request["days_at_once"] - 1))
        yield since, last
        since = last + timedelta(days=1)


def _meta(session: requests.Session, request: Mapping[str, Any]) -> Ask:
    url = f"{request['settings']['meta_graph_url']}/v26.0/act_{request['account_id']}/insights"

    def ask(since: date, until: date) -> int:
        days = {"since": f"{since}", "until": f"{until}"}
        params = {
            "level": "ad", "time_increment": "1", "time_range": json.dumps(days),
            "fields": META_FIELDS, "limit": str(META_PAGE),
            "access_token": request["credentials"]["access_token"],
        }  # fmt: skip
        rows = 0
        while True:
            answer = session.get(url, params=params).json()
            rows += len(answer["data"])
            if "next" not in answer.get("paging", {}):
                return rows
            params["after"] = answer["paging"]["cursors"]["after"]

    return ask


def _google(session: requests.Session, request: Mapping[str, Any]) -> Ask:
    _sign_in(session, request["settings"]["google_token_url"], request)
    url = (
        f"{request['settings']['google_ads_url']}/v26/customers/{request['account_id']}"
        "/googleAds:searchStream"
    )

    def ask(since: date, until: date) -> int:
        answer = session.post(url, json={"query": GOOGLE_QUERY.format(since=since, until=until)})
        return sum(len(batch.get("results", [])) for batch in json.loads(answer.content))

    return ask


def _tiktok(session: requests.Session, request: Mapping[str, Any]) -> Ask:
    session.headers["Access-Token"] = request["credentials"]["access_token"]
    url = f"{request['settings']['tiktok_api_url']}/v1.3/report/integrated/get/"

    def ask(since: date, until: date) -> int:
        params = {
            "advertiser_id": request["account_id"], "service_type": "AUCTION",
            "report_type": "BASIC", "data_level": "AUCTION_AD",
            "dimensions": json.dumps(["ad_id", "stat_time_day"]),
            "metrics": json.dumps(["ad_name", "adgroup_id", "adgroup_name", "campaign_id",
                                   "campaign_name", "currency", "spend", "impressions", "clicks",
                                   "reach"]),
            "start_date": f"{since}", "end_date": f"{until}", "page_size": str(TIKTOK_PAGE),
        }  # fmt: skip
        rows, page, pages = 0, 0, 1
        while page < pages:
            page += 1
            answer = session.get(url, params={**params, "page": str(page)}).json()["data"]
            rows += len(answer["list"])
            pages = answer["page_info"]["total_page"]
        return rows

    return ask


def _linkedin(session: requests.Session, request: Mapping[str, Any]) -> Ask:
    _sign_in(session, request["settings"]["linkedin_token_url"], request)
    session.headers["LinkedIn-Version"] = "202607"
    session.headers["X-Restli-Protocol-Version"] = "2.0.0"

    def ask(since: date, until: date) -> int:
        query = LINKEDIN_QUERY.format(
            since=_restli(since), until=_restli(until), account_id=request["account_id"]
        )
        answer = session.get(f"{request['settings']['linkedin_api_url']}/{query}").json()
        return len(answer["elements"])

    return ask


def _sign_in(session: requests.Session, url: str, request: Mapping[str, Any]) -> None:
    form = {"grant_type": "refresh_token", **request["credentials"]}
    token = session.post(url, data=form).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"


def _restli(day: date) -> str:
    return f"(year:{day.year},month:{day.month},day:{day.day})"


# Returns how many rows it read between the two days.
Ask = Callable[[date, date], int]

_FETCHES: dict[str, Callable[[requests.Session, Mapping[str, Any]], Ask]] = {
    "meta": _meta,
    "google_ads": _google,
    "tiktok": _tiktok,
    "linkedin": _linkedin,
}


def put(request: Mapping[str, Any]) -> int:
    """Write rows into their tables, in chunks."""
    with data_api(request["url"], request["key"]) as supabase:
        sent = 0
        for function, rows in request["tables"]:
            for chunk in _chunks(iter(rows), request["chunk"]):
                supabase.rpc(function, {"rows": chunk}).execute()
                sent += len(chunk)
        return sent


def plan(request: Mapping[str, Any]) -> int:
    """Have the database lease what is due, and send it."""
    sqs = boto3.client("sqs")
    with data_api(request["url"], request["key"]) as supabase:
        found: Any = supabase.rpc("plan_metric_syncs", request["arguments"]).execute().data
        planned = iter(found["planned"])
        sent = 0
        for chunk in _chunks(planned, MESSAGES):
            entries = [
                {"Id": str(number), "MessageBody": json.dumps(one)}
                for number, one in enumerate(chunk)
            ]
            sqs.send_message_batch(QueueUrl=request["queue_url"], Entries=entries)
            sent += len(chunk)
        return sent


@contextmanager
def data_api(url: str, key: str) -> Iterator[Client]:
    """A bare client of the data API."""
    with httpx.Client(timeout=60) as http:
        options = ClientOptions(httpx_client=http, persist_session=False, auto_refresh_token=False)
        yield create_client(url, key, options)


def _chunks(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(rows, size)):
        yield chunk


KINDS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "reader": read_with_reader,
    "fetch": fetch,
    "put": put,
    "plan": plan,
}


def main() -> None:
    """Do what stdin requests."""
    request = json.load(sys.stdin)
    if "tables" in request:  # they are large, and reading them is not part of the work
        request["tables"] = [
            (function, json.loads(Path(file).read_text())) for function, file in request["tables"]
        ]
    started = time.monotonic()
    rows = KINDS[request["kind"]](request)
    print(json.dumps({"seconds": time.monotonic() - started, "rows": rows}))


if __name__ == "__main__":
    main()
