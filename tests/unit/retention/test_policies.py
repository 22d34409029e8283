from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from workers.answers import Answer
from workers.retention.policies import (
    ENTITY_TYPES,
    Cutoffs,
    Policy,
    RefusedPolicy,
    read_policies,
)

NOW = datetime(2025, 3, 11, 12, tzinfo=UTC)


def row(id_: str, entity_type: str, active: Any, archive: Any) -> Answer:
    return Answer.of("list_retention_policies", {
        "id": id_, "entity_type": entity_type, "active_days": active, "archive_days": archive,
        "batch_rows": {},
    })  # fmt: skip


def test_each_type_has_its_policy() -> None:
    rows = [row(name, name, days, 10 * days) for days, name in enumerate(ENTITY_TYPES, 1)]
    assert read_policies(rows) == (
        [Policy((name,), name, days, 10 * days) for days, name in enumerate(ENTITY_TYPES, 1)], []
    )  # fmt: skip


def test_of_two_policies_for_one_type_the_longer_times_apply() -> None:
    rows = [
        row("a", "activity_log", 30, 300), row("b", "metric_sync_logs", 7, 8),
        row("c", "activity_log", 90, 365), row("d", "activity_log", 60, 900),
    ]  # fmt: skip
    (longer, other), refused = read_policies(rows)
    assert longer == Policy(
        ("a", "c", "d"), "activity_log", 90, 900,
        "there are several policies for this type: the longer times apply",
    )  # fmt: skip
    assert other == Policy(("b",), "metric_sync_logs", 7, 8)
    assert refused == []


def test_a_type_that_is_not_on_the_list_is_refused_by_name() -> None:
    policies, (refused,) = read_policies([row("a", "users", 30, 365)])
    assert policies == []
    assert refused == RefusedPolicy(
        "a", "users",
        "there is no retention for 'users'; "
        "only for activity_log, notification_queue, metric_sync_logs, ad_metrics",
    )  # fmt: skip
    _, (long,) = read_policies([row("a", "x" * 1000, 30, 365)])
    assert "x" * 61 not in long.reason


@pytest.mark.parametrize("days", [0, -1, 365_001, True, None, 1.0, "30"])
def test_an_invalid_time_is_refused_by_name_and_affects_no_other_policy(days: Any) -> None:
    rows = [
        row("a", "activity_log", days, 365), row("b", "activity_log", 30, days),
        row("c", "activity_log", 30, 365),
    ]  # fmt: skip
    (policy,), (active, archive) = read_policies(rows)
    assert policy == Policy(("c",), "activity_log", 30, 365)
    assert active == RefusedPolicy(
        "a", "activity_log", f"active_retention_days must be from 1 to 365000, not {days!r}"
    )
    assert archive == RefusedPolicy(
        "b", "activity_log", f"archive_retention_days must be from 1 to 365000, not {days!r}"
    )


@pytest.mark.parametrize("days", [1, 365_000])
def test_the_shortest_and_the_longest_time(days: int) -> None:
    (policy,), refused = read_policies([row("a", "activity_log", days, days)])
    assert (policy.active_days, policy.archive_days, refused) == (days, days, [])


def test_the_cutoffs_are_that_many_days_ago() -> None:
    assert Policy((), "activity_log", 30, 365).cutoffs(NOW) == Cutoffs(
        active="2025-02-09T12:00:00+00:00", archive="2024-03-11T12:00:00+00:00"
    )
    assert Policy((), "activity_log", 365_000, 1).cutoffs(NOW).active > "1025"
