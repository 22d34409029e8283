"""What retention_policies asks for, as one clear policy per entity type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

# A closed list: what is not on it is reported, never guessed.
ENTITY_TYPES = ("activity_log", "notification_queue", "metric_sync_logs", "ad_metrics")

# Postgres' dates reach further back than this, Python's do not.
_MOST_DAYS = 365_000


@dataclass(frozen=True)
class Policy:
    """How long one entity type is kept: active, and as an archive; in days. `ids` are the rows
    of retention_policies that say so, `batch_rows` how many rows at once the last run managed by
    step, `remark` what there is to say about them."""

    ids: tuple[str, ...]
    entity_type: str
    active_days: int
    archive_days: int
    remark: str | None = None
    batch_rows: Mapping[str, int] = field(default_factory=dict)

    def cutoffs(self, now: datetime) -> dict[str, str]:
        """What is older is past its time, as the SQL functions take it."""
        return {
            "active_cutoff": (now - timedelta(days=self.active_days)).isoformat(),
            "archive_cutoff": (now - timedelta(days=self.archive_days)).isoformat(),
        }


@dataclass(frozen=True)
class RefusedPolicy:
    """A row of retention_policies that is not carried out."""

    id: str
    entity_type: str
    reason: str


def read_policies(rows: Iterable[Mapping[str, Any]]) -> tuple[list[Policy], list[RefusedPolicy]]:
    """One policy per entity type, and the rows that are none.

    Of two rows for one type the longer times apply: what either wants kept is kept.
    """
    policies: dict[str, Policy] = {}
    refused = []
    for row in rows:
        entity_type = str(row["entity_type"])
        reason = _refusal(entity_type, row["active_days"], row["archive_days"])
        if reason is not None:
            refused.append(RefusedPolicy(row["id"], entity_type, reason))
            continue
        policy = Policy(
            (row["id"],),
            entity_type,
            row["active_days"],
            row["archive_days"],
            batch_rows=row.get("batch_rows", {}),
        )
        known = policies.get(entity_type)
        policies[entity_type] = policy if known is None else _longer(known, policy)
    return list(policies.values()), refused


def _refusal(entity_type: str, active_days: Any, archive_days: Any) -> str | None:
    if entity_type not in ENTITY_TYPES:
        return f"there is no retention for {entity_type!r:.60}; there is: {', '.join(ENTITY_TYPES)}"
    for name, days in (
        ("active_retention_days", active_days),
        ("archive_retention_days", archive_days),
    ):
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= _MOST_DAYS:
            return f"{name} must be from 1 to {_MOST_DAYS}, not {days!r:.20}"
    return None


def _longer(one: Policy, other: Policy) -> Policy:
    return replace(
        one,
        ids=one.ids + other.ids,
        active_days=max(one.active_days, other.active_days),
        archive_days=max(one.archive_days, other.archive_days),
        remark="there are several policies for this type: the longer times apply",
    )
