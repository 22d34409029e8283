"""What the fake Google Ads reports: a query's rows, in Google's units and as JSON text.

Rows are written as text here, not at the end: a report of some hundred thousand rows takes seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import islice
from typing import Any

from local.fakes.ad_facts import WINDOWS, AdRecord, Facts, More, Several, summed_up, total
from local.fakes.gaql import Condition, Query, QueryProblem


@cache
def _camel(name: str) -> str:
    """A field's name in JSON."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


@dataclass(frozen=True)
class _Thing:
    """The subject of a row: an ad in an ad group, an asset group, a campaign or the customer
    itself, as one of its records and all of them."""

    customer: str
    account: Mapping[str, Any]
    ad: AdRecord
    whole: AdRecord | Several

    @property
    def is_performance_max(self) -> bool:
        return self.ad.kind != "ad"


_THING_FIELDS: dict[str, Callable[[_Thing], Any]] = {
    "customer.resource_name": lambda of: f"customers/{of.customer}",
    "customer.id": lambda of: of.customer,
    "customer.descriptive_name": lambda of: of.account["name"],
    "customer.currency_code": lambda of: of.account["currency"],
    "customer.time_zone": lambda of: of.account["time_zone"],
    "customer.manager": lambda of: bool(of.account.get("is_manager")),
    "customer.status": lambda of: of.account.get("status", "ENABLED"),
    "campaign.resource_name": lambda of: f"customers/{of.customer}/campaigns/{of.ad.campaign}",
    "campaign.id": lambda of: of.ad.campaign,
    "campaign.name": lambda of: of.ad.campaign_name or f"Campaign {of.ad.campaign}",
    "campaign.advertising_channel_type": (
        lambda of: "PERFORMANCE_MAX" if of.is_performance_max else "SEARCH"
    ),
    "asset_group.resource_name": lambda of: f"customers/{of.customer}/assetGroups/{of.ad.ad_group}",
    "asset_group.id": lambda of: of.ad.ad_group,
    "asset_group.name": lambda of: f"Asset group {of.ad.ad_group}",
    "ad_group.resource_name": lambda of: f"customers/{of.customer}/adGroups/{of.ad.ad_group}",
    "ad_group.id": lambda of: of.ad.ad_group,
    "ad_group.name": lambda of: f"Ad group {of.ad.ad_group}",
    "ad_group_ad.resource_name": (
        lambda of: f"customers/{of.customer}/adGroupAds/{of.ad.ad_group}~{of.ad.id}"
    ),
    "ad_group_ad.status": lambda of: "ENABLED",
    "ad_group_ad.ad.resource_name": lambda of: f"customers/{of.customer}/ads/{of.ad.id}",
    "ad_group_ad.ad.id": lambda of: of.ad.id,
    "ad_group_ad.ad.name": lambda of: of.ad.name,
}
# An undefined average is left out.
_METRICS: dict[str, Callable[[Facts], int | float | None]] = {
    "metrics.impressions": lambda facts: facts.impressions,
    "metrics.clicks": lambda facts: facts.clicks,
    "metrics.cost_micros": lambda facts: facts.cents * 10_000,
    "metrics.ctr": lambda facts: _quotient(facts.clicks, facts.impressions),
    "metrics.average_cpc": lambda facts: _quotient(facts.cents * 10_000, facts.clicks),
    "metrics.average_cpm": lambda facts: _quotient(facts.cents * 10_000_000, facts.impressions),
}
# Doubles, because credit shared between clicks is counted in fractions.
_FURTHER: dict[str, Callable[[More], int | float]] = {
    "metrics.conversions": lambda more: more.halves / 2,
    "metrics.conversions_value": lambda more: more.half_cents / 200,
    "metrics.video_trueview_views": lambda more: more.video_views,
}
_SHOWN = {name: _camel(name.removeprefix("metrics.")) for name in (*_METRICS, *_FURTHER)}
# Metrics that asset groups do not have.
_PROHIBITED = {("asset_group", "metrics.video_trueview_views")}
_DATE = "segments.date"
_PREFIXES = {
    "ad_group_ad": ("customer", "campaign", "ad_group", "ad_group_ad"),
    "asset_group": ("customer", "campaign", "asset_group"),
    "campaign": ("customer", "campaign"),
    "customer": ("customer",),
}
# Days before today: the first and the last.
_PERIODS = {
    "TODAY": (0, 0), "YESTERDAY": (1, 1), "LAST_7_DAYS": (7, 1), "LAST_14_DAYS": (14, 1),
    "LAST_30_DAYS": (30, 1),
}  # fmt: skip


