"""What came of a retention run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from workers.retention.batches import Stayed

Status = Literal["complete", "unfinished", "incomplete", "failed", "refused", "dry_run"]


@dataclass
class PolicyReport:
    """One entity type: rows `archived` and `purged`, bytes that were written to the cold archive
    and verified, and what remains (None: not known; the count ends at COUNT_LIMIT). `stayed` are
    rows that could not go, `batch_rows` how many at once each step managed."""

    entity_type: str
    status: Status
    archived: int = 0
    purged: int = 0
    verified_bytes: int = 0
    remaining: int | None = None
    stayed: list[Stayed] = field(default_factory=list)
    batch_rows: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    remark: str | None = None

    def conclude(self) -> None:
        """All steps are through: sets the status by what stayed."""
        lasting = [one for one in self.stayed if not one.is_passing]
        self.remaining = sum(one.rows for one in self.stayed)
        if lasting:
            self.status = "incomplete"
            self.error = "; ".join(map(str, lasting))
        elif self.stayed:
            self.status = "unfinished"

    def figures(self) -> dict[str, Any]:
        """JSON-able, without what is not known or empty."""
        empty: tuple[object, ...] = (None, [], {})
        return {name: value for name, value in asdict(self).items() if value not in empty}


@dataclass
class RetentionReport:
    """`outcome`: complete, unfinished (the deadline came), incomplete (rows stay that cannot go),
    failed (some policy), busy (another run is at it), dry_run. A policy that is none is refused
    and holds nothing up."""

    outcome: str = "complete"
    policies: list[PolicyReport] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "outcome": self.outcome,
            "archived": sum(one.archived for one in self.policies),
            "purged": sum(one.purged for one in self.policies),
            "stayed": sum(each.rows for one in self.policies for each in one.stayed),
            "refused": sum(one.status == "refused" for one in self.policies),
            "policies": [one.figures() for one in self.policies],
        }

    def conclude(self) -> None:
        """Sets `outcome` by what became of the policies."""
        statuses = {one.status for one in self.policies}
        for status in ("failed", "incomplete", "unfinished"):
            if status in statuses:
                self.outcome = status
                return
