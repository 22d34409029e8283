"""The stored templates: what of them will not become what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from workers.findings import Finding, ok, warning
from workers.notifications.template_flaws import flaws_of, never_carried

_PAGE: Final = "docs/messages.md has what each event carries, and a template to start from"
_OF_A_SYNC: Final = dict.fromkeys(
    ("headline", "state", "problem", "error", "failed_since", "connection_id", "platform",
     "platform_name", "account_id", "account_name", "connections"),
    "string",
)  # fmt: skip
# What an event carries, where the queue shows none: the workers' own, and that of the trigger that
# every dashboard has.
CARRIED: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("platform_connection", "sync_failed"): _OF_A_SYNC,
    ("platform_connection", "sync_recovered"): _OF_A_SYNC,
    ("request", "status_change"): dict.fromkeys(
        ("old_status", "new_status", "request_id", "request_title", "changed_by", "client_id"),
        "string",
    ),
}


def check_templates(configs: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Of `config_templates`: each active config with its template and what its events carried."""
    flawed = 0
    for config in configs:
        flaws = list(flaws_for(config))
        flawed += bool(flaws)
        for flaw in flaws:
            name = f"{config['event_type']} ({config['id']})"
            yield warning(f"the template of {name}: {flaw}", f"Correct it: {_PAGE}")
    if configs and not flawed:
        yield ok(f"{len(configs)} templates looked at")


def flaws_for(config: Mapping[str, Any]) -> Iterator[str]:
    """What of that template will not become what was meant, in sentences; as `config_templates`
    has it."""
    own = CARRIED.get((config["entity_type"], config["event_type"]), {})
    seen: Mapping[str, str] = config["carried"]
    is_ours = config["entity_type"] == "platform_connection"
    carried = {**own, **seen} if is_ours else seen or own
    if carried:
        for key in never_carried(config["template"], carried):
            who = f"none of its last {config['events']} events" if seen else "no such event"
            yield f"{who} carries {{{{{key}}}}}"
    yield from flaws_of(config["template"])
