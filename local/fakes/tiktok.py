"""A fake of the part of TikTok's Business API that reports on ads.

It shares no code with the client that it is for. What it answers and refuses follows
https://business-api.tiktok.com/portal/docs?id=1740302848100353 and TikTok's own SDK
(https://github.com/tiktok/tiktok-business-api-sdk); the figures come from
`local.fakes.ad_facts`. Failures on the way come from the fault script, for which the functions at
the end of this module create faults in TikTok's format.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from local.fakes.ad_facts import WINDOWS, AdRecord, Facts, More, Several
from local.fakes.ad_platform import AdPlatform
from local.faults import Fault
from local.http_server import HttpServer, serve_forever
from local.wire import Request, Response

ACCOUNTS = Path(__file__).resolve().parent / "tiktok_accounts.json"

PAGE_LIMIT = 1000
MOST_DAYS = 30

BAD_TOKEN = "Access token is incorrect or has been revoked."  # noqa: S105
TOO_FREQUENT = "Too many requests. Please retry in some seconds."


class TikTokRefusal(Exception):
    """An error of TikTok: a code in an answer with status 200."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def body_of(code: int, message: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The object that every answer is."""
    return {
        "code": code,
        "message": message,
        "request_id": secrets.token_hex(16).upper(),
        "data": dict(data or {}),
    }


