"""Supabase: every call of its data API, and what its errors mean."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Mapping
from typing import Any

import httpx

from supabase import Client, ClientOptions, create_client
from workers.errors import (
    ConfigurationError,
    CredentialsError,
    PermanentError,
    TransientError,
    UnknownError,
    WorkerError,
    unreachable_since,
)
from workers.redaction import redact

# Longer than the API's own statement timeout (8 s), so that the database gives up first and says
# so.
TIMEOUT = 10.0

# SQLSTATE classes and codes after which the same call may succeed: connection problems, lack of
# resources, an operator's intervention (57014 is a statement timeout), deadlock and
# serialization failures, lock timeouts.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_STATES = ("08", "53", "57", "58", "40", "55P03")

# PostgREST's own: it cannot reach the database, or no connection came free.
# https://docs.postgrest.org/en/stable/references/errors.html
_TRANSIENT_CODES = frozenset({"PGRST000", "PGRST001", "PGRST002", "PGRST003"})
_SCHEMA_CODES = frozenset({"PGRST202", "PGRST205", "PGRST204", "42883", "42P01", "42703"})
_KEY_CODES = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303"})
# A code that says more than the HTTP status: Postgres's or PostgREST's. The codes of a gateway
# ("544", "DatabaseTimeout") do not.
_SPECIFIC_CODE = re.compile(r"PGRST[0-9A-Z]{2,3}|[0-9A-Z]{5}")

# Of a gateway: too many requests (429), or what is behind it did not answer, or not in time (408).
# So are all of 500 to 599.
_TRANSIENT_STATUS = frozenset({408, 425, 429})
# The value at the end of a message about data: 'invalid input syntax for type date: "..."'.
_QUOTED_VALUE = re.compile(r'(?<=\w): ".*"', re.DOTALL)
# Characters that JSON cannot carry (half of a surrogate pair; not even sent) or Postgres does not
# store (U+0000), and the codes of their errors.
_REFUSED_CHARACTERS = re.compile("[\x00\ud800-\udfff]")
_REFUSED_CHARACTER_CODES = frozenset({"22021", "22P05", "UnicodeEncodeError"})
# Characters of an answer's body that an error may quote.
_LONGEST_QUOTE = 200


class Database:
    """The workers' SQL functions, called by name. One per container; thread-safe."""

    def __init__(self, url: str, key: str, *, timeout: float = TIMEOUT) -> None:
        self._http = httpx.Client(
            timeout=timeout,
            # a redirect would send the key to wherever it points
            follow_redirects=False,
            event_hooks={"response": [_refuse]},
            # http is this machine itself: no certificate to verify, nor any to load, which takes
            # longer than everything else here
            verify=not url.startswith("http://"),
        )
        options = ClientOptions(
            httpx_client=self._http, persist_session=False, auto_refresh_token=False
        )
        self._client: Client = create_client(url, key, options)
        # also if no one closes it: a server that re-reads its settings leaves it to the runs that
        # still use it
        weakref.finalize(self, self._http.close)

    def close(self) -> None:
        """Closes its connections; needed only in a process that continues without it."""
        self._http.close()

    def call_briefly(self, function: str, within: float, **arguments: Any) -> object:
        """`call` with a timeout of `within` seconds, for the end of a run: no other call may be in
        progress."""
        usual = self._http.timeout
        self._http.timeout = httpx.Timeout(within)
        try:
            return self.call(function, **arguments)
        finally:
            self._http.timeout = usual

    def call(self, function: str, **arguments: Any) -> object:
        """What the SQL function returns, as JSON, for `workers.answers` to read.

        Text from outside may contain characters that cannot be stored: they become U+FFFD. Apart
        from that, nothing is retried here. Raises TransientError if the same call may succeed later
        (it may also have taken effect: the functions can be called again), CredentialsError if the
        key is refused, ConfigurationError if the schema, a grant or the project is not as it must
        be, PermanentError if the call itself is refused, and UnknownError for any other error.
        """
        try:
            return self._call(function, arguments)
        except PermanentError as error:  # as a whole: each call is a transaction
            if error.code not in _REFUSED_CHARACTER_CODES:
                raise
        return self._call(function, _storable(arguments))

    def _call(self, function: str, arguments: Mapping[str, Any]) -> object:
        try:
            return self._client.rpc(function, dict(arguments)).execute().data
        except httpx.RequestError as error:
            # its text may hold the URL, never the key, which travels in headers
            raise TransientError(
                f"the database could not be reached for {function}: {unreachable_since(error)}",
                code=type(error).__name__,
            ) from None
        except (httpx.InvalidURL, ValueError) as error:  # of an argument or a header
            raise PermanentError(
                f"the call of {function} cannot be sent: {type(error).__name__}",
                code=type(error).__name__,
            ) from None


