"""What the dashboard's own rules for its tables do when retention takes rows: for people to know
before it happens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

# Whose policy takes the rows of a table.
_POLICIES: Final[Mapping[str, str]] = {"archived_activity_log": "activity_log"}


@dataclass(frozen=True)
class Hazard:
    """One rule of a table: what it does, and what to do if that is not wanted. A `stops` lets
    nothing move until it is fixed."""

    entity_type: str
    level: Literal["stops", "warns", "tells"]
    text: str
    fix: str


def read_hazards(rows: Iterable[Mapping[str, Any]]) -> list[Hazard]:
    """From what retention_hazards returns."""
    return [_hazard(**row) for row in rows]


def _hazard(table: str, kind: str, what: str | None, name: str | None) -> Hazard:
    entity_type = _POLICIES.get(table, table)
    if kind == "column":
        return Hazard(
            entity_type,
            "stops",
            f"archived_activity_log cannot hold the column {what} of activity_log, so nothing is "
            "archived",
            f"alter table public.archived_activity_log add column {what};",
        )
    if kind == "demand":
        return Hazard(
            entity_type,
            "stops",
            f"archived_activity_log demands a {what}, which activity_log does not have, so nothing "
            "is archived",
            f"alter table public.archived_activity_log alter column {what} set default ...;",
        )
    if kind == "trigger":
        return Hazard(
            entity_type,
            "tells",
            f"the trigger {name} on {table} runs for each row that retention takes or stores; "
            "rows that it keeps or changes are reported and stay",
            "Nothing, if that is meant",
        )
    if kind == "unindexed":
        return Hazard(
            entity_type,
            "warns",
            f"for each row that leaves {table}, all of {what} is searched (foreign key {name})",
            f"Build an index on the referring column of {what}",
        )
    if kind == "refusal":
        return Hazard(
            entity_type,
            "tells",
            f"rows of {table} stay as long as rows of {what} refer to them (foreign key {name})",
            "Nothing, if that is meant",
        )
    if table == "activity_log":  # what is moved is not gone
        return Hazard(
            entity_type,
            "warns",
            f"rows of activity_log are not archived while rows of {what} refer to them: archiving "
            f"would delete or change those as well (foreign key {name})",
            f"Let the foreign key refer to nothing that is archived, or drop {name}",
        )
    return Hazard(
        entity_type,
        "warns",
        f"with each row purged from {table}, the rows of {what} that refer to it are deleted or "
        f"changed as well (foreign key {name})",
        f"Drop {name}, if rows of {what} are to outlast it",
    )
