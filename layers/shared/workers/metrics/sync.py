"""One account brought up to date: read, matched, stored, derived, recorded."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from workers.clock import Clock
from workers.database import Database
from workers.errors import (
    ConfigurationError,
    ConnectionCredentialsError,
    MalformedAnswerError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)
from workers.metrics.agenda import Agenda
from workers.metrics.ledger import FIGURES, LEASE, DatabaseFailure, LeaseLost, Ledger, days_of
from workers.metrics.matching import Tally, WindowRows
from workers.metrics.orders import SyncOrder
from workers.metrics.outcomes import (
    OUT_OF_TIME,
    Outcome,
    all_but,
    as_result,
    failure_wait,
    outcome_of,
)
from workers.metrics.platforms import PLATFORMS, find_platform
from workers.metrics.platforms.fetching import LONGEST_WAIT, OutOfTime, Reader, Session
from workers.metrics.platforms.protocol import Account, Connection, Platform
from workers.metrics.reading import ReadAhead, most_at_once
from workers.metrics.windows import Width, Window, is_whole_due, look_back, recent, still_read
from workers.redaction import redact
from workers.settings import Settings
from workers.telemetry import logger

# Kept free before the deadline for what a sync does last.
CLOSING_SECONDS = 12.0
# Before credentials that have worked are taken for refused.
SECOND_THOUGHT = 5.0


@dataclass(frozen=True)
class SyncReport:
    """How it ended, for the summary and the log; `status` is stale when the order was no
    longer valid, paused when the platform asked the app to wait, lost when another sync took
    over. `connection_id` is the connection that read the account, where one did;
    `not_kept_until` the newest day of a backfill that the platform keeps no more; `misconfigured`
    says what of the deployment has to be put right, without secrets."""

    platform: str
    account_id: str
    status: str
    connection_id: str | None = None
    code: str | None = None
    is_parked: bool = False
    not_kept_until: date | None = None
    counts: dict[str, int] = field(default_factory=dict)
    misconfigured: str | None = None

    def summary(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "platform": self.platform,
            "account_id": self.account_id,
            "connection_id": self.connection_id,
            "status": self.status,
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
    """Syncs one account after the other with the same clients."""

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
        database fails; the account is free again once its lease has run out.
        """
        token = str(uuid.uuid4())
        begun = self._begin(order, token)
        if begun is not None and "paused" in begun:
            if begun["paused"] > min(LONGEST_WAIT, (deadline - self._clock.now()) / 4):
                return self._drop(order)
            self._clock.sleep(begun["paused"])
            if self._clock.now() >= self._clock.stop_at:
                return self._drop(order)
            begun = self._begin(order, token)
        if begun is None or "paused" in begun:
            return SyncReport(order.platform, order.account_id, "stale")
        return self._work(begun, token, deadline, None)

    def _drop(self, order: SyncOrder) -> SyncReport:
        self._database.call("drop_metric_plans", tokens=[order.token])
        return SyncReport(order.platform, order.account_id, "paused")

    def _begin(self, order: SyncOrder, token: str) -> dict[str, Any] | None:
        begun: dict[str, Any] | None = self._database.call(
            "begin_metric_sync", plan_token=order.token, token=token, lease=LEASE
        )
        return begun

    def backfill(self, connection_id: str, asked: Backfill, deadline: float) -> SyncReport | None:
        """Reads a range in the past; None when the account is being synced right now.

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
            lease=LEASE,
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
        logger.thread_safe_append_keys(sync_id=run.sync_id, connection_id=run.connection.id)
        try:
            return run.end(self._outcome(run))
        except LeaseLost:
            return SyncReport(run.platform_name, run.account_id, "lost", run.connection.id)
        except DatabaseFailure as failure:
            run.end_after(failure.error)
            raise failure.error from failure.error.__cause__
        except Exception as error:
            run.end_after(error)
            raise
        except KeyboardInterrupt:  # of a backfill: what was read stays, and the account is free
            run.end(OUT_OF_TIME)
            raise

    def _outcome(self, run: _Run) -> Outcome:
        """The first connection that is not refused reads the account."""
        while True:
            try:
                self._read(run)
            except OutOfTime:
                return OUT_OF_TIME
            except WorkerError as error:
                message = redact(str(error), run.secrets)
                if run.is_to_be_asked_again(error):
                    self._clock.sleep(SECOND_THOUGHT)
                elif not run.has_stand_in(error, message):
                    return run.outcome_of(error, message)
            else:
                return all_but(run.left_out)

    def _read(self, run: _Run) -> None:
        platform = self._open(run.connection)
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
        self._clock = clock
        self._asked = asked
        self._ledger = Ledger(database, token, self._heed_deadline)
        self.deadline = deadline
        self.sync_id: str = begun["sync_id"]
        self.platform_name: str = begun["platform"]
        self.account_id: str = begun["account_id"]
        self.failures: int = begun["failures"]
        self.windows: list[Window] = []
        self._ways: list[dict[str, Any]] = begun["ways"]
        self._secrets = tuple(
            secret for way in self._ways for secret in Connection.from_row(way).secrets
        )
        self.connection = Connection.from_row(self._ways[0])
        self._is_second_thought = False
        # whether the present connection was let in, and read something
        self._has_answered = self._has_read = False
        self._parked: list[dict[str, str]] = []
        self._paused: str | None = None
        self._misconfigured: str | None = None
        self._now = datetime.fromisoformat(begun["now"])
        self._begun = clock.now()
        self._minutes: int = begun["minutes"] or 0
        self._whole_read_at = begun["whole_read_at"] and datetime.fromisoformat(
            begun["whole_read_at"]
        )
        self._read_before = {
            date.fromisoformat(day): datetime.fromisoformat(at)
            for day, at in begun["days_read"].items()
        }
        self._left_out_before = {
            date.fromisoformat(day): str(problem) for day, problem in begun["days_left_out"].items()
        }
        self._window_days: int | None = begun["window_days"]
        self._agenda: Agenda | None = None
        self._tally = Tally()
        self._days_read: set[date] = set()
        self._unchanged: set[date] = set()
        self._range: Window | None = None
        self._usual: Window | None = None
        self._platform: Platform | None = None
        self._reader: Reader | None = None
        self._account: Account | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold by now: a sign-in brings further ones."""
        return (*self._secrets, *(self._platform.secrets if self._platform else ()))

    @property
    def left_out(self) -> dict[date, str]:
        """The days of the range that could not be read, now or lately, each with the reason."""
        known = {
            day: problem
            for day, problem in self._left_out_before.items()
            if self._range and day in self._range
        }
        return {**known, **(self._agenda.left_out if self._agenda else {})}

    def sync(self, platform: Platform, reader: Reader, settings: Settings) -> None:
        """All of it; raises the platform's errors as they are, the database's wrapped."""
        self._platform, self._reader = platform, reader
        self._account = account = reader.account()
        self._has_answered = True
        ours, is_newly_named = self._ledger.named_ads(platform, self.account_id)
        self._usual = usual = look_back(
            self._now, account.time_zone, settings.metrics_look_back_days
        )
        whole = is_newly_named or is_whole_due(self._now, self._whole_read_at, self._minutes)
        newest = usual if whole else recent(usual, settings.metrics_recent_days)
        self._range = self._asked.window if self._asked else newest
        read = still_read(self._read_before, usual.until, account.time_zone) | self._days_read
        self._agenda = Agenda(
            self._range,
            read | (set(self._left_out_before) & set(self._range.days)),
            Width(self._window_days, platform.longest_window),
            platform.page_size,
            platform.smallest_page,
            may_end=self._asked is not None,
        )
        with ReadAhead(reader, ours) as ahead:
            self._read_all(ahead, self._agenda, account)
        if self._asked or self._range == usual:
            # what somebody changed or deleted by hand comes back
            self._ledger.derive(self._unchanged, is_doubted=True)

    def _read_all(self, ahead: ReadAhead, agenda: Agenda, account: Account) -> None:
        """Every day that is not read yet, newest first."""
        slowness, known_rows = 0.0, 1
        at_once = 1  # until it is known how much and how slow they are
        while windows := agenda.following(at_once):
            begun = self._clock.now()
            try:
                read = self._read_window(ahead, windows, agenda.page_size, account)
            except OutOfTime:
                if not self.windows:  # else the next sync would get no further than this one
                    agenda.width.narrow(windows[0].width)
                raise
            except WorkerError as error:
                message = redact(str(error), self.secrets)
                logger.info(
                    "A window could not be read",
                    extra={"window": str(windows[0]), "code": error.code, "error": message},
                )
                agenda.failed(windows[0], error)
                continue
            slowness = max(self._clock.now() - begun, slowness)
            known_rows = max(read.most_rows_of_a_day, known_rows)
            agenda.went_well(windows[0], read.most_rows_of_a_day)
            at_once = self._at_once(known_rows * agenda.width.days, slowness)
            if self._asked:
                self._asked.progress(windows[0], agenda.days_left)

    def _at_once(self, rows: int, slowness: float) -> int:
        """How many windows of so many rows to read at once: no more than could be read one after
        the other, each in `slowness` seconds, so that none is begun in vain."""
        left = self.deadline - self._clock.now()
        return max(1, min(most_at_once(rows), int(left / max(slowness, 0.001))))

    def _read_window(
        self, ahead: ReadAhead, windows: list[Window], page_size: int, account: Account
    ) -> WindowRows:
        """Reads and stores the first of the windows."""
        self._heed_deadline()
        read = ahead.read(windows, page_size)
        days = days_of(read, account)
        changed, standing = self._ledger.changed_days(days)
        if standing > 2 * read.rows_named:
            # most of what stands would go: that is asked once more before it does
            read = ahead.read(windows, page_size)
            days = days_of(read, account)
            changed, _ = self._ledger.changed_days(days)
        if changed:
            self._ledger.store(read, changed, account)
        self._ledger.mark(self.connection.id, days)
        self._has_read = True
        self._tally.count(read)
        self._unchanged |= set(days) - changed
        self._days_read |= set(days)
        self.windows.append(windows[0])
        return read

    def _heed_deadline(self) -> None:
        if self._clock.now() >= min(self.deadline, self._clock.stop_at):
            raise OutOfTime

    def is_to_be_asked_again(self, error: WorkerError) -> bool:
        """Whether it is a first refusal of credentials that have worked, lately or just now."""
        if not isinstance(error, ConnectionCredentialsError) or self._is_second_thought:
            return False
        self._is_second_thought = bool(self._ways[0]["has_worked"]) or self._has_answered
        return self._is_second_thought

    def has_stand_in(self, error: WorkerError, message: str) -> bool:
        """Whether another connection of the account may fare better, which then reads it. One
        whose credentials are refused is parked."""
        if isinstance(error, RateLimitedError):
            self._paused = self.connection.id
            return False
        if isinstance(error, SharedCredentialsError):
            self._misconfigured = message
        is_refused = isinstance(error, ConnectionCredentialsError)
        if isinstance(error, MalformedAnswerError) or not (
            is_refused or isinstance(error, PermanentError | SharedCredentialsError)
        ):
            return False
        way = self._ways[0]
        if is_refused:
            self._parked.append(
                {"connection_id": way["id"], "digest": way["digest"], "reason": message}
            )
        if len(self._ways) == 1:
            return False
        del self._ways[0]
        self._is_second_thought = self._has_answered = self._has_read = False
        self.connection = Connection.from_row(self._ways[0])
        logger.thread_safe_append_keys(connection_id=self.connection.id)
        self._ledger.stand_in(self.connection.id)
        return True

    def outcome_of(self, error: WorkerError, message: str) -> Outcome:
        now = self._now + timedelta(seconds=self._clock.now() - self._begun)
        return outcome_of(error, message, self.failures, now, has_progress=bool(self.windows))

    def end(self, outcome: Outcome) -> SyncReport:
        """Writes what is left to write, and the log, and frees the account."""
        name = self._platform.name if self._platform else self.platform_name
        if self._agenda and self._agenda.left_out:
            self._ledger.leave_out(
                {
                    day: redact(problem, self.secrets)
                    for day, problem in self._agenda.left_out.items()
                }
            )
        self._store_unnamed(outcome.is_done)
        self._ledger.end(self._result(outcome))
        return SyncReport(
            name,
            self.account_id,
            outcome.status,
            self.connection.id,
            outcome.code,
            self.connection.id in {one["connection_id"] for one in self._parked},
            self._agenda.edge if self._agenda else None,
            {
                # not plainly "created": a log record has that already
                **{f"figures_{name}": self._ledger.counts[name] for name in FIGURES},
                "mixed_currency_days": self._ledger.counts["mixed_currency_days"],
                "rows": self._tally.rows,
                "unmatched_ads": len(self._tally.unnamed),
            },
            misconfigured=self._misconfigured,
        )

    def _store_unnamed(self, is_done: bool) -> None:
        if self._asked or not self.windows:
            return
        if self._range != self._usual:
            self._ledger.store_unnamed(self._tally.unnamed, "recent")
        elif is_done and not self._read_before and not self.left_out:
            self._ledger.store_unnamed(self._tally.unnamed, "whole")
            self._ledger.forget_unnamed(self._tally.unnamed)
        else:
            self._ledger.store_unnamed(self._tally.unnamed, "part")
            if is_done:
                self._ledger.forget_unnamed(None)

    def _result(self, outcome: Outcome) -> dict[str, Any]:
        result = as_result(outcome, self._details(), self._ledger.counts)
        result["parked"] = self._parked
        result["is_whole"] = self._range is not None and self._range == self._usual
        if self._has_read:
            result["connection"] = {"id": self.connection.id, "digest": self._ways[0]["digest"]}
        if outcome.pause is not None:
            result["pause"] = {
                "connection_id": self._paused,
                "seconds": outcome.pause,
                "reason": outcome.message,
            }
        if self._agenda:
            result["window_days"] = self._agenda.width.for_next_sync(
                succeeded=outcome.status == "success"
            )
        if self._asked:
            window = self._asked.window
            result["backfill"] = {"since": f"{window.since}", "until": f"{window.until}"}
        return result

    def end_after(self, error: Exception) -> None:
        """Records a failure of our own side, as far as that is possible: `error` itself is
        what the caller raises."""
        code = error.code if isinstance(error, WorkerError) else type(error).__name__
        message = redact(f"The sync itself failed: {error}", self.secrets)
        # what is set right in the deployment holds for all accounts at once
        is_ours = isinstance(error, ConfigurationError)
        wait = None if is_ours else failure_wait(self.failures)
        outcome = Outcome("failed", code, message, not_before=wait)
        try:
            self._ledger.end(self._result(outcome))
        except (LeaseLost, DatabaseFailure) as second:
            logger.warning(
                "The failure could not be recorded", extra={"error": redact(str(second))}
            )

    def _details(self) -> dict[str, Any]:
        counts = self._ledger.counts
        details: dict[str, Any] = {
            "window": None,
            "windows": [[f"{one.since}", f"{one.until}"] for one in self.windows],
            "deleted": counts["deleted"],
            "mixed_currency_days": counts["mixed_currency_days"],
            **self._tally.details(),
        }
        if self._range:
            details["window"] = [f"{self._range.since}", f"{self._range.until}"]
        if self.left_out:
            details["days_left_out"] = {
                f"{day}": redact(problem, self.secrets)
                for day, problem in sorted(self.left_out.items())
            }
        if self._agenda and self._agenda.edge:
            details["not_kept_until"] = f"{self._agenda.edge}"
        if self._account:
            details |= {
                "account_id": self.account_id,
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
