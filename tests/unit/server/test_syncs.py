"""Sync requests that are processed in this process."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest

from server import syncs
from server.syncs import SyncPool
from workers.errors import TransientError
from workers.metrics.sync_requests import SyncRequest


def sync_request() -> SyncRequest:
    return SyncRequest("meta", "1", str(uuid.uuid4()))


class Plans:
    """Stands in for the database, to which plans are released."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.is_away = False

    def call(self, function: str, *, tokens: list[str]) -> None:
        assert function == "drop_metric_plans"
        if self.is_away:
            raise TransientError("away", code="away")
        self.dropped += tokens


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    made = Plans()
    monkeypatch.setattr(syncs, "database", lambda: made)
    return made


def test_no_more_syncs_run_at_a_time_than_requested(plans: Plans) -> None:
    both, seen = threading.Barrier(2, timeout=60), list[int]()
    under_way, lock = set[str](), threading.Lock()

    def sync(body: str) -> None:
        with lock:
            under_way.add(body)
            seen.append(len(under_way))
        both.wait()
        with lock:
            under_way.discard(body)

    pool = SyncPool(sync)
    assert pool.resized(2).send([sync_request().body() for _ in range(6)]) == []
    pool.wait()
    assert max(seen) == 2
    assert len(seen) == 6
    assert not plans.dropped


def test_failed_syncs_are_released_before_the_next_plan(plans: Plans) -> None:
    good, bad = sync_request(), sync_request()

    def sync(body: str) -> None:
        if SyncRequest.from_body(body) == bad:
            raise TransientError("the database", code="57014")

    pool = SyncPool(sync)
    pool.resized(2).send([good.body(), bad.body()])
    pool.wait()
    plans.is_away = True
    pool.release_failed()
    assert pool.has_failed
    plans.is_away = False
    pool.release_failed()
    assert plans.dropped == [bad.token]
    assert not pool.has_failed


def test_syncs_that_have_not_started_are_released_at_shutdown(plans: Plans) -> None:
    begun, go_on = threading.Event(), threading.Event()
    worked: list[str] = []

    def sync(body: str) -> None:
        begun.set()
        assert go_on.wait(60)
        worked.append(SyncRequest.from_body(body).token)

    pool, sync_requests = SyncPool(sync), [sync_request() for _ in range(5)]
    pool.resized(1).send([one.body() for one in sync_requests])
    assert begun.wait(60)
    pool.release_waiting()
    go_on.set()
    pool.wait()
    assert worked == [sync_requests[0].token]
    assert sorted(plans.dropped) == sorted(one.token for one in sync_requests[1:])


def test_a_new_size_applies_from_the_next_plan_on(plans: Plans) -> None:
    done: list[Any] = []
    pool = SyncPool(done.append)
    pool.resized(1).send([sync_request().body()])
    pool.resized(3).send([sync_request().body(), sync_request().body()])
    pool.wait()
    assert len(done) == 3
