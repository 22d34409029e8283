"""When CloudWatch's alarms fire and clear, on series that a test makes up.

As https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html says,
for what the template uses of it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OK, ALARM, UNKNOWN = "OK", "ALARM", "INSUFFICIENT_DATA"

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}
STATISTICS: Mapping[str, Callable[[Iterable[float]], float]] = {"Sum": sum, "Maximum": max}


@dataclass(frozen=True)
class Metric:
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Metric:
        dimensions = [(each["Name"], each["Value"]) for each in described.get("Dimensions", [])]
        return cls(described["Namespace"], described["MetricName"], tuple(sorted(dimensions)))


# What is reported in each minute.
Series = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Query:
    """One metric of an alarm, as a statistic over periods (in minutes)."""

    metric: Metric
    statistic: str
    period: int

    def over(self, series: Series, end: int) -> float | None:
        """The data point of the period before minute `end`."""
        minutes = range(end - self.period, end)
        values = [value for minute in minutes for value in series.get(minute, ())]
        return STATISTICS[self.statistic](values) if values else None


class Alarm:
    """An AWS::CloudWatch::Alarm, by its resolved properties."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._queries, self._expression = _queries(properties)
        self._breaches = COMPARISONS[properties["ComparisonOperator"]]
        self._threshold = properties["Threshold"]
        self._evaluated = properties["EvaluationPeriods"]
        self._needed = properties.get("DatapointsToAlarm", self._evaluated)
        self._missing = properties["TreatMissingData"]
        (self.period,) = {query.period for query in self._queries.values()}

    @property
    def metrics(self) -> list[Metric]:
        return [query.metric for query in self._queries.values()]

    @property
    def window(self) -> int:
        """How many minutes an evaluation looks at, by the definition."""
        return self.period * self._evaluated

    def states(self, reported: Mapping[Metric, Series], minutes: int, extra: int) -> list[str]:
        """The state at each minute. CloudWatch looks at some more periods than it evaluates,
        `extra`, and does not promise how many."""
        state, states = UNKNOWN, []
        for now in range(minutes):
            state = self._next(state, reported, now, self._evaluated + extra)
            states.append(state)
        return states

    def _next(self, state: str, reported: Mapping[Metric, Series], now: int, retrieved: int) -> str:
        points = [self._point(reported, now - back * self.period) for back in range(retrieved)]
        return self.judge(state, points)

    def judge(self, state: str, points: Sequence[float | None]) -> str:
        """The state after `state`, given the data points, the newest first."""
        breaching = [self._breaches(each, self._threshold) for each in points if each is not None]
        lacking = self._evaluated - len(breaching)
        if lacking > 0:
            match self._missing:
                case "breaching":
                    breaching += [True] * lacking
                case "notBreaching":
                    breaching += [False] * lacking
                case "ignore":
                    if sum(breaching) < self._needed and all(breaching):
                        return state
                case other:
                    raise NotImplementedError(other)
        return ALARM if sum(breaching[: self._evaluated]) >= self._needed else OK

    def _point(self, reported: Mapping[Metric, Series], end: int) -> float | None:
        def value(name: str, end: int) -> float | None:
            query = self._queries[name]
            return query.over(reported.get(query.metric, {}), end)

        if growing := _GROWTH.fullmatch(self._expression):
            now, before = (value(growing[1], at) or 0.0 for at in (end, end - self.period))
            return now - before
        # Where one of those added up is missing, so is the sum, unless it is filled.
        points = [
            (value(filled[1], end) or 0.0) if (filled := _FILLED.fullmatch(term)) else
            value(term, end)
            for term in self._expression.split(" + ")
        ]  # fmt: skip
        there = [each for each in points if each is not None]
        return sum(there) if len(there) == len(points) else None


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
_FILLED = re.compile(r"FILL\((\w+), 0\)")
_GROWTH = re.compile(r"DIFF\(FILL\((\w+), 0\)\)")


def _queries(properties: Mapping[str, Any]) -> tuple[dict[str, Query], str]:
    if "Metrics" not in properties:
        minutes, rest = divmod(properties["Period"], 60)
        assert not rest
        return {"it": Query(Metric.of(properties), properties["Statistic"], minutes)}, "it"
    queries = {
        each["Id"]: Query(
            Metric.of(each["MetricStat"]["Metric"]),
            each["MetricStat"]["Stat"],
            each["MetricStat"]["Period"] // 60,
        )
        for each in properties["Metrics"]
        if "MetricStat" in each
    }
    (shown,) = [each for each in properties["Metrics"] if each.get("ReturnData", True)]
    expression = " ".join(shown["Expression"].split())
    terms = [_GROWTH.fullmatch(each) or _FILLED.fullmatch(each) for each in expression.split(" + ")]
    assert {term[1] for term in terms if term} == set(queries), "all metrics, each once"
    return queries, expression
