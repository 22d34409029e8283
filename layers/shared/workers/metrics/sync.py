"""One account brought up to date, by whichever of its connections the platform accepts."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import assert_never

from workers.clock import Clock
from workers.database import Database
from workers.errors import PermanentError, WorkerError
from workers.metrics.answers import (
    Begun,
    Paused,
    Refused,
    read_begun_backfill,
    read_begun_sync,
)
from workers.metrics.ledger import LEASE, DatabaseFailure, LeaseLost
from workers.metrics.outcomes import OUT_OF_TIME, Outcome, SyncReport, all_but
from workers.metrics.platforms import PLATFORMS, find_platform
from workers.metrics.platforms.fetching import LONGEST_WAIT, OutOfTime, Reader, Session
from workers.metrics.platforms.protocol import Connection, Platform
from workers.metrics.sync_requests import Backfill, SyncRequest
from workers.metrics.sync_run import SyncRun
from workers.redaction import redact
from workers.settings import Settings
from workers.telemetry import logger

# Reserved before the deadline for the end of a sync.
CLOSING_SECONDS = 12.0
# Before credentials that have worked are tried again after a refusal.
SECOND_TRY_WAIT = 5.0


class ConnectionSync:
    """Syncs one account after another with the same clients."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        session_of: Callable[[str], Session],
        random_fraction: Callable[[], float],
    ) -> None:
        """`session_of` returns the HTTP session of a platform, by its main name."""
        self._database = database
        self._settings = settings
        self._clock = clock
        self._session_of = session_of
        self._random = random_fraction

    def run(self, sync_request: SyncRequest, deadline: float) -> SyncReport:
        """Does what the sync request asks for, if it is still valid, and ends before `deadline`.

        What the platform refuses is recorded and reported. Raises the workers' errors when the
        database fails; the account is free again once its lease has expired.
        """
        token = str(uuid.uuid4())
        begun = self._begin(sync_request, token)
        if isinstance(begun, Paused):
            if begun.seconds > min(LONGEST_WAIT, (deadline - self._clock.now()) / 4):
                return self._drop(sync_request)
            self._clock.sleep(begun.seconds)
            if self._clock.now() >= self._clock.stop_at:
                return self._drop(sync_request)
            begun = self._begin(sync_request, token)
        match begun:
            case Begun():
                return self._work(begun, token, deadline, None)
            case Paused() | None:
                return SyncReport(sync_request.platform, sync_request.account_id, "stale")
            case _:
                assert_never(begun)

    def _drop(self, sync_request: SyncRequest) -> SyncReport:
        self._database.call("drop_metric_plans", tokens=[sync_request.token])
        return SyncReport(sync_request.platform, sync_request.account_id, "paused")

    def _begin(self, sync_request: SyncRequest, token: str) -> Begun | Paused | None:
        return read_begun_sync(
            self._database.call(
                "begin_metric_sync", plan_token=sync_request.token, token=token, lease=LEASE
            )
        )

    def backfill(self, connection_id: str, asked: Backfill, deadline: float) -> SyncReport | None:
        """Reads a range in the past; None when the account is being synced right now.

        The same range, asked for again before it is done, continues where it stopped. Raises
        PermanentError when there is no such connection.
        """
        token = str(uuid.uuid4())
        begun = read_begun_backfill(
            self._database.call(
                "begin_metric_backfill",
                connection_id=connection_id,
                token=token,
                since=asked.window.since.isoformat(),
                until=asked.window.until.isoformat(),
                lease=LEASE,
            )
        )
        match begun:
            case Begun():
                return self._work(begun, token, deadline, asked)
            case Refused(is_unknown=True):
                raise PermanentError(
                    f"there is no platform connection {connection_id}", code="unknown_connection"
                )
            case Refused():
                return None
            case _:
                assert_never(begun)

    def _work(
        self, begun: Begun, token: str, deadline: float, asked: Backfill | None
    ) -> SyncReport:
        left = deadline - self._clock.now()
        run = SyncRun(
            self._database,
            self._clock,
            begun,
            token,
            deadline=deadline - min(CLOSING_SECONDS, left / 4),
            asked=asked,
            figures=self._settings.metrics_figures,
        )
        logger.thread_safe_append_keys(
            sync_id=run.sync_id, connection_id=run.connections.current.id
        )
        try:
            return run.end(self._outcome(run))
        except LeaseLost:
            return SyncReport(run.platform_name, run.account_id, "lost", run.connections.current.id)
        except DatabaseFailure as failure:
            run.end_after(failure.error)
            raise failure.error from failure.error.__cause__
        except Exception as error:
            run.end_after(error)
            raise
        except KeyboardInterrupt:  # of a backfill: what was read stays, the account is released
            run.end(OUT_OF_TIME)
            raise

    def _outcome(self, run: SyncRun) -> Outcome:
        """The first connection that is not refused reads the account."""
        while True:
            try:
                self._read(run)
            except OutOfTime:
                return OUT_OF_TIME
            except WorkerError as error:
                message = redact(str(error), run.secrets)
                if run.connections.is_to_be_asked_again(error):
                    self._clock.sleep(SECOND_TRY_WAIT)
                elif run.connections.take_over(error, message):
                    run.note_takeover()
                else:
                    return run.outcome_of(error, message)
            else:
                return all_but(run.left_out)

    def _read(self, run: SyncRun) -> None:
        platform = self._open(run.connections.current)
        reader = Reader(
            platform, self._session_of(platform.name), self._clock, run.deadline, self._random
        )
        run.sync(platform, reader, self._settings)

    def _open(self, connection: Connection) -> Platform:
        platform = find_platform(connection.platform)
        if platform is None:
            raise PermanentError(
                f"there is no platform {connection.platform!r:.60}; there are: "
                f"{', '.join(PLATFORMS)}",
                code="unknown_platform",
            )
        return platform.open(connection, self._settings)
