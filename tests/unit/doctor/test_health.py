from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from workers.doctor import health
from workers.doctor.health import Health, read_worker_health, unknown_health
from workers.errors import ConfigurationError

NOW = datetime.fromisoformat("2025-03-11T12:00:00+00:00")


def found(first: timedelta | None = timedelta(days=30), **ago: timedelta | None) -> dict[str, Any]:
    """What the database says: how long ago each worker last succeeded."""
    usual: dict[str, timedelta | None] = {
        "notifications": timedelta(minutes=1),
        "metrics_sync": timedelta(minutes=10),
        "connection_sync": timedelta(hours=5),
        "retention": timedelta(days=6),
    }
    workers = {
        name: {
            "last_success_at": None if time is None else (NOW - time).isoformat(),
            "last_outcome": "drained",
            "last_error": None,
        }
        for name, time in {**usual, **ago}.items()
    }
    return {
        "now": NOW.isoformat(),
        "first_run_at": None if first is None else (NOW - first).isoformat(),
        "workers": workers,
        "oldest_due_seconds": 12.5, "due": 3, "dead": 1, "parked": 2, "unrouted": 4,
        "parked_connections": 1, "failing_connections": 0,
    }  # fmt: skip


def assess(answer: dict[str, Any]) -> Health:
    return health.assess(read_worker_health(answer))


def hours_since_retention(answer: dict[str, Any]) -> float:
    return health.hours_since_retention(read_worker_health(answer))


def body(answer: dict[str, Any]) -> dict[str, Any]:
    return assess(answer).body


def test_all_workers_are_healthy() -> None:
    health = assess(found())
    assert health.status == 200
    assert health.body["status"] == "healthy"
    assert health.body["lastProcessedAt"] == (NOW - timedelta(minutes=1)).isoformat()
    assert health.body["queue"] == {
        "due": 3, "oldestDueSeconds": 12.5, "dead": 1, "parkedDestinations": 2,
        "withoutDestination": 4,
    }  # fmt: skip
    assert health.body["connections"] == {
        "parked": 1, "failing": 0, "lastSyncedAt": (NOW - timedelta(hours=5)).isoformat()
    }  # fmt: skip
    assert health.body["workers"] == {
        name: {"status": "healthy", "lastProcessedAt": (NOW - ago).isoformat()}
        for name, ago in (
            ("notifications", timedelta(minutes=1)),
            ("metrics_sync", timedelta(minutes=10)),
            ("retention", timedelta(days=6)),
        )
    }


@pytest.mark.parametrize(
    ("worker", "well", "stale"),
    [
        ("notifications", timedelta(minutes=5), timedelta(minutes=5, seconds=1)),
        ("metrics_sync", timedelta(minutes=25), timedelta(minutes=26)),
        ("retention", timedelta(days=8), timedelta(days=8, seconds=1)),
    ],
)
def test_a_worker_that_has_not_succeeded_for_too_long(
    worker: str, well: timedelta, stale: timedelta
) -> None:
    assert assess(found(**{worker: well})).status == 200
    health = assess(found(**{worker: stale}))
    assert health.status == 503
    assert health.body["status"] == "unhealthy"
    workers = body(found(**{worker: stale}))["workers"]
    (number, unit) = (well.days, "days") if well.days else (well.seconds // 60, "minutes")
    assert workers[worker]["reason"] == f"no successful run for {number} {unit}"
    assert workers[worker]["lastProcessedAt"] == (NOW - stale).isoformat()
    assert [name for name in workers if workers[name]["status"] == "unhealthy"] == [worker]


def test_a_worker_that_never_ran_is_unhealthy_once_it_is_due() -> None:
    assert assess(found(first=timedelta(days=3), retention=None)).status == 200
    health = assess(found(first=timedelta(days=9), retention=None))
    assert health.status == 503
    assert health.workers["retention"].reason == "no successful run yet"
    nothing = assess(found(None, notifications=None, metrics_sync=None, retention=None))
    assert nothing.status == 503


def test_a_failing_worker_says_how_it_failed() -> None:
    said = found(notifications=timedelta(hours=1))
    said["workers"]["notifications"] |= {"last_outcome": "failed", "last_error": "CredentialsError"}
    shown = body(said)["workers"]["notifications"]
    assert (shown["lastOutcome"], shown["lastError"]) == ("failed", "CredentialsError")


def test_what_is_unknown_about_a_failure_is_left_out() -> None:
    said = found(notifications=timedelta(hours=1))
    said["workers"]["notifications"]["last_outcome"] = None
    assert set(body(said)["workers"]["notifications"]) == {"status", "lastProcessedAt", "reason"}


def test_hours_since_retention() -> None:
    assert hours_since_retention(found()) == 6 * 24
    assert hours_since_retention(found(retention=timedelta(minutes=90))) == 1.5
    never = found(first=timedelta(days=9), retention=None)
    assert hours_since_retention(never) == 9 * 24
    assert hours_since_retention(found(None, retention=None)) == 0.0


def test_health_that_is_unknown() -> None:
    health = unknown_health("the database cannot be queried: ConnectError")
    assert health.status == 503
    assert health.body == {
        "status": "unhealthy", "lastProcessedAt": None,
        "reason": "the database cannot be queried: ConnectError",
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["workers", "due", "now"])
def test_an_answer_without_a_field_is_an_error_that_names_it(missing: str) -> None:
    answer = found()
    del answer[missing]
    with pytest.raises(ConfigurationError, match=f"worker_health returned no {missing}"):
        read_worker_health(answer)
