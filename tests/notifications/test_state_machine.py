"""Any order of events: enqueueing, runs of two workers, faults, deaths, redriving, time.

A hypothesis state machine over the real database and a fake for Slack, in virtual time.
The invariants are the promises: no row is claimed twice, nothing is lost, attempts are bounded,
what has ended stays ended, and no delivery has two copies without a note.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from local.faults import Fault, close, failing, rate_limited, reset, slack_error, truncate
from tests.conftest import Api
from tests.notifications.virtual_time import TimedDatabase
from tests.notifications.world import ENDED, Message, World, world_over
from workers.errors import AmbiguousError, CredentialsError, TransientError, WorkerError
from workers.notifications.answers import read_claimed
from workers.notifications.in_flight import Post
from workers.notifications.posting import attempt_post
from workers.notifications.slack import Slack

CHANNELS = ("C0ONE0000", "C0TWO0000", "C0THREE00")
REQUESTS = ("5b8e7a0e-6f0c-4d7e-9a55-0c5a3c7a0001", "5b8e7a0e-6f0c-4d7e-9a55-0c5a3c7a0002")
POST = {"path": "chat.postMessage"}
FAULTS = (
    reset(**POST),
    reset(when="after", **POST),
    close(when="after", **POST),
    truncate(**POST),
    failing(503, **POST),
    failing(500, when="after", **POST),
    rate_limited(3, **POST),
    rate_limited(200, **POST),
    slack_error("internal_error", when="after", **POST),
    slack_error("no_text", **POST),
    slack_error("brand_new_error", **POST),
    slack_error("channel_not_found", **POST),
    failing(503, path="conversations.history"),
    failing(503, path="conversations.replies"),
    rate_limited(2, path="conversations.history"),
)
API_FAULTS = (
    failing(503, path="record_notification_progress"),
    reset(when="after", path="record_notification_progress"),
    reset(when="after", path="claim_notifications"),
    reset(when="after", path="start_notification_run"),
    failing(503, path="finish_notification_run"),
)
# Long enough for any lease, hold and backoff, but shorter than the expiry, which has its own rule.
JUMPS = (0.5, 5.0, 31.0, 61.0, 175.0, 1000.0)


class SlowWorker:
    """A second worker, one step at a time, so that other steps come in between.

    It takes the steps of a run: lease, claim, announcement, post, record; and it may stop for good
    or sleep through its leases at any point, as a frozen container does.
    """

    def __init__(self, world: World, database: TimedDatabase, slack: Slack) -> None:
        self._world, self._database, self._slack = world, database, slack
        self._run = str(uuid.uuid4())
        self._outcomes: list[dict[str, Any]] = []

    def steps(self) -> Iterator[None]:
        if not self._database.call("start_notification_run", run_id=self._run)["acquired"]:
            return
        yield
        claimed = read_claimed(
            self._database.call(
                "claim_notifications", run_id=self._run, batch_size=3,
                threads=self._world.has_threads,
            )
        )  # fmt: skip
        yield
        # this one never searches: it leaves what may have been posted to the other
        posts = [Post.of(one) for one in claimed.deliveries if not one.is_unknown]
        for post in posts:
            post.parent_ts = post.first.thread_ts
        starting = [
            {
                "id": post.id, "token": post.first.token, "post_id": post.id,
                "parent_ts": post.parent_ts,
            }
            for post in posts
        ]  # fmt: skip
        answer = self._database.call(
            "record_notification_progress", run_id=self._run, starting=starting
        )
        deadline = self._world.clock.now() + 100
        yield
        for post in posts:
            if post.id in answer["started"] and self._world.clock.now() < deadline:
                self._post(post)
                yield
        self._database.call(
            "record_notification_progress", run_id=self._run, outcomes=self._outcomes
        )
        self._database.call("finish_notification_run", run_id=self._run)

    def _post(self, post: Post) -> None:
        now = self._world.clock.now
        attempt = attempt_post(self._slack, post, post.destination, now, now() + 1)
        said: dict[str, Any] = {"id": post.id, "token": post.first.token}
        if attempt.posted is not None:
            said |= {
                "result": "sent", "conversation_id": attempt.posted.channel,
                "message_ts": attempt.posted.ts, "posted_ago": 0,
                "parent_ts": attempt.posted.parent_ts, "thread": post.first.thread,
            }  # fmt: skip
        elif isinstance(attempt.error, AmbiguousError):
            said |= {"result": "unknown", "retry_in": 60, "hold_in": 60}
        else:
            said |= {"result": "wait", "hold_in": 30}
        self._outcomes.append(said)


class EarlierWorker:
    """The dashboard's earlier worker: claims with lock_and_get_notifications, posts unannounced and
    writes to the row. It does not know deliveries, so its messages name none."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._claimed: list[str] = []
        self._until = 0.0
        self.posted: set[str] = set()

    def claim(self) -> None:
        rows = self._world.connection.execute(
            "select id from lock_and_get_notifications(2, %s)", (self._world.now,)
        )
        self._until = self._world.clock.now() + 170
        self._claimed = [str(row["id"]) for row in rows]

    def post(self) -> None:
        """Within its lease, or not at all."""
        claimed, self._claimed = self._claimed, []
        if self._world.clock.now() >= self._until:
            return
        for id_ in claimed:
            assert id_ not in self.posted, "returned to it twice"
            self.posted.add(id_)
            self._world.connection.execute(
                "update notification_queue set is_processed = true, processed_at = %s "
                "where id = %s",
                (self._world.now, id_),
            )


