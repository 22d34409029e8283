"""A fake of the reporting part of LinkedIn's Marketing API, and of its token endpoint.

It shares no code with the client that it is for. What it answers and refuses follows
https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/ads-reporting and
https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/error-handling; the figures
come from `local.fakes.ad_facts`. Failures on the way come from the fault script, for which the
functions at the end of this module create faults in LinkedIn's format.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from email.utils import format_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from local.fakes.ad_facts import WINDOWS, AdRecord, Facts, More, Several
from local.fakes.ad_platform import AdPlatform
from local.fakes.restli import RestliProblem, read_query
from local.faults import Fault
from local.http_server import HttpServer, serve_forever
from local.wire import Request, Response

ACCOUNTS = Path(__file__).resolve().parent / "linkedin_accounts.json"

MOST_ELEMENTS = 15_000
MOST_REACH_DAYS = 92
MOST_PIVOTS = 3
TOKEN_PREFIX = "AQlocalLinkedinAccessTokenGivenOutAsNumber-"  # noqa: S105 - of the tokens given out

_ACCOUNT = "urn:li:sponsoredAccount:"
_PIVOTS: dict[str, Callable[[Any], str]] = {
    "ACCOUNT": lambda account: f"{_ACCOUNT}{account.id}",
    "CAMPAIGN_GROUP": lambda ad: f"urn:li:sponsoredCampaignGroup:{ad.campaign}",
    "CAMPAIGN": lambda ad: f"urn:li:sponsoredCampaign:{ad.group}",
    "CREATIVE": lambda ad: f"urn:li:sponsoredCreative:{ad.id}",
}
_EXPIRED = "The token used in the request has expired"


class LinkedInRefusal(Exception):
    """An error of LinkedIn: the arguments of `error_body`."""

    def __init__(
        self, status: int, code: str, message: str, service_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, code, message, service_code)


class OAuthRefusal(Exception):
    """An error of the token endpoint."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": code, "error_description": description}


def error_body(
    status: int, code: str, message: str, service_code: int | None = None
) -> dict[str, Any]:
    """LinkedIn's error object."""
    service = {} if service_code is None else {"serviceErrorCode": service_code}
    return {"status": status, **service, "code": code, "message": message}


def reported_cost(facts: Facts) -> str:
    """Money as LinkedIn reports it: with the digits of a rounded binary number."""
    return f"{facts.spend:.2f}00000000000335346" if facts.cents else "0"


