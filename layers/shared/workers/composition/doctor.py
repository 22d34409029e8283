"""The doctor and its clients."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from workers.clock import SystemClock, utc_now
from workers.composition.archive import open_bucket
from workers.composition.container import (
    InvocationContext,
    deadline,
    forget_secret,
    read_secret,
)
from workers.composition.events import read_doctor_event
from workers.database import Database
from workers.doctor.archive_checks import ArchiveBucket
from workers.doctor.checks import Tools, examine, of_settings
from workers.doctor.sections import Section, worst
from workers.errors import ConfigurationError
from workers.notifications.slack import Slack
from workers.settings import Settings, environment_settings

# For one request to Slack, which usually takes less than one.
_SLACK_SECONDS = 5.0
# Seconds for an examination from a terminal.
_PATIENCE = 110.0


def sections(
    post_to: str | None = None, until: float | None = None, *, dotenv: Path | None = None
) -> Iterator[Section]:
    """The examination with this process's own settings, and `dotenv`'s, section by section."""
    clock = SystemClock()
    # the doctor checks what is set now, not what a container cached; runs next to it, in a server,
    # continue with what they have
    forget_secret()
    try:
        settings = environment_settings(read_secret, dotenv=dotenv)
    except ConfigurationError as error:
        yield of_settings(error)
        return
    slack = Slack(settings.slack_bot_token, settings.slack_api_url, _SLACK_SECONDS)
    with closing(Database(settings.supabase_url, settings.supabase_service_role_key)) as database:
        tools = Tools(
            database, slack, clock, utc_now, random.random, lambda: _open_archive(settings)
        )
        yield from examine(settings, tools, until or clock.now() + _PATIENCE, post_to)


def _open_archive(settings: Settings) -> ArchiveBucket | None:
    if settings.archive_bucket_name is None:
        return None
    return open_bucket(settings.archive_bucket_name)


def run_doctor(event: object, context: InvocationContext) -> dict[str, object]:
    """The whole report; {"post": CHANNEL} in the event posts a test message there.

    Raises ConfigurationError for an event of another form.
    """
    found = list(sections(read_doctor_event(event).post, deadline(context, SystemClock())))
    return {"status": worst(found), "sections": [section.as_json() for section in found]}
