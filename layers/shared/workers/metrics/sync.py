"""One connection brought up to date: read, matched, stored, derived, recorded."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from workers.clock import Clock
from workers.database import Database
from workers.errors import PermanentError, TooMuchDataError, WorkerError
from workers.metrics.matching import Batch, Tally
from workers.metrics.orders import SyncOrder
from workers.metrics.outcomes import (
    OUT_OF_TIME,
    SUCCESS,
    Outcome,
    as_result,
    failure_wait,
    outcome_of,
)
from workers.metrics.platforms import PLATFORMS, find_platform
from workers.metrics.platforms.fetching import BrokenStreamError, OutOfTime, Reader, Session
from workers.metrics.platforms.protocol import Account, Connection, Platform
from workers.metrics.windows import Width, Window, look_back, still_read, unread
from workers.redaction import redact
from workers.settings import Settings
from workers.telemetry import logger

# Held by a sync and renewed with everything it stores. Longer than its function may run.
LEASE_SECONDS = 360
# Rows a call: some hundred milliseconds each, far from the API's statement timeout (8 s).
STORE_ROWS = 2500
FINISH_ROWS = 1500
SETTLE_DAYS = 1500
LINKS_PAGE = 20_000
# Kept free before the deadline for what a sync does last.
CLOSING_SECONDS = 12.0

_FIGURES = ("created", "updated", "deleted")
_LEASE = f"{LEASE_SECONDS} seconds"


class LeaseLost(Exception):
    """Somebody else has the connection by now; nothing more is written."""


class _DatabaseFailure(Exception):
    """Tells the database's errors from the platform's, which come by the same classes."""

    def __init__(self, error: WorkerError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class SyncReport:
    """How it ended, for the summary and the log; `status` is stale when the order was no
    longer valid, lost when another sync took over."""

    connection_id: str
    status: str
    platform: str | None = None
    code: str | None = None
    is_parked: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "connection_id": self.connection_id,
            "status": self.status,
            "platform": self.platform,
            "code": self.code,
            "parked": self.is_parked,
            **self.counts,
        }


# Called with a window that was read and stored, and what of the range is still to come.
Progress = Callable[[Window, int], None]


@dataclass
class Backfill:
    """A range in the past that somebody asked for; `progress` is told of each window."""

    window: Window
    progress: Progress


class ConnectionSync:
    """Syncs one connection after the other with the same clients."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        session_of: Callable[[str], Session],
        random_fraction: Callable[[], float],
    ) -> None:
        """`session_of` gives the HTTP session of a platform, by its main name."""
        self._database = database
        self._settings = settings
        self._clock = clock
        self._session_of = session_of
        self._random = random_fraction

    def run(self, order: SyncOrder, deadline: float) -> SyncReport:
        """Does what the order asks for, if it is still valid, and ends before `deadline`.

        What the platform refuses is recorded and reported. Raises the workers' errors when the
        database fails; the connection is free again once its lease has run out.
        """
        token = str(uuid.uuid4())
        begun = self._database.call(
            "begin_metric_sync",
            connection_id=order.connection_id,
            plan_token=order.token,
            token=token,
            lease=_LEASE,
        )
        if begun is None:
            return SyncReport(order.connection_id, "stale")
        return self._work(begun, token, deadline, None)

    def backfill(self, connection_id: str, asked: Backfill, deadline: float) -> SyncReport | None:
        """Reads a range in the past; None when the connection is being synced right now.

        The same range, asked for again before it is done, goes on where it stopped. Raises
        PermanentError when there is no such connection.
        """
        token = str(uuid.uuid4())
        begun = self._database.call(
            "begin_metric_backfill",
            connection_id=connection_id,
            token=token,
            since=asked.window.since.isoformat(),
            until=asked.window.until.isoformat(),
            lease=_LEASE,
        )
        if begun.get("refused") == "unknown":
            raise PermanentError(
                f"there is no platform connection {connection_id}", code="unknown_connection"
            )
        return None if "refused" in begun else self._work(begun, token, deadline, asked)

    def _work(
        self, begun: dict[str, Any], token: str, deadline: float, asked: Backfill | None
    ) -> SyncReport:
        left = deadline - self._clock.now()
        run = _Run(
            self._database,
            self._clock,
            begun,
            token,
            deadline=deadline - min(CLOSING_SECONDS, left / 4),
            asked=asked,
        )
        logger.append_keys(sync_id=run.sync_id, connection_id=run.connection.id)
        try:
            return run.end(self._outcome(run))
        except LeaseLost:
            return SyncReport(run.connection.id, "lost")
        except _DatabaseFailure as failure:
            run.end_after(failure.error)
            raise failure.error from failure.error.__cause__
        except Exception as error:
            run.end_after(error)
            raise
        except KeyboardInterrupt:  # of a backfill: what was read stays, and the account is free
            run.end(OUT_OF_TIME)
            raise

    def _outcome(self, run: _Run) -> Outcome:
        try:
            platform = self._open(run.connection)
            reader = Reader(
                platform,
                self._session_of(platform.name),
                self._clock,
                run.deadline,
                self._random,
            )
            run.sync(platform, reader, self._settings.metrics_look_back_days)
        except OutOfTime:
            return OUT_OF_TIME
        except WorkerError as error:
            message = redact(str(error), run.secrets)
            return outcome_of(error, message, run.failures, has_progress=bool(run.windows))
        return SUCCESS

    def _open(self, connection: Connection) -> Platform:
        platform = find_platform(connection.platform)
        if platform is None:
            raise PermanentError(
                f"there is no platform {connection.platform!r:.60}; there are: "
                f"{', '.join(PLATFORMS)}",
                code="unknown_platform",
            )
        return platform.open(connection, self._settings)


