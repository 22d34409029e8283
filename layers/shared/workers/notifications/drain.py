"""A run of the notification worker: drain the queue into Slack until it is empty or time is up.

One thread, the caller's, decides everything; posts and database calls run on others and
report back through one inbox. So there is nothing to lock, and time is only read here.

A delivery goes: claimed (leased in the database) -> announced (`sending`, written ahead of
the post) -> posted -> recorded. Claims, announcements and records travel in bulk, about once
a second; one record carries both what came of earlier posts and what is posted next. A run
that dies leaves leases, which run out, and announcements, which tell what may have been
posted.
"""

from __future__ import annotations

import queue
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from workers.clock import Clock
from workers.database import Database
from workers.errors import (
    AmbiguousError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.claims import Delivery, Notification, read_claim
from workers.notifications.lanes import LOOKAHEAD, Lane, Work
from workers.notifications.outcomes import SETTLING_TIME, Outcome, outcome_of
from workers.notifications.pacing import ChannelPace, TokenBucket
from workers.notifications.posting import Attempt, attempt_post, find_posted, open_conversation
from workers.settings import Settings
from workers.slack import Slack
from workers.telemetry import logger

DRAINER_LEASE: Final = "30 seconds"
# Longer than the function's timeout, so that no row is claimed again while its run may live;
# a template test compares the two.
ROW_LEASE: Final = "170 seconds"
RECORD_EVERY: Final = 1.0
RENEW_EVERY: Final = 10.0
# Time left for the last records after the last post may have taken its whole timeout.
SETTLE_MARGIN: Final = 3.0

# A config with this much in hand claims no more; a paced channel takes a minute for it.
CONFIG_SHARE: Final = 60
UNPACED_CONFIG_SHARE: Final = 500
MOST_IN_HAND: Final = 1_000
EMPTY_CLAIM_DELAYS: Final = (1.0, 2.0, 5.0)
# As in due_notifications: a row that so many claims died over is handled alone.
LOST_CLAIMS_ALONE: Final = 3
RECORD_FAILURES: Final = 3

# This many failures of Slack in a row are trouble at Slack, not of messages.
TROUBLE_LIMIT: Final = 4
TROUBLE_PAUSE: Final = 2.0
TROUBLE_HOLD: Final = 30.0
# A wait of this length is left to a later run.
LONGEST_WAIT: Final = 20.0


COUNTS: Final = (
    "claimed", "sent", "retried", "rate_limited", "ambiguous", "reconciled",
    "possible_duplicates", "dead", "skipped", "expired", "parked", "released", "unknown_keys",
)  # fmt: skip


@dataclass
class Report:
    """What a run came to. `outcome` says why it ended: drained, deadline, busy (another run
    drains), waiting (Slack asked for it), slack_unavailable, token_refused, lease_lost or
    failed."""

    outcome: str
    counts: Counter[str] = field(default_factory=Counter)
    longest_waited: float = 0.0
    oldest_due: float | None = None
    parked_configs: int = 0

    def summary(self) -> dict[str, Any]:
        """The report as the handler returns it: `outcome`, counts, seconds."""
        return {
            "outcome": self.outcome,
            **{name: self.counts[name] for name in COUNTS},
            "longest_waited_seconds": round(self.longest_waited, 1),
            "oldest_due_seconds": self.oldest_due,
            "parked_configs": self.parked_configs,
        }


@dataclass(frozen=True)
class Told:
    """An outcome on its way to the database; `posted_at` by the run's clock."""

    work: Work
    outcome: Outcome
    posted_at: float | None


@dataclass
class Record:
    """What one call of `record_notification_progress` carries."""

    told: list[Told] = field(default_factory=list)
    finished: list[Notification] = field(default_factory=list)
    parks: list[dict[str, str | None]] = field(default_factory=list)
    resumed: bool = False

    def __bool__(self) -> bool:
        return bool(self.told or self.finished or self.parks or self.resumed)

    def before(self, later: Record) -> Record:
        """Both in one, this one's first."""
        return Record(
            self.told + later.told,
            self.finished + later.finished,
            self.parks + later.parks,
            self.resumed or later.resumed,
        )


class Drain:
    """One run. Made anew for each; `run` is called once."""

    def __init__(
        self,
        database: Database,
        slack: Slack,
        settings: Settings,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._database = database
        self._slack = slack
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._run_id = str(uuid.uuid4())
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._report = Report("drained")

        self._lanes: dict[str, Lane] = {}
        self._in_hand: Counter[str] = Counter()
        self._configs: Counter[str] = Counter()
        self._parked: set[str] = set()
        self._limited: set[str] = set()

        self._posting = 0
        self._width = settings.notification_concurrency
        self._hold_until = 0.0
        self._trouble = 0

        self._outbox = Record()
        self._recording = False
        self._recorded_at = 0.0
        self._record_failures = 0

        self._claiming = False
        self._claim_at = 0.0
        self._empty_claims = 0
        self._alone = False
        self._drained = False

        self._ended: str | None = None
        self._failure: BaseException | None = None
        self._cutoff = 0.0
        self._deadline = 0.0

    def run(self, deadline: float) -> Report:
        """Drain until the queue is empty or `deadline` (by the clock) is near.

        Raises what made the run as a whole fail: CredentialsError when Slack or Supabase
        refuses us, ConfigurationError, TransientError when the database stays out of reach.
        What was learnt until then is recorded as far as it can be.
        """
        self._deadline = deadline
        self._cutoff = deadline - self._slack.timeout - SETTLE_MARGIN
        if not self._begin():
            return self._report
        posts = ThreadPoolExecutor(self._settings.notification_concurrency, "slack")
        calls = ThreadPoolExecutor(2, "database")
        self._posts, self._calls = posts, calls
        try:
            self._loop()
        finally:
            # a call that hangs is left to its timeout: the deadline does not wait for it
            posts.shutdown(wait=False, cancel_futures=True)
            calls.shutdown(wait=False, cancel_futures=True)
        self._finish()
        if self._failure is not None:
            raise self._failure
        return self._report

    # --- the run as a whole ---

    def _begin(self) -> bool:
        """Take the lease and end what is not to be posted; False when there is nothing to do."""
        while True:
            begun = self._database.call(
                "start_notification_run",
                run_id=self._run_id,
                lease=DRAINER_LEASE,
                expire_after=f"{self._settings.notification_expiry_hours} hours",
            )
            if not begun["acquired"]:
                self._report.outcome = "busy"
                return False
            for name in ("dead", "skipped", "expired"):
                self._report.counts[name] += begun[name]
            if not begun["more"] or self._clock.now() >= self._cutoff:
                break
        now = self._clock.now()
        self._recorded_at = now
        self._take_over(begun["handover"] or {}, begun["handover_age"], now)
        if self._hold_until - now > LONGEST_WAIT:
            self._ended = "waiting"
        elif begun["paused"]:
            self._probe_token()
        return True

    def _take_over(self, handover: dict[str, Any], age: float, now: float) -> None:
        """Go on with the last run's rate budget and with the wait that it was asked for."""
        rate, burst = self._settings.slack_workspace_rate, self._settings.slack_workspace_burst
        tokens = float(handover.get("tokens", burst)) + age * rate
        self._bucket = TokenBucket(rate, burst, tokens, now)
        self._hold_until = now + max(0.0, float(handover.get("hold", 0.0)) - age)
        if handover.get("trouble"):
            self._width = 1  # the first post is a probe

    def _handover(self, now: float) -> dict[str, Any]:
        held = self._bucket.held(now)
        return {
            **({} if held == float("inf") else {"tokens": round(held, 3)}),
            "hold": round(max(0.0, self._hold_until - now), 3),
            "trouble": self._width == 1,
        }

    def _probe_token(self) -> None:
        """All stands still because the token was refused: ask Slack whether it still is."""
        try:
            self._slack.identity()
        except CredentialsError as error:
            self._end("token_refused", error)
        except (TransientError, RateLimitedError):
            self._end("slack_unavailable")
        else:
            self._outbox.resumed = True

    def _loop(self) -> None:
        while not self._is_done():
            now = self._clock.now()
            if now >= self._deadline:
                break
            self._plan(now)
            event = self._clock.wait(self._inbox, self._wake_at(now), busy=self._is_busy())
            while event is not None:
                event()
                event = None if self._inbox.empty() else self._inbox.get()

    def _plan(self, now: float) -> None:
        if now >= self._cutoff and self._ended is None and not self._drained:
            self._end("deadline")
        if self._ended is not None:
            for lane in self._lanes.values():
                self._release(list(lane.waiting))
        else:
            self._look_for_posted(now)
            self._post_ready(now)
            self._claim(now)
        self._record(now)

    def _end(self, outcome: str, failure: BaseException | None = None) -> None:
        """Start nothing more; what is under way still comes in and is recorded."""
        if self._ended is None:
            self._ended = outcome
        if self._failure is None:
            self._failure = failure

    def _is_busy(self) -> bool:
        return bool(self._posting or self._claiming or self._recording)

    def _is_done(self) -> bool:
        if self._is_busy() or self._anything_waits() or self._outbox:
            return False
        return self._drained or self._ended is not None

    def _anything_waits(self) -> bool:
        return any(lane.waiting for lane in self._lanes.values())

    def _wake_at(self, now: float) -> float:
        if self._ended is not None:
            return min(self._deadline, max(now, self._recorded_at + RECORD_EVERY))
        times = [self._cutoff, self._recorded_at + RECORD_EVERY]
        if not self._claiming and self._may_claim():
            times.append(self._claim_at)
        if self._posting < self._width:
            free_at = max(self._hold_until, self._bucket.ready_at(now))
            times.extend(
                max(free_at, lane.ready_at(now))
                for lane in self._lanes.values()
                if lane.waiting and not lane.busy and lane.waiting[0].announced
            )
        return max(now, min(times))

    def _finish(self) -> None:
        now = self._clock.now()
        self._report.outcome = self._ended or "drained"
        if self._outbox or self._recording:
            logger.error(
                "The run ended before its last outcomes could be recorded; the next one looks "
                "for them in Slack",
                extra={"action": "unrecorded", "deliveries": len(self._outbox.told)},
            )
            return
        try:
            finished = self._database.call(
                "finish_notification_run", run_id=self._run_id, handover=self._handover(now)
            )
        except TransientError as error:
            logger.warning(
                "The lease could not be handed back and will run out",
                extra={"action": "lease_kept", "error": str(error)},
            )
            return
        self._report.oldest_due = finished["oldest_due"]
        self._report.parked_configs = finished["parked_configs"]

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        job: Callable[[], Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run `job` on `pool`; the loop then calls `done` or `failed` with what came of it."""

        def task() -> None:
            try:
                result = job()
            except Exception as caught:  # carried to the loop, which ends the run on what
                error = caught  # it does not know
                self._inbox.put(lambda: failed(error))
            else:
                self._inbox.put(lambda: done(result))

        pool.submit(task)

    # --- claims ---

    def _may_claim(self) -> bool:
        return (
            self._ended is None
            and not self._claiming
            and not self._alone
            and not self._record_failures
            and len(self._in_hand) < MOST_IN_HAND
        )

    def _claim(self, now: float) -> None:
        if not self._may_claim() or now < self._claim_at:
            return
        share = CONFIG_SHARE if self._settings.slack_channel_rate else UNPACED_CONFIG_SHARE
        busy = [config for config, count in self._configs.items() if count >= share]
        # a row that took workers down with it is taken only when it can harm no other
        nothing_else = not self._in_hand and not self._outbox and not self._recording

        def claim() -> Any:
            return self._database.call(
                "lock_and_get_notifications",
                batch_size=self._settings.notification_batch_size,
                lease=ROW_LEASE,
                busy_configs=busy,
                after_lost_claims=nothing_else,
            )

        self._claiming = True
        self._submit(
            self._calls, claim, lambda rows: self._claimed(rows, last=nothing_else), self._unclaimed
        )

    def _claimed(self, rows: list[dict[str, Any]], *, last: bool) -> None:
        self._claiming = False
        now = self._clock.now()
        self._report.counts["claimed"] += len(rows)
        for row in rows:
            self._take_in(read_claim(row), now)
        if len(rows) >= self._settings.notification_batch_size:
            self._empty_claims = 0
            self._claim_at = now
            return
        if rows:
            self._empty_claims = 0
        # an empty claim proves the queue empty only if nothing was kept out of it
        self._drained = last and not rows
        delays = EMPTY_CLAIM_DELAYS
        self._claim_at = now + delays[min(self._empty_claims, len(delays) - 1)]
        self._empty_claims += 1

    def _unclaimed(self, error: Exception) -> None:
        self._claiming = False
        # what the call may have claimed unseen comes back when its lease runs out
        self._end("failed", error)

    def _take_in(self, notification: Notification, now: float) -> None:
        due = [delivery for delivery in notification.deliveries if delivery.due_in <= 0]
        self._alone = self._alone or notification.lost_claims >= LOST_CLAIMS_ALONE
        if not due or self._ended is not None or notification.config_id in self._parked:
            self._outbox.finished.append(notification)
            return
        self._in_hand[notification.id] = len(due)
        self._configs[notification.config_id] += 1
        self._report.longest_waited = max(self._report.longest_waited, notification.waited)
        for delivery in due:
            work = Work(notification, delivery, look_first=delivery.is_unknown)
            lane = self._lane(delivery, now)
            wait = lane.pace.ready_at(now) - now
            if wait > LONGEST_WAIT:
                self._tell(work, Outcome("wait", retry_in=wait, error_code="destination_waits"))
            else:
                lane.waiting.append(work)

    def _lane(self, delivery: Delivery, now: float) -> Lane:
        lane = self._lanes.get(delivery.destination)
        if lane is None:
            pace = ChannelPace(self._settings.slack_channel_rate)
            if delivery.idle_for is not None:
                pace.last_start = now - delivery.idle_for
            lane = self._lanes[delivery.destination] = Lane(delivery.destination, pace)
        lane.pace.wait_until(now + delivery.ready_in)
        lane.conversation_id = lane.conversation_id or delivery.conversation_id
        return lane

    # --- records ---

    def _tell(self, work: Work, outcome: Outcome, posted_at: float | None = None) -> None:
        """Note the outcome of a delivery, to be recorded, and be done with it."""
        self._outbox.told.append(Told(work, outcome, posted_at))
        self._conclude(work)

    def _conclude(self, work: Work) -> None:
        notification = work.notification
        self._in_hand[notification.id] -= 1
        if self._in_hand[notification.id] > 0:
            return
        del self._in_hand[notification.id]
        self._configs[notification.config_id] -= 1
        self._alone = False
        self._outbox.finished.append(notification)

    def _release(self, works: list[Work]) -> None:
        """Give back what was not posted, as it was."""
        for work in works:
            self._lanes[work.delivery.destination].waiting.remove(work)
            self._report.counts["released"] += 1
            if work.asked:
                self._tell(work, Outcome("unstarted"))
            else:
                self._conclude(work)

    def _record(self, now: float) -> None:
        if self._recording:
            return
        wanted = self._to_announce(now)
        since = now - self._recorded_at
        idle_lane = any(
            lane.ready_at(now) <= now and not lane.waiting[0].announced
            for lane in (self._lanes[work.delivery.destination] for work in wanted)
        )
        nothing_else = not self._posting and not self._anything_waits()
        due = since >= RECORD_EVERY and bool(self._outbox or wanted)
        if self._record_failures:
            urgent = False
        else:
            urgent = idle_lane or (nothing_else and bool(self._outbox))
        if due or urgent or since >= RENEW_EVERY:
            self._send_record(wanted, now)

    def _to_announce(self, now: float) -> list[Work]:
        """What may be posted before the next record but one, and is not announced yet."""
        if self._ended is not None:
            return []
        room = self._bucket.held(now) + self._settings.slack_workspace_rate * LOOKAHEAD
        wanted: list[Work] = []
        for lane in self._lanes.values():
            for work in lane.soon(now):
                room -= 1
                if room < 0:
                    return wanted
                if not work.asked:
                    wanted.append(work)
        return wanted

    def _send_record(self, starting: list[Work], now: float) -> None:
        record, self._outbox = self._outbox, Record()
        for work in starting:
            work.asked = True
        arguments = {
            "run_id": self._run_id,
            "outcomes": [
                told.outcome.as_row(
                    told.work.delivery.id,
                    told.work.notification.token,
                    None if told.posted_at is None else now - told.posted_at,
                )
                for told in record.told
            ],
            "starting": [
                {"id": work.delivery.id, "token": work.notification.token} for work in starting
            ],
            "finished": [{"id": done.id, "token": done.token} for done in record.finished],
            "parks": record.parks,
            "resumed": record.resumed,
            "handover": self._handover(now),
            "lease": DRAINER_LEASE,
        }
        self._recording = True
        self._recorded_at = now
        self._submit(
            self._calls,
            lambda: self._database.call("record_notification_progress", **arguments),
            lambda answer: self._recorded(starting, answer),
            lambda error: self._unrecorded(record, starting, error),
        )

    def _recorded(self, starting: list[Work], answer: dict[str, Any]) -> None:
        self._recording = False
        self._record_failures = 0
        if answer["stale"]:
            logger.warning(
                "Outcomes came too late: a newer claim holds their notifications",
                extra={"action": "lost_lease", "deliveries": answer["stale"]},
            )
        if not answer["held"]:
            self._end("lease_lost")
        started = set(answer["started"])
        for work in starting:
            work.announced = work.delivery.id in started
            if not work.announced and self._ended is None:
                self._drop(work)

    def _drop(self, work: Work) -> None:
        """Let go of a delivery that a newer claim holds: it is no longer ours to tell of."""
        self._lanes[work.delivery.destination].waiting.remove(work)
        self._conclude(work)

    def _unrecorded(self, record: Record, starting: list[Work], error: Exception) -> None:
        self._recording = False
        self._outbox = record.before(self._outbox)
        for work in starting:
            # it may be announced all the same: unless it is posted, it is told as unstarted
            work.asked = work.asked and self._ended is not None
        self._record_failures += 1
        if not isinstance(error, TransientError):
            self._outbox = Record()
            self._end("failed", error)
        elif self._record_failures >= RECORD_FAILURES:
            self._end("failed", error)

    # --- posts ---

    def _post_ready(self, now: float) -> None:
        if now < self._hold_until:
            return
        for lane in self._lanes.values():
            if self._posting >= self._width:
                return
            if lane.ready_at(now) > now or not lane.waiting[0].announced:
                continue
            if not self._bucket.take(now):
                return
            lane.pace.start(now)
            self._post(lane, lane.waiting.popleft(), now)

    def _post(self, lane: Lane, work: Work, now: float) -> None:
        conversation = lane.conversation_id
        lane.busy = True
        self._posting += 1
        self._submit(
            self._posts,
            lambda: attempt_post(self._slack, work, conversation),
            lambda attempt: self._tried(lane, work, now, attempt),
            lambda error: self._gave_up(lane, error),
        )

    def _gave_up(self, lane: Lane, error: Exception) -> None:
        """Something that this code has no rule for: its delivery stays announced, and so
        unknown, until its lease runs out."""
        self._posting -= 1
        lane.busy = False
        self._end("failed", error)

    def _tried(self, lane: Lane, work: Work, posted_at: float, attempt: Attempt) -> None:
        self._posting -= 1
        lane.busy = False
        lane.conversation_id = attempt.conversation_id
        self._report.counts["unknown_keys"] += len(attempt.unknown_keys)
        if attempt.posted is None:
            assert attempt.error is not None  # noqa: S101 - one of the two is always set
            self._failed(lane, work, posted_at, attempt.error, confirmed=attempt.confirmed)
            return
        self._all_well()
        self._report.counts["sent"] += 1
        self._report.counts["possible_duplicates"] += work.possible_duplicate
        outcome = Outcome(
            "sent",
            conversation_id=attempt.posted.channel,
            message_ts=attempt.posted.ts,
            request_id=attempt.posted.request_id,
            possible_duplicate=work.possible_duplicate,
        )
        self._tell(work, outcome, posted_at)

    def _failed(
        self, lane: Lane, work: Work, posted_at: float, error: WorkerError, *, confirmed: bool
    ) -> None:
        now = self._clock.now()
        outcome = outcome_of(error, work.delivery, jitter=self._jitter())
        match error:
            case RateLimitedError():
                self._report.counts["rate_limited"] += 1
                self._slow_down(lane, work, error, outcome, now)
                return
            case CredentialsError():
                self._outbox.parks.append(_pause(None, error.code, str(error)))
                self._end("token_refused", error)
            case AmbiguousError():
                self._report.counts["ambiguous"] += 1
                self._in_trouble(now)
            case TransientError():
                # not sent: it stays at the head of its lane, so that order is kept
                lane.waiting.appendleft(work)
                lane.pace.wait_until(now + TROUBLE_PAUSE)
                self._in_trouble(now)
                return
            case DestinationError() if confirmed:
                self._all_well()
                self._park(work.notification.config_id, error.code, str(error))
                outcome = Outcome("wait", error_code=error.code, error=str(error))
            case UnknownError() | PermanentError():
                self._all_well()
                last = outcome.attempts is not None and outcome.attempts >= (
                    work.notification.max_attempts
                )
                self._report.counts["dead" if last or outcome.result == "dead" else "retried"] += 1
        self._tell(work, outcome, posted_at)
        if outcome.hold_in is not None:
            self._close(lane, now + outcome.hold_in)

    def _slow_down(
        self, lane: Lane, work: Work, error: RateLimitedError, outcome: Outcome, now: float
    ) -> None:
        """Slack asked to wait: this channel, or, when it says so or a second channel hears
        the same, everything."""
        resume_at = now + error.retry_after
        self._limited.add(lane.destination)
        lane.waiting.appendleft(work)
        lane.pace.wait_until(resume_at)
        too_long = error.retry_after > LONGEST_WAIT or resume_at > self._cutoff
        if error.everywhere or len(self._limited) > 1:
            self._hold_until = max(self._hold_until, resume_at)
            if too_long:
                self._end("waiting")
        if too_long:
            lane.waiting.popleft()
            self._tell(work, outcome)
            self._close(lane, resume_at)

    def _close(self, lane: Lane, until: float) -> None:
        """Leave a destination alone: what is queued behind goes back, and keeps its place."""
        lane.pace.wait_until(until)
        self._release(list(lane.waiting))

    def _park(self, config_id: str, code: str, reason: str) -> None:
        if config_id in self._parked:
            return
        self._parked.add(config_id)
        self._report.counts["parked"] += 1
        self._outbox.parks.append(_pause(config_id, code, reason))
        self._release([
            work
            for lane in self._lanes.values()
            for work in lane.waiting
            if work.notification.config_id == config_id
        ])  # fmt: skip

    def _all_well(self) -> None:
        self._trouble = 0
        self._width = self._settings.notification_concurrency

    def _in_trouble(self, now: float) -> None:
        """Count failures in a row; so many of them, over all channels, are Slack's own."""
        self._trouble += 1
        if self._trouble >= TROUBLE_LIMIT or self._width == 1:
            self._width = 1
            self._hold_until = max(self._hold_until, now + TROUBLE_HOLD)
            self._end("slack_unavailable")

    # --- looking for what may have been posted ---

    def _look_for_posted(self, now: float) -> None:
        if now < self._hold_until:
            return
        for lane in self._lanes.values():
            works = lane.to_look_for()
            if works and self._posting < self._width and lane.pace.not_before <= now:
                self._look(lane, works)

    def _look(self, lane: Lane, works: list[Work]) -> None:
        conversation = lane.conversation_id or works[0].delivery.conversation_id

        def look() -> tuple[str, dict[str, str]]:
            channel = conversation or open_conversation(self._slack, lane.destination)
            return channel, find_posted(self._slack, channel, works)

        lane.busy = True
        self._posting += 1
        self._submit(
            self._posts,
            look,
            lambda found: self._looked(lane, works, *found),
            lambda error: self._not_looked(lane, works, error),
        )

    def _looked(
        self, lane: Lane, works: list[Work], conversation: str, found: dict[str, str]
    ) -> None:
        self._posting -= 1
        lane.busy = False
        lane.conversation_id = conversation
        self._all_well()
        for work in works:
            work.look_first = False
            ts = found.get(work.delivery.id)
            if ts is not None:
                lane.waiting.remove(work)
                self._report.counts["reconciled"] += 1
                self._tell(work, Outcome("sent", conversation_id=conversation, message_ts=ts))

    def _not_looked(self, lane: Lane, works: list[Work], error: Exception) -> None:
        now = self._clock.now()
        lane.busy = False
        if not isinstance(error, WorkerError):
            self._gave_up(lane, error)
            return
        self._posting -= 1
        match error:
            case DestinationError() | CredentialsError(code="missing_scope"):
                self._cannot_look(works, error)
            case CredentialsError():
                self._outbox.parks.append(_pause(None, error.code, str(error)))
                self._end("token_refused", error)
            case _:
                wait = max(SETTLING_TIME, getattr(error, "retry_after", 0.0))
                for work in works:
                    lane.waiting.remove(work)
                    self._tell(work, Outcome("unknown", retry_in=wait, hold_in=wait,
                                             error_code=error.code, error=str(error)))  # fmt: skip
                self._close(lane, now + wait)
                if isinstance(error, TransientError):
                    self._in_trouble(now)

    def _cannot_look(self, works: list[Work], error: WorkerError) -> None:
        """The bot may not read the conversation, now or later: as the setting says."""
        if self._settings.notification_unverifiable == "park":
            for work in works:
                reason = f"a message may have been posted and cannot be looked for: {error}"
                self._park(work.notification.config_id, "unverifiable", reason)
            return
        for work in works:
            work.look_first = False
            work.possible_duplicate = True


def _pause(config_id: str | None, code: str, reason: str) -> dict[str, str | None]:
    return {"config_id": config_id, "code": code, "reason": reason}
