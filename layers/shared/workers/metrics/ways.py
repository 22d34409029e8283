"""The connections that may read an account, and which of them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.errors import (
    ConnectionCredentialsError,
    MalformedAnswerError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)
from workers.metrics.platforms.protocol import Connection


class Ways:
    """One connection of an account reads it: `connection`. Another stands in where that one is
    refused."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """`rows`, at least one, are those of account_ways: the first one reads."""
        self._rows = list(rows)
        self.secrets = tuple(secret for row in rows for secret in Connection.from_row(row).secrets)
        self.connection = Connection.from_row(rows[0])
        # whether that one was let in, and read something
        self.has_answered = self.has_read = False
        # those whose credentials were refused, as end_metric_sync takes them
        self.parked: list[dict[str, str]] = []
        # the one whose app or account is at its limit
        self.paused: str | None = None
        # what of the deployment has to be put right
        self.misconfigured: str | None = None
        self._is_second_thought = False

    @property
    def is_parked(self) -> bool:
        """Whether that is what became of the present one."""
        return self.connection.id in {one["connection_id"] for one in self.parked}

    @property
    def worked(self) -> dict[str, str] | None:
        """The present one, where it has read something, as end_metric_sync takes it."""
        if not self.has_read:
            return None
        return {"id": self.connection.id, "digest": self._rows[0]["digest"]}

    def is_to_be_asked_again(self, error: WorkerError) -> bool:
        """Whether it is a first refusal of credentials that have worked, lately or just now."""
        if not isinstance(error, ConnectionCredentialsError) or self._is_second_thought:
            return False
        self._is_second_thought = bool(self._rows[0]["has_worked"]) or self.has_answered
        return self._is_second_thought

    def has_stand_in(self, error: WorkerError, message: str) -> bool:
        """Whether another connection of the account may fare better, which then is the one that
        reads. One whose credentials are refused is parked, for the reason `message`."""
        if isinstance(error, RateLimitedError):
            self.paused = self.connection.id
            return False
        if isinstance(error, SharedCredentialsError):
            self.misconfigured = message
        is_refused = isinstance(error, ConnectionCredentialsError)
        if isinstance(error, MalformedAnswerError) or not (
            is_refused or isinstance(error, PermanentError | SharedCredentialsError)
        ):
            return False
        row = self._rows[0]
        if is_refused:
            self.parked.append(
                {"connection_id": row["id"], "digest": row["digest"], "reason": message}
            )
        if len(self._rows) == 1:
            return False
        del self._rows[0]
        self._is_second_thought = self.has_answered = self.has_read = False
        self.connection = Connection.from_row(self._rows[0])
        return True
