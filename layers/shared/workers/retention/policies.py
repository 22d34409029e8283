"""What retention_policies asks for, as one clear policy per entity type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from workers.answers import Answer

# A closed list: a type that is not on it is reported, never guessed at.
EntityType = Literal["activity_log", "notification_queue", "metric_sync_logs", "ad_metrics"]
ENTITY_TYPES: Final[tuple[EntityType, ...]] = get_args(EntityType)

# Postgres's dates go back further than this, Python's do not.
_MOST_DAYS: Final = 365_000


@dataclass(frozen=True)
class Cutoffs:
    """Points in time, as ISO 8601: older rows have expired as active rows, or as archived ones."""

    active: str
    archive: str

    def arguments(self) -> dict[str, str]:
        """For an SQL function that takes both."""
        return {"active_cutoff": self.active, "archive_cutoff": self.archive}


@dataclass(frozen=True)
class Policy:
    """How many days one entity type is kept as active rows, and as archived ones.

    `ids` are the rows of retention_policies that say so. `batch_rows` is how many rows at once each
    step of the last run managed. `remark` is for people.
    """

    ids: tuple[str, ...]
    entity_type: EntityType
    active_days: int
    archive_days: int
    remark: str | None = None
    batch_rows: Mapping[str, int] = field(default_factory=dict)

    def cutoffs(self, now: datetime) -> Cutoffs:
        """As of `now`."""
        return Cutoffs(
            active=(now - timedelta(days=self.active_days)).isoformat(),
            archive=(now - timedelta(days=self.archive_days)).isoformat(),
        )


@dataclass(frozen=True)
class RefusedPolicy:
    """A row of retention_policies that is not carried out."""

    id: str
    entity_type: str
    reason: str


def read_policies(rows: Iterable[Answer]) -> tuple[list[Policy], list[RefusedPolicy]]:
    """One policy per entity type, and the rows that are not valid policies.

    Of several rows for one type, the longer times apply: what any of them wants kept is kept.
    """
    policies: dict[EntityType, Policy] = {}
    refused = []
    for row in rows:
        policy = _read_policy(row)
        if isinstance(policy, RefusedPolicy):
            refused.append(policy)
            continue
        known = policies.get(policy.entity_type)
        policies[policy.entity_type] = policy if known is None else _longer(known, policy)
    return list(policies.values()), refused


def _read_policy(row: Answer) -> Policy | RefusedPolicy:
    id_, name = row.text("id"), row.text("entity_type")
    entity_type = next((one for one in ENTITY_TYPES if one == name), None)
    if entity_type is None:
        known = ", ".join(ENTITY_TYPES)
        return RefusedPolicy(id_, name, f"there is no retention for {name!r:.60}; only for {known}")
    active, archive = row.json("active_days"), row.json("archive_days")
    if not _is_valid(active):
        return RefusedPolicy(id_, name, _invalid("active_retention_days", active))
    if not _is_valid(archive):
        return RefusedPolicy(id_, name, _invalid("archive_retention_days", archive))
    return Policy(
        (id_,),
        entity_type,
        row.whole("active_days"),
        row.whole("archive_days"),
        # an answer that is for people has none
        batch_rows=row.wholes("batch_rows") if "batch_rows" in row.fields else {},
    )


def _is_valid(days: object) -> bool:
    return isinstance(days, int) and not isinstance(days, bool) and 1 <= days <= _MOST_DAYS


def _invalid(name: str, days: object) -> str:
    return f"{name} must be from 1 to {_MOST_DAYS}, not {days!r:.20}"


def _longer(one: Policy, other: Policy) -> Policy:
    return replace(
        one,
        ids=one.ids + other.ids,
        active_days=max(one.active_days, other.active_days),
        archive_days=max(one.archive_days, other.archive_days),
        remark="there are several policies for this type: the longer times apply",
    )