def _storable(value: Any) -> Any:
    """The same JSON, without the characters that cannot be stored.

    Only for a refused call: checking every character would cost each call what few need.
    """
    if isinstance(value, str):
        return _REFUSED_CHARACTERS.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(one) for one in value]
    return value


def _refuse(response: httpx.Response) -> None:
    """Raises the error for an answer that is not the function's result.

    Here, and not from the client's exception (postgrest 2.34.1): it loses the HTTP status of an
    answer whose JSON has no code. And it returns a successful answer that is not JSON as if it were
    the function's text, or [] for an empty one: what was never stored would count as stored.
    """
    if response.is_redirect:
        raise ConfigurationError(
            "SUPABASE_URL answers with a redirect, which is not followed: set it to the project's "
            "own URL (https://<project>.supabase.co)"
        )
    response.read()
    if response.is_success:
        if response.status_code != 204 and not _is_json(response):
            raise TransientError("the answer is not JSON, so it is not the data API's", code="page")
        return
    function = response.request.url.path.rpartition("/")[2]
    raise _meaning(function, response.status_code, response.text)


def _meaning(function: str, status: int, text: str) -> WorkerError:
    """The error for an answer with that status and body."""
    body = _json_object(text)
    code = str(body.get("code") or "")
    # never `details`, which may quote a row
    said = str(body.get("message") or body.get("error") or ("" if body else text))
    said = redact(_QUOTED_VALUE.sub("", said))[:_LONGEST_QUOTE].strip()
    if _SPECIFIC_CODE.fullmatch(code):
        return _of_code(function, code, status, said)
    return _of_status(function, status, said)


def _of_code(function: str, code: str, status: int, said: str) -> WorkerError:
    """By SQLSTATE or PostgREST's own code."""
    if code.startswith(_TRANSIENT_STATES) or code in _TRANSIENT_CODES:
        return TransientError(f"the database failed {function}: {said}", code=code)
    if code in _KEY_CODES:
        return _refused_key(said, code)
    if code == "PGRST125":
        return ConfigurationError(
            "SUPABASE_URL must be the project's URL alone, without /rest/v1", code=code
        )
    if code in _SCHEMA_CODES:
        return ConfigurationError(
            f"the database lacks what {function} needs ({said}): apply the migrations with "
            "`python -m workers.operate migrate`",
            code=code,
        )
    if code == "42501":
        return ConfigurationError(
            f"the key may not call {function} ({said}): it must be the secret key, and the "
            "migrations' grants must be in place",
            code=code,
        )
    if code == "25006":
        return ConfigurationError(
            f"the database accepts no writes ({said}): its disk is full, or it was made read-only; "
            "look at the project in Supabase's dashboard",
            code=code,
        )
    if status >= 500 and not code.startswith(_OF_THE_CALL):
        return TransientError(f"the database failed {function}: {said}", code=code)
    return PermanentError(f"the database refused {function}: {said}", code=code)


def _of_status(function: str, status: int, said: str) -> WorkerError:
    """By the HTTP status alone, if the gateway answered instead of the data API."""
    code = f"http_{status}"
    sentence = f"Supabase's gateway answered {function} with {status}: {said or 'nothing'}"
    if status == 401:
        return _refused_key(said, code)
    if status in _TRANSIENT_STATUS or status >= 500:
        return TransientError(sentence, code=code)
    fix = _FIXES.get(status)
    if fix is not None:
        return ConfigurationError(f"{sentence}. {fix}", code=code)
    return UnknownError(sentence, code=code)


# What to do about a gateway's answer.
_FIXES = {
    402: "The project is restricted: look at its usage and billing in Supabase's dashboard",
    403: "Something in front of the project blocks the workers: its network restrictions, or a "
    "firewall",
    404: "SUPABASE_URL is not the URL of a project (https://<project>.supabase.co)",
    405: "SUPABASE_URL is not the URL of a project (https://<project>.supabase.co)",
}
# Classes of SQLSTATE for errors of the call: data, constraints, syntax, our functions' own errors.
_OF_THE_CALL = ("21", "22", "23", "42", "P0")


def _refused_key(said: str, code: str) -> CredentialsError:
    return CredentialsError(
        f"Supabase refused SUPABASE_SERVICE_ROLE_KEY ({said or 'no reason given'}): is it this "
        "project's secret key, and still valid?",
        code=code,
    )


def _is_json(response: httpx.Response) -> bool:
    if "json" not in response.headers.get("content-type", ""):
        return False
    try:
        json.loads(response.content)
    except ValueError:
        return False
    return True


def _json_object(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
