"""What operators and producers call, as SQL."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.database.agency import NOW, Agency
from tests.database.test_notification_functions import at, claim, done, record, start, told


@pytest.fixture
def agency(db: psycopg.Connection[Any]) -> Agency:
    return Agency(db)


def call(agency: Agency, function: str, **arguments: Any) -> Any:
    places = ", ".join(f"{name} => %({name})s" for name in arguments)
    return agency.connection.execute(f"select * from {function}({places})", arguments).fetchall()  # noqa: S608


def one(agency: Agency, function: str, **arguments: Any) -> Any:
    (row,) = call(agency, function, **arguments)
    return row[function]


def kill(agency: Agency, config: str, code: str = "no_text") -> str:
    """A notification that died of `code`."""
    start(agency)
    id_ = agency.notification(config, next_attempt_at=NOW)
    (row,) = claim(agency)
    dead = told(row, "dead", attempts=1, error_code=code, error=f"Slack refused it: {code}")
    record(agency, outcomes=[dead], finished=[done(row)])
    return id_


def test_the_dead_and_the_expired_are_listed_with_their_reason(agency: Agency) -> None:
    config = agency.config("C1")
    dead = kill(agency, config)
    expired = agency.notification(config, next_attempt_at=at(days=2), created_at=at(days=2))
    old = agency.notification(config, attempts=5, last_error="from before", created_at=at(days=9))
    start(agency)
    rows = one(agency, "list_dead_notifications")
    assert {str(row["id"]): (row["outcome"], row["error"]) for row in rows} == {
        dead: ("dead", "Slack refused it: no_text"),
        expired: ("expired", "it waited longer than 24:00:00"),
        old: ("dead", "from before"),
    }
    (row,) = one(agency, "list_dead_notifications", error_code="no_text")
    assert (str(row["id"]), row["destinations"]) == (dead, ["C1"])
    assert one(agency, "list_dead_notifications", config_id=uuid.uuid4()) == []


def test_a_redriven_one_is_delivered_and_keeps_its_history(agency: Agency) -> None:
    dead = kill(agency, agency.config("C1"))
    later = NOW + timedelta(days=3)
    assert one(agency, "redrive_notifications", notification_id=dead, as_of=later) == 1
    assert start(agency, later)["expired"] == 0, "its clock starts anew"
    (row,) = claim(agency, as_of=later)
    assert (row["attempts"], row["waited"]) == (0, 0)
    record(agency, later, outcomes=[told(row, "sent")], finished=[done(row)])
    (delivery,) = agency.deliveries(dead)
    assert delivery["state"] == "sent"
    assert [life["error_code"] for life in delivery["history"]] == ["no_text"]
    assert agency.queued(dead)["is_processed"]
    assert one(agency, "redrive_notifications") == 0


@pytest.mark.parametrize("by", ["config_id", "error_code", "all"])
def test_redrive_by_config_by_error_and_all(agency: Agency, by: str) -> None:
    first, second = agency.config("C1"), agency.config("C2")
    kill(agency, first, "no_text")
    kill(agency, first, "msg_too_long")
    kill(agency, second, "no_text")
    which = {"config_id": {"config_id": first}, "error_code": {"error_code": "no_text"}, "all": {}}
    expected = {"config_id": 2, "error_code": 2, "all": 3}
    assert one(agency, "redrive_notifications", **which[by]) == expected[by]


def test_only_what_is_dead_is_repeated(agency: Agency) -> None:
    start(agency)
    agency.channel("C1")
    agency.channel("C2")
    id_ = agency.notification(agency.config(), next_attempt_at=NOW)
    (row,) = claim(agency)
    outcomes = [told(row, "sent", 0), told(row, "dead", 1, attempts=1)]
    record(agency, outcomes=outcomes, finished=[done(row)])
    one(agency, "redrive_notifications", notification_id=id_, as_of=NOW)
    (row,) = claim(agency)
    assert [d["destination"] for d in row["deliveries"]] == ["C2"]


def test_what_may_have_been_posted_stays_to_be_looked_for(agency: Agency) -> None:
    start(agency)
    id_ = agency.notification(agency.config("C1"), next_attempt_at=NOW)
    (row,) = claim(agency)
    unknown = told(row, "unknown", retry_in=60)
    record(agency, outcomes=[unknown], finished=[done(row)])
    later = NOW + timedelta(days=2)
    assert start(agency, later)["expired"] == 1
    assert agency.deliveries(id_)[0]["state"] == "unknown"
    one(agency, "redrive_notifications", as_of=later)
    (row,) = claim(agency, as_of=later)
    assert row["deliveries"][0]["state"] == "unknown"


def test_show_tells_all_of_one(agency: Agency) -> None:
    dead = kill(agency, agency.config("C1"))
    shown = one(agency, "show_notification", id=dead)
    assert shown["outcome"] == "dead"
    assert shown["config"]["channel_id"] == "C1"
    assert [d["error_code"] for d in shown["deliveries"]] == ["no_text"]
    assert one(agency, "show_notification", id=uuid.uuid4()) is None


def test_parked_configs_are_listed_and_released(agency: Agency) -> None:
    config = agency.config("C1")
    start(agency)
    agency.notification(config, next_attempt_at=NOW)
    parks = [{"config_id": config, "code": "is_archived", "reason": "archived"}]
    record(agency, parks=parks)
    record(agency, parks=parks)
    (row,) = one(agency, "list_parked_configs")
    assert (str(row["config_id"]), row["code"], row["waiting"]) == (config, "is_archived", 1)
    assert claim(agency) == []
    assert one(agency, "release_parked_configs", config_id=uuid.uuid4()) == 0
    assert one(agency, "release_parked_configs", config_id=config, as_of=NOW) == 1
    assert len(claim(agency)) == 1


def test_a_refused_destination_is_asked_for_again_every_ten_minutes(agency: Agency) -> None:
    config = agency.config("C1")
    start(agency)
    park = {"config_id": config, "code": "is_archived", "reason": "x", "destination": "C1"}
    record(agency, parks=[park])
    minutes = timedelta(minutes=1)
    assert start(agency, NOW + 9 * minutes)["probes"] == []
    assert start(agency, NOW + 10 * minutes)["probes"] == [
        {"config_id": config, "destination": "C1"}
    ]
    assert start(agency, NOW + 19 * minutes)["probes"] == []
    assert len(start(agency, NOW + 20 * minutes)["probes"]) == 1
    record(agency, NOW + 20 * minutes, released=[config])
    assert start(agency, NOW + 40 * minutes)["probes"] == []


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
