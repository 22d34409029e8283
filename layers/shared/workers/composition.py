"""Puts the workers together: clients made once per container, a run per invocation."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from aws_lambda_powertools.utilities import parameters

from workers.clock import SystemClock
from workers.database import Database
from workers.errors import ConfigurationError, CredentialsError
from workers.notifications.drain import Drain
from workers.notifications.report import Report
from workers.settings import Settings, environment_settings
from workers.slack import Slack
from workers.telemetry import emit_metrics, logger

# Kept free at the end of an invocation, for the runtime to hand the answer over.
RETURN_MARGIN = 1.0
# How long a rotated secret may go unnoticed; a refused credential is reread at once.
SECRET_AGE = 300


class InvocationContext(Protocol):
    """What the workers need of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


@dataclass(frozen=True)
class Clients:
    """What a container keeps between invocations."""

    settings: Settings
    database: Database
    slack: Slack


@cache
def clients() -> Clients:
    """Made on first use; raises ConfigurationError naming all that is missing or malformed."""
    settings = environment_settings(_read_secret, dotenv=Path(".env"))
    return Clients(
        settings=settings,
        database=Database(settings.supabase_url, settings.supabase_service_role_key),
        slack=Slack(settings.slack_bot_token, settings.slack_api_url),
    )


def run_notifications(context: InvocationContext) -> dict[str, Any]:
    """One run of the notification worker; returns its summary, raises when it failed as a whole.

    After a refused credential the next invocation reads the secret anew.
    """
    clock = SystemClock()
    deadline = clock.now() + context.get_remaining_time_in_millis() / 1000 - RETURN_MARGIN
    made = clients()
    drain = Drain(made.database, made.slack, made.settings, clock, random.random)
    try:
        report = drain.run(deadline)
    except CredentialsError as error:
        forget_clients()
        emit_metrics("notifications", {"CredentialsRefused": 1})
        logger.error(
            "The run stopped: a credential was refused",
            extra={"action": "credentials_refused", "code": error.code, "error": str(error)},
        )
        raise
    _tell(report)
    return report.summary()


def forget_clients() -> None:
    """Have the next invocation read its settings, and so the secret, anew."""
    if clients.cache_info().currsize:
        clients().database.close()
    parameters.clear_caches()  # type: ignore[no-untyped-call]
    clients.cache_clear()


def _tell(report: Report) -> None:
    summary = report.summary()
    if report.outcome == "busy":
        logger.info("Another run is draining", extra={"action": "notifications_run", **summary})
        return
    logger.info("The notification run ended", extra={"action": "notifications_run", **summary})
    emit_metrics(
        "notifications",
        {
            "NotificationsSent": report.counts["sent"],
            "NotificationsDead": report.counts["dead"],
            "OldestDueSeconds": report.oldest_due or 0.0,
            "Parked": report.parked_configs,
            "CredentialsRefused": 0,
        },
    )


def _read_secret(name: str) -> Mapping[str, Any]:
    """The secret's JSON object; raises ConfigurationError that names it."""
    try:
        secret = parameters.get_secret(name, transform="json", max_age=SECRET_AGE)
    except (
        parameters.exceptions.GetParameterError,
        parameters.exceptions.TransformParameterError,
    ) as error:
        raise ConfigurationError(
            f"the secret {name} (WORKERS_SECRET_NAME) cannot be read as a JSON object: "
            f"{type(error).__name__}"
        ) from None
    if not isinstance(secret, dict):
        raise ConfigurationError(f"the secret {name} (WORKERS_SECRET_NAME) is no JSON object")
    return secret
