"""A fake of the reporting part of the Google Ads API, and of Google's token endpoint.

It shares no code with the client that it is for. What it answers and refuses follows
https://developers.google.com/google-ads/api/rest and .../docs/best-practices/error-types; the
figures come from `local.fakes.ad_facts`. Failures on the way come from the fault script, for which
the functions at the end of this module create faults in Google's format.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote
from zlib import crc32

from local.fakes.ad_platform import AdPlatform
from local.fakes.gaql import QueryProblem, parse
from local.fakes.google_report import Report, read_report
from local.faults import Fault
from local.http_server import HttpServer, serve_forever
from local.wire import Request, Response

ACCOUNTS = Path(__file__).resolve().parent / "google_ads_accounts.json"

SEARCH_PAGE = 10_000
TOKEN_PREFIX = "ya29.local-"  # noqa: S105 - of the tokens that this fake gives out

_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_SUMMARIES = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login"
    " cookie or other valid authentication credential.",
    403: "The caller does not have permission",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "Internal error encountered.",
    503: "The service is currently unavailable.",
}
NO_PERMISSION = (
    "User doesn't have permission to access customer. Note: If you're accessing a client"
    " customer, the manager's customer id must be set in the 'login-customer-id' header."
)
NOT_FOUND = "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title></html>"


class GoogleRefusal(Exception):
    """An error of Google Ads; `family` is camelCase as in errorCode."""

    def __init__(self, status: int, family: str, value: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.family = family
        self.value = value


class OAuthRefusal(Exception):
    """An error of the token endpoint."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": code, "error_description": description}


class _NoSuchPath(Exception):
    """Nothing exists at that path: answered by an HTML page, not by the API."""


