"""How the workers are observed: one JSON logger, and metrics in CloudWatch's embedded format.

A log line is a sentence and fields; never an event body, a header or a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from workers.redaction import mask, mask_all

# If POWERTOOLS_METRICS_NAMESPACE is not set: the template sets one for each stack.
NAMESPACE = "AgencyDashboardWorkers"


def _without_secrets(record: dict[str, Any]) -> str:
    """A log record as a line, whatever a library or a platform put into it."""
    return json.dumps(
        mask_all(record), default=lambda value: mask(str(value)), separators=(",", ":")
    )


# Service and level come from POWERTOOLS_SERVICE_NAME and LOG_LEVEL.
logger = Logger(utc=True, json_serializer=_without_secrets)


def emit_metrics(worker: str, values: Mapping[str, float]) -> None:
    """Passes what a run of `worker` counted or measured to this process's metric sinks."""
    for sink in metric_sinks:
        sink(worker, values)


def write_embedded_metrics(worker: str, values: Mapping[str, float]) -> None:
    """Writes one embedded-metric line for `worker`; names that end in Seconds are durations.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    metrics = EphemeralMetrics()
    metrics.namespace = metrics.namespace or NAMESPACE
    metrics.service = ""  # otherwise a second dimension, which every alarm would have to name
    metrics.add_dimension(name="Worker", value=worker)
    for name, value in values.items():
        unit = MetricUnit.Seconds if name.endswith("Seconds") else MetricUnit.Count
        metrics.add_metric(name=name, unit=unit, value=value)
    metrics.flush_metrics()


# A process outside AWS replaces this one.
metric_sinks: list[Callable[[str, Mapping[str, float]], None]] = [write_embedded_metrics]
