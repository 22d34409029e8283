"""What a run reports to the database, sent in bulk about once a second.

One record holds the outcomes of earlier posts and what is posted next, and renews the run's lease.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from workers.database import Database
from workers.errors import PermanentError, TransientError
from workers.notifications.answers import Delivery, Recorded, read_recorded
from workers.notifications.in_flight import LOOK_AHEAD, InFlight, Post
from workers.notifications.jobs import Jobs
from workers.notifications.outcomes import Outcome
from workers.notifications.report import Report
from workers.notifications.throttle import Throttle
from workers.telemetry import logger

DRAINER_LEASE: Final = "30 seconds"
RECORD_EVERY: Final = 1.0
RENEW_EVERY: Final = 10.0
RECORD_FAILURES: Final = 3
# How often to check whether the workspace's rate has room for announcements again.
ROOM_POLL: Final = 0.25


@dataclass(frozen=True)
class Result:
    """The outcome of a post; `posted_at` in seconds by the run's clock."""

    post: Post
    outcome: Outcome
    posted_at: float | None


@dataclass(frozen=True)
class Park:
    """A destination that Slack refuses."""

    destination: str
    code: str
    reason: str


@dataclass(frozen=True)
class Stop:
    """The token is refused: all delivery stops."""

    code: str
    reason: str


@dataclass
class Record:
    """The part of a call of `record_notification_progress` that changes from call to call."""

    results: list[Result] = field(default_factory=list)
    released: list[Delivery] = field(default_factory=list)
    parks: list[Park] = field(default_factory=list)
    stop: Stop | None = None

    def __bool__(self) -> bool:
        return bool(self.results or self.released or self.parks or self.stop)

    def before(self, later: Record) -> Record:
        """Both in one, with this one's entries first."""
        return Record(
            self.results + later.results,
            self.released + later.released,
            self.parks + later.parks,
            self.stop or later.stop,
        )

    def pieces(self) -> list[Record]:
        """The same, as records of one entry each."""
        return [
            *(Record(results=[one]) for one in self.results),
            *(Record(released=[one]) for one in self.released),
            *(Record(parks=[one]) for one in self.parks),
            *([Record(stop=self.stop)] if self.stop else []),
        ]

    def arguments(self, starting: Sequence[Post], now: float) -> dict[str, object]:
        """The arguments of the call, with the posts to be announced."""
        return {
            "outcomes": [
                result.outcome.as_row(
                    delivery, None if result.posted_at is None else now - result.posted_at
                )
                for result in self.results
                for delivery in result.post.deliveries
            ],
            "starting": [
                {
                    "id": delivery.id,
                    "token": delivery.token,
                    "post_id": post.id,
                    "parent_ts": post.parent_ts,
                }
                for post in starting
                for delivery in post.deliveries
            ],
            "released": [{"id": one.id, "token": one.token} for one in self.released],
            "parks": [asdict(park) for park in self.parks],
            "stop": asdict(self.stop) if self.stop else None,
        }

    def only(self, deliveries: frozenset[str]) -> Record:
        """The part that concerns these deliveries."""
        return Record(
            [one for one in self.results if one.post.first.id in deliveries],
            [one for one in self.released if one.id in deliveries],
        )


