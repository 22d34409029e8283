"""Claimed deliveries and their posts, for the tests of what a run does with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from workers.notifications.answers import Delivery
from workers.notifications.entities import NO_ENTITIES
from workers.notifications.in_flight import Post

T = TypeVar("T")

_DELIVERY = Delivery(
    id="d", token="t", notification_id="n", destination="C1", is_unknown=False, attempts=0,
    max_attempts=5, in_doubt=False, possible_duplicate=False, moved=False, lost_claims=0,
    error_code=None, post_id=None, parent_ts=None, thread=None, thread_ts=None, event_type="e",
    template="{{text}}", event_data={"text": "hello"}, entities=NO_ENTITIES, unreadable=None,
    waited=0.0, first_attempt=None, last_attempt=None, looked_for=None, looked_down_to=None,
    conversation_id=None, ready_in=0.0, idle_for=None,
)  # fmt: skip


def delivery(id: str = "d", **values: Any) -> Delivery:
    """One to C1 that was never attempted, except for what is given."""
    return replace(_DELIVERY, id=id, **values)


def unknown(id: str = "d", **values: Any) -> Delivery:
    """One that may have been posted a minute ago."""
    times = {"first_attempt": 1.7e9, "last_attempt": 1.7e9}
    return delivery(id, **{"is_unknown": True, "in_doubt": True, **times, **values})


def post(id: str = "d", state: str = "new", **values: Any) -> Post:
    """The post of one delivery."""
    made = Post.of(delivery(id, **values))
    made.state = state  # type: ignore[assignment]
    return made


class Clock:
    """A time that the test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.time = now
        self.stop_at = math.inf

    def now(self) -> float:
        return self.time

    def wait(self, inbox: Any, until: float, *, busy: bool) -> None:
        raise AssertionError("no part of a run waits")

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Held:
    """`Jobs` without threads: a job runs when the test says so."""

    def __init__(self) -> None:
        self._left: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._left)

    def submit(
        self, job: Callable[[], T], done: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        def run() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - as a pool passes it on
                failed(error)
            else:
                done(result)

        self._left.append(run)

    def run(self) -> None:
        """Run the oldest job."""
        self._left.pop(0)()


class Answering:
    """A database that answers from a list, and remembers the calls."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, function: str, **arguments: Any) -> Any:
        self.calls.append((function, arguments))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
