from __future__ import annotations

import pytest

from workers.retention.report import PolicyReport, RetentionReport, Status


def test_a_summary_adds_up_and_leaves_out_what_is_not_known() -> None:
    report = RetentionReport(
        policies=[
            PolicyReport("activity_log", "complete", archived=5, purged=2, remaining=0),
            PolicyReport("notification_queue", "failed", archived=1, purged=1, error="told"),
            PolicyReport("users", "refused", remark="said"),
        ]
    )
    summary = report.summary()
    assert {**summary, "policies": None} == {
        "outcome": "complete", "archived": 6, "purged": 3, "refused": 1, "policies": None
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
        (["unfinished", "failed", "complete"], "failed"),
    ],
)
def test_the_worst_of_the_policies_decides(statuses: list[Status], outcome: str) -> None:
    report = RetentionReport(policies=[PolicyReport("x", status) for status in statuses])
    report.conclude()
    assert report.outcome == outcome
