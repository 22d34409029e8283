"""The doctor and its clients."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from workers.clock import SystemClock, utc_now
from workers.composition.container import (
    InvocationContext,
    database,
    deadline,
    forget_clients,
    settings,
)
from workers.composition.notifications import slack
from workers.doctor.checks import Tools, examine, of_settings
from workers.doctor.sections import Section, worst
from workers.errors import ConfigurationError

# From a terminal.
_PATIENCE = 110.0


def sections(post_to: str | None = None, until: float | None = None) -> Iterator[Section]:
    """The examination of this process's own settings, section by section."""
    clock = SystemClock()
    forget_clients()  # a doctor looks at what is set now
    try:
        known = settings()
        tools = Tools(database(), slack(), clock, utc_now, random.random)
    except ConfigurationError as error:
        yield of_settings(error)
        return
    yield from examine(known, tools, until or clock.now() + _PATIENCE, post_to)


def run_doctor(event: Mapping[str, Any], context: InvocationContext) -> dict[str, Any]:
    """The whole report; {"post": CHANNEL} in the event posts a test message there.

    Raises ConfigurationError for an event of another form.
    """
    post_to = event.get("post")
    if post_to is not None and not isinstance(post_to, str):
        raise ConfigurationError(f"post in the event must be a channel's id, not {post_to!r:.40}")
    found = list(sections(post_to, deadline(context, SystemClock())))
    return {"status": worst(found), "sections": [section.as_json() for section in found]}
