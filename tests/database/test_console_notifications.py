"""The console's list of notifications, by its filters, and one of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, at, call, outcome_of, starting
from tests.database.test_rows_read import counted

STATES = ("waiting", "sent", "skipped", "expired", "dead", "done")


@pytest.fixture
def listed(agency: Agency) -> Agency:
    """Of two configs in two channels one notification in each state, a minute apart."""
    minutes = 0
    for channel, event in (("C0001", "status_change"), ("C0002", "comment_added")):
        config = agency.config(channel, event_type=event)
        for state in STATES:
            minutes += 1
            queue(agency, config, state, {"title": f"{event} {state}"}, at(minutes=minutes))
    return agency


def queue(agency: Agency, config: str, state: str, data: Any, created_at: datetime | None) -> str:
    """A notification in that state, with a delivery where its config has a channel."""
    ended = state in ("sent", "skipped", "expired", "done")
    notification = agency.notification(
        config, data, created_at=created_at, next_attempt_at=NOW, is_processed=ended,
        attempts=5 if state == "dead" else 0,
        outcome=state if state in ("sent", "skipped", "expired", "dead") else None,
    )  # fmt: skip
    agency.connection.execute(
        "insert into notification_deliveries (notification_id, config_id, destination, state, "
        "due_at, queued_at, ages_from, message_ts) select %s, id, channel_id, %s, %s, %s, %s, '1.1'"
        " from notification_config where id = %s",
        (notification, {"waiting": "pending", "done": "sent"}.get(state, state), NOW,
         created_at or NOW, NOW, config),
    )  # fmt: skip
    return notification


def titles(agency: Agency, **chosen: Any) -> list[str]:
    """Of all pages, in their order."""
    found: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = call(agency.connection, "console_notifications", **chosen, **after)
        found += [json.loads(row["event_data"])["title"] for row in page["rows"]]
        if page["next"] is None:
            return found
        after = page["next"]


@pytest.mark.parametrize("row_limit", [1, 5, 50])
@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, [f"{event} {state}" for event in ("status_change", "comment_added")
              for state in STATES]),
        ({"state": "dead"}, ["status_change dead", "comment_added dead"]),
        ({"event_type": "comment_added"}, [f"comment_added {state}" for state in STATES]),
        ({"event_type": "comment_added", "state": "done"}, ["comment_added done"]),
        ({"event_type": "no such event"}, []),
        ({"destination": "C0001"}, [f"status_change {state}" for state in STATES]),
        ({"destination": "C0001", "state": "waiting"}, ["status_change waiting"]),
        ({"destination": "C0001", "event_type": "comment_added"}, []),
        ({"destination": "C0001", "event_type": "status_change", "state": "expired"},
         ["status_change expired"]),
        ({"search": "CHANGE D"}, ["status_change dead", "status_change done"]),
        ({"search": "change d", "state": "dead", "destination": "C0001"}, ["status_change dead"]),
        ({"search": '"'}, []),
        ({"search": "%"}, []),
        ({"since": at(minutes=9), "until": at(minutes=7)},
         ["comment_added sent", "comment_added skipped"]),
    ],
)  # fmt: skip
def test_each_filter_alone_and_with_others(
    listed: Agency, chosen: dict[str, Any], found: list[str], row_limit: int
) -> None:
    assert titles(listed, **chosen, row_limit=row_limit) == found


def test_one_without_a_time_comes_last(listed: Agency) -> None:
    queue(listed, listed.config("C0003"), "sent", {"title": "no time"}, None)
    assert titles(listed, row_limit=4)[-1] == "no time"
    assert titles(listed, row_limit=12)[-1] == "no time"


def test_a_row_says_what_it_is_and_where_it_goes(agency: Agency) -> None:
    agency.channel("C0001")
    agency.connection.execute("update slack_connected_channels set channel_name = 'creative'")
    config = agency.config("C0001", template="*{{title}}*")
    queue(agency, config, "dead", {"title": "x"}, NOW)
    page = call(agency.connection, "console_notifications")
    (row,) = page["rows"]
    assert (row["state"], row["template"]) == ("dead", "*{{title}}*")
    assert row["deliveries"] == [{"destination": "C0001", "state": "dead"}]
    assert page["names"] == {"C0001": "creative"}


def test_large_data_is_left_out(agency: Agency) -> None:
    config = agency.config("C0001")
    large = [f"{number:x}" for number in range(10_000)]
    agency.notification(config, {"title": large})
    (row,) = call(agency.connection, "console_notifications")["rows"]
    assert row["event_data"] is None


def test_one_notification_with_all_that_its_page_tells(agency: Agency) -> None:
    agency.user("U0AVA0000")
    agency.connection.execute("update profiles set first_name = 'Ava'")
    config = agency.config("C0001", template="{{title}} <@U0AVA0000>")
    first = queue(agency, config, "waiting", {"title": "first"}, at(minutes=2))
    second = queue(agency, config, "waiting", {"title": "second"}, at(minutes=1))
    found = call(agency.connection, "console_notification", id=second)
    assert found["id"] == second
    assert found["state"] == "waiting"
    assert found["ahead"] == {"C0001": 1}
    assert found["names"] == {"U0AVA0000": "Ava"}
    assert found["workspace"] is None
    assert found["event_data"] == '{"title": "second"}'
    assert call(agency.connection, "console_notification", id=first)["ahead"] == {"C0001": 0}
    assert call(agency.connection, "console_notification", id=config) is None


def test_the_latest_tries_that_failed_are_kept(agency: Agency) -> None:
    config = agency.config("C0001")
    notification = agency.notification(config, {}, max_attempts=99, next_attempt_at=NOW)
    now, codes = NOW, [f"code_{number}" for number in range(49)]
    for result in ("retry", "unknown", "sent"):
        run = Run(agency)
        run.start(now)
        (taken,) = run.take(now)
        agency.connection.execute(
            "update notification_deliveries set tries = (select jsonb_agg(jsonb_build_object("
            "'code', code)) from unnest(%s::text[]) code) where tries = '[]'",
            (codes,),
        )
        run.record(now, starting=starting(taken))
        code = None if result == "sent" else f"was_{result}"
        outcome = outcome_of(taken, result, attempts=1, retry_in=30.0, error_code=code, error="no")
        run.record(now, outcomes=[outcome])
        run.finish(now)
        now += timedelta(minutes=2)
    (delivery,) = agency.deliveries(notification)
    assert delivery["state"] == "sent"
    tries = delivery["tries"]
    assert [one["code"] for one in tries] == [*codes[1:], "was_retry", "was_unknown"]
    assert tries[-1] == {"at": (NOW + timedelta(minutes=2)).isoformat(), "result": "unknown",
                         "code": "was_unknown", "error": "no"}  # fmt: skip


PAGE = 20
# By what is chosen: rows that may be read for a page, whatever there is.
MOST: dict[str, tuple[dict[str, Any], int]] = {
    "all": ({}, 10 * PAGE),
    "state": ({"state": "skipped"}, 10 * PAGE),
    "event": ({"event_type": "status_change"}, 12 * PAGE),
    "event and state": ({"event_type": "status_change", "state": "dead"}, 10 * PAGE),
    "channel": ({"destination": "C0001"}, 10 * PAGE),
    "channel and state": ({"destination": "C0001", "state": "dead"}, 10 * PAGE),
    "time": ({"until": at(days=1)}, 10 * PAGE),
}
READ = (
    "notification_queue", "notification_config", "notification_deliveries", "slack_destinations",
    "slack_connected_channels", "profiles",
)  # fmt: skip


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_a_page_reads_no_more_where_there_are_more(agency: Agency, statistics: str) -> None:
    connection = agency.connection
    connection.execute("truncate notification_queue, notification_config cascade")
    for table in READ:
        connection.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
    agency.config("C0001")
    agency.config("C0002", event_type="comment_added")
    read: dict[str, list[int]] = {name: [] for name in MOST}
    for size in (100, 400, 2_150):
        _grow(connection, size)
        if statistics == "fresh":
            connection.execute("analyze")
        for name, (chosen, most) in MOST.items():
            with connection.transaction():
                before = counted(agency, READ)
                page = call(connection, "console_notifications", **chosen, row_limit=PAGE)
                read[name].append(counted(agency, READ) - before)
            assert len(page["rows"]) == PAGE, name
            assert read[name][-1] <= most, (name, read)
    with connection.transaction():
        before = counted(agency, READ)
        page = call(connection, "console_notifications", search="nowhere")
        assert counted(agency, READ) - before <= 2 * 10_000 + 100
    assert page == {"rows": [], "names": {}, "next": None}


def _grow(connection: psycopg.Connection[Any], size: int) -> None:
    """So many more in each state but for the waiting ones, of either config."""
    connection.execute(
        """
        with queued as (
          insert into notification_queue
            (config_id, entity_id, entity_type, event_data, created_at, is_processed, attempts,
             outcome)
          select config.id, gen_random_uuid(), 'task', '{"title": "x"}',
                 %(now)s - interval '2 days' + n * interval '1 second', state <> 'dead', 5, state
            from notification_config config,
                 unnest(array['sent', 'skipped', 'expired', 'dead']) state,
                 generate_series(1, %(size)s) n
          returning *
        )
        insert into notification_deliveries
          (notification_id, config_id, destination, state, due_at, queued_at, ages_from, message_ts)
        select queued.id, queued.config_id, config.channel_id, queued.outcome, queued.created_at,
               queued.created_at, queued.created_at, '1.1'
          from queued join notification_config config on config.id = queued.config_id
        """,
        {"now": NOW, "size": size},
    )
