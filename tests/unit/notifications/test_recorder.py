"""What is recorded, when, and what happens when the database does not accept it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.notifications.claimed import Answering, Held, delivery, post
from workers.errors import CredentialsError, PermanentError, TransientError
from workers.notifications.in_flight import InFlight, Post
from workers.notifications.outcomes import Outcome
from workers.notifications.recorder import (
    RECORD_EVERY,
    RECORD_FAILURES,
    RENEW_EVERY,
    Park,
    Record,
    Recorder,
    Result,
    Stop,
)
from workers.notifications.report import Report
from workers.notifications.throttle import Handover, Throttle

NOW = 1000.0
SENT = Outcome("sent", message_ts="1.2")


@dataclass
class Bench:
    recorder: Recorder
    database: Answering
    in_flight: InFlight
    report: Report
    jobs: Held

    def fly(self, *ids: str, **values: Any) -> list[Post]:
        """Take in deliveries with these ids, each for its own channel."""
        for id_ in ids:
            self.in_flight.take_in(delivery(id_, destination=f"C-{id_}", **values), NOW)
        return [queue.waiting[0] for queue in self.in_flight.queues.values() if queue.waiting]

    def send(self, now: float) -> dict[str, Any]:
        """A step that sends; returns the arguments of its call."""
        self.recorder.step(now)
        self.jobs.run()
        return self.database.calls[-1][1]


def bench(*answers: Any, lingers: bool = False) -> Bench:
    database, in_flight, report, jobs = Answering(*answers), InFlight(1.0), Report(), Held()
    throttle = Throttle(rate=0.0, burst=1.0, concurrency=4, handover=Handover(), now=NOW)
    recorder = Recorder(
        database=database,  # type: ignore[arg-type]
        run_id="r", lingers=lingers, expire_after="24 hours", in_flight=in_flight,
        throttle=throttle, report=report, jobs=jobs, now=NOW,
    )  # fmt: skip
    return Bench(recorder, database, in_flight, report, jobs)


def answer(
    *started: str, held: bool = True, wanted: bool = False, postponed: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "held": held, "wanted": wanted, "started": list(started), "postponed": list(postponed),
        "stale": 0,
    }  # fmt: skip


def test_what_may_start_is_announced_at_once_and_posted_once_recorded() -> None:
    one = bench(answer("a"))
    (first,) = one.fly("a")
    sent = one.send(NOW)
    assert sent["starting"] == [{"id": "a", "token": "t", "post_id": "a", "parent_ts": None}]
    assert (sent["run_id"], sent["expire_after"]) == ("r", "24 hours")
    assert (first.state, first.may_be_announced) == ("announced", True)


def test_a_reply_is_announced_with_its_thread_and_again_if_that_begins_again() -> None:
    one = bench(answer("a"), answer("a"))
    (first,) = one.fly("a", thread="r", thread_ts="1.1")
    queue = one.in_flight.queues["C-a"]
    one.recorder.step(NOW)
    queue.thread_begun("r", "1.2")  # before the database answers
    one.jobs.run()
    assert (first.state, first.parent_ts) == ("new", "1.1")
    (started,) = one.send(NOW + RECORD_EVERY)["starting"]
    assert (started["parent_ts"], first.state) == ("1.2", "announced")


def test_outcomes_are_sent_once_a_second_while_others_are_in_flight() -> None:
    one = bench(answer("a"), answer())
    (first,) = one.fly("a")
    one.send(NOW)
    one.recorder.note(post("b"), SENT, NOW - 3.0)
    one.recorder.step(NOW + 0.9)
    assert len(one.jobs) == 0
    assert one.recorder.due_at(NOW + 0.9) == NOW + RECORD_EVERY
    (outcome,) = one.send(NOW + RECORD_EVERY)["outcomes"]
    assert (outcome["id"], outcome["posted_ago"]) == ("b", 4.0)
    assert first.state == "announced"


def test_the_last_outcome_does_not_wait() -> None:
    one = bench(answer())
    one.recorder.note(post("b"), SENT)
    assert one.send(NOW)["outcomes"][0]["id"] == "b"
    assert not one.recorder.has_unrecorded


def test_the_lease_is_renewed_even_if_nothing_happens() -> None:
    one = bench(answer())
    assert one.recorder.due_at(NOW) <= NOW + RENEW_EVERY
    one.recorder.step(NOW + RENEW_EVERY - 0.1)
    assert len(one.jobs) == 0
    assert one.send(NOW + RENEW_EVERY)["starting"] == []


def test_a_poll_renews_the_lease_too() -> None:
    one = bench()
    one.recorder.renewed(NOW + 5)
    one.recorder.step(NOW + RENEW_EVERY)
    assert len(one.jobs) == 0
    assert one.recorder.due_at(NOW) == NOW + 5 + RENEW_EVERY


def test_what_was_not_attempted_is_released_or_recorded_as_unstarted() -> None:
    one = bench(answer())
    requested = post("b")
    requested.may_be_announced = True
    one.recorder.release([post("a"), requested])
    sent = one.send(NOW)
    assert sent["released"] == [{"id": "a", "token": "t"}]
    assert [(row["id"], row["result"]) for row in sent["outcomes"]] == [("b", "unstarted")]
    assert one.report.counts["released"] == 2


def test_parks_and_a_stop_are_sent_too() -> None:
    one = bench(answer())
    one.recorder.park("C1", "is_archived", "It is archived.")
    one.recorder.stop("invalid_auth", "Slack refuses the token.")
    sent = one.send(NOW)
    assert sent["parks"] == [
        {"destination": "C1", "code": "is_archived", "reason": "It is archived."}
    ]
    assert sent["stop"] == {"code": "invalid_auth", "reason": "Slack refuses the token."}


@pytest.mark.parametrize(
    ("lingers", "given", "outcome"),
    [
        (False, answer(held=False), "lease_lost"),
        (True, answer(wanted=True), "handed_over"),
        (False, answer(wanted=True), None),
    ],
)
def test_who_has_the_lease_decides(
    lingers: bool, given: dict[str, Any], outcome: str | None
) -> None:
    one = bench(given, lingers=lingers)
    one.recorder.note(post(), SENT)
    one.send(NOW)
    assert one.report.outcome == outcome


def test_what_someone_has_locked_is_reported_again_and_not_posted() -> None:
    one = bench(answer(postponed=("a", "b")), answer())
    one.fly("a")
    one.recorder.note(post("b"), SENT)
    one.recorder.note(post("c"), SENT)
    one.send(NOW)
    assert len(one.in_flight) == 0
    again = one.send(NOW + RECORD_EVERY)
    assert [row["id"] for row in again["outcomes"]] == ["b"]
    assert again["released"] == [{"id": "a", "token": "t"}]


def test_what_a_newer_claim_holds_is_dropped() -> None:
    one = bench(answer())
    one.fly("a")
    one.send(NOW)
    assert len(one.in_flight) == 0
    assert not one.recorder.has_unrecorded


def test_a_failed_record_is_sent_again_before_later_ones() -> None:
    lost = TransientError("lost", code="x")
    one = bench(lost, answer("a"))
    (first,) = one.fly("a")
    one.recorder.note(post("b"), SENT)
    one.send(NOW)
    assert one.recorder.is_failing
    assert first.state == "new"
    one.recorder.note(post("c"), SENT)
    one.recorder.step(NOW + 0.5)
    assert len(one.jobs) == 0, "not urgent while it fails"
    again = one.send(NOW + RECORD_EVERY)
    assert [row["id"] for row in again["outcomes"]] == ["b", "c"]
    assert not one.recorder.is_failing


def test_a_database_that_stays_unreachable_ends_the_run() -> None:
    one = bench(*[TransientError("lost", code="x")] * RECORD_FAILURES)
    one.recorder.note(post("b"), SENT)
    for number in range(RECORD_FAILURES):
        assert one.report.outcome is None
        one.send(NOW + number * RECORD_EVERY)
    assert one.report.outcome == "failed"
    assert one.recorder.unrecorded() == 1


def test_an_error_unrelated_to_the_record_ends_the_run() -> None:
    one = bench(CredentialsError("refused", code="x"))
    one.recorder.note(post("b"), SENT)
    one.send(NOW)
    assert isinstance(one.report.failure, CredentialsError)
    assert not one.recorder.has_unrecorded


def test_an_outcome_that_the_database_refuses_affects_only_itself() -> None:
    refused = PermanentError("odd", code="22P05")
    one = bench(refused, answer(), refused, answer())
    for id_ in "abc":
        one.recorder.note(post(id_), SENT)
    one.send(NOW)
    sent = [one.send(NOW)["outcomes"][0]["id"] for _ in range(3)]
    assert sent == ["a", "b", "c"]
    assert one.report.outcome is None
    assert not one.recorder.has_unrecorded


def test_while_a_record_is_under_way_nothing_is_sent() -> None:
    one = bench(answer())
    one.recorder.note(post(), SENT)
    one.recorder.step(NOW)
    one.recorder.note(post("b"), SENT)
    one.recorder.step(NOW + 60)
    assert len(one.jobs) == 1
    assert one.recorder.due_at(NOW) == math.inf
    assert one.recorder.has_unrecorded


def test_an_ended_run_announces_nothing_and_does_not_renew_its_lease() -> None:
    one = bench()
    one.fly("a")
    one.report.end("deadline")
    one.recorder.step(NOW + RENEW_EVERY)
    assert len(one.jobs) == 0
    assert one.recorder.due_at(NOW) == math.inf


@pytest.mark.parametrize(
    "record",
    [
        Record(results=[Result(post(), SENT, None)]),
        Record(released=[delivery()]),
        Record(parks=[Park("C1", "x", "y")]),
        Record(stop=Stop("x", "y")),
    ],
    ids=["results", "released", "parks", "stop"],
)
def test_each_kind_of_entry_makes_a_record_of_one_piece(record: Record) -> None:
    assert record
    assert record.pieces() == [record]
    assert not Record()
