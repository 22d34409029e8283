"""No step of a run reads more because more is waiting: counted in rows, not in seconds.

With what a kept session may hold, plans and statistics from when the tables were small, and with
fresh ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.database.agency import NOW, Agency
from tests.database.runs import Run, outcome_of, starting

TABLES = (
    "notification_queue", "notification_config", "notification_deliveries",
    "notification_unrouted", "slack_destinations", "slack_threads", "slack_workspace",
    "worker_leases",
)  # fmt: skip
SIZES = (300, 900, 2_700)
CHANNELS, CONFIGS = 20, 40
BATCH = 20
# The most that a start and a claim route.
ROOM, ROUTED = 100, 500
# Rows read for each that is handled, and for each destination and config that is visited.
MOST_PER_ROW = 10
MOST_PER_PLACE = 8
MOST = {
    "start": ROOM * MOST_PER_ROW + (CHANNELS + CONFIGS) * MOST_PER_PLACE,
    "claim": (ROUTED + BATCH) * MOST_PER_ROW + CHANNELS * MOST_PER_PLACE,
    "announce": BATCH * MOST_PER_ROW,
    "record": 5 * BATCH * MOST_PER_ROW,
    "poll": CHANNELS * MOST_PER_PLACE,
    "finish": CHANNELS * MOST_PER_PLACE,
}


@pytest.fixture
def grown(agency: Agency) -> Agency:
    """A connection that has run everything while the tables were nearly empty."""
    # new files: the planner would count rows that earlier tests deleted
    agency.connection.execute(f"truncate {', '.join(TABLES)} cascade".encode())
    for table in TABLES:
        agency.connection.execute(f"alter table {table} set (autovacuum_enabled = false)")
    configs = [agency.config(f"C{number % CHANNELS:04}") for number in range(CONFIGS)]
    agency.config(event_type="nowhere")
    for config in configs[:12]:
        agency.notification(config, {"n": 1}, next_attempt_at=NOW)
        rows_read(agency, ROOM, NOW)
    agency.connection.execute("analyze")
    return agency


def rows_read(
    agency: Agency, room: int, as_of: datetime, *, threads: bool = False
) -> dict[str, int]:
    """By step of a whole run, which leaves behind some that it announced."""
    run = Run(agency)
    read: dict[str, int] = {}

    def step(name: str, function: Any, **options: Any) -> Any:
        with agency.connection.transaction():
            before = counted(agency)
            answer = function(as_of, **options)
            read[name] = counted(agency) - before
        return answer

    step("start", run.start, row_limit=room)
    taken = step("claim", run.take, batch_size=BATCH, threads=threads)
    step("announce", run.record, starting=starting(*taken))
    step(
        "record",
        run.record,
        outcomes=[outcome_of(row, "sent", thread=row["thread"]) for row in taken],
    )
    run.announce(*run.take(as_of, batch_size=3), as_of=as_of)
    step("poll", run.poll)
    step("finish", run.finish)
    return read


def counted(agency: Agency, tables: Sequence[str] = TABLES) -> int:
    """Rows that this session read and has not reported yet, as it does between transactions."""
    row = agency.connection.execute(
        "select sum(seq_tup_read + idx_tup_fetch) as read from pg_stat_xact_user_tables "
        "where relname = any (%s)",
        (list(tables),),
    ).fetchone()
    assert row is not None
    return int(row["read"])


def fill(agency: Agency, size: int) -> None:
    """Add this many routed ones and as many that are done, and a third as many new ones and ones
    that have nowhere to go."""
    agency.connection.execute(
        """
        insert into notification_queue
          (config_id, entity_id, entity_type, event_data, is_processed, next_attempt_at)
        select config.id, gen_random_uuid(), 'task', '{}', kind = 'done',
               %(now)s - interval '9 hours' + n * interval '1 ms'
                 + case when kind = 'new' then interval '8 hours' else '0' end
          from (
                 values ('routed', 1.0), ('done', 1.0), ('lost', 0.33), ('new', 0.33)
               ) kinds (kind, share)
         cross join lateral generate_series(1, (%(size)s * share)::int) n
          join (
                 select id, row_number() over (order by channel_id nulls last) - 1 as number
                   from notification_config
               ) config
            on config.number = case when kind = 'lost' then %(configs)s else n %% %(configs)s end
        """,
        {"now": NOW, "size": size, "configs": CONFIGS},
    )
    agency.connection.execute("select route_notifications('1 day', %s, %s)", (int(size * 1.4), NOW))


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_no_step_reads_more_when_more_is_waiting(grown: Agency, statistics: str) -> None:
    now = NOW
    for size in SIZES:
        fill(grown, size)
        if statistics == "fresh":
            grown.connection.execute("analyze")
        for _ in range(3):
            now += timedelta(minutes=2)
            read = rows_read(grown, ROOM, now)
            assert read["claim"] > BATCH, "it found something"
            too_many = {name: n for name, n in read.items() if n > MOST[name]}
            assert not too_many, f"at {size}: {read}"


# What a run records of a batch that it was posting, besides what it sent: what happened meanwhile,
# the result of each, and what goes with it.
REFUSED = {"code": "invalid_auth", "reason": "Slack: invalid_auth"}
PARKED_AND_STOPPED = """
    update slack_destinations set parked_at = now(), paused_since = now();
    insert into slack_workspace (stopped_at) values (now())
    on conflict (only_one) do update set stopped_at = now()