class FakeLinkedIn(AdPlatform):
    """The application behind an HttpServer: `/rest/...` and `/token`.

    The state has the accounts, each with `tokens` and `refresh_tokens` that may see it and
    optionally `status`, and also: `versions` and `sunset_versions` ("202607"); `clients`,
    {client_id: client_secret}; `access_tokens`, the issued tokens, {token: {"refresh_token",
    "expires_at"}}.

    Settings:
      now             the time; see AdPlatform
      most_elements   elements after which an answer is silently cut off
      token_lifetime  seconds that an access token lasts
    """

    platform = "linkedin"
    first_state = ACCOUNTS
    defaults = MappingProxyType({"most_elements": MOST_ELEMENTS, "token_lifetime": 60 * 86_400})

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """`state`: the initial state, instead of the sample agency's."""
        self._given_out = 0
        super().__init__(state)

    def handle(self, request: Request) -> Response:
        """Answer one call, of either endpoint."""
        headers = {"Date": format_datetime(self.now(), usegmt=True),
                   "x-li-uuid": secrets.token_urlsafe(12)}  # fmt: skip
        try:
            if request.path == "/token":
                return Response.of_json(self._issue(request), headers=headers)
            return Response.of_json(self._call(request), headers=headers)
        except OAuthRefusal as refusal:
            return Response.of_json(refusal.body, refusal.status, headers)
        except LinkedInRefusal as refusal:
            return Response.of_json(refusal.body, refusal.status, headers)

    def _issue(self, request: Request) -> dict[str, Any]:
        fields = request.fields
        if request.method != "POST" or fields.get("grant_type") != "refresh_token":
            raise OAuthRefusal(400, "unsupported_grant_type", "grant_type is not supported")
        with self._lock:
            secret = self._state["clients"].get(fields.get("client_id"))
            if secret is None or secret != fields.get("client_secret"):
                raise OAuthRefusal(401, "invalid_client", "Client authentication failed")
            refresh_token = fields.get("refresh_token")
            accounts = self._state["accounts"].values()
            if not any(refresh_token in account["refresh_tokens"] for account in accounts):
                raise OAuthRefusal(
                    400, "invalid_request",
                    "The provided authorization grant or refresh token is invalid, expired or"
                    " revoked",
                )  # fmt: skip
            self._given_out += 1
            token, lifetime = f"{TOKEN_PREFIX}{self._given_out}", self._settings["token_lifetime"]
            expires_at = self.now().timestamp() + lifetime
            given = {"refresh_token": refresh_token, "expires_at": expires_at}
            self._state.setdefault("access_tokens", {})[token] = given
        return {"access_token": token, "expires_in": lifetime, "token_type": "Bearer",
                "refresh_token": refresh_token, "scope": "r_ads,r_ads_reporting"}  # fmt: skip

    def _call(self, request: Request) -> dict[str, Any]:
        found = re.fullmatch(r"/rest/(?:(adAnalytics)|adAccounts/(\d+))", request.path)
        if found is None or request.method != "GET":
            raise LinkedInRefusal(404, "RESOURCE_NOT_FOUND", f"No resource {request.path}")
        self._check_version(request)
        sees = self._reached(request)
        return self._analytics(request, sees) if found[1] else self._account(found[2], sees)

    def _check_version(self, request: Request) -> None:
        version = request.headers.get("linkedin-version", "")
        if not version:
            raise LinkedInRefusal(
                400, "VERSION_MISSING",
                "A version must be present. Please specify a version by adding the"
                " LinkedIn-Version header.",
            )  # fmt: skip
        if version not in self._state["versions"]:
            raise LinkedInRefusal(
                426, "NONEXISTENT_VERSION", f"Requested version {version} is not active"
            )

    def _reached(self, request: Request) -> set[str]:
        """Ids of the accounts that the token may see. Raises LinkedInRefusal for a bad token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise LinkedInRefusal(401, "EMPTY_ACCESS_TOKEN", "Empty oauth2 access token", 65604)
        given = self._state.get("access_tokens", {}).get(token)
        if given is not None and given["expires_at"] <= self.now().timestamp():
            raise LinkedInRefusal(401, "EXPIRED_ACCESS_TOKEN", _EXPIRED, 65602)
        sees = {
            id_
            for id_, account in self._state["accounts"].items()
            if token in account["tokens"]
            or (given is not None and given["refresh_token"] in account["refresh_tokens"])
        }
        if not sees and given is None:
            raise LinkedInRefusal(401, "INVALID_ACCESS_TOKEN", "Invalid access token", 65600)
        return sees

    def _account(self, account_id: str, sees: set[str]) -> dict[str, Any]:
        if account_id not in self._state["accounts"]:
            raise LinkedInRefusal(404, "NOT_FOUND", f"AdAccount {account_id} could not be found")
        if account_id not in sees:
            raise LinkedInRefusal(
                403, "ACCESS_DENIED", f"Not enough permissions to access: {account_id}", 100
            )
        account = self._state["accounts"][account_id]
        return {
            "id": int(account_id), "name": account["name"], "currency": account["currency"],
            "status": account.get("status", "ACTIVE"), "type": "BUSINESS", "test": False,
        }  # fmt: skip

    def _analytics(self, request: Request, sees: set[str]) -> dict[str, Any]:
        if request.headers.get("x-restli-protocol-version") != "2.0.0":
            raise _bad_parameter("dateRange")
        try:
            parameters = read_query(request.query)
        except RestliProblem as problem:
            raise LinkedInRefusal(400, "ILLEGAL_ARGUMENT", f"Invalid query: {problem}") from None
        pivots = _read_pivots(parameters)
        fields = _read_fields(parameters)
        first, last = _read_range(parameters)
        if "approximateMemberReach" in fields and (last - first).days >= MOST_REACH_DAYS:
            raise _bad_parameter("dateRange")
        elements: list[dict[str, Any]] = []
        today = self.now().date()
        for urn in _read_accounts(parameters):
            account_id = urn.removeprefix(_ACCOUNT)
            if account_id in sees:  # others are silently left out
                ads: Sequence[_Subject] = self._records[account_id]
                if pivots == ["ACCOUNT"]:
                    ads = [Several(account_id, "", self._records[account_id])]
                elements += _elements(ads, first, min(last, today), today, fields, pivots)
        shown = elements[: int(self._settings["most_elements"])]
        return {"paging": {"start": 0, "count": 10, "links": []}, "elements": shown}


_METRICS: dict[str, Callable[[Facts], int | str]] = {
    "impressions": lambda facts: facts.impressions,
    "clicks": lambda facts: facts.clicks,
    "costInLocalCurrency": reported_cost,
    "approximateMemberReach": lambda facts: facts.reach,
}
_FURTHER: dict[str, Callable[[More], int | str]] = {
    "externalWebsiteConversions": lambda more: len(more.events),
    "conversionValueInLocalCurrency": lambda more: _money(sum(one.cents for one in more.events)),
    "landingPageClicks": lambda more: more.link_clicks,
    "videoViews": lambda more: more.video_views,
}
_Subject = AdRecord | Several
_OTHERS = ("pivotValues", "dateRange")


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _elements(
    ads: Sequence[_Subject],
    first: date,
    last: date,
    today: date,
    fields: Sequence[str],
    pivots: Sequence[str],
) -> Iterator[dict[str, Any]]:
    metrics = [name for name in fields if name in _METRICS]
    further = [name for name in fields if name in _FURTHER]
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        for ad in ads:
            found = ad.on(ordinal)
            if found is None:
                continue
            element: dict[str, Any] = {name: _METRICS[name](found) for name in metrics}
            if further:
                more = ad.more_on(ordinal, today.toordinal(), WINDOWS["linkedin"])
                element |= {name: _FURTHER[name](more) for name in further}
            if "pivotValues" in fields:
                element["pivotValues"] = [_PIVOTS[pivot](ad) for pivot in pivots]
            if "dateRange" in fields:
                element["dateRange"] = {"start": _parts(ordinal), "end": _parts(ordinal)}
            yield element


def _parts(ordinal: int) -> dict[str, int]:
    day = date.fromordinal(ordinal)
    return {"month": day.month, "day": day.day, "year": day.year}


def _bad_parameter(name: str) -> LinkedInRefusal:
    return LinkedInRefusal(400, "PARAM_INVALID", f"Invalid param. Name: {name}", 100)


def _read_pivots(parameters: Mapping[str, Any]) -> list[str]:
    """The pivots of the finder for one pivot, or of the one for up to three."""
    if parameters.get("q") == "analytics":
        pivots = [parameters.get("pivot")]
    elif parameters.get("q") == "statistics":
        given = parameters.get("pivots")
        pivots = given if isinstance(given, list) and 1 <= len(given) <= MOST_PIVOTS else [None]
    else:
        raise _bad_parameter("q")
    # this fake has no data for the others
    of_ads = {*_PIVOTS} - {"ACCOUNT"}
    is_known = all(pivot in of_ads for pivot in pivots) and "CREATIVE" in pivots
    if not is_known and pivots != ["ACCOUNT"]:
        raise _bad_parameter("pivots")
    return [str(pivot) for pivot in pivots]


def _read_fields(parameters: Mapping[str, Any]) -> list[str]:
    if parameters.get("timeGranularity") != "DAILY":
        raise _bad_parameter("timeGranularity")
    given = parameters.get("fields", ["impressions", "clicks"])
    fields = given if isinstance(given, list) else [given]
    for name in fields:
        if name not in _METRICS and name not in _FURTHER and name not in _OTHERS:
            raise _bad_parameter("fields")
    return fields


def _read_range(parameters: Mapping[str, Any]) -> tuple[date, date]:
    try:
        first, last = (
            date(*(int(parameters["dateRange"][end][part]) for part in ("year", "month", "day")))
            for end in ("start", "end")
        )
    except (KeyError, TypeError, ValueError):
        raise _bad_parameter("dateRange") from None
    if first > last:
        raise _bad_parameter("dateRange")
    return first, last


def _read_accounts(parameters: Mapping[str, Any]) -> list[str]:
    accounts = parameters.get("accounts")
    if not isinstance(accounts, list) or not all(
        isinstance(urn, str) and urn.startswith(_ACCOUNT) for urn in accounts
    ):
        raise _bad_parameter("accounts")
    return accounts


# Faults in LinkedIn's format; each takes Fault's other fields as keywords.


def linkedin_error(
    status: int,
    code: str,
    message: str = "An error occurred",
    service_code: int | None = None,
    **rest: Any,
) -> Fault:
    """An error of that status and code."""
    body = json.dumps(error_body(status, code, message, service_code))
    return Fault("answer", status=status, body=body, **rest)


def token_expired(**rest: Any) -> Fault:
    """The access token has expired."""
    return linkedin_error(401, "EXPIRED_ACCESS_TOKEN", _EXPIRED, 65602, **rest)


def throttled(**rest: Any) -> Fault:
    """The limit on calls or on the amount of data is reached."""
    message = "Resource level throttle limit for calls to this resource is reached."
    return linkedin_error(429, "TOO_MANY_REQUESTS", message, 101, **rest)


def fake_linkedin(
    state: Mapping[str, Any] | None = None, *, port: int = 0, latency: float = 0.0
) -> HttpServer:
    """A server in this process, not yet started; `state` as in linkedin_accounts.json."""
    return HttpServer(FakeLinkedIn(state), port=port, latency=latency)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.fakes.linkedin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added per request")
    options = parser.parse_args(arguments)
    serve_forever(fake_linkedin(port=options.port, latency=options.latency))


if __name__ == "__main__":
    main()
