"""What people and producers call, and what a run cleans up, reads no more rows when more is kept
and more is waiting: at most a constant times the batch, with stale statistics and with fresh ones.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.database.agency import NOW, Agency
from tests.database.test_rows_read import TABLES, counted

SIZES = (100, 300, 900)
BATCH = 20
CONFIGS = 10  # each with a channel
LATER = NOW + timedelta(minutes=5)
# Rows read for each that is handled, and for each channel or config that is visited.
MOST_PER_ROW = 16
MOST_PER_PLACE = 8
MOST = BATCH * MOST_PER_ROW + 2 * CONFIGS * MOST_PER_PLACE
# list_parked counts up to so many for each destination.
MOST_COUNTED = 10_000


class Call:
    """A call of a function, and the statements that prepare it."""

    def __init__(self, function: str, *before: str) -> None:
        self.function = function
        self.before = before


START = "start_notification_run(%(run)s, row_limit => %(batch)s, as_of => %(now)s)"
LOOKUPS_DUE = "update notification_unrouted set lookup_at = %(now)s"
CALLS = {
    "start": Call(START),
    "start, everything expired": Call(START[:-1] + ", expire_after => '1 second')"),
    "start, after a run that died": Call(
        START,
        "update notification_deliveries set state = 'sending', claim_token = gen_random_uuid(), "
        "claimed_by = gen_random_uuid(), last_attempt_at = %(now)s where state = 'pending'",
    ),
    "start, every config switched off": Call(
        START, "update notification_config set is_active = false"
    ),
    "start, every config moved": Call(
        START, "update notification_config set channel_id = 'D' || channel_id"
    ),
    "start, every lookup due": Call(START, LOOKUPS_DUE),
    "start, everything ended by someone": Call(
        START,
        LOOKUPS_DUE,
        "update notification_queue set is_processed = true where routed_at is not null",
    ),
    "start, everything parked": Call(
        START,
        "update slack_destinations set parked_at = %(now)s, paused_since = %(now)s, "
        "probe_at = %(now)s",
    ),
    "poll": Call("poll_notifications(%(run)s, as_of => %(now)s)"),
    "finish": Call("finish_notification_run(%(run)s, as_of => %(now)s)"),
    "list the dead": Call("list_dead_notifications(null, null, %(batch)s)"),
    "list the dead of a config": Call("list_dead_notifications(%(config)s, null, %(batch)s)"),
    "list the dead of a code": Call("list_dead_notifications(null, 'no_text', %(batch)s)"),
    "list the dead of both": Call("list_dead_notifications(%(config)s, 'no_text', %(batch)s)"),
    "show": Call("show_notification(%(dead)s)"),
    "redrive one": Call("redrive_notifications(notification_id => %(dead)s, as_of => %(now)s)"),
    "redrive": Call("redrive_notifications(row_limit => %(batch)s, as_of => %(now)s)"),
    "redrive a config": Call(
        "redrive_notifications(config_id => %(config)s, row_limit => %(batch)s, as_of => %(now)s)"
    ),
    "redrive a code": Call(
        "redrive_notifications(error_code => 'no_text', row_limit => %(batch)s, as_of => %(now)s)"
    ),
    "redrive both": Call(
        "redrive_notifications(config_id => %(config)s, error_code => 'no_text', "
        "row_limit => %(batch)s, as_of => %(now)s)"
    ),
    "skip": Call("skip_notifications(%(waiting)s, %(now)s)"),
    "release": Call(
        "release_parked(as_of => %(now)s)",
        "update slack_destinations set parked_at = %(now)s, paused_since = %(now)s",
    ),
    "enqueue": Call("enqueue_notification(%(config)s, %(dead)s, 'task', '{}', 'a key')"),
}


@pytest.fixture
def grown(agency: Agency) -> Agency:
    """Tables that were analyzed while next to nothing was there."""
    agency.connection.execute(f"truncate {', '.join(TABLES)} cascade".encode())
    for table in TABLES:
        agency.connection.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())
    for number in range(CONFIGS):
        agency.config(f"C{number}")
    agency.connection.execute(
        "insert into slack_destinations (destination) select channel_id from notification_config"
    )
    agency.connection.execute("analyze")
    return agency


def fill(agency: Agency, size: int) -> None:
    """Add this many that are done, dead, waiting for a channel, and without a destination. The dead
    of the first channel have a code of their own."""
    connection = agency.connection
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")  # no checks of keys
        connection.execute(
            """
            insert into notification_queue
              (id, config_id, entity_id, entity_type, event_data, is_processed, outcome, attempts,
               created_at, next_attempt_at, routed_at)
            select gen_random_uuid(), config.id, gen_random_uuid(), 'task',
                   jsonb_build_object('kind', kind, 'channel', config.channel_id),
                   kind = 'done',
                   case kind when 'done' then 'sent' when 'dead' then 'dead' end,
                   case kind when 'dead' then 5 else 0 end,
                   %(now)s - n * interval '1 second', %(now)s - n * interval '1 second',
                   case when kind in ('waiting', 'unrouted') then %(now)s end
              from unnest('{done,dead,waiting,unrouted}'::text[]) kind
             cross join generate_series(1, %(size)s) n
              join (select id, channel_id, row_number() over (order by channel_id) as number
                      from notification_config) config
                on config.number = 1 + n %% %(configs)s
            """,
            {"now": NOW, "size": size, "configs": CONFIGS},
        )
        connection.execute(
            """
            insert into notification_deliveries
              (notification_id, config_id, destination, state, due_at, queued_at, ages_from,
               message_ts, error_code, settled_at)
            select id, config_id, event_data ->> 'channel',
                   case event_data ->> 'kind' when 'waiting' then 'pending' when 'done' then 'sent'
                                              else 'dead' end,
                   created_at, created_at, created_at, '1.1',
                   case when event_data ->> 'kind' <> 'dead' then null
                        when event_data ->> 'channel' = 'C0' then 'rare' else 'no_text' end,
                   created_at
              from notification_queue queued
             where event_data ->> 'kind' <> 'unrouted'
            on conflict do nothing
            """
        )
        connection.execute(
            """
            insert into notification_unrouted
              (notification_id, config_id, due_at, queued_at, ages_from, lookup_at)
            select id, config_id, created_at, created_at, created_at, %s + interval '1 hour'
              from notification_queue where event_data ->> 'kind' = 'unrouted'
            on conflict do nothing
            """,
            (NOW,),
        )


def rows_read(agency: Agency, call: Call, values: dict[str, Any]) -> int:
    """By one call, which is rolled back."""
    connection = agency.connection
    with connection.transaction(force_rollback=True):
        for statement in call.before:
            connection.execute(statement.encode(), values)
        read = counted(agency)
        connection.execute(f"select {call.function}".encode(), values)
        return counted(agency) - read


def values_of(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """The arguments of the calls: what is dead is of the first channel."""
    rows = connection.execute(
        "select id, config_id, outcome, event_data ->> 'channel' as channel "
        "from notification_queue where event_data ->> 'kind' in ('dead', 'waiting')"
    ).fetchall()
    dead = next(row for row in rows if row["outcome"] == "dead" and row["channel"] == "C0")
    return {
        "now": LATER, "batch": BATCH, "run": "00000000-0000-4000-8000-000000000001",
        "config": dead["config_id"], "dead": dead["id"],
        "waiting": [row["id"] for row in rows if row["outcome"] is None][:BATCH],
    }  # fmt: skip


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_no_call_reads_more_when_more_is_kept_and_waiting(grown: Agency, statistics: str) -> None:
    for size in SIZES:
        fill(grown, size)
        if statistics == "fresh":
            grown.connection.execute("analyze")
        values = values_of(grown.connection)
        read = {name: rows_read(grown, call, values) for name, call in CALLS.items()}
        too_many = {name: n for name, n in read.items() if n > MOST}
        assert not too_many, f"at {size}: {too_many}"
        assert read["redrive"] > BATCH, "it found something"


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_a_claim_reads_what_it_makes_ready(grown: Agency, statistics: str) -> None:
    """Up to a thousand whose delay is over, however many wait."""
    fill(grown, 2_500)
    grown.connection.execute(
        "update notification_deliveries set next_attempt_at = %s where state = 'pending'", (NOW,)
    )
    if statistics == "fresh":
        grown.connection.execute("analyze")
    values = values_of(grown.connection)
    claim = Call(
        "claim_notifications(%(run)s, %(batch)s, as_of => %(now)s)",
        "insert into worker_leases (name, holder, renewed_at, expires_at) "
        "values ('notifications', %(run)s, %(now)s, %(now)s)",
    )
    assert BATCH < rows_read(grown, claim, values) <= 3 * 1_000 + MOST


def test_what_is_parked_is_counted_up_to_a_limit(grown: Agency) -> None:
    connection = grown.connection
    with connection.transaction(force_rollback=True):
        connection.execute("set local session_replication_role = replica")
        connection.execute("update slack_destinations set parked_at = %s", (NOW,))
        connection.execute(
            """
            insert into notification_deliveries
              (notification_id, config_id, destination, due_at, queued_at, ages_from)
            select gen_random_uuid(), gen_random_uuid(), 'C0', %(now)s, %(now)s, %(now)s
              from generate_series(1, %(size)s)
            """,
            {"now": NOW, "size": 2 * MOST_COUNTED},
        )
        before = counted(grown)
        connection.execute("select list_parked()")
        assert counted(grown) - before <= MOST_COUNTED + MOST
