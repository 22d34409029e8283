"""Parses the part of the Google Ads Query Language that the fake Google Ads answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUERY = re.compile(
    r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<resource>\w+)(?:\s+WHERE\s+(?P<where>.+?))?"
    r"(?:\s+ORDER\s+BY\s+(?P<order>.+?))?(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|[\w.\-]+)"
_CONDITION = re.compile(
    rf"\s*(?P<field>[\w.]+)\s*(?:"
    rf"(?P<between>BETWEEN)\s+(?P<low>{_VALUE})\s+AND\s+(?P<high>{_VALUE})"
    rf"|(?P<within>DURING)\s+(?P<period>\w+)"
    rf"|(?P<among>NOT\s+IN|IN)\s*\((?P<members>[^)]*)\)"
    rf"|(?P<operator><=|>=|!=|=|<|>)\s*(?P<value>{_VALUE})"
    rf")\s*(?:AND\s|$)",
    re.IGNORECASE,
)


class QueryProblem(ValueError):
    """A query that Google Ads would refuse: the value of `queryError` and a sentence."""

    def __init__(self, value: str, message: str) -> None:
        super().__init__(message)
        self.value = value


@dataclass(frozen=True)
class Condition:
    """One part of WHERE: BETWEEN, DURING, IN, NOT IN or a comparison; values without quotes."""

    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A parsed query. `order` holds (field, whether descending)."""

    fields: tuple[str, ...]
    resource: str
    conditions: tuple[Condition, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None


def parse(text: str) -> Query:
    """Parse a query. Raises QueryProblem if it is not one."""
    found = _QUERY.fullmatch(text)
    if found is None:
        raise QueryProblem("UNEXPECTED_INPUT", "Error in query: unexpected input.")
    return Query(
        fields=tuple(name.strip() for name in found["fields"].split(",")),
        resource=found["resource"],
        conditions=_conditions(found["where"] or ""),
        order=tuple(_ordering(part) for part in (found["order"] or "").split(",") if part.strip()),
        limit=int(found["limit"]) if found["limit"] else None,
    )


def _conditions(text: str) -> tuple[Condition, ...]:
    conditions = []
    place = 0
    while place < len(text):
        found = _CONDITION.match(text, place)
        if found is None:
            raise QueryProblem("UNEXPECTED_INPUT", "Error in WHERE: unexpected input.")
        conditions.append(_condition(found))
        place = found.end()
    return tuple(conditions)


def _condition(found: re.Match[str]) -> Condition:
    if found["between"]:
        return Condition(found["field"], "BETWEEN", (_bare(found["low"]), _bare(found["high"])))
    if found["within"]:
        return Condition(found["field"], "DURING", (found["period"].upper(),))
    if found["among"]:
        operator = " ".join(found["among"].upper().split())
        members = tuple(_bare(each) for each in found["members"].split(","))
        return Condition(found["field"], operator, members)
    return Condition(found["field"], found["operator"], (_bare(found["value"]),))


def _ordering(text: str) -> tuple[str, bool]:
    name, _, direction = text.strip().partition(" ")
    if direction.strip().upper() not in ("", "ASC", "DESC"):
        raise QueryProblem("UNEXPECTED_INPUT", "Error in ORDER BY: unexpected input.")
    return name, direction.strip().upper() == "DESC"


def _bare(text: str) -> str:
    return text.strip().strip("'\"")
