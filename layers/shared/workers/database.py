"""Supabase: every call of its data API, and what its failures mean."""

from __future__ import annotations

from typing import Any

import httpx
from postgrest.exceptions import APIError

from supabase import Client, ClientOptions, create_client
from workers.errors import ConfigurationError, CredentialsError, TransientError, WorkerError

# Longer than the API's own statement timeout (8 s), so that the database gives up first and
# says so.
TIMEOUT = 10.0

# SQLSTATE classes and codes after which the same call may succeed: connection trouble, lack
# of resources, an operator's intervention (57014 is a statement timeout), deadlock and
# serialization failures, lock timeouts.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_STATES = ("08", "53", "57", "58", "40", "55P03")

# PostgREST's own: it cannot reach the database, or no connection came free.
# https://docs.postgrest.org/en/stable/references/errors.html
_TRANSIENT_CODES = frozenset({"PGRST000", "PGRST001", "PGRST002", "PGRST003"})
_SCHEMA_CODES = frozenset({"PGRST202", "PGRST205", "PGRST204", "42883", "42P01", "42703"})
_KEY_CODES = frozenset({"PGRST301", "PGRST302", "PGRST303", "401"})


class Database:
    """The workers' SQL functions, called by name. One per container; safe for threads."""

    def __init__(self, url: str, key: str, *, timeout: float = TIMEOUT) -> None:
        # a redirect would take the key along to wherever it points
        self._http = httpx.Client(
            timeout=timeout, follow_redirects=False, event_hooks={"response": [_refuse_others]}
        )
        options = ClientOptions(
            httpx_client=self._http, persist_session=False, auto_refresh_token=False
        )
        self._client: Client = create_client(url, key, options)

    def close(self) -> None:
        """Give up the connections; only a process that goes on without it needs to."""
        self._http.close()

    def call_briefly(self, function: str, within: float, **arguments: Any) -> Any:
        """`call` with a timeout of `within` seconds, for the end of a run: no other may be under
        way."""
        usual = self._http.timeout
        self._http.timeout = httpx.Timeout(within)
        try:
            return self.call(function, **arguments)
        finally:
            self._http.timeout = usual

    def call(self, function: str, **arguments: Any) -> Any:
        """What the SQL function returns, as JSON.

        Never retried here. Raises TransientError when the same call may succeed later
        (it may also have succeeded unseen: the functions are written to be called again),
        CredentialsError when the key is refused, ConfigurationError when the schema or a
        grant is missing. Anything else comes through as it is.
        """
        try:
            return self._client.rpc(function, arguments).execute().data
        except APIError as error:
            known = _classify(function, error)
            if known is None:
                raise
            raise known from error
        except httpx.RequestError as error:
            # its text may hold the URL, never the key, which travels in headers
            raise TransientError(
                f"the database could not be reached for {function}: {type(error).__name__}",
                code=type(error).__name__,
            ) from error


def _refuse_others(response: httpx.Response) -> None:
    """Raises TransientError for what something between us and the API answered in its place.

    A page with status 200 the client would hand on as text that the function returned, and what
    was never stored would count as stored. A gateway's 429 need not have a code. A redirect,
    which is not followed, is a ConfigurationError.
    """
    if response.is_redirect:
        raise ConfigurationError(
            "SUPABASE_URL answers with a redirect, which is not followed: set it to the project's "
            "own URL (https://<project>.supabase.co)"
        )
    if response.status_code == 429:
        raise TransientError("the data API's gateway asks for fewer requests", code="429")
    kind = response.headers.get("content-type", "")
    if response.is_success and response.status_code != 204 and "json" not in kind:
        raise TransientError("something else than the data API answered, not in JSON", code="page")


def _classify(function: str, error: APIError) -> WorkerError | None:
    code = str(error.code or "")
    if code.startswith(_TRANSIENT_STATES) or code in _TRANSIENT_CODES or _is_outage(code):
        return TransientError(f"the database failed {function}: {error.message}", code=code)
    if code in _KEY_CODES or "Invalid API key" in str(error.message):
        return CredentialsError(
            "Supabase refused SUPABASE_SERVICE_ROLE_KEY: is it this project's secret key?",
            code=code or "401",
        )
    if code in _SCHEMA_CODES:
        return ConfigurationError(
            f"the database lacks what {function} needs ({error.message}): apply the migrations "
            "with `python -m workers.operate migrate`",
            code=code,
        )
    if code == "42501":
        return ConfigurationError(
            f"the key may not call {function} ({error.message}): it must be the secret key, and "
            "the migrations' grants must stand",
            code=code,
        )
    return None


def _is_outage(code: str) -> bool:
    """A gateway's answer that is not PostgREST's JSON comes with its HTTP status as code."""
    return code.isdigit() and len(code) == 3 and (code == "429" or code.startswith("5"))
