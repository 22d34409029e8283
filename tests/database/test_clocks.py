"""Ages pause while a destination, or all delivery, is paused: counted once, whatever overlaps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, call, later, outcome_of

PARK = [{"destination": "C1", "code": "is_archived", "reason": "x"}]
CHANGES = {
    "park": ("park_destinations", {"parks": PARK}),
    "release": ("release_destinations", {"destinations": ["C1"]}),
    "stop": ("stop_delivery", {"code": "invalid_auth", "reason": "x"}),
    "resume": ("resume_delivery", {}),
    "wait": None,
}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(list(CHANGES)), st.integers(0, 600)), max_size=12))
def test_an_age_is_the_time_in_which_neither_clock_was_paused(
    db: psycopg.Connection[Any], changes: list[tuple[str, int]]
) -> None:
    """Compared with the simplest model: each minute counts, or does not."""
    now = NOW
    running, parked, stopped = 0, False, False
    born: list[tuple[Any, int]] = []
    with db.transaction(force_rollback=True):
        for change, minutes in changes:
            if (done := CHANGES[change]) is not None:
                call(db, done[0], **done[1], as_of=now)
            parked = {"park": True, "release": False}.get(change, parked)
            stopped = {"stop": True, "resume": False}.get(change, stopped)
            # a notification that is due now
            born.append((call(db, "destination_time", destination="C1", moment=now), running))
            now += timedelta(minutes=minutes)
            running += 0 if parked or stopped else minutes
            shows = call(db, "destination_time", destination="C1", moment=now)
            assert [shows - then for then, _ in born] == [
                timedelta(minutes=running - before) for _, before in born
            ]


def test_what_was_due_during_a_pause_is_placed_correctly_afterwards(
    db: psycopg.Connection[Any],
) -> None:
    call(db, "park_destinations", parks=PARK, as_of=at(hours=10))
    call(db, "release_destinations", destinations=["C1"], as_of=at(hours=4))
    call(db, "stop_delivery", code="x", reason="x", as_of=at(hours=3))
    call(db, "resume_delivery", as_of=at(hours=1))
    shows = call(db, "destination_time", destination="C1", moment=NOW)
    ages = [
        (shows - call(db, "destination_time", destination="C1", moment=at(hours=ago)))
        / timedelta(hours=1)
        for ago in (11, 10, 7, 4, 3.5, 3, 2, 1, 0)
    ]
    assert ages == [3, 2, 2, 2, 1.5, 1, 1, 1, 0]


def test_a_row_expires_to_the_second(agency: Agency, run: Run) -> None:
    """20 h old when its channel was parked for 30 days, with a stop of 2 h in between."""
    id_ = agency.notification(agency.config("C1"), next_attempt_at=at(hours=20))
    fresh = agency.notification(agency.config("C2"), next_attempt_at=NOW)
    run.start()
    run.record(parks=PARK)
    call(agency.connection, "stop_delivery", code="x", reason="x", as_of=later(hours=23))
    call(agency.connection, "resume_delivery", as_of=later(hours=25))
    assert start(agency, later(hours=25, minutes=59)) == 0, "the other was paused for 2 h"
    assert start(agency, later(hours=26)) == 1
    assert agency.queued(fresh)["outcome"] == "expired"
    assert start(agency, later(days=30)) == 0
    call(agency.connection, "release_destinations", destinations=["C1"], as_of=later(days=30))
    assert start(agency, later(days=30, hours=3, minutes=59, seconds=59)) == 0
    assert start(agency, later(days=30, hours=4)) == 1
    row = agency.queued(id_)
    assert (row["outcome"], row["is_processed"], row["processed_at"]) == (
        "expired", True, later(days=30, hours=4),
    )  # fmt: skip


def start(agency: Agency, as_of: Any) -> int:
    agency.connection.execute("update worker_leases set expires_at = '-infinity'")
    return int(Run(agency).start(as_of)["expired"])


def test_a_claim_leaves_out_what_expired_meanwhile(agency: Agency, run: Run) -> None:
    agency.notification(agency.config("C1"), next_attempt_at=at(hours=23))
    run.start()
    answer = run.claim(later(hours=1))
    assert (answer["ended"]["expired"], answer["deliveries"], answer["more"]) == (1, [], True)


def test_what_waited_unrouted_or_elsewhere_keeps_its_age(agency: Agency, run: Run) -> None:
    """By the clock of all delivery while it had no destination, else by its destination's."""
    config = agency.config("C1")
    id_ = agency.notification(config, entity_type="task", next_attempt_at=at(hours=2))
    run.start()
    run.record(parks=PARK)  # 2 h old, for 10 h
    agency.connection.execute("update notification_config set channel_id = null")
    start(agency, later(hours=10))
    assert len(agency.unrouted()) == 1
    call(agency.connection, "stop_delivery", code="x", reason="x", as_of=later(hours=13))
    call(agency.connection, "resume_delivery", as_of=later(hours=20))  # 5 h old
    agency.connection.execute("update notification_config set channel_id = 'C2'")
    start(agency, later(hours=20))
    assert [row["destination"] for row in agency.deliveries(id_)] == ["C2"]
    assert start(agency, later(hours=38.9)) == 0
    assert start(agency, later(hours=39)) == 1


def test_many_pauses_are_kept_in_one_row(agency: Agency, run: Run) -> None:
    """5,280 stops and as many parks leave as much behind as one."""
    agency.notification(agency.config("C1"), next_attempt_at=NOW)
    run.start()
    for minute in range(50):
        call(agency.connection, "stop_delivery", code="x", reason="x", as_of=later(minutes=minute))
        call(agency.connection, "park_destinations", parks=PARK, as_of=later(minutes=minute))
        (row,) = run.take(later(minutes=minute, seconds=30), trials=["C1"])
        run.announce(row, as_of=later(minutes=minute, seconds=30))
        run.record(
            later(minutes=minute, seconds=30),
            outcomes=[outcome_of(row, "sent")]
            if minute == 49
            else [outcome_of(row, "wait", retry_in=0)],
        )
    for table in ("slack_destinations", "slack_workspace"):
        counted = agency.connection.execute(f"select count(*) as n from {table}").fetchone()  # noqa: S608
        assert counted == {"n": 1}
    assert (agency.stopped(), agency.parked()) == (None, {})
    known = agency.connection.execute("select paused_for from slack_workspace").fetchone()
    assert known == {"paused_for": timedelta(minutes=49, seconds=30)}
