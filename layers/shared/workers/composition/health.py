"""Health and its one query."""

from __future__ import annotations

import json
from collections.abc import Collection

from workers.clock import SystemClock, utc_now
from workers.composition.container import forget_clients, once_per_container, settings
from workers.database import Database
from workers.doctor.health import Health, assess, read_worker_health, unknown_health
from workers.doctor.health_page import HEADERS as PAGE_HEADERS
from workers.doctor.health_page import health_page
from workers.errors import CredentialsError, WorkerError
from workers.redaction import redact
from workers.telemetry import logger

# Within this time the same answer is returned, so that polling costs the database next to nothing.
CACHE_SECONDS = 5.0
# A monitor waits no longer than three seconds.
QUERY_SECONDS = 2.0


class _Cached:
    """The last answer, and when it was read."""

    health: Health | None = None
    at = 0.0


@once_per_container
def database() -> Database:
    return Database(
        settings().supabase_url, settings().supabase_service_role_key, timeout=QUERY_SECONDS
    )


@once_per_container
def cached() -> _Cached:
    return _Cached()


def run_health(elsewhere: Collection[str] = (), *, as_page: bool = False) -> dict[str, object]:
    """The answer as a function URL returns it, whatever goes wrong: status, headers, and the body
    as JSON or, for a browser, as a page.

    Workers that run `elsewhere` are left out, like those that are switched off.
    """
    now = SystemClock().now()
    last = cached()
    health = last.health
    if health is None or now - last.at > CACHE_SECONDS:
        health = _ask(elsewhere)
        last = cached()  # a new one, if the clients were forgotten
        last.health, last.at = health, now
    kind = PAGE_HEADERS if as_page else {"Content-Type": "application/json", "Vary": "Accept"}
    return {
        "statusCode": health.status,
        "headers": {**kind, "Cache-Control": "no-store"},
        "body": health_page(health, utc_now()) if as_page else json.dumps(health.body),
    }


def _ask(elsewhere: Collection[str]) -> Health:
    try:
        off = settings().switched_off.union(elsewhere)
        return assess(read_worker_health(database().call("worker_health")), off)
    except WorkerError as error:
        logger.error(
            "The health of the workers is unknown",
            extra={"code": error.code, "error": redact(str(error))},
        )
        if isinstance(error, CredentialsError):
            forget_clients()  # the secret may have been rotated: read it again next time
        return unknown_health(f"the database cannot be queried: {error.code}")
    except Exception as error:  # noqa: BLE001 - a monitor needs an answer, and 503 is one
        logger.exception("The health of the workers is unknown")
        return unknown_health(f"health could not be determined: {type(error).__name__}")
