"""Any order of events: enqueueing, runs of two workers, faults, deaths, redriving, time.

A hypothesis state machine over the real database and a fake for Slack, in virtual time.
The invariants are the promises: no row is held twice, nothing is lost, attempts are bounded,
what has ended stays so, and no delivery has two copies of which neither is marked.
"""

from __future__ import annotations

import os
import uuid
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
from workers.notifications.claims import read_claim
from workers.notifications.lanes import Work

from local.faults import Fault, close, failing, rate_limited, reset, slack_error, truncate
from tests.conftest import Api
from tests.notifications.virtual_time import TimedDatabase
from tests.notifications.world import ENDED, World, world_over
from workers.errors import AmbiguousError, CredentialsError, TransientError, WorkerError
from workers.notifications.posting import attempt_post
from workers.notifications.slack import Slack

CHANNELS = ("C0ONE0000", "C0TWO0000", "C0THREE00")
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
    rate_limited(2, path="conversations.history"),
)
API_FAULTS = (
    failing(503, path="record_notification_progress"),
    reset(when="after", path="record_notification_progress"),
    reset(when="after", path="claim_notifications"),
    reset(when="after", path="start_notification_run"),
    failing(503, path="finish_notification_run"),
)
# Long enough for any lease, hold and backoff, short of the expiry that is a rule of its own.
JUMPS = (0.5, 5.0, 31.0, 61.0, 175.0, 1000.0)


class SlowWorker:
    """A second worker, one step at a time, so that others come between its steps.

    It goes the way of a run: lease, claim, announcement, post, record; and it may stop for ever
    or sleep through its leases at any point, as a frozen container does.
    """

    def __init__(self, world: World, database: TimedDatabase, slack: Slack) -> None:
        self._world, self._database, self._slack = world, database, slack
        self._run = str(uuid.uuid4())
        self._works: list[Work] = []
        self._told: list[dict[str, Any]] = []

    def steps(self) -> Iterator[None]:
        if not self._database.call("start_notification_run", run_id=self._run)["acquired"]:
            return
        yield
        rows = self._database.call("claim_notifications", batch_size=3)
        yield
        claimed = [read_claim(row) for row in rows]
        self._works = [
            Work(notification, delivery, look_first=False)
            for notification in claimed
            for delivery in notification.deliveries
            # this one never looks: what may have been posted it leaves to the other
            if not delivery.is_unknown and delivery.due_in <= 0
        ]
        starting = [
            {"id": work.delivery.id, "token": work.notification.token} for work in self._works
        ]
        answer = self._database.call(
            "record_notification_progress", run_id=self._run, starting=starting
        )
        deadline = self._world.clock.now() + 100
        yield
        for work in self._works:
            if work.delivery.id in answer["started"] and self._world.clock.now() < deadline:
                self._post(work)
                yield
        finished = [{"id": done.id, "token": done.token} for done in claimed]
        self._database.call(
            "record_notification_progress", run_id=self._run, outcomes=self._told,
            finished=finished,
        )  # fmt: skip
        self._database.call("finish_notification_run", run_id=self._run)

    def _post(self, work: Work) -> None:
        attempt = attempt_post(self._slack, work, work.delivery.destination, self._world.clock.now)
        told: dict[str, Any] = {"id": work.delivery.id, "token": work.notification.token}
        if attempt.posted is not None:
            told |= {
                "result": "sent", "conversation_id": attempt.posted.channel,
                "message_ts": attempt.posted.ts, "posted_ago": 0,
            }  # fmt: skip
        elif isinstance(attempt.error, AmbiguousError):
            told |= {"result": "unknown", "retry_in": 60, "hold_in": 60}
        else:
            told |= {"result": "wait", "hold_in": 30}
        self._told.append(told)


class Deliveries(RuleBasedStateMachine):
    """Rules in any order; at the end everything is allowed to come to rest, and must."""

    api: Api

    def __init__(self) -> None:
        super().__init__()
        self._resources = ExitStack()
        self.world: World = self._resources.enter_context(world_over(self.api))
        self.configs = [
            self.world.agency.config(channel, template="{{text}}") for channel in CHANNELS
        ]
        self.slow: Iterator[None] | None = None
        self.ended: dict[str, str] = {}
        self.count = 0

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self._resources.close()

    @initialize(many=st.integers(1, 4))
    def begin_with_some(self, many: int) -> None:
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
            self.count += 1
            self.world.queue(self.configs[which], str(self.count))

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
                self.world.run(seconds=seconds)
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
        """The second worker sleeps through all its leases, and then wants to go on."""
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

    @rule(what=st.sampled_from(("redrive", "release", "a day")))
    def something_rare(self, what: str) -> None:
        """An operator's command, or so long a pause that everything waiting expires."""
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
        self.world.connection.execute(
            "select release_parked_configs(as_of => %s)", (self.world.now,)
        )

    @invariant()
    def nothing_is_lost_and_what_ended_stays_so(self) -> None:
        rows = {str(row["id"]): row for row in self.world.queued()}
        assert len(rows) == self.count
        for row in rows.values():
            assert 0 <= (row["attempts"] or 0) <= (row["max_attempts"] or 5)
            assert row["outcome"] in (*ENDED, None)
            assert bool(row["is_processed"]) == (row["outcome"] in ("sent", "skipped", "expired"))
        for id_, end in self.ended.items():
            assert rows[id_]["outcome"] == end
        self._note_ended()

    @invariant()
    def no_delivery_has_two_copies_unmarked(self) -> None:
        assert max(self.world.copies().values(), default=0) <= 1

    @invariant()
    def what_is_sent_stands_in_slack(self) -> None:
        standing = {message.delivery_id for message in self.world.messages()}
        for delivery in self.world.agency.deliveries():
            if delivery["state"] == "sent":
                assert str(delivery["id"]) in standing

    def _note_ended(self) -> None:
        for row in self.world.queued():
            if row["outcome"] is not None:
                self.ended[str(row["id"])] = row["outcome"]

    def come_to_rest(self) -> None:
        """With Slack well and the workers running, everything ends and is kept."""
        self.world.slack_server.faults.clear()
        self.world.between.faults.clear()
        self.world.clock.advance(1000)
        for _ in range(10):
            self._release()
            self.world.run()
            if all(row["outcome"] in ENDED for row in self.world.queued()):
                break
            self.world.clock.advance(300)
        self.world.assert_kept()


# An example is some hundred requests to real servers, so there are few of them; `make
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
