"""The project that the console shows: the only place where the console has clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from server.console.examination import Examination
from server.console.running import Running
from workers.answers import Answer
from workers.clock import Clock
from workers.composition import container, doctor, manual_runs
from workers.composition.archive import ArchiveView
from workers.database import Database
from workers.doctor.sections import Section
from workers.errors import ConfigurationError, CredentialsError
from workers.metrics.outcomes import SyncReport
from workers.metrics.windows import Window
from workers.redaction import mask_all
from workers.retention.report import PolicyReport, RetentionReport
from workers.settings import Settings

if TYPE_CHECKING:  # with S3's client, which takes a while to load
    from workers.composition.restore import Restored


class Project:
    """Settings and database of one project. Safe for threads."""

    def __init__(
        self,
        settings: Callable[[], Settings] = container.settings,
        database: Callable[[], Database] = container.database,
        *,
        dotenv: Path | None = None,
    ) -> None:
        """`dotenv`: a file that settings are read from, in addition to the environment."""
        self._settings, self._database, self._dotenv = settings, database, dotenv
        self._archives: dict[str, ArchiveView] = {}
        self.examination = Examination(self.examine)
        self.running = Running()

    @property
    def settings(self) -> Settings:
        """As they are now. Raises ConfigurationError naming everything missing or malformed."""
        return self._settings()

    @property
    def name(self) -> str:
        """The URL of its Supabase project."""
        return self.settings.supabase_url

    def call(self, function: str, **arguments: object) -> object:
        """The SQL function's answer as JSON, with secrets that its texts quote masked.

        Raises WorkerError as `Database.call` does; after a refused key the settings are read again.
        """
        try:
            return mask_all(self._database().call(function, **arguments))
        except CredentialsError:
            container.forget_clients()  # the secret may have been rotated
            raise

    def answer(self, function: str, **arguments: object) -> Answer:
        """The object that the SQL function returns. Raises as `call` does, and ConfigurationError
        where it is not an object."""
        return Answer.of(function, self.call(function, **arguments))

    def optional_answer(self, function: str, **arguments: object) -> Answer | None:
        """`answer`, or None for null."""
        value = self.call(function, **arguments)
        return None if value is None else Answer.of(function, value)

    def answers(self, function: str, **arguments: object) -> tuple[Answer, ...]:
        """The objects of the array that the SQL function returns. Raises as `answer` does."""
        return Answer.each(function, self.call(function, **arguments))

    @property
    def archive(self) -> ArchiveView | None:
        """The cold archive; None where no bucket is set. Raises ConfigurationError."""
        bucket = self.settings.archive_bucket_name
        if bucket is None:
            return None
        # one client per bucket: making one takes a while
        if bucket not in self._archives:
            self._archives[bucket] = ArchiveView(bucket)
        return self._archives[bucket]

    def run_retention(
        self, report: Callable[[PolicyReport], None], as_of: datetime, clock: Clock
    ) -> RetentionReport:
        """Archives and purges what was due by the policies `as_of`, until `clock` is stopped."""
        return manual_runs.carry_out_retention(
            self._database(), self.settings, report, as_of=as_of, clock=clock
        )

    def dry_run_retention(self) -> RetentionReport:
        """Counts what a run would archive and purge now, as a recorded run."""
        return manual_runs.carry_out_retention(
            self._database(), self.settings, lambda policy: None, dry_run=True
        )

    def due_for_retention(self, as_of: datetime) -> RetentionReport:
        """What a run would archive and purge of what was due `as_of`."""
        return manual_runs.due_for_retention(self._database(), as_of)

    def read_past(
        self,
        connection_id: str,
        days: Window,
        report: Callable[[Window, int], None],
        clock: Clock,
    ) -> SyncReport | None:
        """Reads these days of an account, until `clock` is stopped; None while it is being
        synced."""
        return manual_runs.read_past(
            self._database(), self.settings, connection_id, days, report, clock
        )

    def restore(
        self, since: date, until: date, report: Callable[[date, Restored], None]
    ) -> Restored:
        """Restores activity of these days from the cold archive. Raises ConfigurationError."""
        view = self.archive
        if view is None:
            raise ConfigurationError("ARCHIVE_BUCKET_NAME is missing: there is no cold archive")
        return view.restore(self._database(), since, until, report)

    def examine(self, post_to: str | None = None) -> Iterator[Section]:
        """The doctor's checks, section by section; `post_to`: a channel for a test message."""
        return doctor.sections(post_to, dotenv=self._dotenv)
