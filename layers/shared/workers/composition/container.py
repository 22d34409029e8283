"""What a container makes once and keeps between invocations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol, TypeVar

from aws_lambda_powertools.utilities import parameters

from workers.clock import Clock
from workers.composition.error_tracking import start_error_tracking
from workers.database import Database
from workers.errors import ConfigurationError
from workers.settings import Settings, environment_settings

# Kept free at the end of an invocation: to record the run, and to hand the answer over.
RETURN_MARGIN = 3.0
# How long a rotated secret may go unnoticed; a refused credential is reread at once.
SECRET_AGE = 300

T = TypeVar("T")

_forget: list[Callable[[], None]] = []


class InvocationContext(Protocol):
    """What the workers need of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


def once_per_container(make: Callable[[], T]) -> Callable[[], T]:
    """`make`, called at most once until `forget_clients`, which closes what can be closed."""
    cached = cache(make)

    def forget() -> None:
        close = getattr(cached(), "close", None) if cached.cache_info().currsize else None
        cached.cache_clear()
        if close is not None:
            close()

    _forget.append(forget)
    return cached


@once_per_container
def settings() -> Settings:
    """Raises ConfigurationError naming all that is missing or malformed."""
    known = environment_settings(read_secret)
    if known.sentry_dsn is not None:
        start_error_tracking(known.sentry_dsn)
    return known


@once_per_container
def database() -> Database:
    return Database(settings().supabase_url, settings().supabase_service_role_key)


def forget_clients() -> None:
    """Have the next invocation read its settings, and so the secret, anew."""
    parameters.clear_caches()  # type: ignore[no-untyped-call]
    for forget in _forget:
        forget()


def deadline(context: InvocationContext, clock: Clock) -> float:
    """When to be done, in `clock`'s seconds."""
    return clock.now() + context.get_remaining_time_in_millis() / 1000 - RETURN_MARGIN


def read_secret(name: str) -> Mapping[str, Any]:
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
