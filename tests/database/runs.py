"""The calls of SQL functions that a run makes, at times that the test sets."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.database.agency import NOW, Agency


def at(**ago: float) -> datetime:
    """This long before NOW."""
    return NOW - timedelta(**ago)


def later(**after: float) -> datetime:
    """This long after NOW."""
    return NOW + timedelta(**after)


def call(connection: psycopg.Connection[Any], function: str, **arguments: Any) -> Any:
    """What the function returns; objects and lists of objects are passed as JSON."""
    values = {name: _value(value) for name, value in arguments.items()}
    places = ", ".join(f"{name} => %({name})s" for name in values)
    row = connection.execute(
        f"select public.{function}({places}) as answer",
        values,
    ).fetchone()
    assert row is not None
    return row["answer"]


def _value(value: Any) -> Any:
    is_json = isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )
    return Jsonb(value) if is_json else value


def named(delivery: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A claimed delivery as a record refers to it."""
    return {"id": delivery["id"], "token": delivery["token"], **more}


def starting(*deliveries: dict[str, Any]) -> list[dict[str, Any]]:
    """Posts of one delivery each, to be announced."""
    return [named(delivery, post_id=delivery["id"]) for delivery in deliveries]


def outcome_of(delivery: dict[str, Any], result: str, **more: Any) -> dict[str, Any]:
    """An outcome."""
    if result == "sent":
        more = {
            "message_ts": "1.1",
            "conversation_id": delivery["destination"],
            "posted_ago": 0.0,
            **more,
        }
    return named(delivery, result=result, **more)


@dataclass
class Run:
    """One run, by its id."""

    agency: Agency
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def start(self, as_of: datetime = NOW, **options: Any) -> dict[str, Any]:
        return dict(self._call("start_notification_run", as_of=as_of, **options))

    def claim(self, as_of: datetime = NOW, **options: Any) -> dict[str, Any]:
        """The whole answer."""
        return dict(self._call("claim_notifications", as_of=as_of, **options))

    def take(self, as_of: datetime = NOW, **options: Any) -> list[dict[str, Any]]:
        """The claimed deliveries."""
        answer = self.claim(as_of, **options)
        assert answer["held"]
        return list(answer["deliveries"])

    def record(self, as_of: datetime = NOW, **lists: Any) -> dict[str, Any]:
        values = {name: Jsonb(value) for name, value in lists.items()}
        return dict(self._call("record_notification_progress", as_of=as_of, **values))

    def announce(self, *deliveries: dict[str, Any], as_of: datetime = NOW) -> dict[str, Any]:
        return self.record(as_of, starting=starting(*deliveries))

    def poll(self, as_of: datetime = NOW) -> dict[str, Any]:
        return dict(self._call("poll_notifications", as_of=as_of))

    def finish(self, as_of: datetime = NOW, **options: Any) -> dict[str, Any]:
        return dict(self._call("finish_notification_run", as_of=as_of, **options))

    def _call(self, function: str, **arguments: Any) -> Any:
        return call(self.agency.connection, function, run_id=self.id, **arguments)
