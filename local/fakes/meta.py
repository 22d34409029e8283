"""A fake of the part of Meta's Graph API that reports on ads.

It shares no code with the client that it is for. What it answers and refuses follows
https://developers.facebook.com/docs/marketing-api/insights and .../insights/error-codes; the
figures come from `local.fakes.ad_facts`. Failures on the way come from the fault script, for which
the functions at the end of this module create faults in Meta's format.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlencode
from zlib import crc32

from local.fakes.ad_facts import AdRecord, Several
from local.fakes.ad_platform import AdPlatform
from local.fakes.meta_report import DATES, DIMENSIONS, FURTHER, METRICS, Report
from local.faults import Fault
from local.http_server import HttpServer, serve_forever
from local.wire import Request, Response

ACCOUNTS = Path(__file__).resolve().parent / "meta_accounts.json"

DEFAULT_LIMIT = 25
PAGE_LIMIT = 500
HISTORY_MONTHS = 37

NO_TOKEN = "An active access token must be used to query information about the current user."  # noqa: S105
BAD_TOKEN = "Invalid OAuth access token - Cannot parse access token"  # noqa: S105
REDUCE = "Please reduce the amount of data you're asking for, then retry your request"


class GraphRefusal(Exception):
    """An error of Graph: the arguments of `error_body`, and a status."""

    def __init__(self, code: int, message: str, *, status: int = 400, **rest: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(code, message, **rest)


def error_body(
    code: int,
    message: str,
    *,
    subcode: int | None = None,
    kind: str = "OAuthException",
    is_transient: bool = False,
) -> dict[str, Any]:
    """Graph's error object, where a missing subcode or transience is left out."""
    error: dict[str, Any] = {"message": message, "type": kind}
    if subcode is not None or is_transient:
        error["is_transient"] = is_transient
    error["code"] = code
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"error": {**error, "fbtrace_id": f"A{secrets.token_urlsafe(16)}"}}


