"""What an event may be: nothing, a schedule's, or exactly what a function documents.

Whatever else comes, a misspelt `dryRun` or another function's event, is refused by name before
anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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


def read_options(event: Any, documented: Mapping[str, type]) -> dict[str, Any]:
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
    return dict(event)


def read_messages(event: Any) -> list[Any]:
    """The records of an event of SQS. Raises ConfigurationError for any other event but {}."""
    if event == {}:
        return []
    records = event.get("Records") if isinstance(event, dict) else None
    if (
        not isinstance(records, list)
        or set(event) != {"Records"}
        or not all(_is_message(record) for record in records)
    ):
        raise ConfigurationError(
            'the event is not one of SQS: {"Records": [...]}, with messages of the sync queue'
        )
    return records


def read_request(event: Any) -> None:
    """Raises ConfigurationError unless the event is {} or a request to a function URL.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
    """
    context = event.get("requestContext") if isinstance(event, dict) else None
    if not (isinstance(context, dict) and isinstance(context.get("http"), dict)):
        read_options(event, {})


def wants_page(event: Mapping[str, Any]) -> bool:
    """Whether a request to a function URL is a browser's: it takes HTML, and JSON, if at all, with
    less pleasure.

    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Accept
    """
    headers = event.get("headers")
    accept = headers.get("accept") if isinstance(headers, dict) else None
    return _weight(accept, "text/html") > _weight(accept, "application/json")


def _weight(accept: Any, kind: str) -> float:
    """From 0 to 1; 0 for a kind that is not named."""
    for one in accept.split(",") if isinstance(accept, str) else ():
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        if name == kind:
            given = [part[2:] for part in parameters if part.startswith("q=")]
            try:
                return float(given[0]) if given else 1.0
            except ValueError:
                return 0.0
    return 0.0


def _is_schedule(event: Mapping[str, Any]) -> bool:
    return event.get("source") in _SCHEDULERS and set(event) <= _SCHEDULE_KEYS


def _is_message(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and record.get("eventSource") == "aws:sqs"
        and isinstance(record.get("body"), str)
    )


def _right(documented: Mapping[str, type]) -> str:
    options = "".join(f', {{"{name}": {_KINDS[kind]}}}' for name, kind in documented.items())
    return f"it may be {{}}{options} or the event of an EventBridge schedule"