class Deliveries(RuleBasedStateMachine):
    """Rules in any order; at the end everything gets the time to finish, and must."""

    api: Api

    def __init__(self) -> None:
        super().__init__()
        self._resources = ExitStack()
        self.world: World = self._resources.enter_context(world_over(self.api))
        self.configs = [
            self.world.agency.config(channel, template="{{text}}") for channel in CHANNELS
        ]
        for request in REQUESTS:
            self.world.agency.request(id=request)
        self.roaming = self.world.agency.config(template="{{text}}")
        self.slow: Iterator[None] | None = None
        self.earlier = EarlierWorker(self.world)
        self.ended: dict[str, str] = {}
        self.reset: set[str] = set()
        self.count = 0

    def a_run(self, **options: float) -> None:
        """The worker runs; `options` are those of World.run."""
        self.world.run(**options)

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self._resources.close()

    @initialize(many=st.integers(1, 4), threads=st.booleans())
    def begin_with_some(self, many: int, threads: bool) -> None:
        self.world.settings_of_runs = {"notification_threads": "on" if threads else "off"}
        for which in range(len(CHANNELS)):
            self.enqueue(which, many)

    @rule(
        which=st.integers(0, len(CHANNELS) - 1),
        faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3),
        after=st.integers(0, 2),
        sleep=st.sampled_from((31.0, 61.0)),
    )
    def bad_minute(self, which: int, faults: list[Fault], after: int, sleep: float) -> None:
        """Something is queued, something goes wrong, and a run meets it."""
        self.enqueue(which, 2)
        for fault in faults:
            self.spoil_slack(fault, after)
        self.run_worker(60.0, 1)
        self.world.clock.advance(sleep)

    @rule(which=st.integers(0, len(CHANNELS) - 1), many=st.integers(1, 3))
    def enqueue(self, which: int, many: int) -> None:
        for _ in range(many):
            self._queue(self.configs[which])

    def _queue(self, config: str) -> None:
        self.count += 1
        self.world.queue(config, str(self.count), entity_id=self._request_of(self.count))

    def _request_of(self, number: int) -> str:
        return REQUESTS[number % len(REQUESTS)]

    @rule(fault=st.sampled_from(FAULTS), after=st.integers(0, 3))
    def spoil_slack(self, fault: Fault, after: int) -> None:
        self.world.spoil(Fault(**{**fault.__dict__, "skip": after}))

    @rule(fault=st.sampled_from(API_FAULTS))
    def spoil_the_data_api(self, fault: Fault) -> None:
        self.world.between.faults.add(fault)

    @rule(seconds=st.sampled_from(JUMPS))
    def let_time_pass(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule(seconds=st.sampled_from((20.0, 60.0, 110.0)), times=st.integers(1, 3))
    def run_worker(self, seconds: float, times: int) -> None:
        for _ in range(times):
            with suppress(CredentialsError, TransientError):  # a failed run is an event too
                self.a_run(seconds=seconds)
            if times > 1:
                self.world.clock.advance(31)

    @rule()
    def die_having_announced(self) -> None:
        with suppress(WorkerError):
            self.world.leave_announced()

    @rule(
        steps=st.integers(1, 5),
        fault=st.none() | st.sampled_from(FAULTS),
        sleep=st.sampled_from((0.0, *JUMPS)),
    )
    def go_on_slowly(self, steps: int, fault: Fault | None, sleep: float) -> None:
        """The second worker takes some steps, and sleeps before the next ones."""
        if fault is not None:
            self.world.spoil(fault)
        for _ in range(steps):
            self._step_slow_worker()
        self.world.clock.advance(sleep)

    @rule(fault=st.sampled_from(FAULTS), again=st.integers(1, 4))
    def freeze(self, fault: Fault, again: int) -> None:
        """The second worker sleeps through all its leases, and then tries to continue."""
        self.spoil_slack(fault, 0)
        for _ in range(4):
            self._step_slow_worker()
        self.world.clock.advance(175)
        self.run_worker(60.0, 1)
        for _ in range(again):
            self._step_slow_worker()

    def _step_slow_worker(self) -> None:
        if self.slow is None:
            world = self.world
            slack = Slack(world.token, f"{world.slack_server.url}/api/", timeout=2.0)
            self.slow = SlowWorker(world, world.new_database(), slack).steps()
        try:
            next(self.slow)
        except (StopIteration, WorkerError):
            self.slow = None

    @precondition(lambda self: self.slow is not None)
    @rule()
    def kill_slow_worker(self) -> None:
        self.slow = None

    @rule()
    def enqueue_without_a_route(self) -> None:
        """It waits unrouted until a channel is connected."""
        self._queue(self.roaming)

    @rule(channel=st.sampled_from(CHANNELS))
    def connect_a_channel(self, channel: str) -> None:
        self.world.connection.execute(
            "insert into slack_connected_channels (channel_id) values (%s) on conflict do nothing",
            (channel,),
        )

    @rule(which=st.integers(0, len(CHANNELS) - 1), channel=st.sampled_from(CHANNELS))
    def move_a_config(self, which: int, channel: str) -> None:
        self.world.connection.execute(
            "update notification_config set channel_id = %s where id = %s",
            (channel, self.configs[which]),
        )

    @rule(channel=st.sampled_from(CHANNELS), archived=st.booleans())
    def archive_a_channel(self, channel: str, archived: bool) -> None:
        self.world.change_channel(channel, archived=archived)

    @rule(which=st.integers(0, 3))
    def delete_a_message(self, which: int) -> None:
        """Someone does so in Slack: the first message of a thread, or another."""
        messages = self.world.messages()
        if which < len(messages):
            self.world.delete(messages[which])

    @rule(seconds=st.sampled_from((40.0, 80.0)), linger=st.sampled_from((5.0, 60.0)))
    def linger(self, seconds: float, linger: float) -> None:
        with suppress(CredentialsError, TransientError):
            self.a_run(seconds=seconds, notification_linger_seconds=linger)

    @rule()
    def claim_as_an_earlier_worker(self) -> None:
        self.earlier.claim()

    @rule()
    def post_as_an_earlier_worker(self) -> None:
        self.earlier.post()

    @rule()
    def reset_by_hand(self) -> None:
        """As dashboards ask for another attempt at what died."""
        row = self.world.connection.execute(
            "update notification_queue set attempts = 0 where id = ("
            "  select id from notification_queue where outcome = 'dead' order by id limit 1"
            ") returning id"
        ).fetchone()
        if row is not None:
            self.reset.add(str(row["id"]))
            self.ended.pop(str(row["id"]), None)

    @rule(what=st.sampled_from(("redrive", "release", "a day")))
    def something_rare(self, what: str) -> None:
        """An operator's command, or a pause so long that everything waiting expires."""
        if what == "a day":
            self.world.clock.advance(25 * 3600)
        elif what == "release":
            self._release()
        else:
            self._note_ended()
            self.world.connection.execute(
                "select redrive_notifications(as_of => %s)", (self.world.now,)
            )
            lasting = ("sent", "skipped")
            self.ended = {id_: end for id_, end in self.ended.items() if end in lasting}

    def _release(self) -> None:
        self.world.connection.execute("select release_parked(as_of => %s)", (self.world.now,))

    @invariant()
    def nothing_is_lost_and_what_ended_stays_so(self) -> None:
        rows = {str(row["id"]): row for row in self.world.queued()}
        assert len(rows) == self.count
        for row in rows.values():
            assert 0 <= (row["attempts"] or 0) <= (row["max_attempts"] or 5)
            assert row["outcome"] in (*ENDED, None)
            done = row["outcome"] in ("sent", "skipped", "expired")
            assert bool(row["is_processed"]) == (done or str(row["id"]) in self.earlier.posted)
        for id_, end in self.ended.items():
            assert rows[id_]["outcome"] == end
        self._note_ended()

    @invariant()
    def no_delivery_has_two_copies_unmarked(self) -> None:
        assert max(self.world.copies().values(), default=0) <= 1

    @invariant()
    def nothing_is_posted_twice_in_two_channels_or_by_two_workers(self) -> None:
        routed = set(map(str, self.configs))
        by_text = Counter(m.text for m in self.world.messages() if not m.is_marked)
        for row in self.world.queued():
            if str(row["config_id"]) in routed:
                text = row["event_data"]["text"]
                assert by_text[text] + (str(row["id"]) in self.earlier.posted) <= 1, row

    @invariant()
    def what_is_sent_stands_in_slack(self) -> None:
        standing = self.world.deleted | {m.delivery_id for m in self.world.messages()}
        for delivery in self.world.agency.deliveries():
            if delivery["state"] == "sent":
                assert str(delivery["id"]) in standing

    @invariant()
    def a_thread_is_about_one_request_in_order(self) -> None:
        messages = self.world.messages()
        by_place = {(m.channel, m.ts): m for m in messages}
        for message in messages:
            if message.thread_ts is None:
                continue
            assert self.world.has_threads
            assert message.thread_ts < message.ts
            first = by_place.get((message.channel, message.thread_ts))
            if first is not None:
                assert first.thread_ts is None, "a reply to a reply"
                assert self._about(first) == self._about(message)

    def _about(self, message: Message) -> str:
        number, _, _mark = message.text.partition("\n")
        return self._request_of(int(number))

    @invariant()
    def the_log_knows_where_each_stands(self) -> None:
        by_ts = {(m.channel, f"{m.ts:.6f}"): m for m in self.world.messages()}
        for delivery in self.world.agency.deliveries():
            message = by_ts.get((delivery["destination"], delivery["message_ts"]))
            if delivery["state"] == "sent" and message is not None:
                place = message.thread_ts or message.ts
                assert delivery["parent_ts"] == (f"{place:.6f}" if self.world.has_threads else None)

    def _note_ended(self) -> None:
        for row in self.world.queued():
            if row["outcome"] is not None and str(row["id"]) not in self.reset:
                self.ended[str(row["id"])] = row["outcome"]

    def come_to_rest(self) -> None:
        """With Slack working and the workers running, everything ends and is kept."""
        self.world.slack_server.faults.clear()
        self.world.between.faults.clear()
        self.world.clock.advance(1000)
        for channel in CHANNELS:
            self.archive_a_channel(channel, archived=False)
        self.connect_a_channel(CHANNELS[0])
        for _ in range(10):
            self._release()
            self.a_run()
            if self.world.has_ended():
                break
            self.world.clock.advance(700)
        self.world.assert_kept()


# An example takes some hundred requests to real servers, so there are few of them; `make
# test-long` tries more.
EXAMPLES = settings(
    max_examples=int(os.environ.get("DELIVERY_EXAMPLES", "15")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="DELIVERY_EXAMPLES" not in os.environ,
)


def test_any_order_of_events(api: Api) -> None:
    machine = type("Machine", (Deliveries,), {"api": api})
    run_state_machine_as_test(machine, settings=EXAMPLES)
