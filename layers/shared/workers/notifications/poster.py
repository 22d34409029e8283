"""Posts what is announced, channel by channel, and looks for what may have been posted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, assert_never

from workers.clock import Clock
from workers.errors import CredentialsError, RateLimitedError, WorkerError
from workers.notifications.failures import Failure, LookFailure, failure_of, look_failure_of
from workers.notifications.in_flight import LONGEST_WAIT, ChannelQueue, InFlight, Post
from workers.notifications.jobs import Jobs
from workers.notifications.outcomes import SETTLING_TIME, Outcome, outcome_of
from workers.notifications.plain_line import PLAIN_WORDING, Wording
from workers.notifications.posting import Attempt, Look, attempt_post, look_for
from workers.notifications.recorder import Recorder
from workers.notifications.report import Report
from workers.notifications.slack import Slack
from workers.notifications.throttle import Throttle

# Before a message that did not get through is tried again.
TROUBLE_PAUSE: Final = 2.0
# For so long is a message looked for whose history cannot be read to the end; its channel waits.
LOOK_PATIENCE: Final = 900.0


class Poster:
    """Takes posts from the heads of their queues, and says what came of each to the recorder."""

    def __init__(
        self,
        *,
        slack: Slack,
        unverifiable: str,
        wording: Wording = PLAIN_WORDING,
        cutoff: float,
        jitter: Callable[[], float],
        in_flight: InFlight,
        recorder: Recorder,
        throttle: Throttle,
        report: Report,
        jobs: Jobs,
        clock: Clock,
    ) -> None:
        """No call is started at `cutoff` or later. `unverifiable` is the setting of that name."""
        self._slack = slack
        self._unverifiable = unverifiable
        self._wording = wording
        self._cutoff = cutoff
        self._jitter = jitter
        self._in_flight = in_flight
        self._recorder = recorder
        self._throttle = throttle
        self._report = report
        self._jobs = jobs
        self._clock = clock
        self._under_way = 0
        # by destination, the messages that stood in this run, for others to go below them
        self._parents_seen: set[tuple[str, str | None]] = set()
        self._ask_from = -math.inf
        self._quickest = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way at Slack."""
        return self._under_way > 0

    def due_at(self, now: float) -> float:
        """When the next post or look may start."""
        if self._report.has_ended or self._under_way >= self._throttle.width:
            return math.inf
        return max(self._throttle.ready_at(now), self._in_flight.ready_at(now))

    def step(self, now: float) -> None:
        """Start what may start; once the run has ended, give the rest back."""
        if self._report.has_ended:
            self._recorder.give_back(self._in_flight.release_all())
            return
        if now < self._throttle.hold_until:
            return
        for queue in self._in_flight.queues.values():
            if self._under_way >= self._throttle.width:
                return
            posts = queue.to_look_for()
            if posts and queue.pace.not_before <= now:
                self._look(queue, posts)
        for queue in self._in_flight.queues.values():
            if self._under_way >= self._throttle.width:
                return
            if queue.ready_at(now) > now or queue.waiting[0].state != "announced":
                continue
            if not self._throttle.take(now):
                return
            self._post(queue, queue.waiting.popleft())

    def _last_start(self) -> float:
        return min(self._cutoff, self._clock.stop_at)

    def _gave_up(self, queue: ChannelQueue, error: Exception) -> None:
        """Something that this code has no rule for: what it was about stays announced, and so in
        doubt, until another run takes it over."""
        self._under_way -= 1
        queue.busy = False
        self._report.end("failed", error)

    # --- posts ---

    def _post(self, queue: ChannelQueue, post: Post) -> None:
        conversation = queue.conversation_id
        is_seen = (queue.destination, post.parent_ts) in self._parents_seen
        check_parent = not is_seen and self._clock.now() >= self._ask_from
        queue.busy = True
        self._under_way += 1
        self._jobs.submit(
            lambda: attempt_post(
                self._slack, post, conversation, self._clock.now, self._last_start(),
                self._wording, check_parent=check_parent,
            ),
            lambda attempt: self._tried(queue, post, attempt),
            lambda error: self._gave_up(queue, error),
        )  # fmt: skip

    def _tried(self, queue: ChannelQueue, post: Post, attempt: Attempt) -> None:
        self._under_way -= 1
        queue.busy = False
        self._report.counts["unknown_keys"] += len(attempt.unknown_keys)
        self._ask_from = max(self._ask_from, self._clock.now() + attempt.ask_again_in)
        if attempt.posted is not None:
            self._sent(queue, post, attempt)
        elif attempt.error is not None:
            queue.pace.last_start = self._latest_arrival(attempt)
            self._failed(queue, post, attempt, attempt.error)
        else:  # no time was left to start
            queue.waiting.appendleft(post)
            self._report.end("deadline")

    def _sent(self, queue: ChannelQueue, post: Post, attempt: Attempt) -> None:
        assert attempt.posted is not None  # noqa: S101 - by its caller
        self._throttle.all_well()
        queue.pace.last_start = self._latest_arrival(attempt)
        queue.conversation_id = attempt.posted.channel
        self._report.counts["sent"] += len(post.deliveries)
        self._report.counts["possible_duplicates"] += post.possible_duplicate
        parent_ts = attempt.posted.parent_ts or attempt.posted.ts
        queue.thread_begun(post.first.thread, parent_ts)
        self._parents_seen.add((queue.destination, parent_ts))
        outcome = Outcome(
            "sent",
            conversation_id=attempt.posted.channel,
            message_ts=attempt.posted.ts,
            parent_ts=attempt.posted.parent_ts,
            thread=post.first.thread,
            request_id=attempt.posted.request_id,
            possible_duplicate=post.possible_duplicate,
        )
        self._settle(post, outcome, queue.pace.last_start)

    def _latest_arrival(self, attempt: Attempt) -> float:
        """When the message reached Slack at the latest: the thread may have had to wait before it
        could send. Of the quickest answer so far half is taken for the way back; the first answer
        of a run says nothing of that yet."""
        took = self._clock.now() - attempt.started
        way_back = min(self._quickest, took) / 2
        if attempt.posted is not None:
            self._quickest = min(self._quickest or took, took)
        return attempt.started + max(0.0, took - way_back)

    def _settle(self, post: Post, outcome: Outcome, posted_at: float | None = None) -> None:
        self._in_flight.settled(post)
        self._recorder.note(post, outcome, posted_at)

    def _failed(
        self, queue: ChannelQueue, post: Post, attempt: Attempt, error: WorkerError
    ) -> None:
        now, counts = self._clock.now(), self._report.counts
        failure = failure_of(error)
        outcome = outcome_of(failure, error, post.first, jitter=self._jitter())
        match failure:
            case Failure.RATE_LIMITED:
                assert isinstance(error, RateLimitedError)  # noqa: S101 - by the table
                counts["rate_limited"] += 1
                self._slow_down(queue, post, error, now)
                return
            case Failure.NOT_SENT:
                # it stays at the head of its queue, so that order is kept
                queue.waiting.appendleft(post)
                queue.pace.wait_until(now + TROUBLE_PAUSE)
                self._in_trouble(now)
                return
            case Failure.TOKEN_REFUSED:
                self._refused_token(error)
            case Failure.IN_DOUBT:
                counts["ambiguous"] += 1
                self._in_trouble(now)
            case Failure.DESTINATION_REFUSED:
                self._throttle.all_well()
                if attempt.confirmed:
                    self._recorder.park(queue.destination, error.code, str(error))
            case Failure.MESSAGE_REFUSED | Failure.UNKNOWN_CODE:
                self._throttle.all_well()
                counts["unknown_codes"] += failure is Failure.UNKNOWN_CODE
                last = outcome.attempts == post.first.max_attempts
                counts["dead" if last or outcome.result == "dead" else "retried"] += 1
            case _:
                assert_never(failure)
        doubt = post.in_doubt or failure is Failure.IN_DOUBT
        self._settle(post, _with_doubt(outcome, post, in_doubt=doubt), attempt.started)
        if outcome.hold_in is not None:
            self._leave(queue, now + outcome.hold_in)

    def _refused_token(self, error: WorkerError) -> None:
        self._recorder.stop(error.code, str(error))
        self._report.end("token_refused", error)

    def _leave(self, queue: ChannelQueue, until: float) -> None:
        """Leave a destination alone: what is queued behind goes back, and keeps its place."""
        self._recorder.give_back(self._in_flight.close(queue.destination, until))

    def _slow_down(
        self, queue: ChannelQueue, post: Post, error: RateLimitedError, now: float
    ) -> None:
        """Slack asked to wait: this channel, or, when it says so or a second channel hears
        the same, everything."""
        resume_at = now + error.retry_after
        too_long = error.retry_after > LONGEST_WAIT or resume_at > self._cutoff
        all_wait = self._throttle.limited(queue.destination, resume_at, everywhere=error.everywhere)
        if all_wait and too_long:
            self._report.end("waiting")
        if not too_long:
            queue.waiting.appendleft(post)
            queue.pace.wait_until(resume_at)
            return
        outcome = Outcome(
            "wait", hold_in=error.retry_after, error_code=error.code, error=str(error)
        )
        self._settle(post, _with_doubt(outcome, post, in_doubt=post.in_doubt))
        self._leave(queue, resume_at)

    def _in_trouble(self, now: float) -> None:
        if self._throttle.failed(now):
            self._report.end("slack_unavailable")

    # --- looking for what may have been posted ---

    def _look(self, queue: ChannelQueue, posts: list[Post]) -> None:
        conversation = queue.conversation_id
        queue.busy = True
        self._under_way += 1
        self._jobs.submit(
            lambda: look_for(
                self._slack, queue.destination, conversation, posts,
                lambda: self._clock.now() < self._last_start(),
            ),
            lambda look: self._looked(queue, posts, look),
            lambda error: self._gave_up(queue, error),
        )  # fmt: skip

    def _looked(self, queue: ChannelQueue, posts: list[Post], look: Look) -> None:
        self._under_way -= 1
        queue.busy = False
        queue.conversation_id = look.conversation_id or queue.conversation_id
        left = [post for post in posts if not self._found(queue, post, look)]
        if look.complete:
            for post in left:
                self._absent(post)
        elif left:
            self._not_looked(queue, left, look)

    def _found(self, queue: ChannelQueue, post: Post, look: Look) -> bool:
        place = look.found.get(post.id)
        if place is None:
            return False
        queue.thread_begun(post.first.thread, place.parent_ts or place.ts)
        if self._in_flight.remove(post):
            self._report.counts["reconciled"] += 1
            outcome = Outcome(
                "sent", conversation_id=look.conversation_id, message_ts=place.ts,
                parent_ts=place.parent_ts, thread=post.first.thread,
            )  # fmt: skip
            self._recorder.note(post, outcome)
        return True

    def _absent(self, post: Post) -> None:
        """It was not posted: it may be now, here or where it goes by now."""
        post.look_first = post.in_doubt = False
        if post.first.moved and self._in_flight.remove(post):
            self._report.counts["moved"] += 1
            self._recorder.note(post, Outcome("moved"))

    def _not_looked(self, queue: ChannelQueue, posts: list[Post], look: Look) -> None:
        now, error = self._clock.now(), look.error
        if error is None:  # the end of the run came first
            self._look_later(queue, posts, look, 0.0)
            return
        match look_failure_of(error):
            case LookFailure.NEVER:
                self._cannot_look(queue, posts, error)
            case LookFailure.TOKEN_REFUSED:
                assert isinstance(error, CredentialsError)  # noqa: S101 - by the table
                self._refused_token(error)
                self._look_later(queue, posts, look, 0.0)
            case LookFailure.LATER:
                wait = max(SETTLING_TIME, getattr(error, "retry_after", 0.0))
                patient = [post for post in posts if _looked_for(post) < LOOK_PATIENCE]
                self._look_later(queue, patient, look, wait)
                self._cannot_look(queue, [p for p in posts if p not in patient], error)
                if not isinstance(error, RateLimitedError):
                    self._in_trouble(now)

    def _look_later(self, queue: ChannelQueue, posts: list[Post], look: Look, wait: float) -> None:
        """Go on below what was read. What is queued behind keeps its place meanwhile."""
        if not posts:
            return
        error = look.error
        for post in posts:
            if self._in_flight.remove(post):
                outcome = Outcome(
                    "unknown",
                    retry_in=wait,
                    hold_in=wait or None,
                    conversation_id=look.conversation_id,
                    error_code=error.code if error else None,
                    error=str(error) if error else None,
                    in_doubt=True,
                    looking=True,
                    looked_down_to=look.read_down_to or post.looked_down_to,
                )
                self._recorder.note(post, outcome)
        if wait:
            self._leave(queue, self._clock.now() + wait)

    def _cannot_look(self, queue: ChannelQueue, posts: list[Post], error: WorkerError) -> None:
        """The conversation may not be read, now or later: as the setting says."""
        if not posts:
            return
        if self._unverifiable == "park":
            reason = f"a message may have been posted and cannot be looked for: {error}"
            self._recorder.park(queue.destination, "unverifiable", reason)
            self._leave(queue, math.inf)
            return
        for post in posts:
            post.look_first = False
            post.possible_duplicate = True
            if post.first.moved and self._in_flight.remove(post):
                self._report.counts["moved"] += 1
                self._recorder.note(post, Outcome("moved", in_doubt=True))


def _looked_for(post: Post) -> float:
    """For how many seconds it was looked for before this run."""
    return post.first.looked_for or 0.0


def _with_doubt(outcome: Outcome, post: Post, *, in_doubt: bool) -> Outcome:
    """What an earlier try left open stays so, whatever came of this one."""
    return Outcome(
        **{
            **outcome.__dict__,
            "in_doubt": in_doubt,
            "possible_duplicate": post.possible_duplicate,
        }
    )
