"""A run of the notification worker: drain the queue into Slack until it is empty or time is up.

A delivery goes: claimed for the run -> announced (`sending`, written ahead of the post) -> posted
-> recorded. The claimer claims, the recorder announces and records, the poster posts; each has its
turn in one loop, on the caller's thread, and leaves what takes time to other threads, which report
back through one inbox. So there is nothing to lock. A run that dies leaves claims, which the next
one takes over, and announcements, which show what may have been posted.
"""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable
from typing import Final

from workers.clock import STOP_SECONDS, Clock
from workers.database import TIMEOUT, Database
from workers.errors import TransientError
from workers.notifications.answers import Started, read_finished, read_started
from workers.notifications.claimer import Claimer
from workers.notifications.doorbell import Doorbell
from workers.notifications.in_flight import LONGEST_WAIT, InFlight
from workers.notifications.jobs import Pool
from workers.notifications.plain_line import Wording
from workers.notifications.poster import Poster
from workers.notifications.probes import Probes
from workers.notifications.recorder import DRAINER_LEASE, Recorder
from workers.notifications.report import Report
from workers.notifications.slack import Slack
from workers.notifications.throttle import Throttle
from workers.settings import Settings
from workers.telemetry import logger

# Time left for the last records after the last post may have taken its whole timeout.
SETTLE_MARGIN: Final = 3.0
# How long releasing the lease may take, where the run had no time left for it.
LEAST_FINISH: Final = 1.0
# A holder that lingers gives up the lease at its next poll: how long to ask for it, and how often.
HANDOVER_PATIENCE: Final = 6.0
ASK_EVERY: Final = 0.5
# How many calls a run with much to clean up makes before it delivers; claims continue with it.
MOST_STARTS: Final = 10


