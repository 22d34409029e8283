"""What a month costs, computed from what was measured, at AWS's list prices.

A deployment with the template's defaults. Prices are list prices of us-east-1 in November 2026, in
dollars, without free tier.
https://aws.amazon.com/lambda/pricing/ https://aws.amazon.com/eventbridge/pricing/
https://aws.amazon.com/sqs/pricing/ https://aws.amazon.com/cloudwatch/pricing/
https://aws.amazon.com/secrets-manager/pricing/ https://aws.amazon.com/xray/pricing/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.figures import Figure
from tests.template.deployed import Deployed, deployed

GB_SECOND_ARM = 0.0000133334
MILLION_INVOCATIONS = 0.20
MILLION_SCHEDULED = 1.00
MILLION_QUEUE_REQUESTS = 0.40
MILLION_TRACES = 5.00
GB_OF_LOGS = 0.50
ALARM_METRIC = 0.10
CUSTOM_METRIC = 0.30
# Checked by tests/template/test_alarms.py.
CUSTOM_METRICS = 10
DASHBOARD = 3.00
SECRET = 0.40
TEN_THOUSAND_SECRET_READS = 0.05

# Lambda gives a function with this much memory a whole core, others in proportion.
MB_OF_A_CORE = 1769
# Lambda polls an empty queue with five requests at a time, each of which waits 20 seconds.
QUEUE_REQUESTS_A_MINUTE = 15
SECRET_READ_MINUTES = 5

MINUTES = 30 * 24 * 60
NOTIFICATIONS = 200 * 30
ACCOUNTS = 10
# The usual sync_frequency is a day.
SYNCS = ACCOUNTS * 30
PLANS = MINUTES // 10
RETENTIONS = 30 / 7
HEALTH_CHECKS = MINUTES // 5
DOCTORS = 4
ASSUMED = (
    f"Month: {NOTIFICATIONS:,} notifications, {ACCOUNTS} accounts synced daily, health checked "
    f"every 5 minutes; computed from the runs in the emulator, their CPU time stretched to the "
    "share of a core that Lambda gives; a cold start for each run of what runs more rarely than "
    "every 10 minutes; list prices of us-east-1 without free tier."
)


@dataclass(frozen=True)
class Invocation:
    """One measured run: its duration, its CPU time, and the bytes that it logged."""

    seconds: float
    cpu: float
    log_bytes: int

    def billed(self, memory: int) -> float:
        """Seconds on Lambda with that much memory, in MB."""
        waiting = max(0.0, self.seconds - self.cpu)
        return waiting + self.cpu * max(1.0, MB_OF_A_CORE / memory)


@dataclass(frozen=True)
class Load:
    """A function's month: how often the measured run occurs, and how many cold starts."""

    function: str
    runs: tuple[tuple[float, Invocation], ...]
    cold_starts: float = 0
    init: Invocation = Invocation(0, 0, 0)

    @property
    def count(self) -> float:
        """Its invocations."""
        return sum(times for times, _ in self.runs)


def month(loads: list[Load]) -> list[Figure]:
    """The figures of a month in dollars; the last is the sum."""
    stack = deployed()
    parts = [*_functions(loads, stack), *_around(loads), *_watching(stack)]
    total = sum(dollars for _, dollars in parts)
    return [
        Figure("month in total", total, "$", note=ASSUMED),
        *(Figure(f"  {name}", dollars, "$") for name, dollars in parts),
        Figure("lingering, if it is on: added to a month", _lingering(stack), "$"),
    ]


def _lingering(stack: Deployed) -> float:
    """One run is always active; the cost of its work is in the other figures."""
    return MINUTES * 60 * _memory(stack, "notifications") / 1024 * GB_SECOND_ARM


def _functions(loads: list[Load], stack: Deployed) -> Iterator[tuple[str, float]]:
    for load in loads:
        memory = _memory(stack, load.function)
        seconds = sum(times * run.billed(memory) for times, run in load.runs)
        seconds += load.cold_starts * load.init.billed(memory)
        yield f"{load.function}: {load.count:,.0f} runs", seconds * memory / 1024 * GB_SECOND_ARM


def _around(loads: list[Load]) -> Iterator[tuple[str, float]]:
    invocations = sum(load.count for load in loads)
    scheduled = MINUTES + PLANS + RETENTIONS
    logged = sum(times * run.log_bytes for load in loads for times, run in load.runs)
    yield "invocations", invocations / 1e6 * MILLION_INVOCATIONS
    yield "schedules", scheduled / 1e6 * MILLION_SCHEDULED
    yield "queue", MINUTES * QUEUE_REQUESTS_A_MINUTE / 1e6 * MILLION_QUEUE_REQUESTS
    yield "traces", invocations / 1e6 * MILLION_TRACES
    yield f"logs: {logged / 1e6:,.0f} MB", logged / 1e9 * GB_OF_LOGS
    reads = MINUTES / SECRET_READ_MINUTES
    yield "secret", SECRET + reads / 10_000 * TEN_THOUSAND_SECRET_READS


def _watching(stack: Deployed) -> Iterator[tuple[str, float]]:
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    watched = sum(_metrics_of(alarm) for alarm in alarms)
    yield f"{len(alarms)} alarms over {watched} metrics", watched * ALARM_METRIC
    yield f"{CUSTOM_METRICS} custom metrics", CUSTOM_METRICS * CUSTOM_METRIC
    yield "dashboard", len(stack.of_type("AWS::CloudWatch::Dashboard")) * DASHBOARD


def _metrics_of(alarm: Mapping[str, Any]) -> int:
    return sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1


def _memory(stack: Deployed, function: str) -> int:
    for one in stack.of_type("AWS::Lambda::Function").values():
        if one["Code"]["S3Key"].endswith(function):
            return int(one["MemorySize"])
    raise KeyError(f"the template has no function {function}")
