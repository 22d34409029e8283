"""LISTEN: Postgres reports at once that something was queued.

It needs psycopg and a session of its own, so not the pooler in transaction mode.
https://www.postgresql.org/docs/current/sql-listen.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from workers.clock import Clock
from workers.errors import ConfigurationError
from workers.notifications.doorbell import CHANNEL
from workers.redaction import redact
from workers.settings import DatabaseUrl
from workers.telemetry import logger

if TYPE_CHECKING:
    import psycopg

_CONNECT_SECONDS: Final = 10
# How often, in seconds, a silent connection is checked: it may be dead without having been closed.
_CHECK_EVERY: Final = 60.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class Listener:
    """Calls `ring` for every notification that is queued, from its own thread."""

    def __init__(
        self, address: Callable[[], DatabaseUrl | None], ring: Callable[[], None], clock: Clock
    ) -> None:
        """`address` is called before each connection. Raises ConfigurationError if psycopg is not
        installed."""
        try:
            import psycopg  # noqa: F401, PLC0415 - an extra
        except ImportError:
            raise ConfigurationError(
                "DATABASE_URL is set, but psycopg is not installed: pip install .[listen]"
            ) from None
        self._address = address
        self._ring = ring
        self._clock = clock
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)

    def start(self) -> None:
        """Listen until the process ends, reconnecting as needed."""
        self._thread.start()

    def _listen(self) -> None:
        import psycopg  # noqa: PLC0415 - as above

        pause = _FIRST_PAUSE
        while self._clock.now() < self._clock.stop_at:
            started_at = self._clock.now()
            try:
                url = self._address()
                if url is None:  # removed when the settings were re-read
                    return
                with _connected(url) as connection:
                    self._receive(connection)
            except (psycopg.Error, ConfigurationError) as error:
                held = self._clock.now() - started_at > _LONGEST_PAUSE
                pause = _FIRST_PAUSE if held else min(_LONGEST_PAUSE, 2 * pause)
                logger.warning(
                    "Not listening: new notifications are found by polling",
                    extra={
                        "action": "listen_failed",
                        "error": redact(str(error).strip()),
                        "retry_in": pause,
                    },
                )
                self._clock.sleep(pause)

    def _receive(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(f"listen {CHANNEL}".encode())
        logger.info("Listening for new notifications", extra={"action": "listening"})
        self._ring()  # something may have been queued in the meantime
        while True:
            for _ in connection.notifies(timeout=_CHECK_EVERY):
                self._ring()
            connection.execute(b"select 1")


def _connected(url: DatabaseUrl) -> psycopg.Connection[Any]:
    import psycopg  # noqa: PLC0415 - as above

    return psycopg.connect(
        url.text,
        autocommit=True,
        connect_timeout=_CONNECT_SECONDS,
        sslmode=url.sslmode,
        application_name="agency-dashboard-workers listen",
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
