"""What the dashboard's own constraints and triggers do when retention takes rows: for people to
know before it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, assert_never

from workers.answers import Answer

# The policy that takes the rows of a table, where it is not named after it.
_POLICIES: Final[Mapping[str, str]] = {"archived_activity_log": "activity_log"}


class _Kind(Enum):
    """As retention_hazards names them."""

    COLUMN = "column"
    DEMAND = "demand"
    TRIGGER = "trigger"
    UNINDEXED = "unindexed"
    REFUSAL = "refusal"
    CASCADE = "cascade"


@dataclass(frozen=True)
class Hazard:
    """What one constraint or trigger of a table does, and what to do if that is not wanted. One
    that `stops` lets no row move until it is fixed."""

    entity_type: str
    level: Literal["stops", "warns", "notes"]
    text: str
    fix: str


def read_hazards(value: object) -> list[Hazard]:
    """As retention_hazards returns them."""
    return [_hazard(row) for row in Answer.each("retention_hazards", value)]


def _hazard(row: Answer) -> Hazard:
    table, what, name = row.text("table"), row.optional_text("what"), row.optional_text("name")
    entity_type = _POLICIES.get(table, table)
    kind = row.choice("kind", _Kind)
    match kind:
        case _Kind.COLUMN:
            return Hazard(
                entity_type,
                "stops",
                f"archived_activity_log cannot hold the column {what} of activity_log, so nothing "
                "is archived",
                f"alter table public.archived_activity_log add column {what};",
            )
        case _Kind.DEMAND:
            return Hazard(
                entity_type,
                "stops",
                f"archived_activity_log requires a {what}, which activity_log does not have, so "
                "nothing is archived",
                f"alter table public.archived_activity_log alter column {what} set default ...;",
            )
        case _Kind.TRIGGER:
            return Hazard(
                entity_type,
                "notes",
                f"the trigger {name} on {table} runs for each row that retention takes or stores; "
                "rows that it keeps or changes are reported and stay",
                "Nothing, if that is intended",
            )
        case _Kind.UNINDEXED:
            return Hazard(
                entity_type,
                "warns",
                f"for each row that leaves {table}, all of {what} is searched (foreign key {name})",
                f"Build an index on the referencing column of {what}",
            )
        case _Kind.REFUSAL:
            return Hazard(
                entity_type,
                "notes",
                f"rows of {table} stay as long as rows of {what} refer to them (foreign key "
                f"{name})",
                "Nothing, if that is intended",
            )
        case _Kind.CASCADE if table == "activity_log":  # archived rows still exist
            return Hazard(
                entity_type,
                "warns",
                f"rows of activity_log are not archived while rows of {what} refer to them: "
                f"archiving would delete or change those as well (foreign key {name})",
                f"Have the foreign key refer to nothing that is archived, or drop {name}",
            )
        case _Kind.CASCADE:
            return Hazard(
                entity_type,
                "warns",
                f"with each row purged from {table}, the rows of {what} that refer to it are "
                f"deleted or changed as well (foreign key {name})",
                f"Drop {name}, if rows of {what} are to outlast it",
            )
        case _:
            assert_never(kind)