def error_body(
    status: int,
    family: str,
    value: str,
    message: str,
    *,
    version: str = "v26",
    details: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> dict[str, Any]:
    """Google's error object with one error in it, and that error's `details`."""
    one: dict[str, Any] = {"errorCode": {family: value}, "message": message}
    if details:
        one["details"] = dict(details)
    failure = {
        "@type": f"type.googleapis.com/google.ads.googleads.{version}.errors.GoogleAdsFailure",
        "errors": [one],
        "requestId": request_id or secrets.token_urlsafe(16),
    }
    return {
        "error": {
            "code": status,
            "message": _SUMMARIES.get(status, message),
            "status": _STATUSES.get(status, "UNKNOWN"),
            "details": [failure],
        }
    }


class FakeGoogleAds(AdPlatform):
    """The application behind an HttpServer: `/token` and `/v<NN>/customers...`.

    The state has the accounts, each with `refresh_tokens` that may see it, `manager` (its
    digits: calls need it as login-customer-id), `is_manager` and `status`, and also:
    `versions` and `deprecated_versions` ("v26"); `clients`, {client_id: client_secret};
    `access_tokens`, the issued tokens, {token: {"refresh_token", "expires_at"}}.

    Settings:
      now             the time; see AdPlatform
      batch_size      rows in an object of searchStream's array
      page_size       rows on a page of search
      empty_batch     end a stream with an object that has no results
      token_lifetime  seconds that an access token lasts
      late_error      {"after_batches", "family", "value", "status", "message", "times"}: end a
                      stream with an error object; see `late_stream_error`
    """

    platform = "google"
    first_state = ACCOUNTS
    defaults = MappingProxyType({
        "batch_size": 10_000, "page_size": SEARCH_PAGE, "empty_batch": False,
        "token_lifetime": 3599, "late_error": None,
    })  # fmt: skip

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """`state`: the initial state, instead of the sample agency's."""
        self._given_out = 0
        super().__init__(state)

    def handle(self, request: Request) -> Response:
        """Answer one call, of either endpoint."""
        path = unquote(request.path)
        try:
            if path == "/token":
                return Response.of_json(self._token(request))
            return self._call(request, path)
        except OAuthRefusal as refusal:
            return Response.of_json(refusal.body, refusal.status)
        except _NoSuchPath:
            return Response(404, NOT_FOUND.encode(), {"Content-Type": "text/html; charset=UTF-8"})

    def _token(self, request: Request) -> dict[str, Any]:
        fields = request.fields
        with self._lock:
            clients = self._state["clients"]
            if fields.get("client_id") not in clients:
                raise OAuthRefusal(401, "invalid_client", "The OAuth client was not found.")
            if clients[fields["client_id"]] != fields.get("client_secret"):
                raise OAuthRefusal(401, "invalid_client", "Unauthorized")
            if fields.get("grant_type") != "refresh_token":
                raise OAuthRefusal(400, "unsupported_grant_type", "Invalid grant_type.")
            refresh_token = fields.get("refresh_token")
            accounts = self._state["accounts"].values()
            if not any(refresh_token in account["refresh_tokens"] for account in accounts):
                raise OAuthRefusal(400, "invalid_grant", "Token has been expired or revoked.")
            return self._issue(str(refresh_token))

    def _issue(self, refresh_token: str) -> dict[str, Any]:
        self._given_out += 1
        token = f"{TOKEN_PREFIX}{self._given_out}"
        lifetime = int(self._settings["token_lifetime"])
        self._state.setdefault("access_tokens", {})[token] = {
            "refresh_token": refresh_token,
            "expires_at": self.now().timestamp() + lifetime,
        }
        return {
            "access_token": token, "expires_in": lifetime, "token_type": "Bearer",
            "scope": "https://www.googleapis.com/auth/adwords",
        }  # fmt: skip

    def _call(self, request: Request, path: str) -> Response:
        found = re.fullmatch(r"/(v\d+)/customers(?:/([^/]+)/googleAds)?:(\w+)", path)
        if found is None:
            raise _NoSuchPath
        version, customer, method = found.groups()
        action = _METHODS.get((request.method, method, customer is not None))
        known = [*self._state["versions"], *self._state["deprecated_versions"]]
        if action is None or version not in known:
            raise _NoSuchPath
        headers = {"request-id": secrets.token_urlsafe(16)}
        kind = {"Content-Type": "application/json; charset=UTF-8"}
        try:
            self._check_version(version)
            body = action(self, request, customer or "", headers["request-id"])
            return Response(200, body, {**kind, **headers})
        except GoogleRefusal as refusal:
            error: Any = self._error(refusal, version, headers["request-id"])
            if method == "searchStream":
                error = [error]
            return Response.of_json(error, refusal.status, headers)

    def _check_version(self, version: str) -> None:
        if version in self._state["deprecated_versions"]:
            raise GoogleRefusal(
                400, "requestError", "UNSUPPORTED_VERSION",
                f"Version {version} is deprecated. Requests to this version will be blocked.",
            )  # fmt: skip

    def _error(self, refusal: GoogleRefusal, version: str, request_id: str) -> dict[str, Any]:
        body = error_body(
            refusal.status, refusal.family, refusal.value, str(refusal),
            version=version, request_id=request_id,
        )  # fmt: skip
        if not refusal.family:  # refused before it reached Google Ads
            del body["error"]["details"]
        return body

    def _refresh_token(self, request: Request) -> str:
        """The refresh token of the call's user. Raises GoogleRefusal if its token is not valid."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise GoogleRefusal(401, "", "", "")
        given = self._state.get("access_tokens", {}).get(token)
        if given is None and not self._was_issued(token):
            raise GoogleRefusal(
                401, "authenticationError", "OAUTH_TOKEN_INVALID",
                "OAuth token in the header is not valid.",
            )  # fmt: skip
        if given is None or given["expires_at"] <= self.now().timestamp():
            raise GoogleRefusal(
                401, "authenticationError", "OAUTH_TOKEN_EXPIRED",
                "OAuth token in the header has expired.",
            )  # fmt: skip
        return str(given["refresh_token"])

    def _was_issued(self, token: str) -> bool:
        """Whether the token was issued before the state was replaced."""
        number = token.removeprefix(TOKEN_PREFIX)
        return token != number and number.isdigit() and int(number) <= self._given_out

    def _open(self, request: Request, customer: str) -> dict[str, Any]:
        """The account that is called. Raises GoogleRefusal if it must not be."""
        refresh_token = self._refresh_token(request)
        login = request.headers.get("login-customer-id", "")
        if not re.fullmatch(r"\d*", login):
            raise GoogleRefusal(
                400, "headerError", "INVALID_LOGIN_CUSTOMER_ID",
                "The login customer ID could not be validated.",
            )  # fmt: skip
        if not re.fullmatch(r"\d+", customer):
            raise GoogleRefusal(
                400, "requestError", "INVALID_CUSTOMER_ID", f"Invalid customer ID '{customer}'."
            )
        account = self._state["accounts"].get(customer)
        if account is None:
            raise GoogleRefusal(
                401, "authenticationError", "CUSTOMER_NOT_FOUND",
                "No customer found for the provided customer id.",
            )  # fmt: skip
        through = account.get("manager") or (login and customer) or ""
        if refresh_token not in account["refresh_tokens"] or login != through:
            raise GoogleRefusal(403, "authorizationError", "USER_PERMISSION_DENIED", NO_PERMISSION)
        if account.get("status", "ENABLED") != "ENABLED":
            raise GoogleRefusal(
                403, "authorizationError", "CUSTOMER_NOT_ENABLED",
                "The customer account can't be accessed because it is not yet enabled or has been"
                " deactivated.",
            )  # fmt: skip
        return dict(account)

    def _report(self, request: Request, customer: str) -> Report:
        account = self._open(request, customer)
        try:
            query = parse(str(request.fields.get("query", "")))
            return read_report(
                query, customer, account, self._records[customer], self.today(account)
            )
        except QueryProblem as problem:
            raise GoogleRefusal(400, "queryError", problem.value, str(problem)) from None

    def _list_accessible(self, request: Request, customer: str, request_id: str) -> bytes:
        refresh_token = self._refresh_token(request)
        names = [
            f"customers/{id_}"
            for id_, account in self._state["accounts"].items()
            if refresh_token in account["refresh_tokens"] and not account.get("manager")
        ]
        return json.dumps({"resourceNames": names}).encode()

    def _search_stream(self, request: Request, customer: str, request_id: str) -> bytes:
        report = self._report(request, customer)
        size = int(self._settings["batch_size"])
        rows = report.rows()
        batches = []
        while batch := list(islice(rows, size)):
            batches.append(report.batch(batch, request_id))
        if self._settings["empty_batch"]:
            batches.append(report.batch([], request_id))
        if late := self._take_late_error():
            batches = [*batches[: late["after_batches"]], self._late(late, request_id)]
        return f"[{','.join(batches)}]".encode()

    def _take_late_error(self) -> Mapping[str, Any] | None:
        with self._lock:
            late: Mapping[str, Any] | None = self._settings["late_error"]
            if late is not None and late["times"] is not None:
                left = {**late, "times": late["times"] - 1}
                self._settings = {**self._settings, "late_error": left if left["times"] else None}
        return late

    def _late(self, late: Mapping[str, Any], request_id: str) -> str:
        body = error_body(
            late["status"], late["family"], late["value"], late["message"], request_id=request_id
        )
        return json.dumps(body)

    def _search(self, request: Request, customer: str, request_id: str) -> bytes:
        if "pageSize" in request.fields:
            raise GoogleRefusal(
                400, "requestError", "PAGE_SIZE_NOT_SUPPORTED",
                "Setting the page size is not supported. Search Responses will have fixed page"
                " size of '10000' rows.",
            )  # fmt: skip
        report = self._report(request, customer)
        key = f"{customer}/{request.fields['query']}"
        size = int(self._settings["page_size"])
        start = _read_page_token(str(request.fields.get("pageToken") or ""), key)
        rows = list(islice(report.rows(), start, start + size + 1))
        parts = [report.batch(rows[:size], request_id, with_id=False)[1:-1]]
        if len(rows) > size:
            parts.append(f'"nextPageToken":"{_page_token(start + size, key)}"')
        return f"{{{','.join(parts)}}}".encode()


_Method = Callable[[FakeGoogleAds, Request, str, str], bytes]
# By HTTP method and name; whether it is a method of one customer.
_METHODS: dict[tuple[str, str, bool], _Method] = {
    ("POST", "searchStream", True): FakeGoogleAds._search_stream,
    ("POST", "search", True): FakeGoogleAds._search,
    ("GET", "listAccessibleCustomers", False): FakeGoogleAds._list_accessible,
}


def _page_token(start: int, key: str) -> str:
    return base64.urlsafe_b64encode(f"{start}.{crc32(key.encode()):08x}".encode()).decode()


def _read_page_token(token: str, key: str) -> int:
    """Where the page starts. Raises GoogleRefusal if the token is not of the query `key`."""
    if not token:
        return 0
    try:
        start = int(base64.urlsafe_b64decode(token).decode().partition(".")[0])
    except ValueError:
        start = -1
    if start < 0 or token != _page_token(start, key):
        raise GoogleRefusal(400, "requestError", "INVALID_PAGE_TOKEN", "Page token is invalid.")
    return start


# Faults in Google's format; each takes Fault's other fields as keywords.


def google_error(
    family: str,
    value: str,
    status: int = 400,
    message: str = "An error occurred.",
    retry_delay: str | None = None,
    *,
    stream: bool = True,
    rate_scope: str = "ACCOUNT",
    **rest: Any,
) -> Fault:
    """An error of that family ("quotaError") and value; in an array, as searchStream has it.

    `retry_delay` ("37.5s") is in the details of a quota error, for `rate_scope` (ACCOUNT, or
    DEVELOPER for the whole project).
    """
    details = None
    if retry_delay is not None:
        quota = {"rateScope": rate_scope, "rateName": "Get requests", "retryDelay": retry_delay}
        details = {"quotaErrorDetails": quota}
    body: Any = error_body(status, family, value, message, details=details)
    text = json.dumps([body] if stream else body)
    return Fault("answer", status=status, body=text, **rest)


def invalid_grant(**rest: Any) -> Fault:
    """The refresh token is refused."""
    body = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    return Fault("answer", status=400, body=json.dumps(body), **{"path": "token", **rest})


def client_refused(error: str = "invalid_client", status: int = 401, **rest: Any) -> Fault:
    """The OAuth client is refused: invalid_client, unauthorized_client, deleted_client ..."""
    body = {"error": error, "error_description": "The OAuth client was not accepted."}
    return Fault("answer", status=status, body=json.dumps(body), **{"path": "token", **rest})


def late_stream_error(
    after_batches: int = 1,
    family: str = "internalError",
    value: str = "INTERNAL_ERROR",
    *,
    status: int = 500,
    message: str = "An internal error has occurred.",
    times: int | None = 1,
) -> dict[str, Any]:
    """The setting with which a stream ends in an error object after some batches.

    It is not a fault, because what precedes the error is real: `configure(**setting)`.
    """
    late = {"after_batches": after_batches, "family": family, "value": value, "status": status,
            "message": message, "times": times}  # fmt: skip
    return {"late_error": late}


def fake_google_ads(
    state: Mapping[str, Any] | None = None, *, port: int = 0, latency: float = 0.0
) -> HttpServer:
    """A server in this process, not yet started; `state` as in google_ads_accounts.json."""
    return HttpServer(FakeGoogleAds(state), port=port, latency=latency)


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.fakes.google_ads", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added per request")
    options = parser.parse_args(arguments)
    serve_forever(fake_google_ads(port=options.port, latency=options.latency))


if __name__ == "__main__":
    main()
