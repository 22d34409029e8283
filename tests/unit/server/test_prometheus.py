"""The ten metrics as Prometheus reads them."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from local.stack import ROOT
from server.prometheus import COUNTERS, GAUGES, PrometheusMetrics, snake_case

EMITTED = re.compile(r'"([A-Z][A-Za-z]+)": ')


def value_of(metrics: PrometheusMetrics, sample: str) -> float:
    text = metrics.text().decode()
    return next(
        one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == sample
    )


def test_names_are_those_of_cloudwatch_in_snake_case() -> None:
    assert snake_case("HoursSinceRetention") == "hours_since_retention"
    emitted = set()
    for path in (ROOT / "layers/shared/workers/composition").glob("*.py"):
        for call in re.findall(r"emit_metrics\((.*?)\n? *\)\n", path.read_text("utf-8"), re.S):
            emitted |= set(EMITTED.findall(call))
    assert emitted == {*COUNTERS, *GAUGES}
    assert len(emitted) == 10


def test_counters_add_up_and_gauges_are_replaced() -> None:
    metrics = PrometheusMetrics()
    for sent, parked in ((3, 2), (4, 1)):
        metrics.take("notifications", {"NotificationsSent": sent, "Parked": parked})
    metrics.take("connection_sync", {"SyncsFailed": True})
    assert value_of(metrics, "notifications_sent_total") == 7
    assert value_of(metrics, "parked") == 1
    assert value_of(metrics, "syncs_failed_total") == 1


def test_each_metric_has_a_help_text() -> None:
    text = PrometheusMetrics().text().decode()
    for name, help_text in {**COUNTERS, **GAUGES}.items():
        suffix = "_total" if name in COUNTERS else ""
        assert f"# HELP {snake_case(name)}{suffix} {help_text}" in text
