"""An ordered script of faults for a fake.

A fault says which requests it hits, how often, and whether it strikes before or after the request
took effect. That difference matters most: a client that saw only a broken connection cannot tell
them apart.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from local.wire import Request, Response

How = Literal["answer", "reset", "close", "hang", "truncate", "trickle"]
When = Literal["before", "after"]


@dataclass(frozen=True)
class Fault:
    """One line of the script.

    Which requests: `path` (the whole path or its last parts, as in "chat.postMessage"),
    `method`, `fields` (values in query, form or JSON body, all equal), `contains` (text in the
    raw body); what is empty matches everything. The first `skip` matching requests pass, the
    next `times` are hit (None: all of them).

    `when` "before": the request never took effect. "after": it did, and the answer is
    disturbed.

    `how`:
      answer    with `status`, `headers` and `body` instead of the real answer
      reset     the connection (RST)
      close     it without an answer (FIN)
      hang      for `seconds`, then continue as if nothing had happened; "before" delays the effect,
                "after" only the answer
      truncate  announce the whole answer and close after half of it
      trickle   send the answer in small pieces over `seconds`
    """

    how: How
    when: When = "before"
    path: str = ""
    method: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    contains: str = ""
    skip: int = 0
    times: int | None = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = 0.0

    def matches(self, request: Request) -> bool:
        """Whether this fault applies to that request, regardless of `skip` and `times`."""
        if self.method and self.method != request.method:
            return False
        if self.path and not f"/{request.path.lstrip('/')}".endswith(f"/{self.path.lstrip('/')}"):
            return False
        if self.contains and self.contains.encode() not in request.body:
            return False
        return all(request.fields.get(name) == value for name, value in self.fields.items())

    def answer(self) -> Response:
        """The answer that the script prescribes."""
        kind = "application/json" if self.body[:1] in ("{", "[") else "text/html; charset=utf-8"
        return Response(self.status, self.body.encode(), {"Content-Type": kind, **self.headers})


# Shorthands for the most common faults. Each takes Fault's other fields as keywords.

# Sent broken or slowly when there is no real answer.
_SMALL_ANSWER: dict[str, Any] = {"status": 200, "body": '{"ok": true}'}


def failing(status: int = 503, **rest: Any) -> Fault:
    """An answer with an error status and a web page, as from a gateway."""
    return Fault("answer", status=status, **{"body": "<html>Oh dear</html>", **rest})


def gateway_error(status: int, message: str, **rest: Any) -> Fault:
    """An answer of the gateway in front of Supabase's data API: JSON without a `code`."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    body = json.dumps({"message": message})
    return Fault("answer", status=status, **{"headers": headers, "body": body, **rest})


def slack_error(code: str, **rest: Any) -> Fault:
    """A Slack answer that is not ok."""
    return Fault("answer", status=200, body=json.dumps({"ok": False, "error": code}), **rest)


def rate_limited(retry_after: float | str | None = 1, **rest: Any) -> Fault:
    """Status 429, with that Retry-After (None: without one)."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = json.dumps({"ok": False, "error": "ratelimited"})
    return Fault("answer", status=429, headers=headers, **{"body": body, **rest})


def redirect(location: str, **rest: Any) -> Fault:
    """Status 302 to somewhere else."""
    return Fault("answer", status=302, headers={"Location": location}, **rest)


def reset(**rest: Any) -> Fault:
    """A reset connection."""
    return Fault("reset", **rest)


def close(**rest: Any) -> Fault:
    """A connection closed without an answer."""
    return Fault("close", **rest)


def hang(seconds: float, **rest: Any) -> Fault:
    """A request or answer that takes that much longer."""
    return Fault("hang", seconds=seconds, **rest)


def truncate(**rest: Any) -> Fault:
    """An answer that is cut off in the middle."""
    return Fault("truncate", **{"when": "after", **_SMALL_ANSWER, **rest})


def trickle(seconds: float, **rest: Any) -> Fault:
    """An answer that arrives in small pieces."""
    return Fault("trickle", seconds=seconds, **{"when": "after", **_SMALL_ANSWER, **rest})


class FaultScript:
    """The faults of one server and how often each has struck. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []

    def add(self, fault: Fault) -> None:
        """Put a fault at the end of the script."""
        with self._lock:
            self._entries.append(_Entry(fault))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._entries.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault that strikes this request, if any: the first that matches and is not used up.

        Each call counts as one request.
        """
        with self._lock:
            for entry in self._entries:
                if entry.strikes(request):
                    return entry.fault
        return None

    def listing(self) -> list[dict[str, Any]]:
        """The faults as data, each with `struck`, the number of requests it hit."""
        with self._lock:
            return [{**asdict(entry.fault), "struck": entry.struck} for entry in self._entries]


class _Entry:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.struck = 0
        self._skipped = 0

    def strikes(self, request: Request) -> bool:
        fault = self.fault
        if fault.times is not None and self.struck >= fault.times:
            return False
        if not fault.matches(request):
            return False
        if self._skipped < fault.skip:
            self._skipped += 1
            return False
        self.struck += 1
        return True
