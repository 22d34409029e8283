"""What a container, or a server, creates once and keeps between runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

from workers.clock import Clock
from workers.composition.error_tracking import start_error_tracking
from workers.database import Database
from workers.errors import ConfigurationError
from workers.settings import Settings, environment_settings, names_a_secret

if names_a_secret():  # imports AWS's client: only where needed, and then at the start
    with suppress(ModuleNotFoundError):  # read_secret reports it
        import aws_lambda_powertools.utilities.parameters  # noqa: F401

# Kept free at the end of an invocation: to record the run, and to return the answer.
RETURN_MARGIN = 3.0
# How long a rotated secret may go unnoticed; after a refused credential it is re-read at once.
SECRET_AGE = 300

T = TypeVar("T")

_forget: list[Callable[[], None]] = []
_defaults: Mapping[str, str] = MappingProxyType({})
_dotenv: Path | None = None


class InvocationContext(Protocol):
    """What the workers need of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


def once_per_container(make: Callable[[], T]) -> Callable[[], T]:
    """`make`, called once until `forget_clients`, even from several threads.

    What is forgotten closes itself once no run uses it any longer.
    """
    cached = cache(make)
    lock = threading.RLock()

    def made() -> T:
        with lock:
            return cached()

    def forget() -> None:
        with lock:
            cached.cache_clear()

    _forget.append(forget)
    return made


@once_per_container
def settings() -> Settings:
    """Raises ConfigurationError naming everything that is missing or malformed."""
    known = environment_settings(read_secret, dotenv=_dotenv, defaults=_defaults)
    if known.sentry_dsn is not None:
        start_error_tracking(known.sentry_dsn)
    return known


@once_per_container
def database() -> Database:
    return Database(settings().supabase_url, settings().supabase_service_role_key)


def forget_clients() -> None:
    """Has the next run re-read its settings, and so the secret."""
    forget_secret()
    for forget in _forget:
        forget()


def forget_secret() -> None:
    """Has the next reader of settings read the secret itself, not the cached copy. Clients stay as
    they are."""
    if not names_a_secret():
        return
    with suppress(ModuleNotFoundError):  # then nothing was cached
        from aws_lambda_powertools.utilities import parameters  # noqa: PLC0415 - as above

        parameters.clear_caches()  # type: ignore[no-untyped-call]


def use_defaults(defaults: Mapping[str, str]) -> None:
    """Default settings of a program that runs outside Lambda."""
    global _defaults  # noqa: PLW0603 - once, when that program starts
    _defaults = MappingProxyType(dict(defaults))
    forget_clients()


def use_dotenv(path: Path) -> None:
    """A file of settings, after the environment, for a program that a person starts."""
    global _dotenv  # noqa: PLW0603 - once, when that program starts
    _dotenv = path
    forget_clients()


def deadline(context: InvocationContext, clock: Clock) -> float:
    """When to be done, in `clock`'s seconds."""
    return clock.now() + context.get_remaining_time_in_millis() / 1000 - RETURN_MARGIN


def read_secret(name: str) -> Mapping[str, object]:
    """The secret's JSON object; raises ConfigurationError that names it."""
    try:
        from aws_lambda_powertools.utilities import parameters  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"WORKERS_SECRET_NAME is set, and {error.name} is not installed: pip install .[aws]"
        ) from None
    try:
        secret = parameters.get_secret(name, transform="json", max_age=SECRET_AGE)
    except parameters.exceptions.GetParameterError:  # its text quotes AWS's answer
        raise ConfigurationError(
            f"the secret {name} (WORKERS_SECRET_NAME) cannot be read: it must exist in this "
            "region, and the role must be allowed secretsmanager:GetSecretValue on it"
        ) from None
    except parameters.exceptions.TransformParameterError:
        raise ConfigurationError(
            f"the secret {name} (WORKERS_SECRET_NAME) is not JSON: store a JSON object"
        ) from None
    if not isinstance(secret, dict):
        raise ConfigurationError(f"the secret {name} (WORKERS_SECRET_NAME) is not a JSON object")
    return secret