class Drain:
    """One run; `run` is called once."""

    def __init__(
        self,
        database: Database,
        slack: Slack,
        settings: Settings,
        clock: Clock,
        jitter: Callable[[], float],
        doorbell: Doorbell | None = None,
    ) -> None:
        """A ring of `doorbell` makes the run poll at once."""
        self._database = database
        self._slack = slack
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._doorbell = doorbell or Doorbell()
        self._run_id = str(uuid.uuid4())
        self._lingers = settings.notification_linger_seconds > 0
        self._expire_after = f"{settings.notification_expiry_hours} hours"
        self._report = Report()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, deadline: float) -> Report:
        """Drain until the queue is empty, `deadline` (by the clock) is near, or the clock stops.

        Raises what made the run as a whole fail: CredentialsError when Slack or Supabase
        refuses us, ConfigurationError, TransientError when the database stays out of reach.
        What was learnt until then is recorded as far as possible.
        """
        cutoff = deadline - self._slack.timeout - SETTLE_MARGIN
        started = self._begin(cutoff)
        if not started.acquired:
            self._report.end("busy")
            return self._report
        posts = Pool(self._settings.notification_concurrency, "slack", self._inbox)
        calls = Pool(2, "database", self._inbox)
        try:
            throttle, recorder = self._drain(started, cutoff, deadline, posts, calls)
        finally:
            posts.close()
            calls.close()
        self._finish(self._end_by(deadline), throttle, recorder)
        if self._report.failure is not None:
            raise self._report.failure
        return self._report

    def _end_by(self, deadline: float) -> float:
        return min(deadline, self._clock.stop_at + STOP_SECONDS)

    # --- before ---

    def _begin(self, cutoff: float) -> Started:
        """Acquire the lease and end what is not to be posted."""
        ask_until = self._clock.now() + HANDOVER_PATIENCE
        started = self._start()
        while not started.acquired and started.lingers and self._has_time(ask_until):
            self._clock.sleep(ASK_EVERY)
            started = self._start()
        self._report.count_ended(started.ended)
        for _ in range(MOST_STARTS):
            if not started.more or not self._has_time(cutoff):
                break
            again = self._start()
            if not again.acquired:
                return again
            self._report.count_ended(again.ended)
            started = again.after(started)
        return started

    def _has_time(self, until: float) -> bool:
        return self._clock.now() < min(until, self._clock.stop_at)

    def _start(self) -> Started:
        """Called again when no answer came: a connection kept while the container was frozen may
        be dead, and starting twice has the effect of starting once."""

        def start() -> Started:
            answer = self._database.call(
                "start_notification_run",
                run_id=self._run_id,
                lease=DRAINER_LEASE,
                expire_after=self._expire_after,
                lingers=self._lingers,
            )
            return read_started(answer)

        try:
            return start()
        except TransientError:
            return start()

    # --- the run itself ---

    def _drain(
        self, started: Started, cutoff: float, deadline: float, posts: Pool, calls: Pool
    ) -> tuple[Throttle, Recorder]:
        now = self._clock.now()
        report, settings = self._report, self._settings
        throttle = Throttle(
            rate=settings.slack_workspace_rate,
            burst=settings.slack_workspace_burst,
            concurrency=settings.notification_concurrency,
            handover=started.handover,
            now=now,
        )
        in_flight = InFlight(settings.slack_channel_rate)
        recorder = Recorder(
            database=self._database, run_id=self._run_id, lingers=self._lingers,
            expire_after=self._expire_after, in_flight=in_flight, throttle=throttle,
            report=report, jobs=calls, now=now,
        )  # fmt: skip
        poster = Poster(
            slack=self._slack, unverifiable=settings.notification_unverifiable,
            wording=Wording(settings.app_request_url, settings.notification_locale), cutoff=cutoff,
            jitter=self._jitter, in_flight=in_flight, recorder=recorder, throttle=throttle,
            report=report, jobs=posts, clock=self._clock,
        )  # fmt: skip
        probes = Probes(slack=self._slack, report=report, jobs=posts)
        claimer = Claimer(
            database=self._database, run_id=self._run_id, started=started,
            batch_size=settings.notification_batch_size, expire_after=self._expire_after,
            linger=settings.notification_linger_seconds,
            threads=settings.notification_threads == "on", in_flight=in_flight, recorder=recorder,
            probes=probes, report=report, jobs=calls, clock=self._clock,
        )  # fmt: skip
        if throttle.hold_until - now > LONGEST_WAIT:
            report.end("waiting")
        else:
            probes.begin(started.probes)
        with self._doorbell.listening(lambda: self._inbox.put(claimer.poll_soon)):
            self._loop(poster, claimer, recorder, probes, cutoff, deadline)
        return throttle, recorder

    def _loop(
        self,
        poster: Poster,
        claimer: Claimer,
        recorder: Recorder,
        probes: Probes,
        cutoff: float,
        deadline: float,
    ) -> None:
        """Each part in its turn, until nothing is left to do or the deadline has passed."""
        parts = (poster, claimer, recorder)
        while (now := self._clock.now()) < self._end_by(deadline):
            if not self._has_time(cutoff):
                self._report.end("drained" if claimer.is_idle else "deadline")
            for part in parts:
                part.step(now)
            busy = any(part.is_busy for part in (*parts, probes))
            if self._report.has_ended and not busy and not recorder.has_unrecorded:
                return
            limit = self._end_by(deadline if self._report.has_ended else min(cutoff, deadline))
            wake_at = max(now, min(limit, *(part.due_at(now) for part in parts)))
            event = self._clock.wait(self._inbox, wake_at, busy=busy)
            while event is not None:
                event()
                event = None if self._inbox.empty() else self._inbox.get()

    # --- after ---

    def _finish(self, deadline: float, throttle: Throttle, recorder: Recorder) -> None:
        now = self._clock.now()
        if recorder.has_unrecorded:
            logger.error(
                "The run ended before its last outcomes could be recorded; the next run looks for "
                "them in Slack",
                extra={"action": "unrecorded", "deliveries": recorder.unrecorded()},
            )
            return
        try:
            answer = self._database.call_briefly(
                "finish_notification_run",
                min(TIMEOUT, max(LEAST_FINISH, deadline - now)),
                run_id=self._run_id,
                handover=throttle.handover(now).as_json(),
            )
        except TransientError as error:
            logger.warning(
                "The lease could not be released and will expire",
                extra={"action": "lease_kept", "error": str(error)},
            )
            return
        finished = read_finished(answer)
        self._report.oldest_due = finished.oldest_due
        self._report.parked = finished.parked