def _quotient(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


@dataclass(frozen=True)
class Report:
    """A valid query over the data of one customer."""

    query: Query
    things: Sequence[_Thing]
    slices: Sequence[tuple[int, int]]
    metrics: Sequence[str]
    conditions: Sequence[Condition]
    today: int

    def rows(self) -> Iterator[str]:
        """Each row as JSON text, in the query's order."""
        rows: Iterator[str] = (text for _, text in self._found())
        if self.query.order:
            found = list(self._found())
            for place in reversed(range(len(self.query.order))):
                found.sort(key=lambda one: one[0][place], reverse=self.query.order[place][1])
            rows = (text for _, text in found)
        return rows if self.query.limit is None else islice(rows, self.query.limit)

    def batch(self, rows: Sequence[str], request_id: str, *, with_id: bool = True) -> str:
        """The JSON text of an object with these rows."""
        mask = ",".join(_camel(name) for name in self.query.fields)
        results = f'"results":[{",".join(rows)}],' if rows else ""
        last = f',"requestId":"{request_id}"' if with_id else ""
        return f'{{{results}"fieldMask":"{mask}"{last}}}'

    def _found(self) -> Iterator[tuple[tuple[Any, ...], str]]:
        """Sort key and JSON text of each row."""
        for thing in self.things:
            start = json.dumps(self._constant(thing))[:-1]
            for first, last in self.slices:
                facts = _facts(thing.whole, first, last) if first else Facts(0, 0, 0, 0)
                if facts is None or not self._holds(facts):
                    continue
                more = self._more(thing, first, last)
                text = f"{start}{self._figures(facts, more)}{self._day(first)}}}"
                yield self._sort_key(thing, facts, first), text

    def _constant(self, thing: _Thing) -> dict[str, Any]:
        """The fields that do not change from day to day, nested and in camelCase."""
        nested: dict[str, Any] = {}
        names = [f"{self.query.resource}.resource_name"]
        for name in self.query.fields:
            if name in _THING_FIELDS:
                names += [f"{name.rpartition('.')[0]}.resource_name", name]
        for name in dict.fromkeys(names):
            *parents, last = _camel(name).split(".")
            inner = nested
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = _THING_FIELDS[name](thing)
        return nested

    def _more(self, thing: _Thing, first: int, last: int) -> More:
        if not _FURTHER.keys() & set(self.metrics):
            return More(0, 0, ())
        window = WINDOWS["google"]
        return summed_up(
            thing.whole.more_on(day, self.today, window) for day in range(first, last + 1)
        )

    def _figures(self, facts: Facts, more: More) -> str:
        if not self.metrics:
            return ""
        parts = []
        for name in self.metrics:
            value = _METRICS[name](facts) if name in _METRICS else _FURTHER[name](more)
            if value is not None:
                # 64-bit integers are text in JSON, doubles are numbers
                shown = f'"{value}"' if isinstance(value, int) else repr(value)
                parts.append(f'"{_SHOWN[name]}":{shown}')
        return f',"metrics":{{{",".join(parts)}}}'

    def _day(self, first: int) -> str:
        if _DATE not in self.query.fields:
            return ""
        return f',"segments":{{"date":"{date.fromordinal(first).isoformat()}"}}'

    def _holds(self, facts: Facts) -> bool:
        return all(_compare(_METRICS[one.field](facts), one) for one in self.conditions)

    def _sort_key(self, thing: _Thing, facts: Facts, first: int) -> tuple[Any, ...]:
        return tuple(
            first if name == _DATE
            else (_METRICS[name](facts) or 0) if name in _METRICS
            else _sortable(_THING_FIELDS[name](thing))
            for name, _ in self.query.order
        )  # fmt: skip


def read_report(
    query: Query,
    customer: str,
    account: Mapping[str, Any],
    records: Sequence[AdRecord],
    today: date,
) -> Report:
    """What the query requests. Raises QueryProblem if it is not valid."""
    if query.resource not in _PREFIXES:
        raise QueryProblem(
            "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE", f"Resource '{query.resource}' is not known."
        )
    filtered = [one.field for one in query.conditions]
    for name in [*query.fields, *filtered, *(name for name, _ in query.order)]:
        _check_field(name, query.resource)
    metrics = [name for name in query.fields if name in _METRICS or name in _FURTHER]
    if account.get("is_manager") and metrics:
        raise QueryProblem(
            "REQUESTED_METRICS_FOR_MANAGER",
            "Metrics cannot be requested for a manager account. To retrieve metrics, issue"
            " separate requests against each client account under the manager account.",
        )
    things = _things_of(query.resource, customer, account, records)
    for one in query.conditions:
        if one.field in _THING_FIELDS:
            things = [each for each in things if _compare(_THING_FIELDS[one.field](each), one)]
    return Report(
        query=query,
        things=things,
        slices=_read_slices(query, today, needed=bool(metrics)),
        metrics=metrics,
        conditions=[one for one in query.conditions if one.field in _METRICS],
        today=today.toordinal(),
    )


def _things_of(
    resource: str, customer: str, account: Mapping[str, Any], records: Sequence[AdRecord]
) -> list[_Thing]:
    """The subjects of a resource's rows in an account: Performance Max has no ads."""
    if resource == "customer":
        no_ad = AdRecord("", "", "", 0, {})
        return [_Thing(customer, account, no_ad, Several(customer, "", records))]
    if resource == "campaign":
        campaigns: dict[str, list[AdRecord]] = {}
        for record in records:
            campaigns.setdefault(record.campaign, []).append(record)
        return [
            _Thing(customer, account, of[0], Several(id_, "", of)) for id_, of in campaigns.items()
        ]
    kind = "ad" if resource == "ad_group_ad" else "asset_group"
    return [_Thing(customer, account, one, one) for one in records if one.kind == kind]


def _check_field(name: str, resource: str) -> None:
    if name.startswith("metrics.") and name.removeprefix("metrics.") == "unique_users":
        raise QueryProblem(
            "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE",
            f"Cannot select or filter on the following metrics: '{name}'.",
        )
    if (resource, name) in _PROHIBITED:
        raise QueryProblem(
            "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE",
            f"Cannot select or filter on the following metrics: '{name}'.",
        )
    if name not in _THING_FIELDS and name not in _SHOWN and name != _DATE:
        raise QueryProblem("UNRECOGNIZED_FIELD", f"Unrecognized field in the query: '{name}'.")
    if name in _THING_FIELDS and name.partition(".")[0] not in _PREFIXES[resource]:
        raise QueryProblem(
            "PROHIBITED_RESOURCE_TYPE_IN_SELECT_CLAUSE",
            f"'{name}' does not go with the resource '{resource}'.",
        )


def _read_slices(query: Query, today: date, *, needed: bool) -> list[tuple[int, int]]:
    """The ranges of days with a row each; (0, 0) stands for a row without dates."""
    conditions = [one for one in query.conditions if one.field == _DATE]
    by_day = _DATE in query.fields
    if not conditions and not by_day and not needed:
        return [(0, 0)]
    first, last = date.min, date.max
    for one in conditions:
        low, high = _range(one, today)
        first, last = max(first, low), min(last, high)
    if first == date.min or last == date.max:
        raise QueryProblem(
            "EXPECTED_FILTERS_ON_DATE_RANGE", "Filters on segments.date must be a finite range."
        )
    if first > last:
        raise QueryProblem("INVALID_DATE_RANGE", "The start date must precede the end date.")
    # nothing has happened yet in the future
    days = range(first.toordinal(), min(last, today).toordinal() + 1)
    if by_day:
        return [(day, day) for day in days]
    return [(days[0], days[-1])] if days else []


def _range(condition: Condition, today: date) -> tuple[date, date]:
    if condition.operator == "DURING":
        if condition.values[0] not in _PERIODS:
            raise QueryProblem("INVALID_VALUE", f"Unknown period '{condition.values[0]}'.")
        first, last = _PERIODS[condition.values[0]]
        return today - timedelta(first), today - timedelta(last)
    try:
        days = [date.fromisoformat(value) for value in condition.values]
    except ValueError:
        raise QueryProblem("INVALID_VALUE", "A date must have the form 'YYYY-MM-DD'.") from None
    match condition.operator:
        case "BETWEEN":
            return days[0], days[1]
        case "=":
            return days[0], days[0]
        case ">=":
            return days[0], date.max
        case "<=":
            return date.min, days[0]
    raise QueryProblem("OPERATOR_FIELD_MISMATCH", f"'{condition.operator}' is not for dates.")


def _facts(ad: AdRecord | Several, first: int, last: int) -> Facts | None:
    if first == last:
        return ad.on(first)
    days = [one for day in range(first, last + 1) if (one := ad.on(day)) is not None]
    return total(days) if days else None


def _compare(value: Any, condition: Condition) -> bool:
    """Whether a value meets a condition. Raises QueryProblem for an invalid operator."""
    if value is None:
        return False
    shown = str(value).upper() if isinstance(value, bool) else str(value)
    match condition.operator:
        case "=" | "IN":
            return shown in condition.values
        case "!=" | "NOT IN":
            return shown not in condition.values
    try:
        difference = float(shown) - float(condition.values[0])
    except ValueError:
        raise QueryProblem("OPERATOR_FIELD_MISMATCH", "The operator is for numbers.") from None
    match condition.operator:
        case ">":
            return difference > 0
        case ">=":
            return difference >= 0
        case "<":
            return difference < 0
        case "<=":
            return difference <= 0
    raise QueryProblem(
        "OPERATOR_FIELD_MISMATCH", f"'{condition.operator}' is not for '{condition.field}'."
    )


def _sortable(value: Any) -> tuple[int, str]:
    """Ids as numbers, before all other text."""
    text = str(value)
    return (int(text), "") if text.isdigit() else (1 << 64, text)
