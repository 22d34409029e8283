"""What a run does about each possible result of a post or a search."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.notifications.claimed import Clock, Held, delivery, unknown
from workers.errors import (
    AmbiguousError,
    CannotReadError,
    CredentialsError,
    DestinationError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.notifications.answers import Delivery
from workers.notifications.in_flight import PACE_MARGIN, InFlight, Post
from workers.notifications.outcomes import SETTLING_TIME, Outcome
from workers.notifications.poster import RETRY_PAUSE, Poster
from workers.notifications.report import Report
from workers.notifications.slack import ChannelInfo, HistoryPage, Place, Posted, ThreadPage
from workers.notifications.throttle import FAILURE_LIMIT, Handover, Throttle

CUTOFF = 2000.0


@dataclass
class FakeSlack:
    """Answers as the test says: with an error or an answer for each call."""

    posts: list[Any] = field(default_factory=list)
    pages: list[Any] = field(default_factory=list)
    threads: list[Any] = field(default_factory=list)
    timeout: float = 10.0
    gone: list[str] = field(default_factory=list)
    unanswered: WorkerError | None = None
    asked: list[Any] = field(default_factory=list)
    where: list[tuple[str | None, bool]] = field(default_factory=list)

    def post(self, channel: str, message: Any, id: str, **where: Any) -> Posted:
        self.asked.append(("post", channel, id))
        self.where.append((where["parent_ts"], where["broadcast"]))
        return self._next(self.posts)  # type: ignore[no-any-return]

    def history_page(self, channel: str, oldest: float, latest: Any) -> HistoryPage:
        self.asked.append(("page", channel, latest))
        return self._next(self.pages)  # type: ignore[no-any-return]

    def thread_page(
        self, channel: str, parent_ts: str, oldest: float, latest: float, cursor: str | None = None
    ) -> ThreadPage:
        self.asked.append(("thread", parent_ts, cursor))
        return self._next(self.threads)  # type: ignore[no-any-return]

    def takes_replies(self, channel: str, parent_ts: str) -> bool:
        self.asked.append(("exists", parent_ts))
        if self.unanswered is not None:
            raise self.unanswered
        return parent_ts not in self.gone

    def open_dm(self, person: str) -> str:
        return f"D{person}"

    def channel_info(self, channel: str) -> ChannelInfo:
        raise CannotReadError("not asked", code="missing_scope")

    def _next(self, answers: list[Any]) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Noted:
    """A recorder that only remembers."""

    outcomes: list[tuple[str, Outcome]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    parks: list[tuple[str, str]] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)

    def note(self, post: Post, outcome: Outcome, posted_at: float | None = None) -> None:
        self.outcomes.append((post.first.id, outcome))

    def release(self, posts: list[Post]) -> None:
        self.released += [post.first.id for post in posts]

    def park(self, destination: str, code: str, reason: str) -> None:
        self.parks.append((destination, code))

    def stop(self, code: str, reason: str) -> None:
        self.stops.append(code)


class Bench:
    def __init__(self, *deliveries: Delivery, unverifiable: str = "repost") -> None:
        self.clock, self.slack, self.noted = Clock(), FakeSlack(), Noted()
        self.in_flight, self.report, self.jobs = InFlight(1.0), Report(), Held()
        self.throttle = Throttle(
            rate=0.0, burst=1.0, concurrency=8, handover=Handover(), now=self.clock.time
        )
        self.poster = Poster(
            slack=self.slack,  # type: ignore[arg-type]
            unverifiable=unverifiable, cutoff=CUTOFF, jitter=lambda: 0.0, in_flight=self.in_flight,
            recorder=self.noted,  # type: ignore[arg-type]
            throttle=self.throttle, report=self.report, jobs=self.jobs, clock=self.clock,
        )  # fmt: skip
        for one in deliveries:
            post = self.in_flight.take_in(one, self.clock.time)
            assert post is not None
            post.state = "new" if one.is_unknown else "announced"

    def step(self) -> None:
        """A step, and everything that it started."""
        self.poster.step(self.clock.time)
        while len(self.jobs):
            self.jobs.run()

    def meets(self, *errors: WorkerError) -> Bench:
        self.slack.posts += errors
        self.step()
        return self

    def reads(self, *pages: Any) -> Bench:
        self.slack.pages += pages
        self.step()
        return self

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(id_, outcome.result) for id_, outcome in self.noted.outcomes]


def page(*found: str, read_down_to: str | None = None) -> HistoryPage:
    return HistoryPage(dict.fromkeys(found, Place("7.7")), read_down_to, len(found))


def two(**values: Any) -> tuple[Delivery, Delivery]:
    """One queued behind the other."""
    return delivery("a", **values), delivery("b")


def test_a_successful_post() -> None:
    one = Bench(*two())
    one.slack.posts = [Posted("C1", "1.2", "req")]
    one.step()
    assert one.results == [("a", "sent")]
    assert one.report.counts["sent"] == 1
    assert one.poster.due_at(one.clock.time) == pytest.approx(one.clock.time + PACE_MARGIN)


def test_the_pace_counts_from_when_a_message_may_have_arrived() -> None:
    """For the first message from its answer; then from half the quickest call so far."""
    one = Bench(*two())
    gaps = []
    for took in (0.5, 0.3):

        def slow(*_: Any, took: float = took, **__: Any) -> Posted:
            one.clock.time += took
            return Posted("C1", "1.2", "")

        one.slack.post = slow  # type: ignore[method-assign]
        one.step()
        gaps.append(one.in_flight.queues["C1"].pace.last_post - one.clock.time)
        one.clock.time += 2
    assert gaps == pytest.approx([0.0, -0.15])


def test_a_person_is_posted_to_by_their_own_id_until_the_conversation_is_known() -> None:
    one = Bench(delivery("a", destination="U1"), delivery("b", destination="U1"))
    one.slack.posts = [Posted("DU1", "1.2", ""), Posted("DU1", "1.3", "")]
    one.step()
    one.clock.time += 2
    one.step()
    assert [asked[1] for asked in one.slack.asked] == ["U1", "DU1"]


def test_a_short_wait_keeps_the_message_in_its_place() -> None:
    one = Bench(*two()).meets(RateLimitedError("wait", code="x", retry_after=5.0))
    assert one.results == []
    assert one.poster.due_at(one.clock.time) == one.clock.time + 5


def test_a_long_wait_releases_the_channel() -> None:
    one = Bench(*two()).meets(RateLimitedError("wait", code="x", retry_after=300.0))
    assert one.results == [("a", "wait")]
    assert one.noted.outcomes[0][1].hold_in == 300.0
    assert one.noted.released == ["b"]
    assert one.report.outcome is None


def test_a_long_wait_for_everything_ends_the_run() -> None:
    one = Bench(*two()).meets(
        RateLimitedError("wait", code="x", retry_after=300.0, everywhere=True)
    )
    assert one.report.outcome == "waiting"


def test_a_refused_token_stops_everything() -> None:
    one = Bench(*two()).meets(CredentialsError("no", code="invalid_auth"))
    assert one.noted.stops == ["invalid_auth"]
    assert one.results == [("a", "wait")]
    assert one.report.outcome == "token_refused"
    one.step()
    assert one.noted.released == ["b"]


def test_a_post_in_doubt_holds_its_channel_to_keep_the_order() -> None:
    one = Bench(*two()).meets(AmbiguousError("lost", code="x"))
    (_, outcome), released = one.noted.outcomes[0], one.noted.released
    assert (outcome.result, outcome.in_doubt) == ("unknown", True)
    assert outcome.hold_in == SETTLING_TIME
    assert released == ["b"]


def test_a_post_that_was_not_sent_is_retried_soon() -> None:
    one = Bench(*two()).meets(TransientError("refused", code="x"))
    assert one.results == []
    assert one.poster.due_at(one.clock.time) == one.clock.time + RETRY_PAUSE


def test_several_failures_in_a_row_mean_that_slack_is_failing() -> None:
    channels = [delivery(str(n), destination=f"C{n}") for n in range(FAILURE_LIMIT)]
    one = Bench(*channels).meets(*[TransientError("refused", code="x")] * FAILURE_LIMIT)
    assert one.report.outcome == "slack_unavailable"


@pytest.mark.parametrize("seen", [None, "is_archived"])
def test_a_refused_destination_is_parked_once_that_is_confirmed(seen: str | None) -> None:
    one = Bench(*two(error_code=seen)).meets(DestinationError("no", code="is_archived"))
    assert one.noted.parks == ([] if seen is None else [("C1", "is_archived")])
    assert one.results == [("a", "wait")]
    assert one.noted.released == ["b"]
    assert one.report.outcome is None


def test_a_refused_message_affects_only_itself() -> None:
    one = Bench(*two()).meets(PermanentError("no", code="no_text"))
    assert one.results == [("a", "dead")]
    assert one.report.counts["dead"] == 1
    assert one.noted.released == []


@pytest.mark.parametrize(("attempts", "count"), [(0, "retried"), (4, "dead")])
def test_an_unknown_code_is_an_attempt(attempts: int, count: str) -> None:
    one = Bench(*two(attempts=attempts)).meets(UnknownError("?", code="brand_new"))
    assert one.results == [("a", "retry")]
    assert one.report.counts[count] == one.report.counts["unknown_codes"] == 1


def test_unreadable_data_is_a_refused_message() -> None:
    one = Bench(*two(unreadable=PermanentError("its event_data is odd", code="unreadable")))
    one.step()
    assert one.results == [("a", "dead")]
    assert one.noted.outcomes[0][1].error == "its event_data is odd"
    assert one.slack.asked == []


def test_an_error_without_a_rule_ends_the_run_and_leaves_the_post_announced() -> None:
    one = Bench(*two())
    one.slack.posts = [KeyError("what is this")]
    one.step()
    assert one.report.outcome == "failed"
    assert one.results == []


def test_no_post_starts_after_the_deadlines_margin() -> None:
    one = Bench(*two())
    one.poster.step(one.clock.time)
    one.clock.time = CUTOFF
    one.jobs.run()
    assert one.slack.asked == []
    assert one.report.outcome == "deadline"
    one.step()
    assert one.noted.released == ["a", "b"]


def test_plain_text_is_not_posted_after_the_deadlines_margin() -> None:
    one = Bench(*two())

    def slow(*_: Any, **__: Any) -> Posted:
        one.clock.time = CUTOFF
        raise PermanentError("no", code="invalid_blocks")

    one.slack.post = slow  # type: ignore[method-assign]
    one.step()
    one.step()
    assert one.results == []
    assert one.noted.released == ["a", "b"]


class TestLooking:
    def test_a_message_that_is_found_was_sent(self) -> None:
        one = Bench(unknown("a"), delivery("b")).reads(page("a"))
        assert one.results == [("a", "sent")]
        assert one.report.counts["reconciled"] == 1

    def test_an_absent_message_is_posted_as_if_new(self) -> None:
        one = Bench(unknown("a")).reads(page())
        (post,) = one.in_flight.queues["C1"].waiting
        assert (post.search_first, post.in_doubt, post.possible_duplicate) == (False, False, False)

    def test_an_absent_message_that_goes_elsewhere_is_moved(self) -> None:
        one = Bench(unknown("a", moved=True)).reads(page())
        assert one.results == [("a", "moved")]
        assert not one.noted.outcomes[0][1].in_doubt

    def test_page_by_page_down_to_the_end_of_the_window(self) -> None:
        one = Bench(unknown("a"), unknown("b")).reads(page("b", read_down_to="5.5"), page("a"))
        assert sorted(one.results) == [("a", "sent"), ("b", "sent")]
        assert [asked[2] for asked in one.slack.asked][1] == "5.5"

    def test_an_interrupted_search_continues_below_later(self) -> None:
        lost = RateLimitedError("wait", code="x", retry_after=90.0)
        one = Bench(unknown("a"), unknown("c"), delivery("b")).reads(
            page("c", read_down_to="5.5"), lost
        )
        assert one.results == [("c", "sent"), ("a", "unknown")]
        outcome = one.noted.outcomes[1][1]
        assert (outcome.looking, outcome.looked_down_to, outcome.hold_in) == (True, "5.5", 90.0)
        assert one.noted.released == ["b"]

    def test_it_resumes_where_it_was_interrupted(self) -> None:
        one = Bench(unknown("a", looked_down_to="5.5", looked_for=60.0)).reads(page("a"))
        assert one.slack.asked == [("page", "C1", "5.5")]

    @pytest.mark.parametrize(
        "error",
        [TransientError("500", code="x"), RateLimitedError("429", code="x", retry_after=60.0)],
    )
    def test_a_search_ends_at_some_point(self, error: WorkerError) -> None:
        one = Bench(unknown("a", looked_for=900.0)).reads(error)
        (post,) = one.in_flight.queues["C1"].waiting
        assert (post.search_first, post.possible_duplicate, post.in_doubt) == (False, True, True)

    def test_a_message_that_cannot_be_searched_for_is_repeated_with_a_note(self) -> None:
        one = Bench(unknown("a")).reads(CannotReadError("no", code="missing_scope"))
        (post,) = one.in_flight.queues["C1"].waiting
        assert (post.search_first, post.possible_duplicate) == (False, True)
        assert one.noted.parks == []

    def test_its_destination_is_parked_if_the_setting_says_so(self) -> None:
        one = Bench(unknown("a"), unverifiable="park")
        one.reads(CannotReadError("no", code="missing_scope"))
        assert one.noted.parks == [("C1", "unverifiable")]
        assert one.noted.released == ["a"]
        assert one.in_flight.ready_at(one.clock.time) == math.inf

    def test_a_refused_token_stops_everything(self) -> None:
        one = Bench(unknown("a")).reads(CredentialsError("no", code="invalid_auth"))
        assert one.noted.stops == ["invalid_auth"]
        assert one.results == [("a", "unknown")]


class TestThreads:
    def of(self, *ids: str, **values: Any) -> list[Delivery]:
        return [delivery(id, **{"thread": "r", "thread_ts": "1.1", **values}) for id in ids]

    def test_a_reply_goes_to_the_announced_thread(self) -> None:
        one = Bench(*self.of("a"))
        (post,) = one.in_flight.queues["C1"].waiting
        post.parent_ts = "1.1"
        one.slack.posts = [Posted("C1", "1.2", "", "1.1")]
        one.step()
        assert one.slack.where == [("1.1", False)]
        (_, outcome), *_ = one.noted.outcomes
        assert (outcome.parent_ts, outcome.thread) == ("1.1", "r")

    @pytest.mark.parametrize(
        ("event_type", "data", "shows"),
        [
            ("status_change", {}, True),
            ("moved", {"old_status": "a", "new_status": "b"}, True),
            ("moved", {"new_status": "b"}, True),
            ("comment_added", {"old_status": "b", "new_status": "b"}, False),
            ("comment_added", {"new_status": None}, False),
            ("comment_added", ["new_status"], False),
        ],
    )
    def test_a_change_of_status_shows_in_the_channel_too(
        self, event_type: str, data: Any, shows: bool
    ) -> None:
        one = Bench(*self.of("a", event_type=event_type, event_data=data))
        one.slack.posts = [Posted("C1", "1.2", "", "1.1")]
        one.step()
        assert one.slack.where[0][1] is shows

    def test_a_message_in_the_channel_itself_begins_the_thread_again(self) -> None:
        one = Bench(*self.of("a", "b"))
        queue = one.in_flight.queues["C1"]
        for post in queue.waiting:
            post.parent_ts = "1.1"
        one.slack.posts = [Posted("C1", "1.2", "")]
        one.step()
        (after,) = queue.waiting
        assert (after.state, queue.parent_of(after)) == ("new", "1.2")
        assert one.noted.outcomes[0][1].parent_ts is None

    @pytest.mark.parametrize(
        "code",
        ["thread_not_found", "cannot_reply_to_message", "restricted_action_thread_locked",
         "restricted_action_non_threadable_channel"],
    )  # fmt: skip
    def test_a_thread_that_takes_no_replies_is_left(self, code: str) -> None:
        one = Bench(*self.of("a"))
        (post,) = one.in_flight.queues["C1"].waiting
        post.parent_ts = "1.1"
        one.slack.posts = [DestinationError("no", code=code), Posted("C1", "1.2", "")]
        one.step()
        assert [parent for parent, _ in one.slack.where] == ["1.1", None]
        assert one.results == [("a", "sent")]
        assert one.noted.parks == []

    def test_a_reply_in_doubt_is_searched_for_in_its_thread_first(self) -> None:
        one = Bench(unknown("a", parent_ts="1.1", thread="r"))
        one.slack.threads = [
            ThreadPage({"b": Place("1.2", "1.1")}, "two"),
            ThreadPage({"a": Place("1.3", "1.1")}, None),
        ]
        one.reads()
        assert one.slack.asked == [("thread", "1.1", None), ("thread", "1.1", "two")]
        assert one.results == [("a", "sent")]
        (_, outcome), *_ = one.noted.outcomes
        assert (outcome.message_ts, outcome.parent_ts, outcome.thread) == ("1.3", "1.1", "r")

    def test_a_reply_in_doubt_is_then_searched_for_in_the_channel(self) -> None:
        one = Bench(
            unknown("a", parent_ts="1.1", thread="r"),
            unknown("b", parent_ts="1.1", thread="r"),
            unknown("c"),
        )
        one.slack.threads = [ThreadPage({"b": Place("7.9", "1.1")}, None)]
        one.reads(page("a"))
        assert sorted(one.results) == [("a", "sent"), ("b", "sent")]
        (left,) = one.in_flight.queues["C1"].waiting
        assert (left.first.id, left.search_first) == ("c", False)
        assert one.in_flight.queues["C1"].threads == {"r": "7.7"}

    def test_a_thread_that_cannot_be_read_leaves_everything_in_doubt(self) -> None:
        one = Bench(unknown("a", parent_ts="1.1"))
        one.slack.threads = [TransientError("500", code="x")]
        one.reads()
        assert one.results == [("a", "unknown")]
        assert [asked[0] for asked in one.slack.asked] == ["thread"]

    def test_a_deleted_parent_is_left_and_an_existing_one_checked_once(self) -> None:
        one = Bench(*self.of("a", "b"), *self.of("c", destination="C2"))
        for queue in one.in_flight.queues.values():
            for post in queue.waiting:
                post.parent_ts = "1.1"
        one.slack.gone = ["1.1"]
        one.slack.posts = [Posted("C1", "1.2", ""), Posted("C2", "1.3", "", "1.1")]
        one.step()
        assert [parent for parent, _ in one.slack.where] == [None, None]
        (after,) = one.in_flight.queues["C1"].waiting
        after.state, after.parent_ts = "announced", "1.2"
        one.clock.time += 2
        one.slack.posts = [Posted("C1", "1.4", "", "1.2")]
        one.step()
        assert [asked for asked in one.slack.asked if asked[0] == "exists"] == [
            ("exists", "1.1")
        ] * 2

    @pytest.mark.parametrize(
        ("error", "asked"),
        [
            (RateLimitedError("wait", code="x", retry_after=30.0), ["1.1"]),
            (TransientError("500", code="x"), ["1.1", "2.1"]),
            (CannotReadError("no", code="missing_scope"), ["1.1", "2.1"]),
        ],
    )
    def test_if_slack_does_not_say_it_is_posted_and_slacks_wait_is_kept(
        self, error: WorkerError, asked: list[str]
    ) -> None:
        one = Bench(*self.of("a"), *self.of("b", destination="C2"))
        for queue, ts in zip(one.in_flight.queues.values(), ("1.1", "2.1"), strict=True):
            queue.waiting[0].parent_ts = ts
            queue.pace.wait_until(one.clock.time if ts == "1.1" else one.clock.time + 5)
        one.slack.unanswered = error
        one.slack.posts = [Posted("C1", "1.2", "", "1.1"), Posted("C2", "2.2", "", "2.1")]
        one.step()
        one.clock.time += 5
        one.step()
        assert [parent for parent, _ in one.slack.where] == ["1.1", "2.1"]
        assert [call[1] for call in one.slack.asked if call[0] == "exists"] == asked
