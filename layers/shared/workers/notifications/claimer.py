"""When a run claims more deliveries, and when there are none left.

A delivery that was being posted when three runs died is claimed first, one at a time and alone, so
that it harms nothing else. While all delivery is stopped because of the token, one message at a
time tests whether Slack accepts it again. A run that lingers polls once its queue is drained.
"""

from __future__ import annotations

import math
from typing import Final

from workers.clock import Clock
from workers.database import Database
from workers.notifications.answers import Claimed, Polled, Started, read_claimed, read_polled
from workers.notifications.in_flight import InFlight
from workers.notifications.jobs import Jobs
from workers.notifications.probes import Probes
from workers.notifications.recorder import DRAINER_LEASE, Recorder
from workers.notifications.report import Report

MOST_IN_FLIGHT: Final = 1_000
LARGEST_BATCH: Final = 500
EMPTY_CLAIM_DELAYS: Final = (1.0, 2.0, 5.0)
# At most this many suspects in a run, and this many tests of a refused token.
MOST_SUSPECTS: Final = 20
TOKEN_TRIALS: Final = 3
# A lingering run polls once a second, and after half a minute without work every two seconds.
POLL_EVERY: Final = 1.0
IDLE_AFTER: Final = 30.0
POLL_EVERY_IDLE: Final = 2.0
# The shortest time between two calls, however often the run is woken.
LEAST_POLL_GAP: Final = 0.2