"""
MOVED = "update notification_config set channel_id = 'D' || channel_id"
OUTCOMES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a failure": ("", "retry", {"attempts": 1, "retry_in": 60.0, "error_code": "x"}),
    "the last failure": ("", "retry", {"attempts": 5, "error_code": "x"}),
    "no answer": ("", "unknown", {"retry_in": 60.0, "error_code": "timeout"}),
    "a permanent error": ("", "dead", {"error_code": "no_text"}),
    "a park": ("", "wait", {"retry_in": 0.0, "parks": [{"destination": "C0000", **REFUSED}]}),
    "a stop": ("", "wait", {"retry_in": 0.0, "stop": REFUSED}),
    "the end of parks and a stop": (
        PARKED_AND_STOPPED,
        "sent",
        {},
    ),
    "never posted": ("", "unstarted", {}),
    "a move": (MOVED, "moved", {}),
    "a move in doubt": (MOVED, "moved", {"in_doubt": True}),
    "a move to nowhere": ("update notification_config set channel_id = null", "moved", {}),
    "a config switched off": ("update notification_config set is_active = false", "moved", {}),
}
# What someone else did to notifications before the run announces or claims them.
TAKEN_AWAY = {
    "ended": "update notification_queue set is_processed = true where routed_at is not null",
    "locked": "update notification_queue set claimed_until = 'infinity' "
    "where routed_at is not null",
}


def rows_recorded(agency: Agency, now: datetime) -> dict[str, int]:
    """Rows read by each record of OUTCOMES and after each of TAKEN_AWAY; all is rolled back."""
    read: dict[str, int] = {}

    def count(name: str, event: str, function: Any, **options: Any) -> Any:
        with agency.connection.transaction(force_rollback=True):
            if event:
                agency.connection.execute(event.encode())
            before = counted(agency)
            answer = function(now, **options)
            read[name] = counted(agency) - before
        return answer

    with agency.connection.transaction(force_rollback=True):
        run = Run(agency)
        run.start(now, row_limit=ROOM)
        posting, claimed = (run.take(now, batch_size=BATCH) for _ in range(2))
        run.announce(*posting, as_of=now)
        for name, (event, result, more) in OUTCOMES.items():
            lists = {each: more[each] for each in ("parks", "stop") if each in more}
            fields = {each: value for each, value in more.items() if each not in lists}
            outcomes = [outcome_of(row, result, **fields) for row in posting]
            assert count(name, event, run.record, outcomes=outcomes, **lists)["stale"] == 0
        for name, event in TAKEN_AWAY.items():
            record = {"starting": starting(*claimed)}
            assert count(f"{name}, announced", event, run.record, **record)["started"] == []
            claim = {"batch_size": BATCH}
            assert count(f"{name}, claimed", event, run.claim, **claim)["deliveries"] == []
    return read


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_no_outcome_reads_more_when_more_is_waiting(grown: Agency, statistics: str) -> None:
    for number, size in enumerate((100, 200, 600), start=1):
        fill(grown, size)
        if statistics == "fresh":
            grown.connection.execute("analyze")
        read = rows_recorded(grown, NOW + timedelta(minutes=2 * number))
        assert min(read.values()) >= BATCH, read
        most = {name: MOST["claim" if name.endswith("claimed") else "record"] for name in read}
        too_many = {name: n for name, n in read.items() if n > most[name]}
        assert not too_many, f"at {size}: {too_many}"


def test_no_step_reads_more_when_there_are_more_threads(grown: Agency) -> None:
    fill(grown, 900)
    grown.connection.execute(
        "update notification_queue set event_data = jsonb_build_object('request_id', entity_id)"
    )
    grown.connection.execute(
        "insert into slack_threads select format('C%%s', lpad((n %% %s)::text, 4, '0')), "
        "gen_random_uuid(), '5.000001', %s from generate_series(1, 5000) n",
        (CHANNELS, NOW),
    )
    for minutes in (2, 4):
        read = rows_read(grown, ROOM, NOW + timedelta(minutes=minutes), threads=True)
        assert not {name: n for name, n in read.items() if n > MOST[name]}, read
    (begun,) = grown.connection.execute(
        "select count(*) from slack_threads where parent_ts = '1.1'"
    ).fetchall()
    assert begun["count"] == 2 * BATCH


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_operators_queries_read_no_more_when_more_syncs_ran(
    agency: Agency, statistics: str
) -> None:
    connections, logs = 10, ("metric_sync_logs",)
    agency.connection.execute("alter table metric_sync_logs set (autovacuum_enabled = false)")
    agency.connection.execute(
        "insert into platform_connections (platform, account_id) "
        "select 'meta', 'act_' || n from generate_series(1, %s) n",
        (connections,),
    )
    for each in (40, 100, 300):
        agency.connection.execute(
            "insert into metric_sync_logs (platform_connection_id, status, start_time) "
            "select id, 'success', %s - n * interval '1 minute' "
            "from platform_connections, generate_series(1, %s) n",
            (NOW, each),
        )
        if statistics == "fresh":
            agency.connection.execute("analyze")
        for question in ("list_connections", "doctor_report"):
            with agency.connection.transaction():
                before = counted(agency, logs)
                agency.connection.execute(f"select {question}(%s)", (NOW,))
                read = counted(agency, logs) - before
            assert read == connections, (question, each)


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
@pytest.mark.parametrize("question", ["worker_health", "doctor_report"])
def test_operators_queries_read_no_more_when_more_has_expired(
    agency: Agency, question: str, statistics: str
) -> None:
    dead, queue = 3, ("notification_queue",)
    agency.connection.execute("truncate notification_queue cascade")
    agency.connection.execute("alter table notification_queue set (autovacuum_enabled = false)")
    config = agency.config("C0001")
    for _ in range(dead):
        agency.notification(config, {}, attempts=5)
    for each in (300, 900, 2_700):
        agency.connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, event_data, "
            "is_processed, attempts, outcome) select %s, gen_random_uuid(), 'task', '{}', true, "
            "5, 'expired' from generate_series(1, %s)",
            (config, each),
        )
        if statistics == "fresh":
            agency.connection.execute("analyze")
        with agency.connection.transaction():
            before = counted(agency, queue)
            agency.connection.execute(f"select {question}(%s)".encode(), (NOW,))
            assert counted(agency, queue) - before <= 2 * dead, each


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_checking_templates_reads_a_few_events_of_each(agency: Agency, statistics: str) -> None:
    queue = ("notification_queue",)
    agency.connection.execute("truncate notification_queue, notification_config cascade")
    agency.connection.execute("alter table notification_queue set (autovacuum_enabled = false)")
    config = agency.config("C0001", template="{{n}} {{client.name}}")
    for each in (300, 900, 2_700):
        agency.connection.execute(
            "insert into notification_queue (config_id, entity_id, entity_type, event_data, "
            "is_processed, outcome, created_at) select %s, gen_random_uuid(), 'task', "
            """'{"n": 1, "client": {"name": "x"}}', n %% 3 > 0, 'sent', """
            "%s - n * interval '1 minute' from generate_series(1, %s) n",
            (config, NOW, each),
        )
        if statistics == "fresh":
            agency.connection.execute("analyze")
        with agency.connection.transaction():
            before = counted(agency, queue)
            row = agency.connection.execute("select config_templates() as found").fetchone()
            assert counted(agency, queue) - before <= 30, each
        assert row is not None
        (found,) = row["found"]
        assert (found["id"], found["events"]) == (config, 10)
        assert found["carried"] == {"n": "number", "client": "object", "client.name": "string"}
