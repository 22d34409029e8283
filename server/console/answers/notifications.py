"""Answers about notifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from server.console.answers.paging import read_key
from workers.answers import Answer
from workers.notifications.entities import Entities, read_entities


class DeliveryState(StrEnum):
    """Of a delivery; see the comment on notification_deliveries.state."""

    PENDING = "pending"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    DEAD = "dead"


@dataclass(frozen=True)
class Place:
    """A destination of a listed notification, and how far its delivery there is."""

    destination: str
    state: DeliveryState


@dataclass(frozen=True)
class ListedNotification:
    """A row of the list. `event_data` is JSON; None where there is none, or too much."""

    id: str
    state: str
    event_type: str | None
    created_at: datetime | None
    error: str | None
    template: str | None
    event_data: str | None
    entities: Entities
    deliveries: tuple[Place, ...]


@dataclass(frozen=True)
class NotificationPage:
    """Of `console_notifications`; `names` are those of people and channels by id, `next` is the
    place where the next page begins, by the names of the query."""

    rows: tuple[ListedNotification, ...]
    names: Mapping[str, str]
    next: Mapping[str, str] | None


@dataclass(frozen=True)
class FilterConfig:
    """A config by which the list may be filtered."""

    id: str
    event_type: str
    entity_type: str
    destination: str | None


@dataclass(frozen=True)
class FilterChoices:
    """Of `console_notification_filters`."""

    configs: tuple[FilterConfig, ...]
    destinations: tuple[str, ...]
    names: Mapping[str, str]


@dataclass(frozen=True)
class Config:
    """A row of notification_config."""

    id: str
    entity_type: str
    event_type: str
    template: str | None
    is_active: bool


@dataclass(frozen=True)
class Attempt:
    """An attempt that failed; `is_search`: it was searched for in the conversation."""

    at: datetime
    is_search: bool
    code: str
    error: str | None


@dataclass(frozen=True)
class EarlierLife:
    """How a delivery ended before it was redriven."""

    ended_at: datetime | None
    state: DeliveryState
    attempts: int
    error: str | None


@dataclass(frozen=True)
class Delivery:
    """A notification's delivery to one destination."""

    id: str
    destination: str
    state: DeliveryState
    due_at: datetime | None
    ages_from: datetime | None
    attempts: int
    next_attempt_at: datetime | None
    is_claimed: bool
    lost_claims: int
    parent_ts: str | None
    last_attempt_at: datetime | None
    conversation_id: str | None
    message_ts: str | None
    request_id: str | None
    error_code: str | None
    error: str | None
    in_doubt: bool
    possible_duplicate: bool
    history: tuple[EarlierLife, ...]
    failed_attempts: tuple[Attempt, ...]
    settled_at: datetime | None


@dataclass(frozen=True)
class Destination:
    """What is known of a destination."""

    parked_at: datetime | None
    park_reason: str | None
    probe_at: datetime | None
    not_before: datetime | None


@dataclass(frozen=True)
class Unrouted:
    """A notification that has no destination yet."""

    reason: str | None
    lookup_at: datetime | None
    ages_from: datetime | None


@dataclass(frozen=True)
class ThreadMessage:
    """A message in the thread of a delivery; `begins`: it started the thread."""

    notification_id: str
    event_type: str | None
    state: DeliveryState
    at: datetime | None
    begins: bool


@dataclass(frozen=True)
class Notification:
    """Of `console_notification`. `event_data` is JSON as a text. `is_stopped`: all delivery is,
    for `stop_reason`. `ahead` counts, up to 1,000, what is posted before it, by destination;
    `threads` are by delivery."""

    id: str
    state: str
    config: Config | None
    entity_type: str
    entity_id: str
    event_data: str | None
    entities: Entities
    names: Mapping[str, str]
    max_attempts: int | None
    last_error: str | None
    created_at: datetime | None
    processed_at: datetime | None
    next_attempt_at: datetime | None
    claimed_until: datetime | None
    deliveries: tuple[Delivery, ...]
    destinations: Mapping[str, Destination]
    unrouted: Unrouted | None
    is_stopped: bool
    stop_reason: str | None
    ahead: Mapping[str, int]
    threads: Mapping[str, tuple[ThreadMessage, ...]]


def read_page(answer: Answer) -> NotificationPage:
    """As `console_notifications` returns it."""
    return NotificationPage(
        rows=tuple(map(_listed, answer.inners("rows"))),
        names=answer.texts_by_name("names"),
        next=read_key(answer, "next"),
    )


def read_filter_choices(answer: Answer) -> FilterChoices:
    """As `console_notification_filters` returns it."""
    return FilterChoices(
        configs=tuple(
            FilterConfig(
                id=one.text("id"),
                event_type=one.text("event_type"),
                entity_type=one.text("entity_type"),
                destination=one.optional_text("destination"),
            )
            for one in answer.inners("configs")
        ),
        destinations=answer.texts("destinations"),
        names=answer.texts_by_name("names"),
    )