class Claimer:
    """Claims what goes in flight; ends the run as drained when there is nothing left."""

    def __init__(
        self,
        *,
        database: Database,
        run_id: str,
        started: Started,
        batch_size: int,
        expire_after: str,
        linger: float,
        threads: bool,
        in_flight: InFlight,
        recorder: Recorder,
        probes: Probes,
        report: Report,
        jobs: Jobs,
        clock: Clock,
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._expire_after = expire_after
        self._linger = linger
        self._threads = threads
        self._in_flight = in_flight
        self._recorder = recorder
        self._probes = probes
        self._report = report
        self._jobs = jobs
        self._clock = clock
        self._batch_size = batch_size
        self._is_stopped = started.stopped is not None
        self._token_trials = TOKEN_TRIALS
        self._suspects = MOST_SUSPECTS if started.suspects else 0
        self._claim_at = 0.0
        self._empty_claims = 0
        self._drained_at: float | None = None
        self._poll_at = math.inf
        self._called_at = -math.inf
        self._is_woken = False
        self.is_busy = False

    @property
    def is_idle(self) -> bool:
        """Whether the run has drained its queue and only polls."""
        return self._drained_at is not None

    def due_at(self, now: float) -> float:
        """When to claim or poll next, unless something happens before."""
        if self._drained_at is not None and not self.is_busy and not self._report.has_ended:
            return max(now, min(self._poll_at, self._drained_at + self._linger))
        return max(now, self._claim_at) if self._may_claim() else math.inf

    def poll_soon(self) -> None:
        """Claim or poll without waiting for the usual time: something was queued."""
        self._is_woken = True
        soon = max(self._clock.now(), self._called_at + LEAST_POLL_GAP)
        self._claim_at = min(self._claim_at, soon)
        self._poll_at = min(self._poll_at, soon)

    def step(self, now: float) -> None:
        """Claim or poll, if it is time."""
        if self._report.has_ended or self.is_busy:
            return
        if self._drained_at is not None:
            self._keep_polling(now, self._drained_at)
        elif self._may_claim() and (now >= self._claim_at or self._nothing_else()):
            self._claim(now)

    # --- claims ---

    def _nothing_else(self) -> bool:
        return not (len(self._in_flight) or self._recorder.has_unrecorded or self._probes.is_busy)

    def _may_claim(self) -> bool:
        if self._report.has_ended or self.is_busy or self._recorder.is_failing:
            return False
        if self._is_stopped or self._suspects:
            return not (len(self._in_flight) or self._recorder.has_unrecorded)
        return len(self._in_flight) < MOST_IN_FLIGHT

    def _claim(self, now: float) -> None:
        if self._is_stopped and self._report.counts["sent"]:
            self._is_stopped = False
        if self._is_stopped and not self._token_trials:
            self._report.end("waiting")
            return
        alone = bool(self._suspects) and not self._is_stopped
        last = self._nothing_else()
        arguments = {
            "run_id": self._run_id,
            "batch_size": 1 if self._is_stopped else self._batch_size,
            "busy": self._in_flight.busy_destinations(),
            "trials": self._probes.take(),
            "alone": alone,
            "expire_after": self._expire_after,
            "threads": self._threads,
        }
        self._begin_call(now)
        self._jobs.submit(
            lambda: read_claimed(self._database.call("claim_notifications", **arguments)),
            lambda answer: self._claimed(answer, alone=alone, last=last),
            self._failed,
        )

    def _claimed(self, answer: Claimed, *, alone: bool, last: bool) -> None:
        self.is_busy = False
        now = self._clock.now()
        if not answer.held:
            self._report.end("lease_lost")
            return
        self._report.count_ended(answer.ended)
        self._report.counts["claimed"] += len(answer.deliveries)
        for delivery in answer.deliveries:
            self._report.longest_waited = max(self._report.longest_waited, delivery.waited)
            if self._report.has_ended or self._in_flight.take_in(delivery, now) is None:
                self._recorder.release_delivery(delivery)
        self._plan_next(answer, now, alone=alone, last=last)

    def _plan_next(self, answer: Claimed, now: float, *, alone: bool, last: bool) -> None:
        count = len(answer.deliveries)
        self._claim_at = now
        if alone:
            self._suspects = self._suspects - 1 if count else 0
        elif self._is_stopped and count:
            self._token_trials -= 1
        elif count >= self._batch_size:
            self._batch_size = min(2 * self._batch_size, LARGEST_BATCH)  # a long queue
            self._empty_claims = 0
        elif answer.more:
            self._empty_claims = 0
        elif last and not count:
            # the queue is empty only if this claim left nothing out
            self._drained(now)
        else:
            self._empty_claims = 0 if count else self._empty_claims
            delay = EMPTY_CLAIM_DELAYS[min(self._empty_claims, len(EMPTY_CLAIM_DELAYS) - 1)]
            self._claim_at = now + (LEAST_POLL_GAP if self._is_woken else delay)
            self._empty_claims += 1

    def _begin_call(self, now: float) -> None:
        self.is_busy, self._is_woken, self._called_at = True, False, now

    def _failed(self, error: Exception) -> None:
        """What the call may have claimed is free again as soon as this run has ended."""
        self.is_busy = False
        self._report.end("failed", error)

    # --- lingering ---

    def _drained(self, now: float) -> None:
        if not self._linger:
            self._report.end("drained")
            return
        self._drained_at = now
        self._poll_at = now + (LEAST_POLL_GAP if self._is_woken else POLL_EVERY)

    def _keep_polling(self, now: float, drained_at: float) -> None:
        if now >= drained_at + self._linger:
            self._report.end("drained")
        elif now >= self._poll_at:
            self._begin_call(now)
            self._jobs.submit(self._poll, self._polled, self._failed)

    def _poll(self) -> Polled:
        return read_polled(
            self._database.call("poll_notifications", run_id=self._run_id, lease=DRAINER_LEASE)
        )

    def _polled(self, answer: Polled) -> None:
        self.is_busy = False
        now = self._clock.now()
        if not answer.held:
            self._report.end("lease_lost")
        elif answer.wanted:
            self._report.end("handed_over")
        elif answer.due:
            self._drained_at = None
            self._claim_at = now
            self._empty_claims = 0
        else:
            self._recorder.renewed(now)
            self._poll_at = now + self._pause(now)

    def _pause(self, now: float) -> float:
        if self._is_woken:  # during the poll, which may have been too early
            return LEAST_POLL_GAP
        is_idle = self._drained_at is not None and now - self._drained_at >= IDLE_AFTER
        return POLL_EVERY_IDLE if is_idle else POLL_EVERY
