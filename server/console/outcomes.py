"""How runs end, in words: what each worker's outcome means, and how much it matters."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

Level = Literal["ok", "quiet", "warning", "failed"]

# What the workers are called, in the order in which they are shown.
WORKERS: Final = {
    "notifications": "Notifications",
    "metrics_sync": "Metrics: the plan",
    "connection_sync": "Metrics: syncs of accounts",
    "retention": "Retention",
}


class Outcome(NamedTuple):
    """`sign` stands for it where there is no room for words."""

    level: Level
    words: str

    @property
    def sign(self) -> str:
        """One character that does without colour."""
        return {"ok": "✓", "quiet": "·", "warning": "!", "failed": "✕"}[self.level]


_OUTCOMES: Final[dict[str, dict[str, Outcome]]] = {
    "notifications": {
        "drained": Outcome("ok", "sent all that was due"),
        "deadline": Outcome("ok", "its time was up; the next run goes on"),
        "handed_over": Outcome("ok", "handed over to the next run"),
        "waiting": Outcome("warning", "waits, because Slack asked for it"),
        "busy": Outcome("quiet", "another run was at it"),
        "lease_lost": Outcome("warning", "another run took over"),
        "slack_unavailable": Outcome("failed", "Slack did not answer"),
        "token_refused": Outcome("failed", "Slack refused the token"),
    },
    "metrics_sync": {"planned": Outcome("ok", "planned the syncs that were due")},
    "connection_sync": {
        "success": Outcome("ok", "read all that was asked for"),
        "partial": Outcome("warning", "read a part; the next sync goes on"),
        "stale": Outcome("quiet", "its order was no longer valid"),
        "paused": Outcome("quiet", "waits, because its platform asked for it"),
        "lost": Outcome("warning", "another sync took over"),
        "failed": Outcome("failed", "could not read the account"),
    },
    "retention": {
        "complete": Outcome("ok", "archived and purged all that was due"),
        "unfinished": Outcome("warning", "its time was up; the next run goes on"),
        "incomplete": Outcome("failed", "some rows cannot go"),
        "busy": Outcome("quiet", "another run was at it"),
        "dry_run": Outcome("quiet", "only counted what would go"),
        "failed": Outcome("failed", "a policy failed"),
    },
}


def outcome_of(worker: str, run: dict[str, Any]) -> Outcome:
    """What the outcome of that run means; a word that is unknown here stands for itself."""
    if run["error_class"] is not None:
        return Outcome("failed", f"failed as a whole ({run['error_class']})")
    known = _OUTCOMES.get(worker, {}).get(run["outcome"])
    if known is not None:
        return known
    return Outcome("ok" if run["succeeded"] else "failed", str(run["outcome"]).replace("_", " "))
