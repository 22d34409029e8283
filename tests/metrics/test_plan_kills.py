"""Plans that are killed (SIGKILL) at each step in turn: every due connection is synced once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from local.fakes.sqs import FakeSqs, queue_url
from local.faults import close
from local.http_server import HttpServer
from tests import forked
from tests.integration.moto_s3 import CREDENTIALS
from tests.metrics.world import Served, World
from tests.notifications.killed_run import kinds_of
from workers.metrics.planning import LEASE_SECONDS
from workers.metrics.sync_requests import SyncRequest

# More than one batch of messages.
CONNECTIONS = 11
# How far back they read: what is of interest here is whether, not how much.
DAYS = 1


def both(*calls: str) -> tuple[str, ...]:
    """Before and after each call."""
    return tuple(f"{when} {call}" for call in calls for when in ("before", "after"))


# Where a crash can fall in a plan of two batches; where SQS never takes one of the messages; and
# where it takes the second batch and its response is lost, which has no step after it.
STEPS = both(
    "refresh_ad_links 1",
    "settle_ad_links 1",
    "plan_metric_syncs 1",
    "SendMessageBatch 1",
    "SendMessageBatch 2",
)
REFUSED = (*STEPS, *both("SendMessageBatch 3", "drop_metric_plans 1"))
UNCONFIRMED = (*STEPS[:-1], *both("drop_metric_plans 1"))
KINDS = kinds_of((*STEPS, *REFUSED, *UNCONFIRMED))


class Agency:
    """Connections that are due, and the queue between their plan and their syncs."""

    def __init__(self, world: World, queue: HttpServer) -> None:
        self.world, self.queue = world, queue
        world.settings = replace(world.settings, metrics_look_back_days=DAYS)
        self.served: dict[str, list[Served]] = {}
        self.connections = {self._connect(str(1001 + number)) for number in range(CONNECTIONS)}
        self._seen: list[SyncRequest] = []

    def _connect(self, account: str) -> str:
        ad = f"2385100000000{account}"
        self.world.meta_account(account, ads=[{"id": ad, "name": "Film"}])
        self.served[self.world.request(meta_ad_id=ad)] = [Served("meta", account, ad)]
        return self.world.connect_meta(account)

    def never_take_one(self) -> None:
        """SQS refuses the message of one connection, also when asked again."""
        self.queue.configure({"refuse": [{"contains": f'"{1001}"'}]})

    def lose_the_second_answer(self) -> None:
        """SQS takes the second batch, both times that it is sent, and says nothing."""
        self.queue.faults.add(close(when="after", skip=1, times=2))

    def heal(self) -> None:
        self.queue.configure({"refuse": []})
        self.queue.faults.clear()

    def killed_plan(self, kill_at: str | None) -> list[str]:
        """The steps that a plan took until it was killed, or to its end."""
        parameters = {
            "url": self.world.api.url,
            "key": self.world.api.keys.secret,
            "as_of": self.world.now.isoformat(),
            "queue_url": queue_url(self.queue),
            "kill_at": kill_at,
        }
        places = {"AWS_ENDPOINT_URL_SQS": self.queue.url, "NO_PROXY": "127.0.0.1"}
        lines = forked.killed_run(
            "tests.metrics.killed_plan", parameters, {**CREDENTIALS, **places}
        )
        taken = lines if kill_at else lines[:-1]
        assert kinds_of(taken) <= KINDS, "a step that is on no list, so that no kill is tried there"
        return lines

    def deliver(self) -> Counter[str]:
        """Syncs what is in the queue, and again everything that ever came out of it: by status."""
        arrived = [SyncRequest.from_body(message["body"]) for message in self.queue.app.state()]
        self.queue.app.replace_state([])
        self._seen += arrived
        return Counter(
            self.world.sync(sync_request).status for sync_request in [*arrived, *self._seen]
        )

    def plan(self) -> int:
        """An undisturbed plan: how many messages it sent."""
        sync_requests, plan = self.world.plan()
        messages = [{"body": sync_request.body()} for sync_request in sync_requests]
        self.queue.app.replace_state([*self.queue.app.state(), *messages])
        return plan.planned

    def assert_each_is_synced_once(self) -> None:
        logs = self.world.logs()
        assert {log["status"] for log in logs} == {"success"}
        synced = Counter(str(log["platform_connection_id"]) for log in logs)
        assert synced == dict.fromkeys(self.connections, 1)
        assert self.world.figures() == self.world.expected(self.served, days=DAYS)
        held = "select 1 from metric_accounts where token is not null"
        assert self.world.rows(held) == [], "nothing is stuck"
        assert self.plan() == 0


@pytest.fixture(scope="module")
def sqs() -> Iterator[HttpServer]:
    with HttpServer(FakeSqs()) as server:
        yield server


@pytest.fixture
def agency(world: World, sqs: HttpServer) -> Agency:
    sqs.reset()
    return Agency(world, sqs)


TROUBLES: dict[str, Any] = {
    "none": (lambda agency: None, STEPS, "ended planned 11, unsent 0"),
    "refused": (Agency.never_take_one, REFUSED, "ended planned 10, unsent 1"),
    "unconfirmed": (Agency.lose_the_second_answer, UNCONFIRMED, "ended planned 10, unsent 1"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_steps_are_those_of_a_plan(agency: Agency, trouble: str) -> None:
    cause, steps, end = TROUBLES[trouble]
    cause(agency)
    *taken, ended = agency.killed_plan(None)
    assert set(taken) == set(steps)
    assert ended == end


PLACES = [
    *(("none", step) for step in STEPS),
    *(("refused", step) for step in REFUSED if step not in STEPS),
    *(("unconfirmed", step) for step in UNCONFIRMED if step not in STEPS),
]
# Before these nothing was sent, so that nothing can arrive late.
SENT_NOTHING = {("none", step) for step in STEPS[: STEPS.index("after SendMessageBatch 1")]}


@pytest.mark.parametrize(
    ("trouble", "step", "late"),
    [
        *(pytest.param(*place, False, id="-".join([*place, "at once"])) for place in PLACES),
        *(
            pytest.param(*place, True, id="-".join([*place, "after the next plan"]))
            for place in PLACES
            if place not in SENT_NOTHING
        ),
    ],
)
def test_after_a_kill_each_connection_is_synced_once(
    agency: Agency, trouble: str, step: str, late: bool
) -> None:
    """`late`: what was sent arrives when its connections have been planned again."""
    cause, _, _ = TROUBLES[trouble]
    cause(agency)
    assert agency.killed_plan(step)[-1] == step
    agency.heal()
    synced = Counter[str]() if late else agency.deliver()

    agency.world.later(timedelta(seconds=LEASE_SECONDS))
    assert agency.plan() == CONNECTIONS - synced["success"], "each of the others, and no other"
    synced += agency.deliver()
    assert synced["success"] == CONNECTIONS
    assert set(synced) == {"success", "stale"}
    agency.assert_each_is_synced_once()


def test_what_a_killed_plan_leased_is_not_planned_before_the_lease_is_over(
    agency: Agency,
) -> None:
    agency.killed_plan("after plan_metric_syncs 1")
    agency.world.later(timedelta(seconds=LEASE_SECONDS - 1))
    assert agency.plan() == 0
    agency.world.later(timedelta(seconds=1))
    assert agency.plan() == CONNECTIONS


def test_what_was_released_is_planned_at_once_though_its_message_may_arrive(
    agency: Agency,
) -> None:
    agency.lose_the_second_answer()
    agency.killed_plan("after drop_metric_plans 1")
    agency.heal()
    assert agency.plan() == 1
    synced = agency.deliver()
    assert synced["success"] == CONNECTIONS
    agency.assert_each_is_synced_once()