class FakeTikTok(AdPlatform):
    """The application behind an HttpServer, below `/open_api/`.

    The state has the accounts, each with `tokens` that may see it and optionally `status`, and
    also `versions` ("v1.3").

    Settings:
      now          the time; see AdPlatform
      page_limit   most rows on a page, whatever is requested (None: 1000)
      dashes       metrics that have no value, reported as "-"
      number_ids   report ids as JSON numbers, as TikTok sometimes does
      most_ads     ads beyond which a report leaves some out
    """

    platform = "tiktok"
    first_state = ACCOUNTS
    defaults = MappingProxyType({
        "page_limit": None, "dashes": [], "number_ids": False, "most_ads": 10_000,
    })  # fmt: skip

    def handle(self, request: Request) -> Response:
        """Answer one call."""
        found = re.fullmatch(r"/open_api/(v\d+\.\d+)/(.+)", request.path)
        action = _ACTIONS.get(found[2]) if found else None
        if found is None or action is None or found[1] not in self._state["versions"]:
            return Response(404, b"404 page not found", {"Content-Type": "text/plain"})
        try:
            if request.method != "GET":
                raise TikTokRefusal(40002, "The request method is not supported.")
            return Response.of_json(body_of(0, "OK", action(self, request)))
        except TikTokRefusal as refusal:
            return Response.of_json(body_of(refusal.code, str(refusal)))

    def _token(self, request: Request) -> str:
        """The request's token. Raises TikTokRefusal if it is missing or unknown."""
        token = request.headers.get("access-token", "")
        if not token:
            raise TikTokRefusal(40104, "Access token is empty.")
        if not any(token in account["tokens"] for account in self._state["accounts"].values()):
            raise TikTokRefusal(40105, BAD_TOKEN)
        return token

    def _open(self, token: str, advertiser: str) -> dict[str, Any]:
        account = self._state["accounts"].get(advertiser)
        if account is None or token not in account["tokens"]:
            raise TikTokRefusal(40001, f"You don't have permission to the advertiser {advertiser}.")
        return dict(account)

    def _accounts(self, request: Request) -> dict[str, Any]:
        token = self._token(request)
        fields = _read_list(request, "fields") or list(_ACCOUNT_FIELDS)
        _check_names("fields", fields, _ACCOUNT_FIELDS)
        listed = []
        for advertiser in _read_list(request, "advertiser_ids", needed=True):
            account = self._open(token, advertiser)
            listed.append({name: _ACCOUNT_FIELDS[name](advertiser, account) for name in fields})
        return {"list": listed}

    def _report(self, request: Request) -> dict[str, Any]:
        advertiser = _read(request, "advertiser_id")
        account = self._open(self._token(request), advertiser)
        level = _check_report(request)
        metrics = _read_list(request, "metrics")
        _check_names("metrics", metrics, ["spend"] if level.is_total else _METRICS)
        first, last = _read_range(request)
        ads = [one for one in self._records[advertiser] if one.kind == "ad"]
        if level.is_total:
            bought = [one for one in ads if not one.is_reserved]
            subjects: Sequence[_Subject] = [Several(advertiser, "", bought)]
        else:
            subjects = [
                one for one in _wanted(request, ads) if one.is_reserved == level.is_reserved
            ]
        today = self.today(account)
        rows = _rows(subjects, first, min(last, today), self._settings["most_ads"])
        dimension = "advertiser_id" if level.is_total else "ad_id"
        return self._page(
            request,
            [
                (one, day, {name: _METRICS[name](one, found, more, account) for name in metrics})
                for one, day, found, more in _with_more(rows, today)
            ],
            dimension,
        )

    def _stores(self, request: Request) -> dict[str, Any]:
        advertiser = _read(request, "advertiser_id")
        self._open(self._token(request), advertiser)
        stores = dict.fromkeys(one.store for one in self._records[advertiser] if one.store)
        listed = [{"store_id": store, "is_gmv_max_available": True} for store in stores]
        return {"store_list": listed} if listed else {}

    def _gmv_max(self, request: Request) -> dict[str, Any]:
        advertiser = _read(request, "advertiser_id")
        account = self._open(self._token(request), advertiser)
        stores = _read_list(request, "store_ids", needed=True)
        if len(stores) != 1:
            raise TikTokRefusal(40002, "store_ids: Length must be 1.")
        wanted = sorted(_read_list(request, "dimensions", needed=True))
        if wanted != ["campaign_id", "stat_time_day"]:
            raise TikTokRefusal(40002, "dimensions: Must be campaign_id and stat_time_day.")
        metrics = _read_list(request, "metrics", needed=True)
        _check_names("metrics", metrics, _GMV_MAX_METRICS)
        first, last = _read_range(request)
        today = self.today(account)
        campaigns = [one for one in self._records[advertiser] if one.store == stores[0]]
        rows = _rows(campaigns, first, min(last, today), len(campaigns))
        page = self._page(
            request,
            [
                (one, day, {name: _GMV_MAX_METRICS[name](one, found, more, account)
                            for name in metrics})
                for one, day, found, more in _with_more(rows, today)
            ],
            "campaign_id",
        )  # fmt: skip
        if not page["list"]:
            del page["list"]  # without rows there is no list
        return page

    def _page(
        self, request: Request, rows: Sequence[tuple[_Subject, date, dict[str, str]]],
        dimension: str,
    ) -> dict[str, Any]:  # fmt: skip
        page = _read_number(request, "page", 1, 1_000_000)
        size = _read_number(request, "page_size", 10, PAGE_LIMIT)
        size = min(size, self._settings["page_limit"] or PAGE_LIMIT)
        return {
            "list": [self._row(*one, dimension) for one in rows[(page - 1) * size : page * size]],
            "page_info": {
                "page": page,
                "page_size": size,
                "total_number": len(rows),
                "total_page": -(-len(rows) // size),
            },
        }

    def _row(
        self, subject: _Subject, day: date, fields: Mapping[str, str], dimension: str
    ) -> dict[str, Any]:
        id_ = subject.id
        if isinstance(subject, AdRecord) and subject.kind == "campaign":
            id_ = subject.campaign
        return {
            "dimensions": {
                dimension: int(id_) if self._settings["number_ids"] else id_,
                "stat_time_day": f"{day} 00:00:00",
            },
            "metrics": {
                name: "-" if name in self._settings["dashes"] else text
                for name, text in fields.items()
            },
        }


_ACTIONS: dict[str, Callable[[FakeTikTok, Request], dict[str, Any]]] = {
    "advertiser/info/": FakeTikTok._accounts,
    "report/integrated/get/": FakeTikTok._report,
    "gmv_max/store/list/": FakeTikTok._stores,
    "gmv_max/report/get/": FakeTikTok._gmv_max,
}

_ACCOUNT_FIELDS: dict[str, Callable[[str, Mapping[str, Any]], Any]] = {
    "advertiser_id": lambda id_, account: id_,
    "name": lambda id_, account: account["name"],
    "currency": lambda id_, account: account["currency"],
    # an offset without daylight saving time, with the sign of such names
    "timezone": lambda id_, account: "Etc/GMT-1",
    "display_timezone": lambda id_, account: account["time_zone"],
    "status": lambda id_, account: account.get("status", "STATUS_ENABLE"),
}


def _two_decimals(numerator: int, denominator: int) -> str:
    """A quotient with two decimals; "0.00" for a division by zero."""
    if not denominator:
        return "0.00"
    hundredths = (200 * abs(numerator) + denominator) // (2 * denominator)
    return f"{'-' if numerator < 0 else ''}{hundredths // 100}.{hundredths % 100:02d}"


_Metric = Callable[[Any, Facts, More, Mapping[str, Any]], str]
_METRICS: dict[str, _Metric] = {
    "ad_name": lambda ad, facts, more, account: ad.name,
    "adgroup_id": lambda ad, facts, more, account: ad.group,
    "adgroup_name": lambda ad, facts, more, account: f"Ad group {ad.group}",
    "campaign_id": lambda ad, facts, more, account: ad.campaign,
    "campaign_name": lambda ad, facts, more, account: f"Campaign {ad.campaign}",
    "currency": lambda ad, facts, more, account: account["currency"],
    "spend": lambda ad, facts, more, account: _two_decimals(facts.cents, 100),
    "impressions": lambda ad, facts, more, account: str(facts.impressions),
    "clicks": lambda ad, facts, more, account: str(facts.clicks),
    "reach": lambda ad, facts, more, account: str(facts.reach),
    "cpm": lambda ad, facts, more, account: _two_decimals(10 * facts.cents, facts.impressions),
    "cpc": lambda ad, facts, more, account: _two_decimals(facts.cents, 100 * facts.clicks),
    "ctr": lambda ad, facts, more, account: _two_decimals(100 * facts.clicks, facts.impressions),
    "conversion": lambda ad, facts, more, account: str(len(more.events)),
    # the value of completed payments, despite its name
    "total_complete_payment_rate": lambda ad, facts, more, account: _two_decimals(
        _worth(more), 100
    ),
    "video_play_actions": lambda ad, facts, more, account: str(more.video_views),
}
_GMV_MAX_METRICS: dict[str, _Metric] = {
    "campaign_name": lambda one, facts, more, account: one.campaign_name,
    "currency": lambda one, facts, more, account: account["currency"],
    "cost": lambda one, facts, more, account: _two_decimals(facts.cents, 100),
    "orders": lambda one, facts, more, account: str(len(more.events)),
    "gross_revenue": lambda one, facts, more, account: _two_decimals(_worth(more), 100),
}
_Subject = AdRecord | Several


def _worth(more: More) -> int:
    """In cents; TikTok gives one ad all the credit."""
    return sum(event.cents for event in more.events)


def _with_more(
    rows: Iterator[tuple[_Subject, date, Facts]], today: date
) -> Iterator[tuple[_Subject, date, Facts, More]]:
    for subject, day, found in rows:
        more = subject.more_on(day.toordinal(), today.toordinal(), WINDOWS["tiktok"])
        yield subject, day, found, more


def _rows(
    ads: Sequence[_Subject], first: date, last: date, most_ads: int
) -> Iterator[tuple[_Subject, date, Facts]]:
    """The days of the first `most_ads` ads with any activity."""
    reported = 0
    for ad in ads:
        days = [
            (ad, date.fromordinal(ordinal), found)
            for ordinal in range(first.toordinal(), last.toordinal() + 1)
            if (found := ad.on(ordinal)) is not None
        ]
        reported += bool(days)
        if reported > most_ads:
            return
        yield from days


def _read(request: Request, name: str) -> str:
    value = str(request.fields.get(name, ""))
    if not value:
        raise TikTokRefusal(40002, f"{name}: Missing data for required field.")
    return value


def _read_list(request: Request, name: str, *, needed: bool = False) -> list[str]:
    """A JSON array of texts; empty if it is neither given nor needed."""
    if not needed and name not in request.fields:
        return []
    try:
        value = json.loads(_read(request, name))
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TikTokRefusal(40002, f"{name}: Not a valid list.")
    return value


def _read_number(request: Request, name: str, default: int, most: int) -> int:
    value = str(request.fields.get(name, default))
    if not value.isdigit() or not 1 <= int(value) <= most:
        raise TikTokRefusal(40002, f"{name}: Must be between 1 and {most}.")
    return int(value)


def _read_range(request: Request) -> tuple[date, date]:
    try:
        first = date.fromisoformat(_read(request, "start_date"))
        last = date.fromisoformat(_read(request, "end_date"))
    except ValueError:
        raise TikTokRefusal(40002, "start_date: Not a valid date.") from None
    if first > last:
        raise TikTokRefusal(40002, "The start date cannot be later than the end date.")
    if (last - first).days >= MOST_DAYS:
        raise TikTokRefusal(
            40002, f"The time range cannot exceed {MOST_DAYS} days for stat_time_day."
        )
    return first, last


class _Level(NamedTuple):
    """A data level of the reports by /report/integrated/get/."""

    service: str
    dimension: str = "ad_id"

    @property
    def is_total(self) -> bool:
        return self.dimension == "advertiser_id"

    @property
    def is_reserved(self) -> bool:
        return self.service == "RESERVATION"


_LEVELS = {
    "AUCTION_AD": _Level("AUCTION"),
    "AUCTION_ADVERTISER": _Level("AUCTION", "advertiser_id"),
    "RESERVATION_AD": _Level("RESERVATION"),
}


def _check_report(request: Request) -> _Level:
    """The level of a report: this fake has basic reports by day."""
    if _read(request, "report_type") != "BASIC":
        raise TikTokRefusal(40002, "report_type: Must be BASIC.")
    level = _LEVELS.get(_read(request, "data_level"))
    if level is None:
        raise TikTokRefusal(40002, f"data_level: Must be one of {', '.join(_LEVELS)}.")
    if request.fields.get("service_type", "AUCTION") != level.service:
        raise TikTokRefusal(40002, f"service_type: Must be {level.service}.")
    wanted = sorted([level.dimension, "stat_time_day"])
    if sorted(_read_list(request, "dimensions", needed=True)) != wanted:
        raise TikTokRefusal(40002, f"dimensions: Must be {' and '.join(wanted)}.")
    return level


def _check_names(parameter: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise TikTokRefusal(40002, f"{parameter}: Invalid value: {name}.")


def _wanted(request: Request, ads: Sequence[AdRecord]) -> list[AdRecord]:
    """The requested ads: deleted ones only with a filter for all."""
    try:
        filters = json.loads(request.fields.get("filtering") or "[]")
        statuses = [
            status
            for one in filters
            if (one["field_name"], one["filter_type"]) == ("ad_status", "IN")
            for status in json.loads(one["filter_value"])
        ]
    except (ValueError, TypeError, KeyError):
        raise TikTokRefusal(40002, "filtering: Not a valid list.") from None
    return [ad for ad in ads if not ad.is_deleted or "STATUS_ALL" in statuses]


# Faults in TikTok's format; each takes Fault's other fields as keywords.


def tiktok_error(code: int, message: str = "An error occurred.", **rest: Any) -> Fault:
    """An error of that code, with status 200 unless it is given."""
    return Fault("answer", **{"status": 200, **rest}, body=json.dumps(body_of(code, message)))


def too_frequent(**rest: Any) -> Fault:
    """A limit per second, minute or day is reached."""
    return tiktok_error(40100, TOO_FREQUENT, **rest)


def fake_tiktok(
    state: Mapping[str, Any] | None = None, *, port: int = 0, latency: float = 0.0
) -> HttpServer:
    """A server in this process, not yet started; `state` as in tiktok_accounts.json."""
    return HttpServer(FakeTikTok(state), port=port, latency=latency)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.fakes.tiktok", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added per request")
    options = parser.parse_args(arguments)
    serve_forever(fake_tiktok(port=options.port, latency=options.latency))


if __name__ == "__main__":
    main()
