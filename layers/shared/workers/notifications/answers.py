"""What the SQL functions of a run return, read once each into what the run works with.

Durations are seconds, points in time epoch seconds; the database's clock is compared only with
itself. Every `read_` raises ConfigurationError for an answer that is not what the function returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from workers.answers import Answer
from workers.errors import PermanentError
from workers.notifications.entities import Entities, read_entities
from workers.notifications.event_data import parse_event_data
from workers.notifications.throttle import Handover


@dataclass(frozen=True)
class Ended:
    """How many notifications ended without being posted."""

    dead: int = 0
    skipped: int = 0
    expired: int = 0


@dataclass(frozen=True)
class Probe:
    """A parked destination of which one message is to be tried, and the code it was parked for."""

    destination: str
    code: str


@dataclass(frozen=True)
class Started:
    """Of `start_notification_run`.

    `lingers` is about the other run where this one did not acquire the lease. `stopped` is the
    code for which all delivery is stopped; `suspects` says that some delivery was being posted
    when three runs died.
    """

    acquired: bool
    lingers: bool = False
    ended: Ended = Ended()
    more: bool = False
    handover: Handover = field(default_factory=Handover)
    stopped: str | None = None
    probes: tuple[Probe, ...] = ()
    suspects: bool = False

    def after(self, earlier: Started) -> Started:
        """This answer, where the run was begun in several calls, with the first one's probes and
        the last run's handover."""
        return replace(self, probes=earlier.probes + self.probes, handover=earlier.handover)


class ClaimedState(Enum):
    """The states in which a delivery is claimed."""

    PENDING = "pending"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Delivery:
    """One notification to one destination, claimed.

    `event_data` is parsed; where that failed, `unreadable` says why. `entities` is what its ids
    refer to. `parent_ts` is the message in whose thread it may have been posted. `thread` is the
    request that its thread is about, None where no threads are wanted, and `thread_ts` the message
    that began it, if one did. `moved`: it may have been posted to a destination to which its
    notification no longer goes. `looked_for` is None until it was looked for, and `looked_down_to`
    the message at which that search stopped. `ready_in` is the wait of its destination; `idle_for`
    the time since the destination's last post, None when there was none.
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
    entities: Entities
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
    ended: Ended
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True)
class Recorded:
    """Of `record_notification_progress`: ids of deliveries that may be posted now, and of those
    that someone else has locked, of which nothing was written."""

    held: bool
    wanted: bool
    started: frozenset[str]
    postponed: frozenset[str]
    stale: int


@dataclass(frozen=True)
class Polled:
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


def read_started(value: object) -> Started:
    """As `start_notification_run` returns it."""
    answer = Answer.of("start_notification_run", value)
    if not answer.flag("acquired"):
        return Started(acquired=False, lingers=answer.flag("lingers"))
    return Started(
        acquired=True,
        ended=_ended(answer),
        more=answer.flag("more"),
        handover=_handover(answer.optional_inner("handover"), answer.number("handover_age")),
        stopped=answer.optional_text("stopped"),
        probes=tuple(
            Probe(probe.text("destination"), probe.optional_text("code") or "")
            for probe in answer.inners("probes")
        ),
        suspects=answer.flag("suspects"),
    )


def read_claimed(value: object) -> Claimed:
    """As `claim_notifications` returns it."""
    answer = Answer.of("claim_notifications", value)
    held = answer.flag("held")
    return Claimed(
        held=held,
        more=answer.flag("more"),
        ended=_ended(answer.inner("ended")) if held else Ended(),
        deliveries=tuple(_delivery(row) for row in answer.inners("deliveries")),
    )


def read_recorded(value: object) -> Recorded:
    """As `record_notification_progress` returns it."""
    answer = Answer.of("record_notification_progress", value)
    return Recorded(
        held=answer.flag("held"),
        wanted=answer.flag("wanted"),
        started=frozenset(answer.texts("started")),
        postponed=frozenset(answer.texts("postponed")),
        stale=answer.whole("stale"),
    )


def read_polled(value: object) -> Polled:
    """As `poll_notifications` returns it."""
    answer = Answer.of("poll_notifications", value)
    return Polled(held=answer.flag("held"), wanted=answer.flag("wanted"), due=answer.flag("due"))


def read_finished(value: object) -> Finished:
    """As `finish_notification_run` returns it."""
    answer = Answer.of("finish_notification_run", value)
    return Finished(oldest_due=answer.optional_number("oldest_due"), parked=answer.whole("parked"))


def _ended(answer: Answer) -> Ended:
    return Ended(answer.whole("dead"), answer.whole("skipped"), answer.whole("expired"))


def _handover(passed_on: Answer | None, age: float) -> Handover:
    """None before the first run."""
    if passed_on is None:
        return Handover(age=age)
    return Handover(
        tokens=passed_on.optional_number("tokens"),
        hold=passed_on.number("hold"),
        failing=passed_on.flag("failing"),
        age=age,
    )


def _delivery(row: Answer) -> Delivery:
    event_data, unreadable = _event_data(row.optional_text("event_data"))
    return Delivery(
        id=row.text("id"),
        token=row.text("token"),
        notification_id=row.text("notification_id"),
        destination=row.text("destination"),
        is_unknown=row.choice("state", ClaimedState) is ClaimedState.UNKNOWN,
        attempts=row.whole("attempts"),
        max_attempts=row.whole("max_attempts"),
        in_doubt=row.flag("in_doubt"),
        possible_duplicate=row.flag("possible_duplicate"),
        moved=row.flag("moved"),
        lost_claims=row.whole("lost_claims"),
        error_code=row.optional_text("error_code"),
        post_id=row.optional_text("post_id"),
        parent_ts=row.optional_text("parent_ts"),
        thread=row.optional_text("thread"),
        thread_ts=row.optional_text("thread_ts"),
        event_type=row.text("event_type"),
        template=row.optional_text("template"),
        event_data=event_data,
        entities=read_entities(row.function, row.json("known")),
        unreadable=unreadable,
        waited=row.number("waited"),
        first_attempt=row.optional_number("first_attempt"),
        last_attempt=row.optional_number("last_attempt"),
        looked_for=row.optional_number("looked_for"),
        looked_down_to=row.optional_text("looked_down_to"),
        conversation_id=row.optional_text("conversation_id"),
        ready_in=row.optional_number("ready_in") or 0.0,
        idle_for=row.optional_number("idle_for"),
    )


def _event_data(text: str | None) -> tuple[object, PermanentError | None]:
    """A row whose data cannot be read fails alone, not the whole batch."""
    try:
        return parse_event_data(text), None
    except PermanentError as error:
        return None, error
