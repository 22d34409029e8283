"""What the SQL functions of a run answer, read once each into what the run works with.

Durations are seconds, points in time epoch seconds; the database's clock is compared with none
but its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from workers.errors import PermanentError
from workers.notifications.event_data import parse_event_data


@dataclass(frozen=True)
class Probe:
    """A parked destination of which one message is to be tried, and the code it was parked for."""

    destination: str
    code: str


@dataclass(frozen=True)
class Started:
    """Of `start_notification_run`.

    `lingers` is about the other run where this one did not acquire the lease. `stopped` is the
    code for which all delivery stands still; `suspects` says that something took three runs down
    with it.
    """

    acquired: bool
    lingers: bool
    ended: Mapping[str, int]
    more: bool
    handover: Mapping[str, Any]
    handover_age: float
    stopped: str | None
    probes: tuple[Probe, ...]
    suspects: bool

    def after(self, earlier: Started) -> Started:
        """This answer, where the run was begun in several calls, with the first one's probes and
        what the last run handed over."""
        return replace(
            self,
            probes=earlier.probes + self.probes,
            handover=earlier.handover,
            handover_age=earlier.handover_age,
        )


@dataclass(frozen=True)
class Delivery:
    """One notification to one destination, claimed.

    `event_data` is parsed; where that failed, `unreadable` says why. `known` is what its ids stand
    for (see `named_by`). `parent_ts` is the message in whose thread it may have been posted.
    `thread` is the request that its thread is about, None where no threads are wanted, and
    `thread_ts` the message that began it, if one did. `moved`: it may have been posted to a
    destination to which its notification no longer goes. `looked_for` is None until it was looked
    for, and `looked_down_to` the message at which a look broke off. `ready_in` is the wait of its
    destination; `idle_for` the time since the destination's last post, None when there was none.
    """

    id: str
    token: str
    notification_id: str
    destination: str
    is_unknown: bool
    attempts: int
    max_attempts: int
    in_doubt: bool
    possible_duplicate: bool
    moved: bool
    lost_claims: int
    error_code: str | None
    post_id: str | None
    parent_ts: str | None
    thread: str | None
    thread_ts: str | None
    event_type: str
    template: str | None
    event_data: object
    known: Mapping[str, Any]
    unreadable: PermanentError | None
    waited: float
    first_attempt: float | None
    last_attempt: float | None
    looked_for: float | None
    looked_down_to: str | None
    conversation_id: str | None
    ready_in: float
    idle_for: float | None


@dataclass(frozen=True)
class Claimed:
    """Of `claim_notifications`. Without `held` another run has the lease; with `more` the next
    claim may find something though this one did not."""

    held: bool
    more: bool
    ended: Mapping[str, int]
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True)
class Recorded:
    """Of `record_notification_progress`: ids of deliveries that may be posted now, and of those
    that somebody else has locked, of which nothing was written."""

    held: bool
    wanted: bool
    started: frozenset[str]
    postponed: frozenset[str]
    stale: int


@dataclass(frozen=True)
class Looked:
    """Of `poll_notifications`."""

    held: bool
    wanted: bool
    due: bool


@dataclass(frozen=True)
class Finished:
    """Of `finish_notification_run`: the age of the oldest notification still due, if any is, and
    how many destinations are parked."""

    oldest_due: float | None
    parked: int


def read_started(answer: Mapping[str, Any]) -> Started:
    """As `start_notification_run` returns it."""
    acquired = answer["acquired"]
    return Started(
        acquired=acquired,
        lingers=bool(answer.get("lingers")),
        ended=_ended(answer) if acquired else {},
        more=bool(answer.get("more")),
        handover=answer.get("handover") or {},
        handover_age=float(answer.get("handover_age") or 0.0),
        stopped=answer.get("stopped"),
        probes=tuple(
            Probe(probe["destination"], probe["code"] or "") for probe in answer.get("probes", ())
        ),
        suspects=bool(answer.get("suspects")),
    )


def read_claimed(answer: Mapping[str, Any]) -> Claimed:
    """As `claim_notifications` returns it."""
    return Claimed(
        held=answer["held"],
        more=answer["more"],
        ended=_ended(answer["ended"]) if answer["held"] else {},
        deliveries=tuple(_read_delivery(row) for row in answer["deliveries"]),
    )


def read_recorded(answer: Mapping[str, Any]) -> Recorded:
    """As `record_notification_progress` returns it."""
    return Recorded(
        held=answer["held"],
        wanted=answer["wanted"],
        started=frozenset(answer["started"]),
        postponed=frozenset(answer["postponed"]),
        stale=answer["stale"],
    )


def read_looked(answer: Mapping[str, Any]) -> Looked:
    """As `poll_notifications` returns it."""
    return Looked(held=answer["held"], wanted=answer["wanted"], due=answer["due"])


def read_finished(answer: Mapping[str, Any]) -> Finished:
    """As `finish_notification_run` returns it."""
    return Finished(oldest_due=_seconds(answer["oldest_due"]), parked=answer["parked"])


def _ended(answer: Mapping[str, Any]) -> dict[str, int]:
    return {outcome: answer[outcome] for outcome in ("dead", "skipped", "expired")}


def _read_delivery(row: Mapping[str, Any]) -> Delivery:
    event_data, unreadable = _read_event_data(row["event_data"])
    return Delivery(
        id=row["id"],
        token=row["token"],
        notification_id=row["notification_id"],
        destination=row["destination"],
        is_unknown=row["state"] == "unknown",
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        in_doubt=row["in_doubt"],
        possible_duplicate=row["possible_duplicate"],
        moved=row["moved"],
        lost_claims=row["lost_claims"],
        error_code=row["error_code"],
        post_id=row["post_id"],
        parent_ts=row["parent_ts"],
        thread=row["thread"],
        thread_ts=row["thread_ts"],
        event_type=row["event_type"],
        template=row["template"],
        event_data=event_data,
        known=row["known"],
        unreadable=unreadable,
        waited=_seconds(row["waited"]) or 0.0,
        first_attempt=_seconds(row["first_attempt"]),
        last_attempt=_seconds(row["last_attempt"]),
        looked_for=_seconds(row["looked_for"]),
        looked_down_to=row["looked_down_to"],
        conversation_id=row["conversation_id"],
        ready_in=_seconds(row["ready_in"]) or 0.0,
        idle_for=_seconds(row["idle_for"]),
    )


def _read_event_data(text: str | None) -> tuple[object, PermanentError | None]:
    """One row's data cannot be the end of a batch: what is wrong with it is its own fault."""
    try:
        return parse_event_data(text), None
    except PermanentError as error:
        return None, error


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