class _Run:
    """One sync under way: what it knows, and what it has done so far."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        begun: dict[str, Any],
        token: str,
        *,
        deadline: float,
        asked: Backfill | None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._token = token
        self._asked = asked
        self.deadline = deadline
        self.sync_id: str = begun["sync_id"]
        self.connection = Connection.from_row(begun["connection"])
        self.failures: int = begun["failures"]
        self.windows: list[Window] = []
        self._now = datetime.fromisoformat(begun["now"])
        self._read_before = {
            date.fromisoformat(day): datetime.fromisoformat(at)
            for day, at in begun["days_read"].items()
        }
        self._days_read: set[date] = set()
        self._window_days: int | None = begun["window_days"]
        self._width: Width | None = None
        self._tally = Tally()
        self._counts = Counter(dict.fromkeys((*_FIGURES, "mixed_currency_days"), 0))
        self._platform: Platform | None = None
        self._reader: Reader | None = None
        self._account: Account | None = None
        self._range: Window | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold by now: a sign-in brings further ones."""
        return self.connection.secrets + (self._platform.secrets if self._platform else ())

    def sync(self, platform: Platform, reader: Reader, look_back_days: int) -> None:
        """All of it; raises the platform's errors as they are, the database's wrapped."""
        self._platform, self._reader = platform, reader
        self._account = account = reader.account()
        usual = look_back(self._now, account.time_zone, look_back_days)
        self._range = whole = self._asked.window if self._asked else usual
        self._days_read = still_read(self._read_before, usual.until, account.time_zone)
        ours = self._load_links(platform)
        self._read_all(platform, reader, account, ours, whole)
        self._until_finished("settle_ad_links", platform=platform.name, most=SETTLE_DAYS)

    def _load_links(self, platform: Platform) -> frozenset[str]:
        """The ids of the ads that some request names."""
        ids: list[str] = []
        after = None
        while True:
            page = self._call(
                "load_ad_links",
                platform=platform.name,
                mapping_key=platform.mapping_key,
                after=after,
                most=LINKS_PAGE,
            )
            ids += page
            if len(page) < LINKS_PAGE:
                return frozenset(ids)
            after = page[-1]

    def _read_all(
        self,
        platform: Platform,
        reader: Reader,
        account: Account,
        ours: frozenset[str],
        whole: Window,
    ) -> None:
        """Every day that is not read yet, newest first, in windows as wide as the account
        allows."""
        self._width = width = Width(self._window_days, platform.longest_window)
        page_size = platform.page_size
        while missing := unread(whole, self._days_read):
            window = missing[0].newest(width.days)
            try:
                most = self._read_window(platform, reader, account, ours, window, page_size)
            except OutOfTime:
                if not self.windows:  # else the next sync would get no further than this one
                    width.narrow(window.width)
                raise
            except (TooMuchDataError, BrokenStreamError) as error:
                logger.info(
                    "A window was too much at once",
                    extra={"window": str(window), "page_size": page_size, "code": error.code},
                )
                if window.width > 1:
                    width.narrow(window.width)
                elif page_size > platform.smallest_page:
                    page_size = max(platform.smallest_page, page_size // 2)
                else:
                    raise
                continue
            width.read(most)
            self._days_read.update(window.days)
            if self._asked:
                self._asked.progress(window, sum(one.width for one in missing) - window.width)

    def _read_window(
        self,
        platform: Platform,
        reader: Reader,
        account: Account,
        ours: frozenset[str],
        window: Window,
        page_size: int,
    ) -> int:
        """Returns the most rows of one day."""
        batch = Batch()
        per_day: Counter[date] = Counter()
        for page in reader.pages(window, page_size):
            per_day.update(row.day for row in page.rows)
            for row in self._tally.count(page.rows, ours):
                batch.add(row)
                if len(batch) == STORE_ROWS:
                    self._store(platform, account, batch)
        if batch:
            self._store(platform, account, batch)
        self._until_finished(
            "finish_metric_window",
            platform=platform.name,
            since=window.since.isoformat(),
            until=window.until.isoformat(),
            most=FINISH_ROWS,
        )
        self.windows.append(window)
        return max(per_day.values(), default=0)

    def _store(self, platform: Platform, account: Account, batch: Batch) -> None:
        self._fenced(
            "store_ad_metrics",
            account={
                "platform": platform.name,
                "account_id": account.id,
                "currency": account.currency,
                "time_zone": account.time_zone,
            },
            rows=batch.take(),
        )

    def _until_finished(self, function: str, **arguments: Any) -> None:
        """Calls a function that works in steps until it is done."""
        while True:
            step = self._fenced(function, **arguments)
            self._counts.update({name: step[name] for name in self._counts})
            if step["is_finished"]:
                return
            if self._clock.now() >= self.deadline:
                raise OutOfTime

    def _fenced(self, function: str, **arguments: Any) -> Any:
        """A call that writes; raises LeaseLost once the connection is somebody else's."""
        result = self._call(
            function,
            connection_id=self.connection.id,
            token=self._token,
            lease=_LEASE,
            **arguments,
        )
        if result is None:
            raise LeaseLost
        return result

    def _call(self, function: str, **arguments: Any) -> Any:
        try:
            return self._database.call(function, **arguments)
        except WorkerError as error:
            raise _DatabaseFailure(error) from error

    def end(self, outcome: Outcome) -> SyncReport:
        """Writes the log and frees the connection."""
        name = self._platform.name if self._platform else self.connection.platform
        result = as_result(outcome, name, self._details(), self._counts)
        if self._width:
            result["window_days"] = self._width.for_next_sync(succeeded=outcome.status == "success")
        if self._asked:
            window = self._asked.window
            result["backfill"] = {"since": f"{window.since}", "until": f"{window.until}"}
        ended = self._call(
            "end_metric_sync", connection_id=self.connection.id, token=self._token, result=result
        )
        if not ended:
            raise LeaseLost
        return SyncReport(
            self.connection.id,
            outcome.status,
            name,
            outcome.code,
            outcome.parked is not None,
            {
                # not plainly "created": a log record has that already
                **{f"figures_{name}": self._counts[name] for name in _FIGURES},
                "mixed_currency_days": self._counts["mixed_currency_days"],
                "rows": self._tally.rows,
                "unmatched_ads": len(self._tally.unmatched_ads),
            },
        )

    def end_after(self, error: Exception) -> None:
        """Records a failure of our own side, as far as that is possible: `error` itself is
        what the caller raises."""
        code = error.code if isinstance(error, WorkerError) else type(error).__name__
        message = redact(f"The sync itself failed: {error}", self.secrets)
        try:
            self.end(Outcome("failed", code, message, not_before=failure_wait(self.failures)))
        except (LeaseLost, _DatabaseFailure) as second:
            logger.warning(
                "The failure could not be recorded", extra={"error": redact(str(second))}
            )

    def _details(self) -> dict[str, Any]:
        details: dict[str, Any] = {
            "window": None,
            "windows": [[f"{one.since}", f"{one.until}"] for one in self.windows],
            "deleted": self._counts["deleted"],
            "mixed_currency_days": self._counts["mixed_currency_days"],
            **self._tally.details(),
        }
        if self._range:
            details["window"] = [f"{self._range.since}", f"{self._range.until}"]
        if self._account:
            details |= {
                "account": self._account.name,
                "currency": self._account.currency,
                "time_zone": self._account.time_zone,
            }
        if self._platform:
            details["api_version"] = self._platform.api_version
        if self._reader:
            details["requests"] = self._reader.requests
            if self._reader.version_warning:
                details["version_warning"] = self._reader.version_warning
        return details
