"""The connections that may read an account, and which of them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.errors import (
    ConnectionCredentialsError,
    MalformedAnswerError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)
from workers.metrics.answers import Candidate
from workers.metrics.platforms.protocol import Connection


@dataclass(frozen=True)
class Parked:
    """A connection whose credentials, by their digest, were refused, and why."""

    connection_id: str
    digest: str
    reason: str


class AccountConnections:
    """One connection of an account reads it: `current`. Another takes over where that one is
    refused."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        """The first of the candidates, at least one, reads."""
        self._candidates = list(candidates)
        self.secrets = tuple(
            secret for candidate in candidates for secret in candidate.connection.secrets
        )
        # whether the platform has let the current one in, and whether it has read something
        self.has_answered = self.has_read = False
        # those whose credentials were refused
        self.parked: list[Parked] = []
        # the id of the one whose app or account is at its limit
        self.paused: str | None = None
        # what has to be corrected in the deployment
        self.misconfigured: str | None = None
        self._is_second_try = False

    @property
    def current(self) -> Connection:
        """The one that reads."""
        return self._candidates[0].connection

    @property
    def is_parked(self) -> bool:
        """Whether the current one's credentials were refused."""
        return self.current.id in {parked.connection_id for parked in self.parked}

    @property
    def worked(self) -> Candidate | None:
        """The current one, where it has read something."""
        return self._candidates[0] if self.has_read else None

    def is_to_be_asked_again(self, error: WorkerError) -> bool:
        """Whether it is a first refusal of credentials that have worked, lately or just now."""
        if not isinstance(error, ConnectionCredentialsError) or self._is_second_try:
            return False
        self._is_second_try = self._candidates[0].has_worked or self.has_answered
        return self._is_second_try

    def take_over(self, error: WorkerError, message: str) -> bool:
        """Whether another connection of the account may succeed after this error; it is the
        current one then. One whose credentials are refused is parked, for the reason `message`."""
        if isinstance(error, RateLimitedError):
            self.paused = self.current.id
            return False
        if isinstance(error, SharedCredentialsError):
            self.misconfigured = message
        is_refused = isinstance(error, ConnectionCredentialsError)
        if isinstance(error, MalformedAnswerError) or not (
            is_refused or isinstance(error, PermanentError | SharedCredentialsError)
        ):
            return False
        if is_refused:
            self.parked.append(Parked(self.current.id, self._candidates[0].digest, message))
        if len(self._candidates) == 1:
            return False
        del self._candidates[0]
        self._is_second_try = self.has_answered = self.has_read = False
        return True
