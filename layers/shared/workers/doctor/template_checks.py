"""The stored templates: what in them will not work as intended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from workers.answers import Answer
from workers.findings import Finding, ok, warning
from workers.notifications.template_flaws import flaws_of, never_carried

_PAGE: Final = "docs/messages.md has what each event carries, and a template to start from"
_OF_A_SYNC: Final = dict.fromkeys(
    ("headline", "state", "problem", "error", "failed_since", "connection_id", "platform",
     "platform_name", "account_id", "account_name", "connections"),
    "string",
)  # fmt: skip
# What an event carries if the queue has none of it: the workers' own events, and that of the
# trigger that every dashboard has.
CARRIED: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("platform_connection", "sync_failed"): _OF_A_SYNC,
    ("platform_connection", "sync_recovered"): _OF_A_SYNC,
    ("request", "status_change"): dict.fromkeys(
        ("old_status", "new_status", "request_id", "request_title", "changed_by", "client_id"),
        "string",
    ),
}


@dataclass(frozen=True)
class ConfigTemplate:
    """The template of an active config, and what its last `events` carried: JSON types by key.
    `digest` is the MD5 of the stored template."""

    id: str
    entity_type: str
    event_type: str
    template: str
    digest: str
    events: int
    carried: Mapping[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether `template` is what is stored: nothing of it was cut, or masked as a secret."""
        return hashlib.md5(self.template.encode(), usedforsecurity=False).hexdigest() == self.digest


def read_templates(value: object) -> list[ConfigTemplate]:
    """As config_templates returns them. Raises ConfigurationError for anything else."""
    return [read_template(one) for one in Answer.each("config_templates", value)]


def read_template(answer: Answer) -> ConfigTemplate:
    """One row of config_templates."""
    return ConfigTemplate(
        id=answer.text("id"),
        entity_type=answer.text("entity_type"),
        event_type=answer.text("event_type"),
        template=answer.text("template"),
        digest=answer.text("digest"),
        events=answer.whole("events"),
        carried=answer.texts_by_name("carried"),
    )


def check_templates(configs: Sequence[ConfigTemplate]) -> Iterator[Finding]:
    """Each template against what its events carried."""
    flawed = 0
    for config in configs:
        flaws = list(flaws_for(config))
        flawed += bool(flaws)
        for flaw in flaws:
            name = f"{config.event_type} ({config.id})"
            yield warning(f"the template of {name}: {flaw}", f"Correct it: {_PAGE}")
    if configs and not flawed:
        yield ok(f"{len(configs)} templates checked")


def flaws_for(config: ConfigTemplate) -> Iterator[str]:
    """What in the template will not work as intended, in sentences."""
    own = CARRIED.get((config.entity_type, config.event_type), {})
    is_ours = config.entity_type == "platform_connection"
    carried = {**own, **config.carried} if is_ours else config.carried or own
    if carried:
        for key in never_carried(config.template, carried):
            seen = f"none of its last {config.events} events" if config.carried else "no such event"
            yield f"{seen} carries {{{{{key}}}}}"
    yield from flaws_of(config.template)
