from __future__ import annotations

from typing import Any

import pytest

from workers.retention.batches import Stayed
from workers.retention.report import PolicyReport, RetentionReport, Status


def test_a_summary_adds_up_and_leaves_out_what_is_unknown() -> None:
    report = RetentionReport(
        policies=[
            PolicyReport("activity_log", "complete", archived=5, purged=2, remaining=0),
            PolicyReport("notification_queue", "failed", archived=1, purged=1, error="shown"),
            PolicyReport("users", "refused", remark="said"),
        ]
    )
    summary: dict[str, Any] = report.summary()
    assert {**summary, "policies": None} == {
        "outcome": "complete", "archived": 6, "purged": 3, "stayed": 0, "refused": 1,
        "policies": None,
    }  # fmt: skip
    assert summary["policies"][0] == {
        "entity_type": "activity_log", "status": "complete", "archived": 5, "purged": 2,
        "verified_bytes": 0, "remaining": 0,
    }  # fmt: skip
    assert [set(one) & {"error", "remark"} for one in summary["policies"]] == [
        set(), {"error"}, {"remark"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ([], "complete"),
        (["complete"], "complete"),
        (["complete", "refused"], "complete"),
        (["unfinished", "complete"], "unfinished"),
        (["incomplete", "unfinished"], "incomplete"),
        (["unfinished", "failed", "incomplete", "complete"], "failed"),
    ],
)
def test_the_worst_policy_decides(statuses: list[Status], outcome: str) -> None:
    report = RetentionReport(policies=[PolicyReport("x", status) for status in statuses])
    report.conclude()
    assert report.outcome == outcome


IN_USE = Stayed("purge", "55P03", "in use", 2)
REFUSED = Stayed("archive", "23503", "a foreign key refuses", 3, "7f")


@pytest.mark.parametrize(
    ("stayed", "status", "error"),
    [
        ([], "complete", None),
        ([IN_USE], "unfinished", None),
        ([IN_USE, REFUSED], "incomplete", "3 rows stay (such as 7f): a foreign key refuses"),
    ],
)
def test_a_policy_is_complete_when_nothing_is_left_that_was_due(
    stayed: list[Stayed], status: Status, error: str | None
) -> None:
    report = PolicyReport("x", "complete", stayed=stayed)
    report.conclude()
    assert (report.status, report.error) == (status, error)
    assert report.remaining == sum(one.rows for one in stayed)
