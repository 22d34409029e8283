"""The alarms' conditions are those of template.yaml, judged by what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from server.console import alarms
from server.console.alarms import conditions
from server.console.answers.overview import read_overview
from workers.answers import Answer
from workers.doctor.health import read_worker_health

ROOT = Path(__file__).resolve().parents[3]
NOW = "2025-03-11T12:00:00+00:00"
RUN = {"id": "r1", "ended_at": "2025-03-11T11:58:00+00:00", "seconds": 3.0, "outcome": "drained",
       "succeeded": True, "error_class": None, "about": None}  # fmt: skip
QUIET: dict[str, Any] = {
    "now": NOW,
    "runs": {
        "notifications": [RUN], "metrics_sync": [RUN], "connection_sync": [], "retention": [],
    },
    "in_progress": [],
    "sent": {"minutes": [], "is_whole": True}, "delayed": 0, "next_attempt_at": None, "stalled": [],
    "accounts": {"parked": 0, "unread": 0, "failing": 0, "late": 0, "partial": 0, "synced": 0,
                 "next_due_at": None},
    "retention": [],
    "signs": {
        "raised": 0, "longest_notifications": 3.0, "longest_sync": None, "dead": 0, "refused": 0,
        "syncs_failed": 0, "retention_outcome": "complete",
    },
}  # fmt: skip
HEALTH: dict[str, Any] = {
    "now": NOW,
    "first_run_at": "2025-01-01T00:00:00+00:00",
    "workers": {
        name: {"last_success_at": NOW if name != "retention" else "2025-03-09T02:00:00+00:00",
               "last_outcome": "complete", "last_error": None}
        for name in ("notifications", "metrics_sync", "connection_sync", "retention")
    },
    "oldest_due_seconds": None,
    "due": 0,
    "dead": 0,
    "parked": 0,
    "unrouted": 0,
    "parked_connections": 0,
    "failing_connections": 0,
}  # fmt: skip


class _Loader(yaml.SafeLoader):
    """CloudFormation's tags are left as they are."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: node.value)
