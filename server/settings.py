"""A server's settings in addition to the workers' own."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from typing import Final

from server.schedules import check_schedule
from workers.composition.container import read_secret
from workers.settings import (
    DatabaseUrl,
    database_url,
    one_of,
    own_settings,
    setting,
    switch,
    text,
    whole,
)

# Supabase's pooler in transaction mode: https://supabase.com/docs/guides/database/connecting-to-postgres
_TRANSACTION_POOLER: Final = 6543
# A run that has drained the queue keeps polling until the next minute's run takes over.
LINGER: Final = {"NOTIFICATION_LINGER_SECONDS": "150"}


def _time_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not the name of a time zone, such as Europe/Berlin") from None
    return value


def _session_url(value: str) -> DatabaseUrl:
    url = database_url(value)
    if url.port == _TRANSACTION_POOLER:
        raise ValueError(
            "is the transaction pooler's, which keeps no session to listen in: use the "
            "session pooler's (port 5432) or the direct one"
        )
    return url


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """One field per setting; in the environment its name is in upper case."""

    server_host: str = setting(
        text,
        "address that /health, /live and /metrics bind to; 0.0.0.0 in a container",
        default="127.0.0.1",
    )
    port: int = setting(whole(0, 65535), "their port; 0 picks a free one", default=3001)
    notifications_schedule: str = setting(
        check_schedule, "when the notifications run", default="rate(1 minute)"
    )
    metrics_schedule: str = setting(
        check_schedule, "when the metrics sync plans", default="rate(10 minutes)"
    )
    retention_schedule: str = setting(
        check_schedule, "when retention runs", default="cron(0 2 ? * SUN *)"
    )
    retention_time_zone: str = setting(
        _time_zone, "the time zone of cron(...) schedules", default="UTC"
    )
    console_port: int = setting(
        whole(0, 65535),
        "port of the console (`--console`), on this machine only; 0 picks a free one",
        default=3002,
    )
    database_url: DatabaseUrl | None = setting(
        _session_url,
        "Postgres connection string, not the transaction pooler's: LISTEN wakes the "
        "notifications at once",
        default=None,
        secret=True,
    )
    log_format: str | None = setting(
        one_of("json", "text"), "json or text; unset: text on a terminal, else json", default=None
    )
    emf_metrics: bool | None = setting(
        switch,
        "whether metrics also go to stdout in CloudWatch's embedded metric format; unset: if the "
        "process runs in AWS",
        default=None,
    )


def server_settings() -> ServerSettings:
    """Those of this process's environment.

    Raises ConfigurationError naming all that is missing or malformed.
    """
    return own_settings(ServerSettings, read_secret)