def read_notification(answer: Answer) -> Notification:
    """As `console_notification` returns it."""
    workspace, threads = answer.optional_inner("workspace"), answer.inner("threads")
    return Notification(
        id=answer.text("id"),
        state=answer.text("state"),
        config=_config(answer.optional_inner("config")),
        entity_type=answer.text("entity_type"),
        entity_id=answer.text("entity_id"),
        event_data=answer.optional_text("event_data"),
        entities=read_entities(answer.function, answer.json("known")),
        names=answer.texts_by_name("names"),
        max_attempts=answer.optional_whole("max_attempts"),
        last_error=answer.optional_text("last_error"),
        created_at=answer.optional_time("created_at"),
        processed_at=answer.optional_time("processed_at"),
        next_attempt_at=answer.optional_time("next_attempt_at"),
        claimed_until=answer.optional_time("claimed_until"),
        deliveries=tuple(map(_delivery, answer.inners("deliveries"))),
        destinations={
            one.text("destination"): _destination(one) for one in answer.inners("destinations")
        },
        unrouted=_unrouted(answer.optional_inner("unrouted")),
        is_stopped=workspace is not None,
        stop_reason=None if workspace is None else workspace.optional_text("stop_reason"),
        ahead=answer.wholes("ahead"),
        threads={one: tuple(map(_message, threads.inners(one))) for one in threads.fields},
    )


def _listed(answer: Answer) -> ListedNotification:
    return ListedNotification(
        id=answer.text("id"),
        state=answer.text("state"),
        event_type=answer.optional_text("event_type"),
        created_at=answer.optional_time("created_at"),
        error=answer.optional_text("error"),
        template=answer.optional_text("template"),
        event_data=answer.optional_text("event_data"),
        entities=read_entities(answer.function, answer.json("known")),
        deliveries=tuple(
            Place(one.text("destination"), one.choice("state", DeliveryState))
            for one in answer.inners("deliveries")
        ),
    )


def _config(answer: Answer | None) -> Config | None:
    if answer is None:
        return None
    return Config(
        id=answer.text("id"),
        entity_type=answer.text("entity_type"),
        event_type=answer.text("event_type"),
        template=answer.optional_text("template"),
        # null is active, as for the workers
        is_active=answer.json("is_active") is not False,
    )


def _delivery(answer: Answer) -> Delivery:
    return Delivery(
        id=answer.text("id"),
        destination=answer.text("destination"),
        state=answer.choice("state", DeliveryState),
        due_at=answer.optional_time("due_at"),
        ages_from=answer.optional_time("ages_from"),
        attempts=answer.whole("attempts"),
        next_attempt_at=answer.optional_time("next_attempt_at"),
        is_claimed=answer.optional_text("claimed_by") is not None,
        lost_claims=answer.whole("lost_claims"),
        parent_ts=answer.optional_text("parent_ts"),
        last_attempt_at=answer.optional_time("last_attempt_at"),
        conversation_id=answer.optional_text("conversation_id"),
        message_ts=answer.optional_text("message_ts"),
        request_id=answer.optional_text("request_id"),
        error_code=answer.optional_text("error_code"),
        error=answer.optional_text("error"),
        in_doubt=answer.flag("in_doubt"),
        possible_duplicate=answer.flag("possible_duplicate"),
        history=tuple(map(_earlier_life, answer.inners("history"))),
        failed_attempts=tuple(map(_attempt, answer.inners("tries"))),
        settled_at=answer.optional_time("settled_at"),
    )


def _earlier_life(answer: Answer) -> EarlierLife:
    return EarlierLife(
        ended_at=answer.optional_time("ended_at"),
        state=answer.choice("state", DeliveryState),
        attempts=answer.whole("attempts"),
        error=answer.optional_text("error"),
    )


def _attempt(answer: Answer) -> Attempt:
    return Attempt(
        at=answer.time("at"),
        is_search=answer.text("result") == "looking",
        code=answer.text("code"),
        error=answer.optional_text("error"),
    )


def _destination(answer: Answer) -> Destination:
    return Destination(
        parked_at=answer.optional_time("parked_at"),
        park_reason=answer.optional_text("park_reason"),
        probe_at=answer.optional_time("probe_at"),
        not_before=answer.optional_time("not_before"),
    )


def _unrouted(answer: Answer | None) -> Unrouted | None:
    if answer is None:
        return None
    return Unrouted(
        reason=answer.optional_text("reason"),
        lookup_at=answer.optional_time("lookup_at"),
        ages_from=answer.optional_time("ages_from"),
    )


def _message(answer: Answer) -> ThreadMessage:
    return ThreadMessage(
        notification_id=answer.text("notification_id"),
        event_type=answer.optional_text("event_type"),
        state=answer.choice("state", DeliveryState),
        at=answer.optional_time("at"),
        begins=answer.json("begins") is True,
    )
