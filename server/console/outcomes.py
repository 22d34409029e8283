"""How runs end, in words: what each worker's outcome means, and how serious it is."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol

Level = Literal["ok", "quiet", "warning", "failed"]

# The workers' names for people, in the order in which they are shown.
WORKERS: Final = {
    "notifications": "Notifications",
    "metrics_sync": "Metrics: planning",
    "connection_sync": "Metrics: account syncs",
    "retention": "Retention",
}


class Outcome(NamedTuple):
    """`sign` is shown where there is no room for words."""

    level: Level
    words: str

    @property
    def sign(self) -> str:
        """One character, distinct without colour."""
        return {"ok": "✓", "quiet": "·", "warning": "!", "failed": "✕"}[self.level]


_OUTCOMES: Final[dict[str, dict[str, Outcome]]] = {
    "notifications": {
        "drained": Outcome("ok", "sent everything that was due"),
        "deadline": Outcome("ok", "out of time; the next run continues"),
        "handed_over": Outcome("ok", "the next run took over"),
        "waiting": Outcome("warning", "waiting, as Slack asked"),
        "busy": Outcome("quiet", "another run was in progress"),
        "lease_lost": Outcome("warning", "another run took over"),
        "slack_unavailable": Outcome("failed", "Slack did not answer"),
        "token_refused": Outcome("failed", "Slack refused the token"),
    },
    "metrics_sync": {"planned": Outcome("ok", "planned the syncs that were due")},
    "connection_sync": {
        "success": Outcome("ok", "read everything that was requested"),
        "partial": Outcome("warning", "read a part; the next sync continues"),
        "stale": Outcome("quiet", "the sync request was out of date"),
        "paused": Outcome("quiet", "waiting, as the platform asked"),
        "lost": Outcome("warning", "another sync took over"),
        "failed": Outcome("failed", "could not read the account"),
    },
    "retention": {
        "complete": Outcome("ok", "archived and purged everything that was due"),
        "unfinished": Outcome("warning", "out of time; the next run continues"),
        "incomplete": Outcome("failed", "some rows could not be archived or purged"),
        "busy": Outcome("quiet", "another run was in progress"),
        "dry_run": Outcome("quiet", "only counted what is due"),
        "failed": Outcome("failed", "a policy failed"),
    },
}


# By the class of the error that ended a run: what it means for whoever reads it.
_ERRORS: Final = {
    "TransientError": "something did not answer, so the next run tries again",
    "AmbiguousError": "an answer did not arrive, so the next run checks what was done",
    "GeneralError": "something did not answer, so the next run tries again",
    "RateLimitedError": "it was asked to wait, so a later run tries again",
    "ConfigurationError": "the setup has to be corrected",
    "CredentialsError": "a credential was refused",
    "SharedCredentialsError": "a credential of an ad platform's app was refused",
    "BrokenStreamError": "an answer did not come in time, so the next run asks for less",
    "TooMuchDataError": "an answer was too large",
    "CannotReadError": "it could not be checked whether something was done",
    "PermanentError": "something refused it, and will again",
    "DestinationError": "a channel or person cannot receive anything",
    "MalformedAnswerError": "an answer was not what was asked for",
    "ArchivedObjectError": "an object of the cold archive cannot be read",
    "DamagedArchiveError": "an object of the cold archive is damaged",
    "FrozenArchiveError": "an object of the cold archive has to be restored from Glacier first",
    "ConnectionCredentialsError": "an ad account's credential was refused",
    "ExpiredSignInError": "a sign-in to an ad platform has expired",
    "UnknownError": "something refused it for an unknown reason",
}
_FAULT: Final = "an error in the worker itself"


class EndedRun(Protocol):
    """How a run ended; `error_class` is that of the error that ended it, if one did."""

    @property
    def outcome(self) -> str:
        """One of its worker's."""

    @property
    def succeeded(self) -> bool:
        """Whether the run counts as a success of its worker."""

    @property
    def error_class(self) -> str | None:
        """Of the error that ended the run."""


def outcome_of(worker: str, run: EndedRun) -> Outcome:
    """What the outcome of this run means; an unknown outcome is shown as it is."""
    if run.error_class is not None:
        return Outcome("failed", f"failed: {_ERRORS.get(run.error_class, _FAULT)}")
    known = _OUTCOMES.get(worker, {}).get(run.outcome)
    if known is not None:
        return known
    return Outcome("ok" if run.succeeded else "failed", run.outcome.replace("_", " "))


def is_fault(run: EndedRun) -> bool:
    """Whether the run ended by an error in the worker itself, whose class helps to find it."""
    return run.error_class is not None and run.error_class not in _ERRORS
