"""One running sync: its days read, matched, stored, derived, recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from workers.clock import Clock
from workers.database import Database
from workers.errors import ConfigurationError, WorkerError
from workers.metrics.account_connections import AccountConnections
from workers.metrics.agenda import Agenda
from workers.metrics.answers import Begun
from workers.metrics.facts import Json, measures_of
from workers.metrics.ledger import DatabaseFailure, LeaseLost, Ledger, days_of
from workers.metrics.matching import Tally, WindowRows
from workers.metrics.outcomes import Outcome, SyncReport, SyncResult, failure_wait, outcome_of
from workers.metrics.platforms.fetching import OutOfTime, Reader
from workers.metrics.platforms.protocol import Account, Platform
from workers.metrics.reading import ReadAhead, most_held
from workers.metrics.sync_requests import Backfill
from workers.metrics.windows import (
    ROWS_PER_WINDOW,
    Width,
    Window,
    is_whole_due,
    look_back,
    recent,
    still_read,
)
from workers.redaction import redact
from workers.settings import Settings
from workers.telemetry import logger

# Seconds that a window of the usual size is assumed to take until the first one has been read.
USUAL_SLOWNESS = 30.0


class SyncRun:
    """What one sync knows, and what it has done so far, through whichever connection."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        begun: Begun,
        token: str,
        *,
        deadline: float,
        asked: Backfill | None,
        figures: Sequence[str],
    ) -> None:
        """`figures` are derived in addition to the usual ones."""
        self._clock = clock
        self._asked = asked
        self._ledger = Ledger(database, token, self._heed_deadline, figures)
        self.deadline = deadline
        self.sync_id = begun.sync_id
        self.platform_name = begun.platform
        self.account_id = begun.account_id
        self.connections = AccountConnections(begun.candidates)
        self._begun = begun
        self._begun_at = clock.now()
        self._agenda: Agenda | None = None
        self._tally = Tally()
        self._windows: list[Window] = []
        self._days_read: set[date] = set()
        self._range: Window | None = None
        self._usual: Window | None = None
        # the steps of checking figures, which takes a while
        self._check: Iterator[None] = iter(())
        self._platform: Platform | None = None
        self._reader: Reader | None = None
        self._account: Account | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may contain: a sign-in adds further ones."""
        return (*self.connections.secrets, *(self._platform.secrets if self._platform else ()))

    @property
    def left_out(self) -> dict[date, str]:
        """The days of the range that could not be read, now or lately, each with the reason."""
        known = {
            day: problem
            for day, problem in self._begun.days_left_out.items()
            if self._range and day in self._range
        }
        return {**known, **(self._agenda.left_out if self._agenda else {})}

    @property
    def _is_whole(self) -> bool:
        return self._range is not None and self._range == self._usual

    def note_takeover(self) -> None:
        """Another connection reads from now on."""
        logger.thread_safe_append_keys(connection_id=self.connections.current.id)
        self._ledger.read_by(self.connections.current.id)

    def sync(self, platform: Platform, reader: Reader, settings: Settings) -> None:
        """All of it. Raises the platform's errors unchanged and the database's wrapped."""
        self._platform, self._reader = platform, reader
        self._account = account = reader.account()
        self.connections.has_answered = True
        named, is_newly_named = self._ledger.named_ads(platform, self.account_id)
        days = settings.metrics_look_back_days
        if {"conversions", "conversion_value"} & measures_of(settings.metrics_figures):
            days = max(days, platform.attribution_days)
        begun = self._begun
        self._usual = usual = look_back(begun.now, account.time_zone, days)
        whole = is_newly_named or is_whole_due(begun.now, begun.whole_read_at, begun.minutes)
        newest = usual if whole else recent(usual, settings.metrics_recent_days)
        self._range = self._asked.window if self._asked else newest
        read = still_read(begun.days_read, usual.until, account.time_zone) | self._days_read
        self._agenda = Agenda(
            self._range,
            read | (set(begun.days_left_out) & set(self._range.days)),
            Width(begun.window_days, platform.longest_window),
            platform.page_size,
            platform.smallest_page,
            may_end=self._asked is not None,
        )
        if self._asked or self._is_whole:
            self._check = self._ledger.check(self._range.days)
        with ReadAhead(reader, named) as ahead:
            self._read_all(ahead, self._agenda, account)
        for _ in self._check:
            self._heed_deadline()

    def _read_all(self, ahead: ReadAhead, agenda: Agenda, account: Account) -> None:
        """Every day that is not read yet, newest first."""
        # a window of several days has the usual number of rows; a window of one day, or of an
        # account that was never read, may have any number
        is_known = (self._begun.window_days or 1) > 1
        most = self._most_held(ROWS_PER_WINDOW, USUAL_SLOWNESS) if is_known else 1
        slowness, rows_of_a_day = 0.0, 1
        while windows := agenda.following(most):
            begun = self._clock.now()
            try:
                read = self._read_window(ahead, windows, agenda.page_size, account)
            except OutOfTime:
                if not self._windows:  # otherwise the next sync would get no further than this one
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
            rows_of_a_day = max(read.most_rows_of_a_day, rows_of_a_day)
            agenda.succeeded(windows[0], read.most_rows_of_a_day)
            most = self._most_held(rows_of_a_day * agenda.width.days, slowness)
            if self._asked:
                self._asked.progress(windows[0], agenda.days_left)

    def _most_held(self, rows: int, slowness: float) -> int:
        """How many windows with that many rows to hold at once: no more than could be read one
        after another, each in `slowness` seconds, so that none is read in vain."""
        left = self.deadline - self._clock.now()
        return max(1, min(most_held(rows), int(left / max(slowness, 0.001))))

    def _read_window(
        self, ahead: ReadAhead, windows: list[Window], page_size: int, account: Account
    ) -> WindowRows:
        """Reads and stores the first of the windows, while the others are being read."""
        self._heed_deadline()
        read = ahead.read(windows, page_size, self._check)
        today, connection_id = self._today(account), self.connections.current.id
        days = days_of(read, account, today)
        compared = self._ledger.compare(connection_id, days, read.kinds)
        if compared.stored > 2 * read.rows_named:
            # most of what is stored would be deleted: the platform is asked again before
            read = ahead.read(windows, page_size, self._check)
            days = days_of(read, account, today)
            compared = self._ledger.compare(connection_id, days, read.kinds)
        if compared.changed:
            self._ledger.store(read, compared.changed, account, today)
            self._ledger.mark(connection_id, {day: days[day] for day in compared.changed})
        self.connections.has_read = True
        self._tally.count(read)
        self._days_read |= set(days)
        self._windows.append(windows[0])
        return read

    def _today(self, account: Account) -> date:
        return look_back(self._begun.now, account.time_zone, 0).until

    def _heed_deadline(self) -> None:
        if self._clock.now() >= min(self.deadline, self._clock.stop_at):
            raise OutOfTime

    def outcome_of(self, error: WorkerError, message: str) -> Outcome:
        """How the sync ends after an error that another connection would not avoid."""
        now = self._begun.now + timedelta(seconds=self._clock.now() - self._begun_at)
        failures = self._begun.failures
        return outcome_of(error, message, failures, now, has_progress=bool(self._windows))

    def end(self, outcome: Outcome) -> SyncReport:
        """Writes what is left to write, and the log, and releases the account."""
        name = self._platform.name if self._platform else self.platform_name
        if self._agenda and self._agenda.left_out:
            self._ledger.leave_out(self._redacted(self._agenda.left_out))
        self._store_unnamed(outcome.is_done)
        self._ledger.end(self._result(outcome))
        return SyncReport(
            name,
            self.account_id,
            outcome.status,
            self.connections.current.id,
            outcome.code,
            self.connections.is_parked,
            self._agenda.edge if self._agenda else None,
            {
                # not just "created": a log record has that already
                "figures_created": self._ledger.counts.created,
                "figures_updated": self._ledger.counts.updated,
                "figures_deleted": self._ledger.counts.deleted,
                "mixed_currency_days": self._ledger.counts.mixed_currency_days,
                "rows": self._tally.rows,
                "unmatched_ads": len(self._tally.unnamed_ads),
            },
            misconfigured=self.connections.misconfigured,
        )

    def end_after(self, error: Exception) -> None:
        """Records a failure on our side, if possible; the caller raises `error` itself."""
        code = error.code if isinstance(error, WorkerError) else type(error).__name__
        message = redact(f"The sync itself failed: {error}", self.secrets)
        # a corrected deployment applies to all accounts at once
        is_ours = isinstance(error, ConfigurationError)
        wait = None if is_ours else failure_wait(self._begun.failures)
        outcome = Outcome("failed", code, message, not_before=wait)
        try:
            self._ledger.end(self._result(outcome))
        except (LeaseLost, DatabaseFailure) as second:
            logger.warning(
                "The failure could not be recorded", extra={"error": redact(str(second))}
            )

    def _store_unnamed(self, is_done: bool) -> None:
        if self._asked or not self._windows:
            return
        if not self._is_whole:
            self._ledger.store_unnamed(self._tally.unnamed, "recent")
        elif is_done and not self._begun.days_read and not self.left_out:
            self._ledger.store_unnamed(self._tally.unnamed, "whole")
            self._ledger.forget_unnamed(self._tally.unnamed)
        else:
            self._ledger.store_unnamed(self._tally.unnamed, "part")
            if is_done:
                self._ledger.forget_unnamed(None)

    def _result(self, outcome: Outcome) -> SyncResult:
        succeeded = outcome.status == "success"
        return SyncResult(
            outcome=outcome,
            details=self._details(),
            counts=self._ledger.counts,
            is_whole=self._is_whole,
            worked=self.connections.worked,
            parked=self.connections.parked,
            paused=self.connections.paused,
            window_days=(
                self._agenda.width.for_next_sync(succeeded=succeeded) if self._agenda else None
            ),
            backfill=self._asked.window if self._asked else None,
        )

    def _details(self) -> Json:
        """JSON-able, for the log."""
        details: Json = {
            "window": None,
            "windows": [[f"{one.since}", f"{one.until}"] for one in self._windows],
            "deleted": self._ledger.counts.deleted,
            "mixed_currency_days": self._ledger.counts.mixed_currency_days,
            **self._tally.details(),
        }
        if self._account:
            details |= self._tally.totals(self._today(self._account))
        if self._tally.reports_left_out:
            details["reports_left_out"] = {
                report: redact(str(error), self.secrets)
                for report, error in self._tally.reports_left_out.items()
            }
        if self._range:
            details["window"] = [f"{self._range.since}", f"{self._range.until}"]
        if self.left_out:
            details["days_left_out"] = {
                f"{day}": problem for day, problem in sorted(self._redacted(self.left_out).items())
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

    def _redacted(self, problems: dict[date, str]) -> dict[date, str]:
        return {day: redact(problem, self.secrets) for day, problem in problems.items()}
