"""Posts what is announced, channel by channel, and searches for what may have been posted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final, assert_never

from workers.clock import Clock
from workers.errors import CredentialsError, RateLimitedError, WorkerError
from workers.notifications.failures import (
    Failure,
    SearchFailure,
    failure_of,
    search_failure_of,
)
from workers.notifications.in_flight import LONGEST_WAIT, ChannelQueue, InFlight, Post
from workers.notifications.jobs import Jobs
from workers.notifications.outcomes import SETTLING_TIME, Outcome, outcome_of
from workers.notifications.plain_line import PLAIN_WORDING, Wording
from workers.notifications.posting import Attempt, Search, attempt_post, search_for
from workers.notifications.recorder import Recorder
from workers.notifications.report import Report
from workers.notifications.slack import Slack
from workers.notifications.throttle import Throttle

# The wait before a message that did not reach Slack is posted again.
RETRY_PAUSE: Final = 2.0
# How long to look for a message whose history cannot be read to the end; its channel waits.
SEARCH_PATIENCE: Final = 900.0


class Poster:
    """Posts from the heads of the channel queues, and gives each outcome to the recorder."""

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
        # by destination, parent messages that existed during this run, so that replies may follow
        self._parents_seen: set[tuple[str, str | None]] = set()
        self._check_from = -math.inf
        self._quickest = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a call to Slack is under way."""
        return self._under_way > 0

    def due_at(self, now: float) -> float:
        """When the next post or search may start."""
        if self._report.has_ended or self._under_way >= self._throttle.width:
            return math.inf
        return max(self._throttle.ready_at(now), self._in_flight.ready_at(now))

    def step(self, now: float) -> None:
        """Start what may start; once the run has ended, release the rest."""
        if self._report.has_ended:
            self._recorder.release(self._in_flight.release_all())
            return
        if now < self._throttle.hold_until:
            return
        for queue in self._in_flight.queues.values():
            if self._under_way >= self._throttle.width:
                return
            posts = queue.to_search_for()
            if posts and queue.pace.not_before <= now:
                self._search(queue, posts)
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

    def _crashed(self, queue: ChannelQueue, error: Exception) -> None:
        """An error that this code has no rule for: its posts stay announced, and so in doubt, until
        another run takes them over."""
        self._under_way -= 1
        queue.busy = False
        self._report.end("failed", error)

    # --- posts ---

    def _post(self, queue: ChannelQueue, post: Post) -> None:
        conversation = queue.conversation_id
        is_seen = (queue.destination, post.parent_ts) in self._parents_seen
        check_parent = not is_seen and self._clock.now() >= self._check_from
        queue.busy = True
        self._under_way += 1
        self._jobs.submit(
            lambda: attempt_post(
                self._slack, post, conversation, self._clock.now, self._last_start(),
                self._wording, check_parent=check_parent,
            ),
            lambda attempt: self._attempted(queue, post, attempt),
            lambda error: self._crashed(queue, error),
        )  # fmt: skip

    def _attempted(self, queue: ChannelQueue, post: Post, attempt: Attempt) -> None:
        self._under_way -= 1
        queue.busy = False
        self._report.counts["unknown_keys"] += len(attempt.unknown_keys)
        self._check_from = max(self._check_from, self._clock.now() + attempt.check_again_in)
        if attempt.posted is not None:
            self._sent(queue, post, attempt)
        elif attempt.error is not None:
            queue.pace.posted(self._latest_arrival(attempt))
            self._failed(queue, post, attempt, attempt.error)
        else:  # no time was left to start it
            queue.waiting.appendleft(post)
            self._report.end("deadline")

    def _sent(self, queue: ChannelQueue, post: Post, attempt: Attempt) -> None:
        assert attempt.posted is not None  # noqa: S101 - its caller checks
        self._throttle.succeeded()
        queue.pace.posted(self._latest_arrival(attempt))
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
        self._settle(post, outcome, queue.pace.last_post)

    def _latest_arrival(self, attempt: Attempt) -> float:
        """When the message reached Slack at the latest: the thread may have had to wait before it
        could send. The answer's way back is taken to be half of the quickest call so far, and
        nothing for the first call of a run."""
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
                assert isinstance(error, RateLimitedError)  # noqa: S101 - as the table says
                counts["rate_limited"] += 1
                self._slow_down(queue, post, error, now)
                return
            case Failure.NOT_SENT:
                # it stays at the head of its queue, so that order is kept
                queue.waiting.appendleft(post)
                queue.pace.wait_until(now + RETRY_PAUSE)
                self._slack_failed(now)
                return
            case Failure.TOKEN_REFUSED:
                self._refused_token(error)
            case Failure.IN_DOUBT:
                counts["ambiguous"] += 1
                self._slack_failed(now)
            case Failure.DESTINATION_REFUSED:
                self._throttle.succeeded()
                if attempt.confirmed:
                    self._recorder.park(queue.destination, error.code, str(error))
            case Failure.MESSAGE_REFUSED | Failure.UNKNOWN_CODE:
                self._throttle.succeeded()
                counts["unknown_codes"] += failure is Failure.UNKNOWN_CODE
                last = outcome.attempts == post.first.max_attempts
                counts["dead" if last or outcome.result == "dead" else "retried"] += 1
            case _:
                assert_never(failure)
        doubt = post.in_doubt or failure is Failure.IN_DOUBT
        self._settle(post, _with_doubt(outcome, post, in_doubt=doubt), attempt.started)
        if outcome.hold_in is not None:
            self._hold(queue, now + outcome.hold_in)

    def _refused_token(self, error: WorkerError) -> None:
        self._recorder.stop(error.code, str(error))
        self._report.end("token_refused", error)

    def _hold(self, queue: ChannelQueue, until: float) -> None:
        """Post nothing to a destination until then: what is queued there is released, and keeps
        its place."""
        self._recorder.release(self._in_flight.close(queue.destination, until))

    def _slow_down(
        self, queue: ChannelQueue, post: Post, error: RateLimitedError, now: float
    ) -> None:
        """Slack asked us to wait: for this channel, or for everything when it says so or asks the
        same of a second channel."""
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
        self._hold(queue, resume_at)

    def _slack_failed(self, now: float) -> None:
        if self._throttle.failed(now):
            self._report.end("slack_unavailable")

    # --- searching for what may have been posted ---

    def _search(self, queue: ChannelQueue, posts: list[Post]) -> None:
        conversation = queue.conversation_id
        queue.busy = True
        self._under_way += 1
        self._jobs.submit(
            lambda: search_for(
                self._slack, queue.destination, conversation, posts,
                lambda: self._clock.now() < self._last_start(),
            ),
            lambda search: self._searched(queue, posts, search),
            lambda error: self._crashed(queue, error),
        )  # fmt: skip

    def _searched(self, queue: ChannelQueue, posts: list[Post], search: Search) -> None:
        self._under_way -= 1
        queue.busy = False
        queue.conversation_id = search.conversation_id or queue.conversation_id
        left = [post for post in posts if not self._found(queue, post, search)]
        if search.complete:
            for post in left:
                self._absent(post)
        elif left:
            self._search_later_or_never(queue, left, search)

    def _found(self, queue: ChannelQueue, post: Post, search: Search) -> bool:
        place = search.found.get(post.id)
        if place is None:
            return False
        queue.thread_begun(post.first.thread, place.parent_ts or place.ts)
        if self._in_flight.remove(post):
            self._report.counts["reconciled"] += 1
            outcome = Outcome(
                "sent", conversation_id=search.conversation_id, message_ts=place.ts,
                parent_ts=place.parent_ts, thread=post.first.thread,
            )  # fmt: skip
            self._recorder.note(post, outcome)
        return True

    def _absent(self, post: Post) -> None:
        """It was not posted: now it may be, here or where it goes by now."""
        post.search_first = post.in_doubt = False
        if post.first.moved and self._in_flight.remove(post):
            self._report.counts["moved"] += 1
            self._recorder.note(post, Outcome("moved"))

    def _search_later_or_never(
        self, queue: ChannelQueue, posts: list[Post], search: Search
    ) -> None:
        now, error = self._clock.now(), search.error
        if error is None:  # the run ended first
            self._search_later(queue, posts, search, 0.0)
            return
        match search_failure_of(error):
            case SearchFailure.NEVER:
                self._cannot_search(queue, posts, error)
            case SearchFailure.TOKEN_REFUSED:
                assert isinstance(error, CredentialsError)  # noqa: S101 - as the table says
                self._refused_token(error)
                self._search_later(queue, posts, search, 0.0)
            case SearchFailure.LATER:
                wait = max(SETTLING_TIME, getattr(error, "retry_after", 0.0))
                patient = [post for post in posts if _searched_for(post) < SEARCH_PATIENCE]
                self._search_later(queue, patient, search, wait)
                self._cannot_search(queue, [p for p in posts if p not in patient], error)
                if not isinstance(error, RateLimitedError):
                    self._slack_failed(now)

    def _search_later(
        self, queue: ChannelQueue, posts: list[Post], search: Search, wait: float
    ) -> None:
        """Continue below what was read, later. What is queued behind keeps its place."""
        if not posts:
            return
        error = search.error
        for post in posts:
            if self._in_flight.remove(post):
                outcome = Outcome(
                    "unknown",
                    retry_in=wait,
                    hold_in=wait or None,
                    conversation_id=search.conversation_id,
                    error_code=error.code if error else None,
                    error=str(error) if error else None,
                    in_doubt=True,
                    looking=True,
                    looked_down_to=search.read_down_to or post.looked_down_to,
                )
                self._recorder.note(post, outcome)
        if wait:
            self._hold(queue, self._clock.now() + wait)

    def _cannot_search(self, queue: ChannelQueue, posts: list[Post], error: WorkerError) -> None:
        """The conversation cannot be read, now or later: do what the setting says."""
        if not posts:
            return
        if self._unverifiable == "park":
            reason = f"a message may have been posted and cannot be looked for: {error}"
            self._recorder.park(queue.destination, "unverifiable", reason)
            self._hold(queue, math.inf)
            return
        for post in posts:
            post.search_first = False
            post.possible_duplicate = True
            if post.first.moved and self._in_flight.remove(post):
                self._report.counts["moved"] += 1
                self._recorder.note(post, Outcome("moved", in_doubt=True))


def _searched_for(post: Post) -> float:
    """For how many seconds earlier runs looked for it."""
    return post.first.looked_for or 0.0


def _with_doubt(outcome: Outcome, post: Post, *, in_doubt: bool) -> Outcome:
    """What an earlier attempt left open stays open, whatever the outcome of this one."""
    return replace(outcome, in_doubt=in_doubt, possible_duplicate=post.possible_duplicate)
