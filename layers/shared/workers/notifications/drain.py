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

import math
import queue
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from workers.clock import Clock
from workers.database import TIMEOUT, Database
from workers.errors import (
    AmbiguousError,
    CannotLookError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.claims import read_claim
from workers.notifications.hand import LONGEST_WAIT, Hand
from workers.notifications.lanes import LOOKAHEAD, Lane, Work
from workers.notifications.outcomes import SETTLING_TIME, Outcome, outcome_of
from workers.notifications.posting import (
    Attempt,
    attempt_post,
    find_posted,
    is_well,
    open_conversation,
)
from workers.notifications.records import Record
from workers.notifications.report import Report
from workers.notifications.slack import Slack
from workers.notifications.throttle import Throttle
from workers.settings import Settings
from workers.telemetry import logger

DRAINER_LEASE: Final = "30 seconds"
# Longer than the function's timeout, so that no row is claimed again while its run may live;
# a template test compares the two.
ROW_LEASE: Final = "170 seconds"
RECORD_EVERY: Final = 1.0
RENEW_EVERY: Final = 10.0
# Time left for the last records after the last post may have taken its whole timeout.
SETTLE_MARGIN: Final = 3.0
# How long the lease may take to be handed back, where the run had no time left for it.
LEAST_FINISH: Final = 1.0

MOST_IN_HAND: Final = 1_000
LARGEST_BATCH: Final = 500
# How often to see whether the workspace's rate has room for announcements again.
ROOM_POLL: Final = 0.25
EMPTY_CLAIM_DELAYS: Final = (1.0, 2.0, 5.0)
RECORD_FAILURES: Final = 3

# Before a message that did not get through is tried again.
TROUBLE_PAUSE: Final = 2.0


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

        self._probes: list[dict[str, str]] = []
        self._hand = Hand(settings.slack_channel_rate, self._report)
        self._posting = 0
        self._quickest = math.inf

        self._recording = False
        self._recorded_at = 0.0
        self._record_failures = 0

        self._claiming = False
        self._batch_size = settings.notification_batch_size
        self._claim_at = 0.0
        self._empty_claims = 0
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
            begun = self._start()
            if not begun["acquired"]:
                self._report.outcome = "busy"
                return False
            for name in ("dead", "skipped", "expired"):
                self._report.counts[name] += begun[name]
            self._probes += begun["probes"]
            if not begun["more"] or self._clock.now() >= self._cutoff:
                break
        now = self._clock.now()
        self._recorded_at = now
        self._throttle = Throttle(
            rate=self._settings.slack_workspace_rate,
            burst=self._settings.slack_workspace_burst,
            concurrency=self._settings.notification_concurrency,
            handover=begun["handover"] or {},
            age=begun["handover_age"],
            now=now,
        )
        if self._throttle.hold_until - now > LONGEST_WAIT:
            self._ended = "waiting"
            return True
        if begun["paused"]:
            self._probe_token()
        return True

    def _start(self) -> Any:
        """Called again when no answer came: a connection that was kept while the container
        slept may be dead, and to begin twice is to begin once."""

        def start() -> Any:
            return self._database.call(
                "start_notification_run",
                run_id=self._run_id,
                lease=DRAINER_LEASE,
                expire_after=f"{self._settings.notification_expiry_hours} hours",
            )

        try:
            return start()
        except TransientError:
            return start()

    def _probe_token(self) -> None:
        """All stands still because the token was refused: ask Slack whether it still is."""
        try:
            self._slack.identity()
        except CredentialsError as error:
            self._end("token_refused", error)
        except (TransientError, RateLimitedError, CannotLookError):
            self._end("slack_unavailable")
        else:
            self._hand.outbox.resumed = True

    def _probe_parked(self) -> None:
        """Ask Slack whether destinations that were refused are well again."""
        for probe in self._probes if self._ended is None else ():
            self._probe(probe["config_id"], probe["destination"])

    def _probe(self, config_id: str, destination: str) -> None:
        self._posting += 1
        self._submit(
            self._posts,
            lambda: is_well(self._slack, destination),
            lambda well: self._probed(config_id, well=well),
            self._not_probed,
        )

    def _probed(self, config_id: str, *, well: bool) -> None:
        self._posting -= 1
        if well:
            self._report.counts["unparked"] += 1
            self._hand.outbox.released.append(config_id)

    def _not_probed(self, error: Exception) -> None:
        self._posting -= 1
        if not isinstance(error, WorkerError):
            self._end("failed", error)

    def _loop(self) -> None:
        self._probe_parked()
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
            self._hand.release_all()
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
        if self._is_busy() or self._hand.anything_waits() or self._hand.outbox:
            return False
        return self._drained or self._ended is not None

    def _wake_at(self, now: float) -> float:
        """When there will be something to do, unless something comes in before."""
        record_at = max(now, self._recorded_at + RECORD_EVERY)
        if self._ended is not None:
            waits = self._hand.outbox and not self._recording
            return min(self._deadline, record_at) if waits else self._deadline
        times = [self._cutoff]
        if not self._recording:
            times.append(self._recorded_at + RENEW_EVERY)
            if self._hand.outbox:
                times.append(record_at)
            announce_at = self._hand.announce_at(now)
            # what is due and was not announced waits for the workspace's rate
            times.append(announce_at if announce_at > now else now + ROOM_POLL)
        if self._may_claim():
            times.append(self._claim_at)
        if self._posting < self._throttle.width:
            times.append(max(self._throttle.ready_at(now), self._hand.ready_at(now)))
        return max(now, min(times))

    def _finish(self) -> None:
        now = self._clock.now()
        self._report.outcome = self._ended or "drained"
        if self._hand.outbox or self._recording:
            logger.error(
                "The run ended before its last outcomes could be recorded; the next one looks "
                "for them in Slack",
                extra={"action": "unrecorded", "deliveries": len(self._hand.outbox.told)},
            )
            return
        try:
            finished = self._database.call_briefly(
                "finish_notification_run",
                min(TIMEOUT, max(LEAST_FINISH, self._deadline - now)),
                run_id=self._run_id,
                handover=self._throttle.handover(now),
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
            except Exception as caught:  # noqa: BLE001 - carried to the loop, which decides
                error = caught
                self._inbox.put(lambda: failed(error))
            else:
                self._inbox.put(lambda: done(result))

        pool.submit(task)

    # --- claims ---

    def _may_claim(self) -> bool:
        return (
            self._ended is None
            and not self._claiming
            and not self._hand.alone
            and not self._record_failures
            and len(self._hand) < MOST_IN_HAND
        )

    def _claim(self, now: float) -> None:
        # a row that took workers down with it is taken only when it can harm no other
        nothing_else = not self._hand and not self._hand.outbox
        if not self._may_claim() or (now < self._claim_at and not nothing_else):
            return
        busy, batch_size = self._hand.busy_configs(), self._batch_size

        def claim() -> Any:
            return self._database.call(
                "claim_notifications",
                batch_size=batch_size,
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
        for notification in map(read_claim, rows):
            if self._ended is not None:
                self._hand.give_back(notification)
                continue
            self._hand.take_in(notification, now)
            self._report.longest_waited = max(self._report.longest_waited, notification.waited)
        if len(rows) >= self._batch_size:
            self._batch_size = min(2 * self._batch_size, LARGEST_BATCH)  # a long queue
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

    # --- records ---

    def _record(self, now: float) -> None:
        if self._recording:
            return
        wanted = self._to_announce(now)
        # compared as _wake_at computes it: a difference may round to just below
        is_time = now >= self._recorded_at + RECORD_EVERY
        idle_lane = any(
            lane.ready_at(now) <= now and lane.waiting[0].state == "new"
            for lane in (self._hand.lanes[work.delivery.destination] for work in wanted)
        )
        nothing_else = not self._posting and not self._hand.anything_waits()
        due = is_time and bool(self._hand.outbox or wanted)
        if self._record_failures:
            urgent = False
        else:
            urgent = idle_lane or (nothing_else and bool(self._hand.outbox))
        if due or urgent or now >= self._recorded_at + RENEW_EVERY:
            self._send_record(wanted, now)

    def _to_announce(self, now: float) -> list[Work]:
        if self._ended is not None:
            return []
        return list(self._hand.to_announce(self._throttle.room(now, LOOKAHEAD), now))

    def _send_record(self, starting: list[Work], now: float) -> None:
        record, self._hand.outbox = self._hand.outbox, Record()
        for work in starting:
            work.state, work.may_be_announced = "asked", True
        arguments, handover = record.arguments(starting, now), self._throttle.handover(now)
        self._recording = True
        self._recorded_at = now
        self._submit(
            self._calls,
            lambda: self._database.call(
                "record_notification_progress",
                run_id=self._run_id,
                handover=handover,
                lease=DRAINER_LEASE,
                **arguments,
            ),
            lambda answer: self._recorded(starting, answer),
            lambda error: self._unrecorded(record, starting, error),
        )

    def _recorded(self, starting: list[Work], answer: dict[str, Any]) -> None:
        self._recording = False
        self._record_failures = 0
        if answer["stale"]:
            logger.warning(
                "Outcomes were not written: they were before, though no answer said so, or a newer "
                "claim holds their notifications",
                extra={"action": "lost_lease", "deliveries": answer["stale"]},
            )
        if not answer["held"]:
            self._end("lease_lost")
        started = set(answer["started"])
        for work in starting:
            if work.delivery.id in started:
                work.state = "announced"
            elif answer["held"]:
                self._hand.drop(work)

    def _unrecorded(self, record: Record, starting: list[Work], error: Exception) -> None:
        self._recording = False
        self._hand.outbox = record.before(self._hand.outbox)
        for work in starting:
            work.state = "new"
        self._record_failures += 1
        if not isinstance(error, TransientError):
            self._hand.outbox = Record()
            self._end("failed", error)
        elif self._record_failures >= RECORD_FAILURES:
            self._end("failed", error)

    # --- posts ---

    def _post_ready(self, now: float) -> None:
        for lane in self._hand.lanes.values():
            if self._posting >= self._throttle.width:
                return
            if lane.ready_at(now) > now or lane.waiting[0].state != "announced":
                continue
            if not self._throttle.take(now):
                return
            self._post(lane, lane.waiting.popleft())

    def _post(self, lane: Lane, work: Work) -> None:
        conversation = lane.conversation_id
        lane.busy = True
        self._posting += 1
        self._submit(
            self._posts,
            lambda: attempt_post(self._slack, work, conversation, self._clock.now),
            lambda attempt: self._tried(lane, work, attempt),
            lambda error: self._gave_up(lane, error),
        )

    def _gave_up(self, lane: Lane, error: Exception) -> None:
        """Something that this code has no rule for: its delivery stays announced, and so
        unknown, until its lease runs out."""
        self._posting -= 1
        lane.busy = False
        self._end("failed", error)

    def _tried(self, lane: Lane, work: Work, attempt: Attempt) -> None:
        self._posting -= 1
        lane.busy = False
        lane.pace.last_start = self._latest_arrival(attempt)
        lane.conversation_id = attempt.conversation_id
        self._report.counts["unknown_keys"] += len(attempt.unknown_keys)
        if attempt.posted is None:
            assert attempt.error is not None  # noqa: S101 - one of the two is always set
            self._failed(lane, work, attempt, attempt.error)
            return
        self._throttle.all_well()
        self._report.counts["sent"] += 1
        self._report.counts["possible_duplicates"] += work.possible_duplicate
        outcome = Outcome(
            "sent",
            conversation_id=attempt.posted.channel,
            message_ts=attempt.posted.ts,
            request_id=attempt.posted.request_id,
            possible_duplicate=work.possible_duplicate,
        )
        self._hand.tell(work, outcome, attempt.started)

    def _latest_arrival(self, attempt: Attempt) -> float:
        """When the message reached Slack at the latest, as far as the quickest answer of this
        run tells: the thread may have had to wait before it could send."""
        took = self._clock.now() - attempt.started
        if attempt.posted is not None:
            self._quickest = min(self._quickest, took)
        return attempt.started + max(0.0, took - self._quickest)

    def _failed(self, lane: Lane, work: Work, attempt: Attempt, error: WorkerError) -> None:
        now = self._clock.now()
        outcome = outcome_of(error, work.delivery, jitter=self._jitter())
        match error:
            case RateLimitedError():
                self._report.counts["rate_limited"] += 1
                self._slow_down(lane, work, error, outcome, now)
                return
            case CredentialsError():
                self._hand.outbox.stop(error.code, str(error))
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
            case DestinationError() if attempt.confirmed:
                self._throttle.all_well()
                self._hand.park(
                    work.notification.config_id, error.code, str(error), lane.destination
                )
                outcome = Outcome("wait", error_code=error.code, error=str(error))
            case UnknownError() | PermanentError():
                self._throttle.all_well()
                self._report.counts["unknown_codes"] += isinstance(error, UnknownError)
                last = outcome.attempts is not None and outcome.attempts >= (
                    work.notification.max_attempts
                )
                self._report.counts["dead" if last or outcome.result == "dead" else "retried"] += 1
        self._hand.tell(work, outcome, attempt.started)
        if outcome.hold_in is not None:
            self._hand.close(lane, now + outcome.hold_in)

    def _slow_down(
        self, lane: Lane, work: Work, error: RateLimitedError, outcome: Outcome, now: float
    ) -> None:
        """Slack asked to wait: this channel, or, when it says so or a second channel hears
        the same, everything."""
        resume_at = now + error.retry_after
        lane.waiting.appendleft(work)
        lane.pace.wait_until(resume_at)
        too_long = error.retry_after > LONGEST_WAIT or resume_at > self._cutoff
        all_wait = self._throttle.limited(lane.destination, resume_at, everywhere=error.everywhere)
        if all_wait and too_long:
            self._end("waiting")
        if too_long:
            lane.waiting.popleft()
            self._hand.tell(work, outcome)
            self._hand.close(lane, resume_at)

    def _in_trouble(self, now: float) -> None:
        if self._throttle.failed(now):
            self._end("slack_unavailable")

    # --- looking for what may have been posted ---

    def _look_for_posted(self, now: float) -> None:
        if now < self._throttle.hold_until:
            return
        for lane in self._hand.lanes.values():
            works = lane.to_look_for()
            if works and self._posting < self._throttle.width and lane.pace.not_before <= now:
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
        for work in works:
            work.look_first = False
            ts = found.get(work.delivery.id)
            outcome = Outcome("sent", conversation_id=conversation, message_ts=ts)
            if ts is not None and self._hand.settle_waiting(work, outcome):
                self._report.counts["reconciled"] += 1

    def _not_looked(self, lane: Lane, works: list[Work], error: Exception) -> None:
        now = self._clock.now()
        lane.busy = False
        if not isinstance(error, WorkerError):
            self._gave_up(lane, error)
            return
        self._posting -= 1
        match error:
            case CannotLookError():
                self._cannot_look(works, error)
            case CredentialsError():
                self._hand.outbox.stop(error.code, str(error))
                self._end("token_refused", error)
            case _:
                wait = max(SETTLING_TIME, getattr(error, "retry_after", 0.0))
                outcome = Outcome(
                    "unknown",
                    retry_in=wait,
                    hold_in=wait,
                    error_code=error.code,
                    error=str(error),
                )
                for work in works:
                    self._hand.settle_waiting(work, outcome)
                self._hand.close(lane, now + wait)
                if isinstance(error, TransientError):
                    self._in_trouble(now)

    def _cannot_look(self, works: list[Work], error: WorkerError) -> None:
        """The bot may not read the conversation, now or later: as the setting says."""
        if self._settings.notification_unverifiable == "park":
            for work in works:
                reason = f"a message may have been posted and cannot be looked for: {error}"
                self._hand.park(work.notification.config_id, "unverifiable", reason)
            return
        for work in works:
            work.look_first = False
            work.possible_duplicate = True