TEMPLATE = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), _Loader)  # noqa: S506
THRESHOLDS = {
    name.removesuffix("Alarm"): resource["Properties"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}


def states(**options: Any) -> dict[str, str]:
    """The state of each alarm, with these differences from when all are quiet."""
    found = {**QUIET, **options.get("found", {})}
    found["signs"] = {**QUIET["signs"], **options.get("signs", {})}
    health = {**HEALTH, **options.get("health", {})}
    every = conditions(
        read_overview(Answer.of("console_overview", found)),
        read_worker_health(health),
        options.get("off", ()),
        lingers=options.get("lingers", False),
    )
    return {one.alarm: one.state for one in every}


def raised(**options: Any) -> set[str]:
    return {alarm for alarm, state in states(**options).items() if state == "raised"}


def test_every_alarm_of_the_template_has_a_condition_and_no_other() -> None:
    found = states()
    assert set(found) == set(THRESHOLDS)
    elsewhere = {alarm for alarm, state in found.items() if state == "elsewhere"}
    assert elsewhere == {alarm for alarm in THRESHOLDS if alarm.endswith("DeadLetterQueue")}
    assert {found[alarm] for alarm in set(found) - elsewhere} == {"quiet"}


def test_the_thresholds_are_the_templates() -> None:
    def threshold(alarm: str) -> Any:
        return THRESHOLDS[alarm]["Threshold"]

    def length(alarm: str) -> float:
        return float(THRESHOLDS[alarm]["Period"] * THRESHOLDS[alarm]["EvaluationPeriods"])

    lingering, usual = (float(one.value) for one in threshold("NotificationsDuration")[1:])
    assert lingering / 1000 == alarms.LINGERING_DURATION
    assert usual / 1000 == alarms.NOTIFICATIONS_DURATION
    assert threshold("ConnectionSyncDuration") / 1000 == alarms.CONNECTION_SYNC_DURATION
    assert threshold("OldestDue") == alarms.OLDEST_DUE
    assert threshold("SyncsFailed") == alarms.SYNCS_FAILED
    assert threshold("RetentionOverdue") == alarms.RETENTION_OVERDUE_HOURS
    assert length("NotificationsMissing") == alarms.NOTIFICATIONS_MISSING.total_seconds()
    assert length("MetricsSyncMissing") == alarms.METRICS_SYNC_MISSING.total_seconds()
    for alarm in ("NotificationsDead", "CredentialsRefused", "DestinationsParked"):
        assert (threshold(alarm), length(alarm)) == (0, 300)
    assert length("SyncsFailed") == 3600


NOW_AND = "2025-03-11T12:"
EACH: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("FunctionErrors", {}, {"signs": {"raised": 1}}),
    (
        "NotificationsMissing",
        {"found": {"now": f"{NOW_AND}03:00+00:00"}},
        {"found": {"now": f"{NOW_AND}03:01+00:00"}},
    ),
    (
        "MetricsSyncMissing",
        {"found": {"now": f"{NOW_AND}23:00+00:00"}},
        {"found": {"now": f"{NOW_AND}23:01+00:00"}},
    ),
    (
        "NotificationsDuration",
        {"signs": {"longest_notifications": 118.5}},
        {"signs": {"longest_notifications": 118.6}},
    ),
    (
        "NotificationsDuration",
        {"signs": {"longest_notifications": 898.5}, "lingers": True},
        {"signs": {"longest_notifications": 898.6}, "lingers": True},
    ),
    (
        "ConnectionSyncDuration",
        {"signs": {"longest_sync": 295.0}},
        {"signs": {"longest_sync": 295.1}},
    ),
    (
        "OldestDue",
        {"health": {"oldest_due_seconds": 3600}},
        {"health": {"oldest_due_seconds": 3600.1}},
    ),
    ("NotificationsDead", {}, {"signs": {"dead": 1}}),
    ("CredentialsRefused", {}, {"signs": {"refused": 1}}),
    ("DestinationsParked", {}, {"health": {"parked": 1}}),
    ("ConnectionsParked", {}, {"health": {"parked_connections": 1}}),
    ("SyncsFailed", {"signs": {"syncs_failed": 2}}, {"signs": {"syncs_failed": 3}}),
    (
        "RetentionOverdue",
        {"health": {"now": "2025-03-17T02:00:00+00:00"}},
        {"health": {"now": "2025-03-17T02:00:01+00:00"}},
    ),
    (
        "RetentionFailed",
        {"signs": {"retention_outcome": "unfinished"}},
        {"signs": {"retention_outcome": "incomplete"}},
    ),
]


@pytest.mark.parametrize(("alarm", "quiet", "met"), EACH)
def test_each_is_met_beyond_its_threshold(
    alarm: str, quiet: dict[str, Any], met: dict[str, Any]
) -> None:
    assert alarm not in raised(**quiet)
    assert alarm in raised(**met)
    worker = alarms._WORKERS.get(alarm)
    if worker is not None:
        assert states(**met, off={worker})[alarm] == "off"


def test_a_run_in_progress_is_not_missing() -> None:
    runs = {**QUIET["runs"], "notifications": []}
    assert "NotificationsMissing" in raised(found={"runs": runs})
    assert "NotificationsMissing" not in raised(
        found={"runs": runs, "in_progress": ["notifications"]}
    )


def test_a_worker_that_never_ran_is_missing_and_raised_alarms_come_first() -> None:
    runs = {**QUIET["runs"], "notifications": [], "metrics_sync": []}
    overview = read_overview(Answer.of("console_overview", {**QUIET, "runs": runs}))
    found = conditions(overview, read_worker_health(HEALTH), (), lingers=False)
    assert {one.alarm for one in found[:2]} == {"NotificationsMissing", "MetricsSyncMissing"}
    assert all(one.fix for one in found[:2])
    assert [one.state for one in found[2:]].count("raised") == 0