class FakeMeta(AdPlatform):
    """The application behind an HttpServer.

    The state has the accounts, each with `tokens` that may see it, `app_secret` and
    `require_proof`, and also: `versions` and `deprecated_versions` ("v26.0"); `app` with
    `id`, `name` and `secret`; `tokens`, with details of a token: `expires_at` (epoch seconds, 0:
    never), `scopes`, `user_id`.

    Settings:
      now              the time; see AdPlatform
      page_limit       most rows on a page, whatever is requested (None: 500)
      max_rows         ads x days from which a request is "too much data" (None: no limit)
      max_limit        limit from which a request is "reduce the amount of data" (None: no limit)
      empty_pages      put an empty page before each
      usage            headers by account, {"<digits>": {"X-Business-Use-Case-Usage": ...}},
                       "app" for those of every answer; values are text, or become JSON
      version_warning  text of the header X-Ad-Api-Version-Warning
    """

    platform = "meta"
    first_state = ACCOUNTS
    defaults = MappingProxyType({
        "page_limit": None, "max_rows": None, "max_limit": None, "empty_pages": False, "usage": {},
        "version_warning": None,
    })  # fmt: skip

    def handle(self, request: Request) -> Response:
        """Answer one call."""
        parts = unquote(request.path).strip("/").split("/")
        version = parts.pop(0) if re.fullmatch(r"v\d+\.\d+", parts[0]) else None
        headers = self._headers(version, parts[0] if parts else "")
        try:
            self._check_version(version, parts)
            return Response.of_json(self._answer(request, version, parts), headers=headers)
        except GraphRefusal as refusal:
            return Response.of_json(refusal.body, refusal.status, headers)

    def _headers(self, version: str | None, node: str) -> dict[str, str]:
        headers = {"facebook-api-version": version or self._state["versions"][-1],
                   "x-fb-trace-id": secrets.token_urlsafe(8)}  # fmt: skip
        if self._settings["version_warning"]:
            headers["X-Ad-Api-Version-Warning"] = str(self._settings["version_warning"])
        for scope in ("app", node.removeprefix("act_")):
            for name, value in self._settings["usage"].get(scope, {}).items():
                headers[name] = value if isinstance(value, str) else json.dumps(value)
        return headers

    def _check_version(self, version: str | None, parts: Sequence[str]) -> None:
        if version is None or version in self._state["versions"]:
            return
        if version not in self._state["deprecated_versions"]:
            raise _unknown_path(parts)
        # only the Marketing API of that version has expired, not all of it
        if parts[0].startswith("act_") or parts[-1] == "adaccounts":
            newest = self._state["versions"][-1]
            raise GraphRefusal(
                2635,
                "(#2635) You are calling a deprecated version of the Ads API. Please update to"
                f" the latest version: {newest}.",
            )

    def _answer(self, request: Request, version: str | None, parts: list[str]) -> Any:
        if request.method == "POST" and not parts:
            return self._batch(request, version)
        action = _NODES.get("/".join(parts))
        if action is None and (found := re.fullmatch(r"act_(\d+)(/insights)?", "/".join(parts))):
            action = FakeMeta._insights if found[2] else FakeMeta._account
        if action is None:
            raise _unknown_path(parts)
        if request.method != "GET":
            raise _no_such_object(request.method.lower(), parts[0])
        fields = {name: _plain(value) for name, value in request.fields.items()}
        host = f"http://{request.headers.get('host', 'localhost')}"
        return action(self, _Call(parts, _token(request), fields, f"{host}{request.path}"))

    def _batch(self, request: Request, version: str | None) -> list[dict[str, Any]]:
        """Each operation's answer as text, as https://developers.facebook.com/docs/graph-api/
        batch-requests has it; all with the batch's token."""
        answers = []
        for operation in json.loads(str(request.fields.get("batch") or "[]")):
            path, _, query = str(operation["relative_url"]).partition("?")
            headers = {"authorization": f"Bearer {_token(request)}"}
            inner = Request(operation["method"], f"/{version}/{path}", query, headers, b"")
            answer = self.handle(inner)
            answers.append({"code": answer.status, "body": answer.body.decode()})
        return answers

    def _grant(self, token: str) -> dict[str, Any]:
        """The details of a token. Raises GraphRefusal if it is unknown or has expired."""
        if not token:
            raise GraphRefusal(2500, NO_TOKEN)
        known = self._state["tokens"].get(token)
        accounts = self._state["accounts"].values()
        if known is None and not any(token in account["tokens"] for account in accounts):
            raise GraphRefusal(190, BAD_TOKEN)
        grant = {"expires_at": 0, "scopes": ["ads_read"], "user_id": "1", **(known or {})}
        if 0 < grant["expires_at"] <= self.now().timestamp():
            raise GraphRefusal(190, _session_expired(), subcode=463)
        return grant

    def _open(self, call: _Call) -> tuple[str, dict[str, Any]]:
        """The account that is called, its id first. Raises GraphRefusal if it must not be."""
        grant = self._grant(call.token)
        account_id = call.parts[0].removeprefix("act_")
        account = self._state["accounts"].get(account_id)
        self._check_proof(account, call)
        if account is None or call.token not in account["tokens"]:
            raise _no_such_object("get", call.parts[0])
        if not {"ads_read", "ads_management"} & set(grant["scopes"]):
            raise GraphRefusal(
                200, "(#200) Ad account owner has NOT grant ads_management or ads_read permission"
            )
        return account_id, account

    def _check_proof(self, account: Mapping[str, Any] | None, call: _Call) -> None:
        secret = account.get("app_secret") if account else None
        given = call.fields.get("appsecret_proof")
        if not secret or (given is None and not (account and account.get("require_proof"))):
            return
        proof = hmac.new(secret.encode(), call.token.encode(), hashlib.sha256).hexdigest()
        if given != proof:
            raise GraphRefusal(
                100, "Invalid appsecret_proof provided in the API argument",
                kind="GraphMethodException",
            )  # fmt: skip

    def _me(self, call: _Call) -> dict[str, Any]:
        return {"name": "Agency Dashboard system user", "id": self._grant(call.token)["user_id"]}

    def _my_accounts(self, call: _Call) -> dict[str, Any]:
        self._grant(call.token)
        mine = [
            _described(id_, account, call.fields.get("fields"))
            for id_, account in self._state["accounts"].items()
            if call.token in account["tokens"]
        ]
        start = _read_cursor(call, "accounts") if call.fields.get("after") else 0
        end = start + _read_limit(call)
        return {"data": mine[start:end], **_paging(call, "accounts", start, end, end < len(mine))}

    def _debug_token(self, call: _Call) -> dict[str, Any]:
        app = self._state["app"]
        if call.token != f"{app['id']}|{app['secret']}":
            self._grant(call.token)
        described = {"app_id": app["id"], "application": app["name"], "type": "SYSTEM_USER"}
        try:
            grant = self._grant(str(call.fields.get("input_token", "")))
        except GraphRefusal as refusal:
            error = refusal.body["error"]
            kept = {name: error[name] for name in ("code", "message") if name in error}
            subcode = {"subcode": error["error_subcode"]} if "error_subcode" in error else {}
            return {"data": {**described, "is_valid": False, "scopes": [],
                             "error": {**kept, **subcode}}}  # fmt: skip
        return {"data": {**described, "is_valid": True, "data_access_expires_at": 0, **grant}}

    def _account(self, call: _Call) -> dict[str, Any]:
        account_id, account = self._open(call)
        return _described(account_id, account, call.fields.get("fields"))

    def _insights(self, call: _Call) -> dict[str, Any]:
        account_id, account = self._open(call)
        report = _read_report(call, account_id, account, self._records[account_id],
                              self.today(account))  # fmt: skip
        limit = _read_limit(call)
        self._check_amount(report, limit)
        start = was_empty = 0
        if call.fields.get("after"):
            start, was_empty = divmod(_read_cursor(call, report.key), 2)
        if self._settings["empty_pages"] and not was_empty:
            return {"data": [], **_paging(call, report.key, 2 * start, 2 * start + 1, True)}
        rows, end = report.page(start, min(limit, self._settings["page_limit"] or PAGE_LIMIT))
        if not rows:
            return {"data": []}
        return {"data": rows, **_paging(call, report.key, 2 * start, 2 * end, end < report.size)}

    def _check_amount(self, report: Report, limit: int) -> None:
        max_rows, max_limit = self._settings["max_rows"], self._settings["max_limit"]
        if max_rows is not None and report.size > max_rows:
            code, subcode, message, status = TOO_MUCH_DATA["100/1487534"]
            raise GraphRefusal(code, message, subcode=subcode, status=status)
        if max_limit is not None and limit > max_limit:
            raise GraphRefusal(1, REDUCE, status=500)


