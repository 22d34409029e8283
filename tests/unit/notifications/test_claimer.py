"""When a run claims, what it leaves out, and when it considers the queue drained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.notifications.claimed import Answering, Clock, Held
from tests.unit.notifications.test_answers import ROW
from workers.errors import TransientError
from workers.notifications.answers import read_started
from workers.notifications.claimer import (
    EMPTY_CLAIM_DELAYS,
    IDLE_AFTER,
    LARGEST_BATCH,
    LEAST_POLL_GAP,
    MOST_SUSPECTS,
    POLL_EVERY,
    POLL_EVERY_IDLE,
    TOKEN_TRIALS,
    Claimer,
)
from workers.notifications.in_flight import InFlight
from workers.notifications.report import Report

STARTED = {
    "acquired": True, "dead": 0, "skipped": 0, "expired": 0, "more": False, "handover": None,
    "handover_age": 0, "stopped": None, "probes": [], "suspects": False,
}  # fmt: skip


@dataclass
class QuietRecorder:
    has_unrecorded: bool = False
    is_failing: bool = False
    released: list[str] = field(default_factory=list)
    renewals: int = 0

    def renewed(self, now: float) -> None:
        self.renewals += 1

    def release_delivery(self, delivery: Any) -> None:
        self.released.append(delivery.id)


@dataclass
class QuietProbes:
    is_busy: bool = False
    trials: list[str] = field(default_factory=list)

    def take(self) -> list[str]:
        trials, self.trials = self.trials, []
        return trials


class Bench:
    """A claimer whose environment the test controls."""

    def __init__(self, *answers: Any, linger: float = 0.0, batch: int = 2, **started: Any) -> None:
        self.database, self.clock = Answering(*answers), Clock()
        self.recorder, self.probes = QuietRecorder(), QuietProbes()
        self.in_flight, self.report, self.jobs = InFlight(1.0), Report(), Held()
        self.claimer = Claimer(
            database=self.database,  # type: ignore[arg-type]
            run_id="r", started=read_started({**STARTED, **started}), batch_size=batch,
            expire_after="24 hours", linger=linger, threads=True, in_flight=self.in_flight,
            recorder=self.recorder,  # type: ignore[arg-type]
            probes=self.probes,  # type: ignore[arg-type]
            report=self.report, jobs=self.jobs, clock=self.clock,
        )  # fmt: skip

    def step(self) -> dict[str, Any]:
        """A step that makes a call; returns its arguments."""
        self.claimer.step(self.clock.time)
        self.jobs.run()
        return self.database.calls[-1][1]

    def step_without_call(self) -> None:
        """A step that makes no call."""
        self.claimer.step(self.clock.time)
        assert len(self.jobs) == 0

    def settle_all(self) -> None:
        """Settle everything that is in flight."""
        self.in_flight.release_all()


def claimed(*ids: str, held: bool = True, more: bool = False) -> dict[str, Any]:
    rows = [{**ROW, "id": id_, "destination": f"C{id_}", "state": "pending"} for id_ in ids]
    ended = {"dead": 0, "skipped": 0, "expired": 1}
    return {"held": held, "more": more, "ended": ended, "deliveries": rows}


def polled(*, held: bool = True, wanted: bool = False, due: bool = False) -> dict[str, Any]:
    return {"held": held, "wanted": wanted, "due": due}


def test_an_empty_claim_with_nothing_in_flight_ends_the_run() -> None:
    one = Bench(claimed())
    assert one.step()["run_id"] == "r"
    assert one.report.outcome == "drained"
    assert one.report.counts["expired"] == 1


@pytest.mark.parametrize("what", ["in flight", "unrecorded", "probing"])
def test_an_empty_claim_proves_nothing_while_something_was_left_out(what: str) -> None:
    one = Bench(claimed("a"), claimed())
    if what == "in flight":
        one.step()
        one.clock.time += EMPTY_CLAIM_DELAYS[0]
    else:
        one.recorder.has_unrecorded = what == "unrecorded"
        one.probes.is_busy = what == "probing"
        one.database.answers.pop(0)
    one.step()
    assert one.report.outcome is None
    one.step_without_call()


def test_a_full_batch_is_followed_at_once_by_a_larger_one() -> None:
    one = Bench(*[claimed("a", "b")] * 2, batch=2)
    assert one.step()["batch_size"] == 2
    assert one.step()["batch_size"] == 4
    assert one.claimer.due_at(one.clock.time) > one.clock.time, "the second one was not full"


def test_no_batch_is_larger_than_the_largest() -> None:
    full = claimed(*map(str, range(LARGEST_BATCH)))
    one = Bench(full, claimed(), batch=LARGEST_BATCH)
    one.step()
    assert one.step()["batch_size"] == LARGEST_BATCH


def test_an_empty_claim_that_says_more_is_followed_at_once() -> None:
    one = Bench(claimed(more=True), claimed())
    one.step()
    assert one.report.outcome is None
    assert one.claimer.due_at(one.clock.time) == one.clock.time
    one.step()
    assert one.report.outcome == "drained"


def test_while_posts_are_under_way_empty_claims_grow_apart() -> None:
    one = Bench(claimed("a"), claimed(), claimed(), claimed(), claimed())
    one.step()
    waits = []
    for _ in range(4):
        waits.append(one.claimer.due_at(one.clock.time) - one.clock.time)
        one.clock.time += waits[-1]
        one.step()
    assert waits == [1.0, 2.0, 5.0, 5.0]


def test_once_everything_is_settled_it_claims_at_once() -> None:
    one = Bench(claimed("a"), claimed())
    one.step()
    one.step_without_call()
    one.settle_all()
    one.step()
    assert one.report.outcome == "drained"


def test_busy_destinations_are_left_out_and_trials_requested_once() -> None:
    one = Bench(claimed("a"), claimed())
    one.probes.trials = ["C9"]
    assert one.step()["trials"] == ["C9"]
    one.settle_all()
    assert one.step()["trials"] == []


def test_a_delivery_whose_destination_must_wait_is_released() -> None:
    answer = claimed("a")
    answer["deliveries"][0]["ready_in"] = 600
    one = Bench(answer)
    one.step()
    assert one.recorder.released == ["a"]


def test_without_the_lease_the_run_ends() -> None:
    one = Bench(claimed(held=False))
    one.step()
    assert one.report.outcome == "lease_lost"


def test_a_claim_that_fails_ends_the_run() -> None:
    one = Bench(TransientError("lost", code="x"))
    one.step()
    assert (one.report.outcome, one.claimer.is_busy) == ("failed", False)


def test_nothing_more_is_claimed_while_records_fail() -> None:
    one = Bench(claimed())
    one.recorder.is_failing = True
    one.step_without_call()
    assert one.claimer.due_at(one.clock.time) == math.inf


def test_suspects_come_first_each_alone() -> None:
    one = Bench(claimed("a"), claimed(), claimed("b"), suspects=True)
    assert one.step()["alone"]
    one.step_without_call()
    one.settle_all()
    assert one.step()["alone"], "is there another?"
    assert not one.step()["alone"]


def test_suspects_per_run_are_limited() -> None:
    one = Bench(*[claimed("a")] * (MOST_SUSPECTS + 1), suspects=True)
    alone = []
    for _ in range(MOST_SUSPECTS + 1):
        alone.append(one.step()["alone"])
        one.settle_all()
    assert alone == [True] * MOST_SUSPECTS + [False]


def test_while_the_token_is_refused_one_message_is_tried_at_a_time() -> None:
    one = Bench(claimed("a"), claimed("b", "c"), stopped="invalid_auth", batch=50)
    assert one.step()["batch_size"] == 1
    one.step_without_call()
    one.report.counts["sent"] += 1
    one.settle_all()
    assert one.step()["batch_size"] == 50


def test_trials_of_a_refused_token_are_limited() -> None:
    one = Bench(*[claimed("a")] * TOKEN_TRIALS, stopped="invalid_auth")
    for _ in range(TOKEN_TRIALS):
        assert one.step()["batch_size"] == 1
        one.settle_all()
    one.step_without_call()
    assert one.report.outcome == "waiting"


class TestLingering:
    def test_it_polls_instead_of_ending(self) -> None:
        one = Bench(claimed(), polled(), linger=60.0)
        one.step()
        assert (one.report.outcome, one.claimer.is_idle) == (None, True)
        assert one.claimer.due_at(one.clock.time) == one.clock.time + POLL_EVERY
        one.step_without_call()
        one.clock.time += POLL_EVERY
        one.step()
        assert one.database.calls[-1][0] == "poll_notifications"

    def test_what_a_poll_finds_is_claimed_at_once(self) -> None:
        one = Bench(claimed(), polled(due=True), claimed("a"), linger=60.0)
        one.step()
        one.clock.time += POLL_EVERY
        one.step()
        assert not one.claimer.is_idle
        one.step()
        assert one.database.calls[-1][0] == "claim_notifications"
        assert len(one.in_flight) == 1

    def test_it_polls_less_often_when_nothing_comes(self) -> None:
        one = Bench(claimed(), *[polled()] * 60, linger=120.0)
        one.step()
        began, waits = one.clock.time, []
        while one.clock.time < began + 40:
            waits.append(one.claimer.due_at(one.clock.time) - one.clock.time)
            one.clock.time += waits[-1]
            one.step()
        assert waits[:30] == [POLL_EVERY] * 30
        assert waits[31:] == [POLL_EVERY_IDLE] * len(waits[31:])
        assert IDLE_AFTER == 30

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [(polled(wanted=True), "handed_over"), (polled(held=False), "lease_lost")],
    )
    def test_it_ends_when_another_run_wants_or_has_the_lease(
        self, answer: dict[str, Any], outcome: str
    ) -> None:
        one = Bench(claimed(), answer, linger=60.0)
        one.step()
        one.clock.time += POLL_EVERY
        one.step()
        assert one.report.outcome == outcome

    def test_it_ends_after_its_linger_time(self) -> None:
        one = Bench(claimed(), linger=60.0)
        one.step()
        one.clock.time += 60
        one.step_without_call()
        assert one.report.outcome == "drained"

    def test_when_woken_it_polls_at_once_but_not_repeatedly(self) -> None:
        one = Bench(claimed(), polled(), polled(), linger=60.0)
        one.step()
        one.clock.time += 0.5
        one.claimer.poll_soon()
        assert one.claimer.due_at(one.clock.time) == one.clock.time
        one.step()
        assert one.database.calls[-1][0] == "poll_notifications"
        for _ in range(3):
            one.claimer.poll_soon()
        one.step_without_call()
        assert one.claimer.due_at(one.clock.time) == one.clock.time + LEAST_POLL_GAP

    def test_when_woken_during_a_poll_it_polls_again_soon(self) -> None:
        one = Bench(claimed(), polled(), linger=60.0)
        one.step()
        one.clock.time += POLL_EVERY
        one.claimer.step(one.clock.time)
        one.claimer.poll_soon()
        one.jobs.run()
        assert one.claimer.due_at(one.clock.time) == one.clock.time + LEAST_POLL_GAP

    def test_when_woken_while_delivering_it_claims_soon(self) -> None:
        one = Bench(claimed("a"), claimed(), claimed(), linger=60.0)
        one.step()
        for delay in EMPTY_CLAIM_DELAYS[:1]:
            one.clock.time += delay
            one.step()
        assert one.claimer.due_at(one.clock.time) > one.clock.time + LEAST_POLL_GAP
        one.claimer.poll_soon()
        assert one.claimer.due_at(one.clock.time) == one.clock.time + LEAST_POLL_GAP
