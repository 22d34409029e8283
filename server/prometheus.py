"""The workers' metrics for Prometheus: those that go to CloudWatch in AWS, in snake case.

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

# Counts that add up from run to run; the others are current values.
COUNTERS: Final = {
    "NotificationsSent": "Notifications that were posted to Slack",
    "NotificationsDead": "Notifications that ended without being posted",
    "CredentialsRefused": "Runs whose key or token was refused",
    "SyncsSucceeded": "Syncs of ad accounts that succeeded",
    "SyncsFailed": "Syncs of ad accounts that failed",
}
GAUGES: Final = {
    "OldestDueSeconds": "How long the oldest due notification has been waiting",
    "Parked": "Channels and people that Slack refuses; their notifications wait",
    "HoursSinceRetention": "Hours since retention last completed",
    "ConnectionsParked": "Ad accounts that wait because their credentials are refused",
    "RetentionFailed": "1 if the last retention run needs attention, else 0",
}


class PrometheusMetrics:
    """Collects what runs emit; `text` is what a scrape returns."""

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
        """Add what a run of `worker` counted or measured, by the names in CloudWatch."""
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
