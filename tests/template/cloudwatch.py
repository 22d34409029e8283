"""When CloudWatch's alarms fire and clear, on series that a test makes up.

As https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html says,
for what the template uses of it.
"""

from __future__ import annotations

import operator
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
        self._queries, self._added = _queries(properties)
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
        points = {
            name: query.over(reported.get(query.metric, {}), end)
            for name, query in self._queries.items()
        }
        # Where one of those added up is missing it counts as 0; where all are, the sum is missing.
        there = [points[name] for name in self._added if points[name] is not None]
        return sum(there) if there else None


def _queries(properties: Mapping[str, Any]) -> tuple[dict[str, Query], list[str]]:
    if "Metrics" not in properties:
        minutes, rest = divmod(properties["Period"], 60)
        assert not rest
        return {"it": Query(Metric.of(properties), properties["Statistic"], minutes)}, ["it"]
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
    added = shown["Expression"].split(" + ")
    assert set(added) == set(queries), "sums of all metrics are all that is known here"
    return queries, added