@dataclass(frozen=True)
class _Call:
    """A request as the nodes see it; `url` is where the next page is, without a query."""

    parts: Sequence[str]
    token: str
    fields: Mapping[str, Any]
    url: str


_NODES: dict[str, Callable[[FakeMeta, _Call], dict[str, Any]]] = {
    "me": FakeMeta._me,
    "me/adaccounts": FakeMeta._my_accounts,
    "debug_token": FakeMeta._debug_token,
}


def _read_report(
    call: _Call,
    account_id: str,
    account: Mapping[str, Any],
    records: Sequence[AdRecord],
    today: date,
) -> Report:
    """What the parameters request. Raises GraphRefusal if they are not valid."""
    for name in ("breakdowns", "action_breakdowns", "date_format", "before"):
        if name in call.fields:
            raise GraphRefusal(100, f"(#100) Invalid parameter: {name}")
    fields = _read_list(call.fields.get("fields")) or ["impressions", "spend"]
    for name in fields:
        if name not in METRICS and name not in FURTHER and name not in DIMENSIONS + DATES:
            raise GraphRefusal(100, f"(#100) {name} is not valid for fields param.")
    level = call.fields.get("level", "account")
    if level not in ("account", "ad"):
        raise GraphRefusal(100, "(#100) Param level must be one of {account, ad}")
    wanted, statuses, least_impressions = _read_filtering(call.fields.get("filtering"))
    ads = [
        ad
        for ad in records
        if (wanted is None or ad.id in wanted)
        # an account's figures include its deleted ads'
        and (level == "account" or ("DELETED" if ad.is_deleted else "ACTIVE") in statuses)
    ]
    return Report(
        account={"account_id": account_id, "account_name": account["name"],
                 "account_currency": account["currency"]},
        subjects=ads if level == "ad" else [Several(account_id, account["name"], ads)],
        slices=_read_slices(call, _read_range(call, today)),
        fields=[name for name in fields if name not in DATES],
        least_impressions=least_impressions,
        last_day=today.toordinal(),
    )  # fmt: skip


def _read_range(call: _Call, today: date) -> tuple[date, date]:
    if "time_range" not in call.fields:
        preset = str(call.fields.get("date_preset", "last_30d"))
        if preset not in _PRESETS:
            raise GraphRefusal(100, "(#100) Param date_preset must be one of the known presets")
        first, last = _PRESETS[preset]
        return today - timedelta(first), today - timedelta(last)
    given = call.fields["time_range"]
    try:
        since, until = (date.fromisoformat(given[name]) for name in ("since", "until"))
    except (TypeError, KeyError, ValueError):
        raise GraphRefusal(
            100, "(#100) Param time_range must be a valid time range with since and until"
        ) from None
    if since > until:
        raise GraphRefusal(100, "(#100) Param time_range: since must not be later than until")
    if since < _months_before(today, HISTORY_MONTHS):
        raise GraphRefusal(
            3018,
            f"(#3018) The start date of the time range cannot be beyond {HISTORY_MONTHS} months"
            " from the current date",
        )
    return since, until


