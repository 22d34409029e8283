"""The answers of the console's SQL functions: a missing field is reported by its name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from server.console.answers.accounts import (
    read_account_details,
    read_account_page,
    read_new_connections,
    read_unnamed_ads,
)
from server.console.answers.actions import read_acceptance, read_action_page, read_scope
from server.console.answers.notifications import (
    read_filter_choices,
    read_notification,
    read_page,
)
from server.console.answers.overview import read_overview, read_run
from server.console.answers.requests import (
    read_client_page,
    read_figure_details,
    read_request_details,
    read_request_page,
)
from server.console.answers.retention import read_due_rows, read_last_run, read_retention
from workers.answers import Answer
from workers.errors import ConfigurationError

NOW, DAY = "2026-11-28T09:00:00+00:00", "2026-11-27"
Json = dict[str, Any]

RUN = {"id": "r", "ended_at": NOW, "seconds": 1.5, "outcome": "drained", "succeeded": True,
       "error_class": None, "about": None}  # fmt: skip
ACCOUNT = {"platform": "meta", "account_id": "1", "connection_id": None, "name": None,
           "is_active": None, "sync_frequency": 60, "last_synced_at": NOW, "parked": None,
           "until": None, "reason": None, "is_syncing": False, "failures": 0, "window_days": None,
           "time_zone": None, "currency": "EUR",
           "sync": {"status": "success", "end_time": NOW, "error": None, "requests": 3,
                    "api_version": "v1"}}  # fmt: skip
DELIVERY = {"id": "d", "destination": "C1", "state": "dead", "due_at": NOW, "ages_from": NOW,
            "attempts": 5, "next_attempt_at": None, "claimed_by": None, "lost_claims": 0,
            "parent_ts": None, "last_attempt_at": NOW, "conversation_id": None, "message_ts": None,
            "request_id": None, "error_code": "x", "error": "y", "in_doubt": False,
            "possible_duplicate": False, "settled_at": NOW,
            "history": [{"ended_at": NOW, "state": "dead", "attempts": 5, "error": None}],
            "tries": [{"at": NOW, "result": "retry", "code": "x", "error": None}]}  # fmt: skip
KNOWN = {"request": None, "client": None, "actor": None, "assignee": None}
DAY_READ = {"spend_read": "1.5", "spend_named": "1", "spend_total": None, "rows_read": 2,
            "rows_named": 1, "problem": None, "try_after": None, "read_at": NOW}  # fmt: skip

ANSWERS: dict[str, tuple[Callable[[Answer], object], Json]] = {
    "console_overview": (read_overview, {
        "now": NOW, "runs": {"notifications": [RUN]}, "in_progress": ["retention"],
        "sent": {"minutes": [{"minute": NOW, "sent": 4}], "is_whole": True}, "delayed": 0,
        "next_attempt_at": None,
        "stalled": [{"kind": "config", "destination": None, "config_id": "c", "event_type": "e",
                     "code": "no_route", "reason": None, "since": NOW, "next_probe": NOW,
                     "waiting": 3}],
        "accounts": {"parked": 0, "unread": 0, "failing": 0, "late": 0, "partial": 0, "synced": 1,
                     "next_due_at": NOW},
        "signs": {"raised": 0, "longest_notifications": 1.5, "longest_sync": None, "dead": 0,
                  "refused": 0, "syncs_failed": 0, "retention_outcome": None},
        "retention": [{"entity_type": "activity_log", "status": None, "archived": None,
                       "purged": None, "stayed": 0, "error": None, "updated_at": None,
                       "last_purged_at": None, "archive_days": 365}],
    }),
    "console_run": (read_run, {
        "run": {"worker": "retention", "started_at": NOW, "ended_at": NOW, "seconds": 1,
                "outcome": "complete", "succeeded": True, "counts": {}, "error_class": None,
                "error": None},
        "newer": None, "older": "r",
    }),
    "console_notifications": (read_page, {
        "rows": [{"id": "n", "state": "waiting", "event_type": None, "created_at": "-infinity",
                  "error": None, "template": None, "event_data": None, "known": KNOWN,
                  "deliveries": [{"destination": "C1", "state": "pending"}]}],
        "names": {"C1": "creative"}, "next": {"before": "-infinity", "before_id": "n"},
    }),
    "console_notification_filters": (read_filter_choices, {
        "configs": [{"id": "c", "event_type": "e", "entity_type": "request", "destination": None}],
        "destinations": ["C1"], "names": {},
    }),
    "console_notification": (read_notification, {
        "id": "n", "state": "dead", "entity_type": "request", "entity_id": "e", "event_data": "{}",
        "config": {"id": "c", "entity_type": "request", "event_type": "e", "template": None,
                   "is_active": None},
        "known": KNOWN, "names": {}, "max_attempts": None, "last_error": None, "created_at": None,
        "processed_at": None, "next_attempt_at": None, "claimed_until": None,
        "deliveries": [DELIVERY],
        "destinations": [{"destination": "C1", "parked_at": NOW, "park_reason": "x",
                          "probe_at": NOW, "not_before": None}],
        "unrouted": {"reason": None, "lookup_at": NOW, "ages_from": NOW},
        "workspace": {"stop_reason": None}, "ahead": {"C1": 3},
        "threads": {"d": [{"notification_id": "n", "event_type": None, "state": "sent", "at": NOW,
                           "begins": True}]},
    }),
    "console_accounts": (read_account_page, {
        "accounts": [{**ACCOUNT, "days": [{"date": DAY, "read_at": NOW, "is_restated": False,
                                           "is_unreadable": False}]}],
        "after": {"platform": "meta", "account_id": "1"},
    }),
    "console_account": (read_account_details, {
        "account": ACCOUNT,
        "connections": [{"id": "c", "name": None, "is_active": True, "is_parked": False,
                         "last_synced_at": None, "sync_frequency": 60, "reason": None}],
        "days": [{**DAY_READ, "date": DAY, "is_restated": True, "is_unreadable": False,
                  "impressions_read": "10", "clicks_read": None}],
    }),
    "console_unnamed_ads": (read_unnamed_ads, {
        "ads": [{"campaign_id": "1", "ad_group_id": "", "ad_id": "", "kind": "campaign",
                 "campaign_name": None, "ad_group_name": None, "ad_name": None, "spend": "1.50",
                 "currency": None, "first_date": DAY, "last_date": DAY, "is_named": False}],
        "after": None,
    }),
    "console_requests": (read_request_page, {
        "requests": [{"id": "r", "title": "x", "client": None, "request_type": "creative",
                      "status": None, "created_at": None, "ads": 2,
                      "spend": [{"platform": "meta", "currency": None, "spend": "2",
                                 "newest": DAY}]}],
        "after": {"created_at": NOW, "id": "r"},
    }),
    "console_request": (read_request_details, {
        "request": {"id": "r", "title": "x", "client": None, "request_type": "creative",
                    "status": None},
        "links": [{"platform": "meta", "level": "ad", "id": "1", "account_id": None,
                   "newest": None, "name": None}],
        "unsettled": [],
        "figures": [{"date": DAY, "platform": "meta", "metric_type": "spend", "value": "1.5",
                     "is_complete": None, "currency": None}],
        "restated": [{"date": DAY, "platform": "meta"}],
    }),
    "console_figure": (read_figure_details, {
        "figures": [{"metric_type": "spend", "value": "1", "is_complete": True, "updated_at": NOW,
                     "currency": "EUR"}],
        "facts": [{"account_id": "1", "campaign_id": "", "ad_group_id": "", "ad_id": "1",
                   "kind": "ad", "spend": "1", "impressions": None, "clicks": None,
                   "currency": None, "time_zone": None, "level": None, "campaign_name": None,
                   "ad_group_name": None, "ad_name": None}],
        "count": 1,
        "sums": [{"currency": None, "spend": "1", "impressions": None, "clicks": None}],
        "days": [{**DAY_READ, "account_id": "1", "connection": None, "failures": 0}],
        "changes": [{"account_id": "1", "changed_at": NOW, "old_spend": "1", "new_spend": "2"}],
    }),
    "console_client_spend": (read_client_page, {
        "clients": [{"name": "Nordlys",
                     "spend": [{"date": DAY, "platform": "meta", "currency": None, "spend": "1",
                                "is_complete": True}]}],
        "after": None,
    }),
    "console_retention": (read_retention, {
        "now": NOW, "whole_from": DAY,
        "policies": [{"id": "p", "last_purged_at": None,
                      "progress": {"status": "complete", "archived": 1, "purged": 0,
                                   "verified_bytes": 0, "remaining": None, "error": None,
                                   "updated_at": NOW,
                                   "stayed": [{"rows": 1, "reason": "in use"}]}}],
    }),
    "console_due_days": (read_due_rows, {
        "what": "deleted", "table": "ad_metrics", "is_active": False, "until": DAY,
        "days": [{"day": DAY, "rows": 3}], "older": None, "oldest": DAY,
    }),
    "list_console_actions": (read_action_page, {
        "rows": [{"id": "a", "action": "skip", "subject": "", "arguments": {}, "who": "Ada",
                  "session": "s", "began_at": NOW, "ended_at": None, "outcome": None,
                  "is_lost": False, "confirmed": {"notifications": 2}, "touched": {},
                  "error": None}],
        "next": None,
    }),
    "console_scope": (read_scope, {"fingerprint": "f", "numbers": {"destinations": 1}}),
    "console_act": (read_acceptance, {"outcome": "stale"}),
}  # fmt: skip
# Objects whose fields are names of the data.
BY_NAME = {"runs", "names", "next", "ahead", "threads", "after", "numbers", "confirmed", "touched"}


def fields(value: object) -> Iterator[tuple[Json, str]]:
    """Each object in an answer, with each of its fields."""
    if isinstance(value, list):
        for one in value:
            yield from fields(one)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield value, name
            if name not in BY_NAME:
                yield from fields(inner)


@pytest.mark.parametrize("function", ANSWERS)
def test_each_field_that_is_missing_is_reported_by_its_name(function: str) -> None:
    read, example = ANSWERS[function]
    read(Answer.of(function, example))
    for number in range(len(list(fields(example)))):
        answer = copy.deepcopy(example)
        where, name = list(fields(answer))[number]
        del where[name]
        with pytest.raises(
            ConfigurationError, match=f"the database's {function} returned no {name}"
        ):
            read(Answer.of(function, answer))


def test_an_infinite_time_is_unknown_and_a_number_keeps_its_digits() -> None:
    _, example = ANSWERS["console_notifications"]
    page = read_page(Answer.of("console_notifications", example))
    assert page.rows[0].created_at is None
    _, example = ANSWERS["console_unnamed_ads"]
    spend = read_unnamed_ads(Answer.of("console_unnamed_ads", example)).ads[0].spend
    assert (spend, str(spend)) == (Decimal("1.5"), "1.50")


def test_lists_of_rows_are_read_row_by_row() -> None:
    assert read_last_run(()) is None
    row = {"ended_at": NOW, "seconds": 2, "outcome": "complete", "error": None}
    run = read_last_run(Answer.each("list_worker_runs", [row]))
    assert run is not None
    assert run.seconds == 2
    new = {"platform": "meta", "account_id": "1", "name": None, "is_active": None,
           "created_at": None}  # fmt: skip
    (connection,) = read_new_connections(Answer.each("console_new_accounts", [new]))
    assert connection.is_active, "null is the dashboard's default"
