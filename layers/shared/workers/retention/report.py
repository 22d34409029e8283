"""What came of a retention run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["complete", "unfinished", "failed", "refused", "dry_run"]


@dataclass
class PolicyReport:
    """One entity type: rows `archived` and `purged`, bytes that were written to the cold archive
    and verified, and what remains (None: not known; the count ends at COUNT_LIMIT)."""

    entity_type: str
    status: Status
    archived: int = 0
    purged: int = 0
    verified_bytes: int = 0
    remaining: int | None = None
    error: str | None = None
    remark: str | None = None

    def figures(self) -> dict[str, Any]:
        """JSON-able, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass
class RetentionReport:
    """`outcome`: complete, unfinished (the deadline came), failed (some policy), busy (another
    run is at it), dry_run. A policy that is none is refused and holds nothing up."""

    outcome: str = "complete"
    policies: list[PolicyReport] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "outcome": self.outcome,
            "archived": sum(one.archived for one in self.policies),
            "purged": sum(one.purged for one in self.policies),
            "refused": sum(one.status == "refused" for one in self.policies),
            "policies": [one.figures() for one in self.policies],
        }

    def conclude(self) -> None:
        """Sets `outcome` by what became of the policies."""
        statuses = {one.status for one in self.policies}
        for status in ("failed", "unfinished"):
            if status in statuses:
                self.outcome = status
                return
