"""The project that is looked at: the one place where the console has clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workers.composition import container, doctor
from workers.composition.archive import ArchiveView
from workers.database import Database
from workers.doctor.sections import Section
from workers.errors import CredentialsError
from workers.redaction import mask_all
from workers.settings import Settings


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

    def examine(self) -> Iterator[Section]:
        """The doctor's examination, section by section."""
        return doctor.sections(dotenv=self._dotenv)
