"""The workers' figures for Prometheus: those that go to CloudWatch in AWS, in snake case.

https://prometheus.io/docs/practices/naming/: a counter's name ends in `_total`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

# What is counted from run to run; the rest is as it stands.
COUNTERS: Final = {
    "NotificationsSent": "Notifications that were posted to Slack",
    "NotificationsDead": "Notifications that ended without being posted",
    "CredentialsRefused": "Runs whose key or token was refused",
    "SyncsSucceeded": "Syncs of ad accounts that succeeded",
    "SyncsFailed": "Syncs of ad accounts that failed",
}
GAUGES: Final = {
    "OldestDueSeconds": "For how long the oldest notification that is due has been waiting",
    "Parked": "Channels and people that Slack refuses, whose notifications wait",
    "HoursSinceRetention": "Hours since retention was last complete",
    "ConnectionsParked": "Ad accounts whose credentials are refused, which wait",
    "RetentionFailed": "1 where the last retention run needs a person",
}


class PrometheusMetrics:
    """Takes what runs emit; `text` is what a scrape gets."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters = {
            name: Counter(snake_case(name), text, ["worker"], registry=self._registry)
            for name, text in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(snake_case(name), text, ["worker"], registry=self._registry)
            for name, text in GAUGES.items()
        }

    def take(self, worker: str, values: Mapping[str, float]) -> None:
        """What a run of `worker` counted or measured, by the names in CloudWatch."""
        for name, value in values.items():
            if name in self._counters:
                self._counters[name].labels(worker).inc(float(value))
            else:
                self._gauges[name].labels(worker).set(float(value))

    def text(self) -> bytes:
        """https://prometheus.io/docs/instrumenting/exposition_formats/"""
        return generate_latest(self._registry)


def snake_case(name: str) -> str:
    """NotificationsSent as notifications_sent."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
