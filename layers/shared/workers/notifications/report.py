"""The result of a run of the notification worker."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, TypeAlias

from workers.notifications.answers import Ended

COUNTS: Final = (
    "claimed",
    "sent",
    "retried",
    "rate_limited",
    "ambiguous",
    "reconciled",
    "possible_duplicates",
    "unknown_codes",
    "dead",
    "skipped",
    "expired",
    "parked",
    "moved",
    "released",
    "unknown_keys",
)


# Why a run ended. busy: another run is draining; handed_over: another run asked for the lease;
# waiting: Slack asked us to wait.
RunOutcome: TypeAlias = Literal[
    "drained",
    "deadline",
    "busy",
    "handed_over",
    "waiting",
    "slack_unavailable",
    "token_refused",
    "lease_lost",
    "failed",
]


@dataclass
class Report:
    """`outcome` says why the run ended, once it has. With `failure` it failed as a whole.

    `longest_waited` and `oldest_due` are seconds: the age of the oldest notification claimed, and
    of the oldest still due at the end. `parked` counts destinations.
    """

    outcome: RunOutcome | None = None
    failure: BaseException | None = None
    counts: Counter[str] = field(default_factory=Counter)
    longest_waited: float = 0.0
    oldest_due: float | None = None
    parked: int = 0

    def end(self, outcome: RunOutcome, failure: BaseException | None = None) -> None:
        """Start nothing more; what is under way is still recorded. The first reason stays."""
        if self.outcome is None:
            self.outcome = outcome
        if self.failure is None:
            self.failure = failure

    def count_ended(self, ended: Ended) -> None:
        """Add what ended without being posted."""
        self.counts.update(asdict(ended))

    @property
    def has_ended(self) -> bool:
        """Whether the run only waits for what is under way."""
        return self.outcome is not None

    def summary(self) -> dict[str, object]:
        """The report as the handler returns it, as JSON."""
        return {
            "outcome": self.outcome,
            **{name: self.counts[name] for name in COUNTS},
            "longest_waited_seconds": round(self.longest_waited, 1),
            "oldest_due_seconds": self.oldest_due,
            "parked_destinations": self.parked,
        }