class Recorder:
    """Gathers outcomes and announcements, and sends them; it gets each post once."""

    def __init__(
        self,
        *,
        database: Database,
        run_id: str,
        lingers: bool,
        expire_after: str,
        in_flight: InFlight,
        throttle: Throttle,
        report: Report,
        jobs: Jobs,
        now: float,
    ) -> None:
        self._database = database
        self._constant = {"run_id": run_id, "lease": DRAINER_LEASE, "expire_after": expire_after}
        self._lingers = lingers
        self._in_flight = in_flight
        self._throttle = throttle
        self._report = report
        self._jobs = jobs
        self._recorded_at = self._renewed_at = now
        self._outbox = Record()
        self._pieces: list[Record] = []
        self._failures = 0
        self.is_busy = False

    # --- what is to be recorded ---

    def note(self, post: Post, outcome: Outcome, posted_at: float | None = None) -> None:
        """The outcome of a post that is no longer in flight."""
        self._outbox.results.append(Result(post, outcome, posted_at))

    def release(self, posts: Iterable[Post]) -> None:
        """Give up the claims of posts that were not attempted."""
        for post in posts:
            self._report.counts["released"] += len(post.deliveries)
            if post.may_be_announced:
                self.note(post, Outcome("unstarted", in_doubt=post.in_doubt))
            else:
                self._outbox.released.extend(post.deliveries)

    def release_delivery(self, delivery: Delivery) -> None:
        """Give up the claim of a delivery that did not become a post."""
        self._report.counts["released"] += 1
        self._outbox.released.append(delivery)

    def park(self, destination: str, code: str, reason: str) -> None:
        """Make a destination wait until a post succeeds or an operator releases it."""
        self._report.counts["parked"] += 1
        self._outbox.parks.append(Park(destination, code, reason))

    def stop(self, code: str, reason: str) -> None:
        """Make all delivery wait: the token was refused."""
        self._outbox.stop = Stop(code, reason)

    def renewed(self, now: float) -> None:
        """The lease was renewed by another call."""
        self._renewed_at = now

    @property
    def has_unrecorded(self) -> bool:
        """Whether anything is not yet recorded."""
        return bool(self._outbox or self._pieces or self.is_busy)

    @property
    def is_failing(self) -> bool:
        """Whether the last record failed."""
        return self._failures > 0

    def unrecorded(self) -> int:
        """How many outcomes were not recorded."""
        return len(self._outbox.results) + sum(len(piece.results) for piece in self._pieces)

    # --- its turn in the loop ---

    def due_at(self, now: float) -> float:
        """When there is something to send, unless something happens before."""
        if self.is_busy:
            return math.inf
        record_at = max(now, self._recorded_at + RECORD_EVERY)
        times = [record_at] if self._outbox or self._pieces else []
        if not self._report.has_ended:
            times.append(self._renewed_at + RENEW_EVERY)
            announce_at = self._in_flight.announce_at(now)
            # what is due and not announced waits for the workspace's rate
            times.append(announce_at if announce_at > now else now + ROOM_POLL)
        return min(times, default=math.inf)

    def step(self, now: float) -> None:
        """Send what is due."""
        if self.is_busy:
            return
        # compared as due_at computes it: a difference might round to just below
        is_time = now >= self._recorded_at + RECORD_EVERY
        if self._pieces and (is_time or not self._failures):
            self._send(self._pieces.pop(0), [], now)
            return
        must_renew = now >= self._renewed_at + RENEW_EVERY and not self._report.has_ended
        if not (is_time or must_renew or self._has_last() or self._in_flight.is_held_up(now)):
            return  # as at most steps: what may start soon is not worked out
        starting = self._to_announce(now)
        if (
            (is_time and (self._outbox or starting))
            or (not self._failures and self._is_urgent(starting, now))
            or must_renew
        ):
            outbox, self._outbox = self._outbox, Record()
            self._send(outbox, starting, now)

    def _to_announce(self, now: float) -> list[Post]:
        if self._report.has_ended:
            return []
        return list(self._in_flight.to_announce(self._throttle.room(now, LOOK_AHEAD), now))

    def _is_urgent(self, starting: list[Post], now: float) -> bool:
        """Whether something waits for a record."""
        if self._has_last():
            return True
        queues = (self._in_flight.queues[post.destination] for post in starting)
        return any(
            queue.ready_at(now) <= now and queue.waiting[0].state == "new" for queue in queues
        )

    def _has_last(self) -> bool:
        """Whether there are outcomes, and no more will follow them."""
        return bool(self._outbox) and not len(self._in_flight)

    def _send(self, record: Record, starting: list[Post], now: float) -> None:
        for post in starting:
            post.state, post.may_be_announced = "requested", True
            post.parent_ts = self._in_flight.queues[post.destination].parent_of(post)
        arguments = {
            **self._constant,
            "handover": self._throttle.handover(now).as_json(),
            **record.arguments(starting, now),
        }
        self.is_busy = True
        self._recorded_at = self._renewed_at = now
        self._jobs.submit(
            lambda: read_recorded(self._database.call("record_notification_progress", **arguments)),
            lambda answer: self._recorded(record, starting, answer),
            lambda error: self._unrecorded(record, starting, error),
        )

    def _recorded(self, record: Record, starting: list[Post], answer: Recorded) -> None:
        self.is_busy = False
        self._failures = 0
        if answer.stale:
            logger.warning(
                "Outcomes were not written: either an earlier call wrote them and its answer was "
                "lost, or a newer claim holds their deliveries",
                extra={"action": "lost_lease", "deliveries": answer.stale},
            )
        self._outbox = record.only(answer.postponed).before(self._outbox)
        if not answer.held:
            self._report.end("lease_lost")
        elif answer.wanted and self._lingers:
            self._report.end("handed_over")
        for post in starting:
            self._announced(post, answer)

    def _announced(self, post: Post, answer: Recorded) -> None:
        """Announced, or no longer ours, or locked by someone: then left to a later claim."""
        if post.first.id in answer.started:
            if post.parent_ts == self._in_flight.queues[post.destination].parent_of(post):
                post.state = "announced"
        elif answer.held and self._in_flight.remove(post) and post.first.id in answer.postponed:
            self._outbox.released.extend(post.deliveries)

    def _unrecorded(self, record: Record, starting: list[Post], error: Exception) -> None:
        self.is_busy = False
        for post in starting:
            post.state = "new"
        if isinstance(error, PermanentError) and (starting or record):
            self._isolate(record, error)
            return
        self._outbox = record.before(self._outbox)
        self._failures += 1
        if not isinstance(error, TransientError):
            self._outbox, self._pieces = Record(), []
            self._report.end("failed", error)
        elif self._failures >= RECORD_FAILURES:
            self._report.end("failed", error)

    def _isolate(self, record: Record, error: PermanentError) -> None:
        """The database will never accept something in it: each entry is recorded separately, and
        the one that is refused stays announced, for a later run to look for."""
        pieces = record.pieces()
        if len(pieces) > 1:
            self._pieces += pieces
            return
        logger.error(
            "The database refuses to record an outcome, which stays in doubt",
            extra={
                "action": "unrecordable",
                "deliveries": [result.post.first.id for result in record.results],
                "error": str(error),
            },
        )
        if not pieces:  # an announcement alone
            self._report.end("failed", error)
