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
    "unparked",
    "released",
    "unknown_keys",
)


@dataclass
class Report:
    """`outcome` says why the run ended: drained, deadline, busy (another run drains), waiting
    (Slack asked for it), slack_unavailable, token_refused, lease_lost or failed.

    `longest_waited` and `oldest_due` are seconds: the age of the oldest notification taken in
    hand, and of the oldest still due at the end.
    """

    outcome: str
    counts: Counter[str] = field(default_factory=Counter)
    longest_waited: float = 0.0
    oldest_due: float | None = None
    parked_configs: int = 0

    def summary(self) -> dict[str, Any]:
        """The report as the handler returns it, as JSON."""
        return {
            "outcome": self.outcome,
            **{name: self.counts[name] for name in COUNTS},
            "longest_waited_seconds": round(self.longest_waited, 1),
            "oldest_due_seconds": self.oldest_due,
            "parked_configs": self.parked_configs,
        }
