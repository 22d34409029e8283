"""What the metrics' SQL functions return, read once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from workers.errors import ConfigurationError
from workers.metrics.answers import (
    Begun,
    Compared,
    DerivedCounts,
    DerivedStep,
    NamedPage,
    Paused,
    Planned,
    Refused,
    read_after,
    read_begun_backfill,
    read_begun_sync,
    read_compared,
    read_derived_step,
    read_is_finished,
    read_named_page,
    read_planned,
)
from workers.metrics.sync_requests import SyncRequest

NOON = "2026-03-01T12:00:00+00:00"
CONNECTION = {
    "id": "c", "platform": "facebook", "account_id": "1", "account_name": None,
    "credentials": {"access_token": "a-token-of-ours"}, "digest": "d", "has_worked": True,
}  # fmt: skip
BEGUN = {
    "sync_id": "s", "now": NOON, "platform": "meta", "account_id": "1",
    "connections": [CONNECTION], "minutes": 60, "whole_read_at": None,
    "days_read": {"2026-02-28": NOON}, "days_left_out": {"2026-02-27": "too much data"},
    "window_days": None, "failures": 2,
}  # fmt: skip
PLANNED = {
    "planned": [{"platform": "meta", "account_id": "1", "token": "t"}],
    "in_flight": 1, "left": 2, "orphans": 0,
}  # fmt: skip
NAMED = {"named": {"ad": ["1", "2"]}, "after": {"level": "ad", "id": "2"}, "is_newly_named": False}
COUNTS = {"created": 1, "updated": 2, "deleted": 3, "mixed_currency_days": 4}

READERS: dict[str, tuple[Callable[[Any], object], dict[str, Any]]] = {
    "begin_metric_sync": (read_begun_sync, BEGUN),
    "begin_metric_backfill": (read_begun_backfill, BEGUN),
    "plan_metric_syncs": (read_planned, PLANNED),
    "load_named_ads": (read_named_page, NAMED),
    "compare_metric_days": (read_compared, {"changed": [], "stored": 0}),
    "refresh_ad_links": (lambda value: read_after("refresh_ad_links", value), {"after": None}),
    "settle_ad_links": (read_is_finished, {"is_finished": True}),
    "derive_account_days": (
        lambda value: read_derived_step("derive_account_days", value), {**COUNTS, "after": None}
    ),
}  # fmt: skip


@pytest.mark.parametrize("function", READERS)
def test_a_missing_field_is_an_error_that_names_function_and_field(function: str) -> None:
    read, answer = READERS[function]
    read(answer)
    for field in answer:
        without = {name: value for name, value in answer.items() if name != field}
        with pytest.raises(ConfigurationError, match=f"the database's {function} returned no "):
            read(without)
    with pytest.raises(ConfigurationError, match=f"{function} returned an array, not an object"):
        read([])


def test_a_sync_begins_with_the_accounts_connections() -> None:
    begun = read_begun_sync(BEGUN)
    assert isinstance(begun, Begun)
    assert read_begun_backfill(BEGUN) == begun
    (candidate,) = begun.candidates
    assert (candidate.connection.platform, candidate.digest) == ("facebook", "d")
    assert candidate.connection.credential("access_token") == "a-token-of-ours"
    assert "a-token-of-ours" not in repr(begun)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (begun.now, begun.days_read) == (noon, {date(2026, 2, 28): noon})
    assert begun.days_left_out == {date(2026, 2, 27): "too much data"}
    assert (begun.minutes, begun.whole_read_at, begun.window_days) == (60, None, None)


def test_a_sync_may_not_begin() -> None:
    assert read_begun_sync(None) is None
    assert read_begun_sync({"paused": 12.5}) == Paused(12.5)
    assert read_begun_backfill({"refused": "busy"}) == Refused(is_unknown=False)
    assert read_begun_backfill({"refused": "unknown"}) == Refused(is_unknown=True)


def test_a_plan_has_sync_requests() -> None:
    requests = (SyncRequest("meta", "1", "t"),)
    assert read_planned(PLANNED) == Planned(requests, in_flight=1, left=2, orphans=0)


def test_pages_and_steps_say_where_to_continue() -> None:
    assert read_named_page(NAMED) == NamedPage(
        {"ad": ("1", "2")}, {"level": "ad", "id": "2"}, is_newly_named=False
    )
    assert read_named_page({**NAMED, "after": None}).after is None
    step = read_derived_step("check_account_days", {**COUNTS, "after": "r"})
    assert step == DerivedStep(DerivedCounts(1, 2, 3, 4), "r")
    assert step.counts + step.counts == DerivedCounts(2, 4, 6, 8)
    assert read_after("refresh_ad_links", {"after": "r"}) == "r"


def test_changed_days_are_dates() -> None:
    compared = read_compared({"changed": ["2026-03-01"], "stored": 7})
    assert compared == Compared(frozenset({date(2026, 3, 1)}), 7)