# Days before today: the first and the last.
_PRESETS = {
    "today": (0, 0), "yesterday": (1, 1), "last_7d": (7, 1), "last_14d": (14, 1),
    "last_28d": (28, 1), "last_30d": (30, 1), "last_90d": (90, 1),
}  # fmt: skip


def _months_before(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    # in a shorter month, the 31st becomes its last day
    following = date(year + month // 11, (month + 1) % 12 + 1, 1)
    return min(date(year, month + 1, 1) + timedelta(day.day - 1), following - timedelta(1))


def _read_slices(call: _Call, requested: tuple[date, date]) -> list[tuple[int, int]]:
    """The ranges of days, first and last, with a row each."""
    first, last = requested[0].toordinal(), requested[1].toordinal()
    given = call.fields.get("time_increment", "all_days")
    if given == "all_days":
        return [(first, last)]
    if not str(given).isdigit() or not 1 <= int(given) <= 90:
        raise GraphRefusal(100, "(#100) time_increment must be all_days or between 1 and 90")
    step = int(given)
    return [(day, min(day + step - 1, last)) for day in range(first, last + 1, step)]


def _read_filtering(given: Any) -> tuple[set[str] | None, set[str], int]:
    """Which ads (None: all), in which statuses, and how many impressions at least."""
    wanted: set[str] | None = None
    # deleted ads are reported only on request
    statuses = {"ACTIVE"}
    least = 0
    for one in given or []:
        match one:
            case {"field": "ad.impressions" | "impressions", "operator": "GREATER_THAN",
                  "value": value}:  # fmt: skip
                least = max(least, int(value) + 1)
            case {"field": "ad.id", "operator": "IN", "value": list(ids)}:
                wanted = {str(each) for each in ids} & (wanted or {str(each) for each in ids})
            case {"field": "ad.effective_status", "operator": "IN", "value": list(told_of)}:
                statuses = {str(each) for each in told_of}
            case _:
                raise GraphRefusal(100, "(#100) Filtering field or operator is invalid")
    return wanted, statuses, least


def _token(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token
    return str(request.fields.get("access_token", ""))


def _plain(value: str) -> Any:
    """A parameter that may be JSON text: the SDK sends all but plain text so."""
    if value[:1] in ('"', "[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _read_list(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(each) for each in value]
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


def _read_limit(call: _Call) -> int:
    given = str(call.fields.get("limit", DEFAULT_LIMIT))
    if not given.isdigit() or int(given) < 1:
        raise GraphRefusal(100, "(#100) Param limit must be a positive integer")
    return int(given)


def _cursor(key: str, position: int) -> str:
    text = f"{position}.{crc32(key.encode()):08x}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(call: _Call, key: str) -> int:
    """The position in `after`. Raises GraphRefusal if it is not of the report `key`."""
    cursor = str(call.fields["after"])
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        position = int(text.partition(".")[0])
    except ValueError:
        position = -1
    if position < 0 or cursor != _cursor(key, position):
        raise GraphRefusal(100, "(#100) Invalid cursors values")
    return position


def _paging(call: _Call, key: str, start: int, end: int, more: bool) -> dict[str, Any]:
    cursors = {"before": _cursor(key, start), "after": _cursor(key, end)}
    paging: dict[str, Any] = {"cursors": cursors}
    if more:
        # with the token, as Graph does: this shows who follows or logs it
        kept = {name: value if isinstance(value, str) else json.dumps(value)
                for name, value in call.fields.items()}  # fmt: skip
        query = {"access_token": call.token, **kept, "after": cursors["after"]}
        paging["next"] = f"{call.url}?{urlencode(query)}"
    return {"paging": paging}


_ACCOUNT_FIELDS: dict[str, Callable[[str, Mapping[str, Any]], Any]] = {
    "id": lambda id_, account: f"act_{id_}",
    "account_id": lambda id_, account: id_,
    "name": lambda id_, account: account["name"],
    "currency": lambda id_, account: account["currency"],
    "timezone_name": lambda id_, account: account["time_zone"],
    "account_status": lambda id_, account: account.get("account_status", 1),
}


def _described(account_id: str, account: Mapping[str, Any], fields: Any) -> dict[str, Any]:
    names = _read_list(fields) or ["account_id"]
    for name in names:
        if name not in _ACCOUNT_FIELDS:
            raise GraphRefusal(
                100, f"(#100) Tried accessing nonexisting field ({name}) on node type (AdAccount)"
            )
    return {
        name: _ACCOUNT_FIELDS[name](account_id, account) for name in dict.fromkeys([*names, "id"])
    }


def _unknown_path(parts: Sequence[str]) -> GraphRefusal:
    return GraphRefusal(2500, f"Unknown path components: /{'/'.join(parts)}")


def _no_such_object(method: str, node: str) -> GraphRefusal:
    return GraphRefusal(
        100,
        f"Unsupported {method} request. Object with ID '{node}' does not exist, cannot be loaded"
        " due to missing permissions, or does not support this operation. Please read the Graph"
        " API documentation at https://developers.facebook.com/docs/graph-api",
        subcode=33,
        kind="GraphMethodException",
    )


def _session_expired() -> str:
    return "Error validating access token: Session has expired. The session is over."


# Faults in Meta's format; each takes Fault's other fields as keywords.

# Code, subcode, message and status of Meta's errors for a report that is too large.
TOO_MUCH_DATA: dict[str, tuple[int, int | None, str, int]] = {
    "100/1487534": (100, 1487534, "Invalid parameter", 400),
    "100/1504018": (100, 1504018, "Your request timed out. Please try a smaller date range", 400),
    "2/1504038": (2, 1504038, "Service temporarily unavailable", 400),
    "1": (1, None, REDUCE, 500),
}  # fmt: skip


def graph_error(
    code: int,
    subcode: int | None = None,
    message: str = "An error occurred",
    *,
    status: int = 400,
    is_transient: bool = False,
    kind: str = "OAuthException",
    headers: Mapping[str, str] | None = None,
    **rest: Any,
) -> Fault:
    """An error of that code; `kind` is Graph's `type`."""
    body = error_body(code, message, subcode=subcode, kind=kind, is_transient=is_transient)
    return Fault("answer", status=status, headers=headers or {}, body=json.dumps(body), **rest)


def token_expired(subcode: int = 463, **rest: Any) -> Fault:
    """The token is refused: 463 expired, 460 password changed, 458 app removed."""
    return graph_error(190, subcode, _session_expired(), **rest)


def business_usage(account_id: str, percent: int = 100, minutes: int = 0) -> str:
    """The text of X-Business-Use-Case-Usage: usage, and how long calls are refused."""
    used = {
        "type": "ads_insights", "call_count": percent, "total_cputime": percent // 2,
        "total_time": percent // 2, "estimated_time_to_regain_access": minutes,
        "ads_api_access_tier": "standard_access",
    }  # fmt: skip
    return json.dumps({account_id: [used]})


def account_throttled(
    minutes: int = 5, *, account_id: str = "1203300000000001", code: int = 17, **rest: Any
) -> Fault:
    """An account's limit is reached (17, or 80004) and holds for `minutes`."""
    message = "(#17) User request limit reached"
    if code == 80004:
        message = (
            "(#80004) There have been too many calls to this ad-account. Wait a bit and try again."
        )
    headers = {"X-Business-Use-Case-Usage": business_usage(account_id, 100, minutes)}
    return graph_error(code, 2446079, message, is_transient=True, **{"headers": headers, **rest})


def app_throttled(subcode: int | None = None, **rest: Any) -> Fault:
    """The limit of the whole app is reached."""
    usage = json.dumps({"call_count": 104, "total_cputime": 32, "total_time": 47})
    return graph_error(
        4, subcode, "(#4) Application request limit reached", is_transient=True,
        **{"headers": {"X-App-Usage": usage}, **rest},
    )  # fmt: skip


def too_much_data(shape: str = "100/1487534", **rest: Any) -> Fault:
    """A report is too large: one of the errors of TOO_MUCH_DATA."""
    code, subcode, message, status = TOO_MUCH_DATA[shape]
    return graph_error(code, subcode, message, **{"status": status, **rest})


def fake_meta(
    state: Mapping[str, Any] | None = None, *, port: int = 0, latency: float = 0.0
) -> HttpServer:
    """A server in this process, not yet started; `state` as in meta_accounts.json."""
    return HttpServer(FakeMeta(state), port=port, latency=latency)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.fakes.meta", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added per request")
    options = parser.parse_args(arguments)
    serve_forever(fake_meta(port=options.port, latency=options.latency))


if __name__ == "__main__":
    main()
