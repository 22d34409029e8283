"""The results of a retention run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Final, Literal, assert_never

from workers.retention.batches import Stayed

Status = Literal["complete", "unfinished", "incomplete", "failed", "refused", "dry_run"]
Outcome = Literal["complete", "unfinished", "incomplete", "failed", "busy", "dry_run"]
# What a step does with the rows it takes.
Counter = Literal["archived", "purged"]

# Of the policies of a run, the first of these that occurs is the run's outcome.
_WORST_FIRST: Final[tuple[Outcome, ...]] = ("failed", "incomplete", "unfinished")


@dataclass
class PolicyReport:
    """One entity type: rows `archived` and `purged`, the bytes written to the cold archive and
    verified, and how many rows remain (None: unknown; counting stops at COUNT_LIMIT). `stayed` are
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

    def count(self, counter: Counter, rows: int) -> None:
        """Adds rows that a step has dealt with."""
        match counter:
            case "archived":
                self.archived += rows
            case "purged":
                self.purged += rows
            case _:
                assert_never(counter)

    def conclude(self) -> None:
        """Sets the status once all steps are done, by the rows that stayed."""
        lasting = [one for one in self.stayed if not one.is_passing]
        self.remaining = sum(one.rows for one in self.stayed)
        if lasting:
            self.status = "incomplete"
            self.error = "; ".join(map(str, lasting))
        elif self.stayed:
            self.status = "unfinished"

    def figures(self) -> dict[str, object]:
        """JSON-able, without what is unknown or empty."""
        empty: tuple[object, ...] = (None, [], {})
        return {name: value for name, value in asdict(self).items() if value not in empty}


@dataclass
class RetentionReport:
    """`outcome`: complete, unfinished (the deadline came), incomplete (some rows cannot go),
    failed (some policy), busy (another run is active), dry_run. A row that is not a valid policy is
    refused and does not affect the outcome."""

    outcome: Outcome = "complete"
    policies: list[PolicyReport] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
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
        """Sets `outcome` by the policies' statuses."""
        statuses = {one.status for one in self.policies}
        for outcome in _WORST_FIRST:
            if outcome in statuses:
                self.outcome = outcome
                return
