"""The project that is looked at: the one place where the console has clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.console.examination import Examination
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
        """`dotenv`: where settings are read from besides the environment."""
        self._settings, self._database, self._dotenv = settings, database, dotenv
        self._archives: dict[str, ArchiveView] = {}
        self.examination = Examination(self.examine)

    @property
    def settings(self) -> Settings:
        """As they are now. Raises ConfigurationError naming all that is missing or malformed."""
        return self._settings()

    @property
    def name(self) -> str:
        """The address of its Supabase project."""
        return self.settings.supabase_url

    def call(self, function: str, **arguments: Any) -> Any:
        """What the SQL function returns, as JSON without secrets that some text of it quotes.

        Raises WorkerError as `Database.call` does; after a refused key the settings are read anew.
        """
        try:
            return mask_all(self._database().call(function, **arguments))
        except CredentialsError:
            container.forget_clients()  # the secret may have been rotated
            raise

    @property
    def archive(self) -> ArchiveView | None:
        """The cold archive; None where no bucket is set. Raises ConfigurationError."""
        bucket = self.settings.archive_bucket_name
        if bucket is None:
            return None
        # a client is made once: that takes a while
        if bucket not in self._archives:
            self._archives[bucket] = ArchiveView(bucket)
        return self._archives[bucket]

    def carry_out_retention(
        self, tell: Callable[[PolicyReport], None], *, dry_run: bool
    ) -> RetentionReport:
        """Archives and purges now what the policies say; `dry_run` only counts."""
        return manual_runs.carry_out_retention(
            self._database(), self.settings, tell, dry_run=dry_run
        )

    def due_for_retention(self) -> RetentionReport:
        """What a run would take now."""
        return manual_runs.due_for_retention(self._database())

    def read_past(
        self, connection_id: str, asked: Window, tell: Callable[[Window, int], None]
    ) -> SyncReport | None:
        """Reads these days of an account; None while it is being synced."""
        return manual_runs.read_past(self._database(), self.settings, connection_id, asked, tell)

    def restore(self, since: date, until: date, tell: Callable[[date, Restored], None]) -> Restored:
        """Brings activity of these days back from the cold archive. Raises ConfigurationError."""
        view = self.archive
        if view is None:
            raise ConfigurationError("ARCHIVE_BUCKET_NAME is missing: there is no cold archive")
        return view.restore(self._database(), since, until, tell)

    def examine(self, post_to: str | None = None) -> Iterator[Section]:
        """The doctor's examination, section by section; `post_to`: a channel for a test message."""
        return doctor.sections(post_to, dotenv=self._dotenv)
