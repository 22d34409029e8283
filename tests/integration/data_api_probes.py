"""Compares a data API with recorded answers of PostgREST: `data_api_probes.json`.

Each probe is a request. `recorded` is the answer of PostgREST 16.2 in front of Postgres 17 without
`safeupdate`. `documented` is the documented answer of a hosted project, where PostgREST was not
asked or lacks what hosted projects have. `local` is the local API's answer if it differs, and
`difference` is the id of the reason: a row of the table in docs/data-api.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.services.keys import Keys, sign
from tests.integration.data_api_client import local_client

HERE = Path(__file__).resolve().parent
FUNCTIONS = HERE / "data_api_probes.sql"
DATA = HERE / "data_api_probes.json"

# The headers that a client may depend on.
KEPT = ("content-range", "content-type", "location", "preference-applied", "retry-after")
USER = "a0000000-0000-4000-8000-000000000001"
HOUR = 3600

# Status, headers and body, with the body's numbers as written.
Answer = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """One request and its answers."""

    name: str
    request: Mapping[str, Any]
    recorded: Answer | None
    documented: Answer | None
    local: Answer | None
    difference: str | None

    @property
    def hosted(self) -> Answer:
        """A hosted project's answer."""
        return _first(self.documented, self.recorded)

    @property
    def alone(self) -> Answer:
        """PostgREST's answer behind our own gateway, without `safeupdate`."""
        return _first(self.recorded, self.documented)


@dataclass(frozen=True)
class Recording:
    """All probes, and the differences between the answers."""

    version: str
    probes: list[Probe]
    differences: list[Mapping[str, str]]

    @classmethod
    def read(cls) -> Recording:
        """Read the file next to this one."""
        data = json.loads(DATA.read_text(encoding="utf-8"))
        probes = [
            Probe(
                name=entry["name"],
                request=entry["request"],
                recorded=entry.get("recorded"),
                documented=entry.get("documented"),
                local=entry.get("local"),
                difference=entry.get("difference"),
            )
            for entry in data["probes"]
        ]
        return cls(data["version"], probes, data["differences"])


class Asker:
    """A client that sends probes to one API."""

    def __init__(self, url: str, keys: Keys) -> None:
        """`keys` are the API's."""
        self._http = local_client(base_url=f"{url}/rest/v1/")
        self._tokens = _tokens(keys)

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """The compared parts of the answer."""
        key, bearer = request.get("key", "secret"), request.get("bearer", "secret")
        headers = {"accept": "*/*", "content-type": "application/json"}
        if key:
            headers["apikey"] = self._tokens[key]
        if bearer:
            headers["authorization"] = f"Bearer {self._tokens[bearer]}"
        headers |= request.get("headers", {})
        body = request.get("body")
        response = self._http.request(
            request.get("method", "POST"),
            request["path"],
            headers=headers,
            content=None if body is None else body.encode(),
        )
        return _compared(response)


def agrees(expected: Answer, answer: Answer) -> bool:
    """Whether a client would see the same: JSON is parsed, with numbers as written.

    In place of the body, `expected` may say how many `rows` there are, or how the text `starts`.
    """
    return _readable(expected) == _readable(answer, like=expected)


def _first(*answers: Answer | None) -> Answer:
    return next(answer for answer in answers if answer is not None)


def _tokens(keys: Keys) -> dict[str, str]:
    """The tokens that a probe may send, by their names in the data file."""
    now = int(time.time())
    secret = keys.jwt_secret
    later = {"iat": now + HOUR, "nbf": now + HOUR}
    return {
        "secret": keys.secret,
        "publishable": keys.publishable,
        "legacy_service_role": keys.legacy_service_role,
        "legacy_anon": keys.legacy_anon,
        "user": keys.user_token(USER),
        "garbage": "garbage",
        "unregistered": "sb_secret_nobody_gave_this_one_out",
        "forged": sign({"role": "service_role"}, f"not {secret}"),
        "expired": sign({"role": "service_role"}, secret, lifetime=-HOUR),
        "not_yet_valid": sign({"role": "service_role", **later}, secret, lifetime=2 * HOUR),
        "unknown_role": sign({"role": "nobody_of_that_name"}, secret),
    }


def _compared(response: httpx.Response) -> Answer:
    headers = {
        name: value
        for name, value in sorted(response.headers.items())
        if name in KEPT or name.startswith("x-")
    }
    if response.status_code == 204:
        headers.pop("content-type", None)
    return {"status": response.status_code, "headers": headers, "body": response.text}


def _readable(answer: Answer, like: Answer | None = None) -> tuple[int, dict[str, str], Any]:
    return answer["status"], answer["headers"], _body(answer, like or answer)


def _body(answer: Answer, like: Answer) -> Any:
    for form in ("rows", "starts"):
        if form in like and form in answer:
            return answer[form]
    if "starts" in like:
        return answer["body"][: len(like["starts"])]
    try:
        # an object as its pairs, because a name may occur twice; their order does not matter
        read: Any = json.loads(
            answer["body"],
            object_pairs_hook=lambda pairs: {"object": sorted(pairs, key=repr)},
            parse_int=lambda digits: {"number": digits},
            parse_float=lambda digits: {"number": digits},
        )
    except ValueError:
        return answer["body"]
    return len(read) if "rows" in like and isinstance(read, list) else read
