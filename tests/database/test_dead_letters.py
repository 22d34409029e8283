"""The SQL functions that operators and producers call."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, call, later, outcome_of


def one(agency: Agency, function: str, **arguments: Any) -> Any:
    return call(agency.connection, function, **arguments)


def kill(run: Run, config: str, code: str = "no_text") -> str:
    """A notification that died of `code`."""
    id_ = run.agency.notification(config, next_attempt_at=NOW)
    (row,) = run.take()
    dead = outcome_of(row, "dead", attempts=1, error_code=code, error=f"Slack refused it: {code}")
    run.record(outcomes=[dead])
    return id_


def test_the_dead_and_the_expired_are_listed_with_their_reason(agency: Agency, run: Run) -> None:
    config = agency.config("C1")
    dead = kill(run, config)
    expired = agency.notification(config, next_attempt_at=at(days=2), created_at=at(days=2))
    old = agency.notification(config, attempts=5, last_error="from before", created_at=at(days=9))
    run.start()
    rows = one(agency, "list_dead_notifications")
    assert {str(row["id"]): (row["outcome"], row["error"]) for row in rows} == {
        dead: ("dead", "Slack refused it: no_text"),
        expired: ("expired", "it waited longer than 24:00:00"),
        old: ("dead", "from before"),
    }
    (row,) = one(agency, "list_dead_notifications", error_code="no_text")
    assert (str(row["id"]), row["destinations"]) == (dead, ["C1"])
    assert one(agency, "list_dead_notifications", config_id=uuid.uuid4()) == []
    assert len(one(agency, "list_dead_notifications", row_limit=2)) == 2


def test_a_redriven_one_is_delivered_and_keeps_its_history(agency: Agency, run: Run) -> None:
    dead = kill(run, agency.config("C1"))
    days_later = NOW + timedelta(days=3)
    assert one(agency, "redrive_notifications", notification_id=dead, as_of=days_later) == 1
    assert run.start(days_later)["expired"] == 0, "its clock starts again"
    (row,) = run.take(days_later)
    assert (row["attempts"], row["waited"]) == (0, 0)
    run.record(days_later, outcomes=[outcome_of(row, "sent")])
    (delivery,) = agency.deliveries(dead)
    assert delivery["state"] == "sent"
    assert [life["error_code"] for life in delivery["history"]] == ["no_text"]
    assert agency.queued(dead)["is_processed"]
    assert one(agency, "redrive_notifications") == 0


@pytest.mark.parametrize("by", ["config_id", "error_code", "all"])
def test_redrive_by_config_by_error_and_all(agency: Agency, run: Run, by: str) -> None:
    first, second = agency.config("C1"), agency.config("C2")
    kill(run, first, "no_text")
    kill(run, first, "msg_too_long")
    kill(run, second, "no_text")
    which = {"config_id": {"config_id": first}, "error_code": {"error_code": "no_text"}, "all": {}}
    expected = {"config_id": 2, "error_code": 2, "all": 3}
    assert one(agency, "redrive_notifications", **which[by], as_of=NOW) == expected[by]
    assert len(run.take()) == expected[by]


def test_only_dead_deliveries_are_repeated(agency: Agency, run: Run) -> None:
    agency.channel("C1")
    agency.channel("C2")
    id_ = agency.notification(agency.config(), entity_type="task", next_attempt_at=NOW)
    first, second = run.take()
    run.record(outcomes=[outcome_of(first, "sent"), outcome_of(second, "dead", attempts=1)])
    one(agency, "redrive_notifications", notification_id=id_, as_of=NOW)
    (row,) = run.take()
    assert row["destination"] == second["destination"]


def test_a_notification_that_was_never_routed_is_routed_then(agency: Agency, run: Run) -> None:
    id_ = agency.notification(agency.config(), entity_type="task", next_attempt_at=at(days=2))
    run.start()
    assert agency.queued(id_)["outcome"] == "expired"
    agency.channel("C1")
    assert one(agency, "redrive_notifications", as_of=NOW) == 1
    assert [row["destination"] for row in run.take()] == ["C1"]


@pytest.mark.parametrize("end", ["expired", "dead"])
def test_what_may_have_been_posted_is_searched_for_first(
    agency: Agency, run: Run, end: str
) -> None:
    id_ = agency.notification(agency.config("C1"), next_attempt_at=NOW)
    (row,) = run.take()
    run.announce(row)
    if end == "dead":
        dead = outcome_of(row, "dead", attempts=1, in_doubt=True, error_code="fatal_error")
        run.record(outcomes=[dead])
    else:
        run.record(outcomes=[outcome_of(row, "unknown", retry_in=60)])
        assert Run(agency).start(later(days=2))["expired"] == 1
    assert agency.queued(id_)["outcome"] == end
    (listed,) = one(agency, "list_dead_notifications")
    assert listed["in_doubt"] is True
    one(agency, "redrive_notifications", as_of=later(days=2))
    heir = Run(agency)
    heir.start(later(days=2, minutes=1))
    (again,) = heir.take(later(days=2, minutes=1))
    assert (again["state"], again["in_doubt"]) == ("unknown", True)
    assert again["first_attempt"] == NOW.timestamp(), "from when to search"
    assert again["looked_for"] is None


def test_single_notifications_are_skipped(agency: Agency, run: Run) -> None:
    waiting = agency.notification(agency.config("C1"), next_attempt_at=NOW)
    apart = agency.notification(agency.config(), entity_type="task", next_attempt_at=NOW)
    new = agency.notification(agency.config("C2"), next_attempt_at=later(hours=1))
    posted = agency.notification(agency.config("C3"), next_attempt_at=at(minutes=1))
    dead = agency.notification(agency.config("C4"), attempts=5)
    rows = run.take()
    run.announce(*(row for row in rows if row["notification_id"] == posted))
    run.record(released=[row for row in rows if row["notification_id"] == waiting])
    ids = [waiting, apart, new, posted, dead, str(uuid.uuid4())]
    assert one(agency, "skip_notifications", notification_ids=ids, as_of=NOW) == 3
    for id_ in (waiting, apart, new):
        row = agency.queued(id_)
        assert (row["outcome"], row["is_processed"]) == ("skipped", True)
        assert "operator" in row["last_error"]
    assert agency.queued(posted)["outcome"] is None, "it is being posted"
    assert agency.unrouted() == []
    assert run.take(later(hours=2)) == []


def test_show_returns_everything_about_a_notification(agency: Agency, run: Run) -> None:
    dead = kill(run, agency.config("C1"))
    run.record(parks=[{"destination": "C1", "code": "is_archived", "reason": "x"}])
    shown = one(agency, "show_notification", id=dead)
    assert shown["outcome"] == "dead"
    assert shown["config"]["channel_id"] == "C1"
    assert [row["error_code"] for row in shown["deliveries"]] == ["no_text"]
    assert [row["park_code"] for row in shown["destinations"]] == ["is_archived"]
    assert shown["unrouted"] is None
    lost = agency.notification(agency.config(), entity_type="task", next_attempt_at=NOW)
    run.claim()
    apart = one(agency, "show_notification", id=lost)["unrouted"]
    assert "slack_connected_channels" in apart["reason"]
    assert one(agency, "show_notification", id=uuid.uuid4()) is None


def test_a_key_queues_once_while_pending(agency: Agency) -> None:
    config = agency.config("C1")
    values = {
        "config_id": config, "entity_id": uuid.uuid4(), "entity_type": "request",
        "enqueue_key": "request-1-done",
    }  # fmt: skip
    first = one(agency, "enqueue_notification", **values)
    assert one(agency, "enqueue_notification", **values) == first
    with pytest.raises(psycopg.errors.UniqueViolation):
        agency.notification(config, enqueue_key="request-1-done")
    agency.connection.execute("update notification_queue set is_processed = true")
    assert one(agency, "enqueue_notification", **values) != first
    without = {**values, "enqueue_key": None}
    assert one(agency, "enqueue_notification", **without) != one(
        agency, "enqueue_notification", **without
    )
