"""What a run of the notification worker came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

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


@dataclass
class Report:
    """`outcome` says why the run ended, once it has: drained, deadline, busy (another run drains),
    handed_over (another run asked for it), waiting (Slack asked for it), slack_unavailable,
    token_refused, lease_lost or failed. With `failure` it failed as a whole.

    `longest_waited` and `oldest_due` are seconds: the age of the oldest notification claimed, and
    of the oldest still due at the end. `parked` counts destinations.
    """

    outcome: str | None = None
    failure: BaseException | None = None
    counts: Counter[str] = field(default_factory=Counter)
    longest_waited: float = 0.0
    oldest_due: float | None = None
    parked: int = 0

    def end(self, outcome: str, failure: BaseException | None = None) -> None:
        """Start nothing more; what is under way still comes in. The first reason stays."""
        if self.outcome is None:
            self.outcome = outcome
        if self.failure is None:
            self.failure = failure

    @property
    def has_ended(self) -> bool:
        """Whether the run only waits for what is under way."""
        return self.outcome is not None

    def summary(self) -> dict[str, Any]:
        """The report as the handler returns it, as JSON."""
        return {
            "outcome": self.outcome,
            **{name: self.counts[name] for name in COUNTS},
            "longest_waited_seconds": round(self.longest_waited, 1),
            "oldest_due_seconds": self.oldest_due,
            "parked_destinations": self.parked,
        }
