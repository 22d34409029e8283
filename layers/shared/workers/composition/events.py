"""What an event may be: empty, a schedule's, or exactly what a function documents.

Anything else, such as a misspelt `dryRun` or another function's event, is refused by name before
anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workers.errors import ConfigurationError

# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html and
# https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
_SCHEDULERS: Final = ("aws.scheduler", "aws.events")
_SCHEDULE_KEYS: Final = frozenset(
    {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources",
        "detail",
    }
)  # fmt: skip

_KINDS: Final[Mapping[type, str]] = {bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class DoctorEvent:
    """`post` is a channel to post a test message to."""

    post: str | None = None


@dataclass(frozen=True)
class RetentionEvent:
    """A `dry_run` changes nothing."""

    dry_run: bool = False


def read_plain_event(event: object) -> None:
    """Raises ConfigurationError unless the event is {} or a schedule's."""
    _options(event, {})


def read_doctor_event(event: object) -> DoctorEvent:
    """Raises ConfigurationError for an event of another form."""
    post = _options(event, {"post": str}).get("post")
    return DoctorEvent(None if post is None else str(post))


def read_retention_event(event: object) -> RetentionEvent:
    """Raises ConfigurationError for an event of another form."""
    return RetentionEvent(_options(event, {"dry_run": bool}).get("dry_run") is True)


def _options(event: object, documented: Mapping[str, type]) -> Mapping[str, object]:
    """The options in the event; {} for {} and for a schedule's event.

    `documented` has the keys that the function takes, each with its JSON type. Raises
    ConfigurationError that names the first thing wrong and what would be right.
    """
    if not isinstance(event, dict):
        raise ConfigurationError(f"the event is not a JSON object; {_right(documented)}")
    if _is_schedule(event):
        return {}
    for name, value in event.items():
        kind = documented.get(name)
        if kind is None:
            raise ConfigurationError(
                f"the event has an unknown key {name!r:.40}; {_right(documented)}"
            )
        # of exactly that type: true is an int, too
        if type(value) is not kind:
            raise ConfigurationError(
                f"{name} in the event must be {_KINDS[kind]}, not {value!r:.40}"
            )
    return event


def has_messages(event: object) -> bool:
    """Whether an event of SQS has messages. Raises ConfigurationError for any other event but
    {}."""
    if event == {}:
        return False
    records = event.get("Records") if isinstance(event, dict) else None
    if (
        not isinstance(event, dict)
        or not isinstance(records, list)
        or set(event) != {"Records"}
        or not all(_is_message(record) for record in records)
    ):
        raise ConfigurationError(
            'the event is not one of SQS: {"Records": [...]}, with messages of the sync queue'
        )
    return bool(records)


def read_request(event: object) -> None:
    """Raises ConfigurationError unless the event is {} or a request to a function URL.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
    """
    context = event.get("requestContext") if isinstance(event, dict) else None
    if not (isinstance(context, dict) and isinstance(context.get("http"), dict)):
        read_plain_event(event)


def wants_page(event: Mapping[str, object]) -> bool:
    """Whether a request to a function URL is from a browser: it prefers HTML to JSON.

    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Accept
    """
    headers = event.get("headers")
    accept = headers.get("accept") if isinstance(headers, dict) else None
    return _weight(accept, "text/html") > _weight(accept, "application/json")


def _weight(accept: object, kind: str) -> float:
    """From 0 to 1; 0 for a type that is not named."""
    for one in accept.split(",") if isinstance(accept, str) else ():
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        if name == kind:
            given = [part[2:] for part in parameters if part.startswith("q=")]
            try:
                return float(given[0]) if given else 1.0
            except ValueError:
                return 0.0
    return 0.0


def _is_schedule(event: Mapping[str, object]) -> bool:
    return event.get("source") in _SCHEDULERS and set(event) <= _SCHEDULE_KEYS


def _is_message(record: object) -> bool:
    return (
        isinstance(record, dict)
        and record.get("eventSource") == "aws:sqs"
        and isinstance(record.get("body"), str)
    )


def _right(documented: Mapping[str, type]) -> str:
    options = "".join(f', {{"{name}": {_KINDS[kind]}}}' for name, kind in documented.items())
    return f"it may be {{}}{options} or the event of an EventBridge schedule"
