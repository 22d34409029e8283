"""Destinations that Slack refuses, and a token that it refuses."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, call, later, outcome_of

PARKS = [{"destination": "C1", "code": "restricted_action", "reason": "only admins may post"}]


def probes(agency: Agency, as_of: datetime) -> list[str]:
    """The start of a new run at that time."""
    agency.connection.execute("update worker_leases set expires_at = '-infinity'")
    return [probe["destination"] for probe in Run(agency).start(as_of)["probes"]]


@pytest.fixture
def parked(agency: Agency, run: Run) -> str:
    """A config whose channel is parked, with something waiting."""
    config = agency.config("C1")
    agency.notification(config, next_attempt_at=NOW)
    run.start()
    run.record(parks=PARKS)
    return config


def test_probe_intervals_grow_from_ten_minutes_to_six_hours(agency: Agency, parked: str) -> None:
    agency.connection.execute("update notification_deliveries set ages_from = 'infinity'")
    now, gaps = NOW, []
    for _ in range(8):
        due = agency.connection.execute("select probe_at from slack_destinations").fetchone()
        assert due is not None
        assert probes(agency, due["probe_at"] - timedelta(seconds=1)) == []
        assert probes(agency, due["probe_at"]) == ["C1"]
        gaps.append((due["probe_at"] - now) / timedelta(minutes=1))
        now = due["probe_at"]
    assert gaps == [10, 20, 40, 80, 160, 320, 360, 360]


def test_a_refused_probe_keeps_the_park_and_its_growing_interval(
    agency: Agency, run: Run, parked: str
) -> None:
    probes(agency, later(minutes=10))
    call(agency.connection, "park_destinations", parks=PARKS, as_of=later(minutes=11))
    row = agency.connection.execute("select * from slack_destinations").fetchone()
    assert row is not None
    assert (row["parked_at"], row["probe_at"]) == (NOW, later(minutes=30))


def test_a_run_probes_at_most_twenty_and_once(agency: Agency, run: Run) -> None:
    names = [f"C{number:02}" for number in range(25)]
    for name in names:
        agency.notification(agency.config(name), next_attempt_at=NOW)
    run.start()
    run.record(parks=[{"destination": name, "code": "x", "reason": "x"} for name in names])
    run.finish(later(minutes=10))
    heir = Run(agency)
    assert len(heir.start(later(minutes=10))["probes"]) == 20
    assert heir.start(later(minutes=10))["probes"] == [], "the same run continues"
    assert len(probes(agency, later(minutes=10))) == 5


def test_a_successful_post_ends_a_park_and_a_stop(agency: Agency, run: Run, parked: str) -> None:
    run.record(stop={"code": "invalid_auth", "reason": "x"})
    (row,) = run.take(trials=["C1"])
    run.announce(row)
    found = outcome_of(row, "sent", posted_ago=None)
    run.record(later(minutes=1), outcomes=[found])
    assert (agency.parked(), agency.stopped()) == ({"C1": "restricted_action"}, "invalid_auth")
    agency.notification(parked, next_attempt_at=NOW)
    run.start(later(minutes=2))
    (row,) = run.take(later(minutes=2), trials=["C1"])
    run.announce(row, as_of=later(minutes=2))
    run.record(later(minutes=3), outcomes=[outcome_of(row, "sent")])
    assert (agency.parked(), agency.stopped()) == ({}, None)
    known = agency.connection.execute("select * from slack_destinations").fetchone()
    assert known is not None
    assert (known["probes"], known["probe_at"], known["not_before"]) == (0, None, None)


def test_the_first_stop_is_kept_and_reported_to_the_next_run(agency: Agency, run: Run) -> None:
    run.record(at(hours=1), stop={"code": "invalid_auth", "reason": "x"})
    run.record(stop={"code": "token_revoked", "reason": "y"})
    run.finish()
    assert Run(agency).start()["stopped"] == "token_revoked"
    (stop,) = call(agency.connection, "list_parked")
    assert (stop["code"], stop["destination"], stop["config_id"]) == ("token_revoked", None, None)
    assert datetime.fromisoformat(stop["since"]) == at(hours=1)


def test_a_destination_without_waiting_deliveries_is_not_parked(
    agency: Agency, run: Run, parked: str
) -> None:
    assert agency.parked() == {"C1": "restricted_action"}
    call(
        agency.connection, "skip_notifications",
        notification_ids=[agency.deliveries()[0]["notification_id"]], as_of=NOW,
    )  # fmt: skip
    run.finish()
    Run(agency).start()
    assert agency.parked() == {}


def test_parked_destinations_are_listed_with_reason_time_and_next_probe(
    agency: Agency, run: Run, parked: str
) -> None:
    lacking = agency.config(event_type="nowhere")
    for minutes in (3, 2):
        agency.notification(lacking, entity_type="task", next_attempt_at=at(minutes=minutes))
    run.start()
    rows = call(agency.connection, "list_parked")
    assert [(row["destination"], row["config_id"]) for row in rows] == [
        (None, lacking), ("C1", None),
    ]  # fmt: skip
    nowhere, channel = rows
    assert (nowhere["code"], nowhere["waiting"], nowhere["event_type"]) == (
        "no_route", 2, "nowhere",
    )  # fmt: skip
    assert "slack_connected_channels" in nowhere["reason"]
    assert datetime.fromisoformat(nowhere["since"]) == at(minutes=3)
    assert (channel["code"], channel["waiting"]) == ("restricted_action", 1)
    assert channel["reason"] == "only admins may post"
    assert datetime.fromisoformat(channel["since"]) == NOW
    assert datetime.fromisoformat(channel["next_probe"]) == later(minutes=10)


@pytest.mark.parametrize("which", ["C1", None])
def test_an_operator_releases_a_destination(
    agency: Agency, run: Run, parked: str, which: Any
) -> None:
    assert run.take() == []
    assert call(agency.connection, "release_parked", destination="C9", as_of=NOW) == 0
    assert call(agency.connection, "release_parked", destination=which, as_of=NOW) == 1
    assert len(run.take()) == 1


def test_thirty_days_of_one_park_affect_no_other(agency: Agency, run: Run, parked: str) -> None:
    for day in range(1, 31):
        probes(agency, later(days=day))
    id_ = agency.notification(agency.config("C2"), next_attempt_at=later(days=30))
    agency.connection.execute("update worker_leases set expires_at = '-infinity'")
    heir = Run(agency)
    heir.start(later(days=30))
    (row,) = heir.take(later(days=30))
    assert (row["notification_id"], row["waited"]) == (id_, 0)
