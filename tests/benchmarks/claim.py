"""The steps of a run in SQL, by the length of the queue: start, claim, record.

The connection has its plans from when the tables were next to empty, and measures twice: with the
statistics of that time, and with fresh ones.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from local.services import postgres
from local.services.tether import Tether
from tests.benchmarks.figures import Figure
from tests.benchmarks.sizes import Progress, Sizes

BATCH: Final = 100
CONFIGS, DESTINATIONS = 2_000, 300
# The shares of waiting notifications that are unrouted and that are new.
LOST, NEW = 1 / 6, 1 / 10
# The original design reads and sorts the whole queue, so a few runs are enough.
ORIGINAL_ROUNDS = 3
MOST_MILLISECONDS = 250
SLICE = 100_000
ROUTED_AT_ONCE = 5_000

STEPS: Final = {
    "start": "select public.start_notification_run(%(run)s)",
    "claim": "select public.claim_notifications(%(run)s, %(batch)s)",
    "announcement": "select public.record_notification_progress(%(run)s, starting => %(rows)s)",
    "record": "select public.record_notification_progress(%(run)s, outcomes => %(rows)s)",
    "poll": "select public.poll_notifications(%(run)s)",
    "finish": "select public.finish_notification_run(%(run)s)",
}

# The original function, as far as an existing dashboard's is known.
ORIGINAL_CLAIM = """
    select id, config_id, entity_id, entity_type, event_data, attempts
      from public.notification_queue
     where is_processed = false and attempts < max_attempts and next_attempt_at <= now()
     order by created_at
     limit %(batch)s
       for update skip locked
"""

# The minimum that a claim has to do if it already knows which deliveries to take.
FLOOR = """
    with claimed as (
      update public.notification_deliveries
         set claimed_by = %(run)s, claim_token = gen_random_uuid()
       where id = any (%(ids)s)
      returning *
    )
    select claimed.*, queued.event_data, config.template
      from claimed
      join public.notification_queue queued on queued.id = claimed.notification_id
      join public.notification_config config on config.id = queued.config_id
"""


def claims(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Queues with a difficult history: each destination and all delivery were paused for days."""
    times: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    with _queues(sizes.queues, progress) as queues:
        for age in ("stale", "fresh"):
            progress(f"{sizes.claims} runs in each, {age} statistics")
            # in turns, so that other load on the machine affects all equally
            for _ in range(sizes.claims):
                for length, queue in queues.items():
                    for step, seconds in _run(queue).items():
                        times[step, age, length].append(seconds)
            for queue in queues.values():
                queue.execute("reset role")
                queue.execute("vacuum (analyze) notification_queue, notification_deliveries")
                queue.execute("analyze")
                queue.execute("set role service_role")
        progress("the original claim")
        for _ in range(min(sizes.claims, ORIGINAL_ROUNDS)):
            for length, queue in queues.items():
                with queue.transaction(force_rollback=True):
                    seconds, _ = _timed(queue, ORIGINAL_CLAIM, batch=BATCH)
                times["original", "fresh", length].append(seconds)
    medians = {key: statistics.median(values) * 1000 for key, values in times.items()}
    return list(_figures(sizes, medians))


def _figures(sizes: Sizes, medians: Mapping[tuple[str, str, int], float]) -> Iterator[Figure]:
    for step in STEPS:
        for age in ("stale", "fresh"):
            for length in sizes.queues:
                ours = medians[step, age, length]
                is_claim = step == "claim" and age == "fresh"
                yield Figure(
                    name=f"{step} at {length:,} rows, {age} statistics",
                    ours=ours,
                    unit="ms",
                    floor=medians["floor", age, length] if is_claim else None,
                    original=medians["original", age, length] if is_claim else None,
                    target=f"at most {MOST_MILLISECONDS} ms",
                    met=ours <= MOST_MILLISECONDS,
                    note=f"Steps: medians of {sizes.claims} runs of one claim of {BATCH}, each "
                    "rolled back, without network; start and claim also create the deliveries "
                    "of up to 500 new notifications. Floor: the same deliveries claimed by "
                    "a statement that knows their ids. Original: without lease, routes and turns.",
                )


def _run(queue: psycopg.Connection[Any], *, keep: bool = False) -> dict[str, float]:
    """Seconds of each step."""
    run = str(uuid.uuid4())
    seconds = {}
    with queue.transaction(force_rollback=not keep):
        seconds["start"], _ = _timed(queue, STEPS["start"], run=run)
        seconds["claim"], claimed = _timed(queue, STEPS["claim"], run=run, batch=BATCH)
        rows = claimed[0][0]["deliveries"]
        assert keep or len(rows) == BATCH, "the queue is too short"
        starting = [{"id": row["id"], "token": row["token"], "post_id": row["id"]} for row in rows]
        sent = [
            {
                "id": row["id"], "token": row["token"], "result": "sent", "message_ts": "1.1",
                "conversation_id": row["destination"], "posted_ago": 0,
            }
            for row in rows
        ]  # fmt: skip
        seconds["announcement"], _ = _timed(
            queue, STEPS["announcement"], run=run, rows=Jsonb(starting)
        )
        seconds["record"], _ = _timed(queue, STEPS["record"], run=run, rows=Jsonb(sent))
        seconds["poll"], _ = _timed(queue, STEPS["poll"], run=run)
        seconds["finish"], _ = _timed(queue, STEPS["finish"], run=run)
    with queue.transaction(force_rollback=True):
        ids = [row["id"] for row in rows]
        seconds["floor"], _ = _timed(queue, FLOOR, run=run, ids=ids)
    return seconds


def _timed(
    queue: psycopg.Connection[Any], statement: str, **arguments: Any
) -> tuple[float, list[Any]]:
    with queue.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(statement.encode(), arguments)
        rows = cursor.fetchall()
        return time.perf_counter() - started, rows


@contextmanager
def _queues(
    lengths: tuple[int, ...], progress: Progress
) -> Iterator[dict[int, psycopg.Connection[Any]]]:
    """Connections by the length of their queue, each in its own database."""
    with Tether(postgres.server_directory()) as tether, ExitStack() as connections:
        server = postgres.start(tether)
        migrated = server.create_database("migrated")
        postgres.bootstrap(migrated)
        postgres.migrate(migrated)
        queues = {}
        for length in lengths:
            url = server.create_database(f"queue_{length}", template="migrated")
            connection = connections.enter_context(psycopg.connect(url, autocommit=True))
            _configure(connection)
            _fill(connection, length, progress)
            connection.execute("set role service_role")
            queues[length] = connection
        yield queues


def _configure(connection: psycopg.Connection[Any]) -> None:
    """Channels with a history, and query plans of a nearly empty queue."""
    for table in ("notification_queue", "notification_deliveries", "notification_unrouted"):
        connection.execute(f"alter table {table} set (autovacuum_enabled = false)")
    connection.execute(
        """
        create temp table numbered as
        with made as (
          insert into notification_config (entity_type, event_type, channel_id, template)
          select 'request', 'status_change', 'C' || lpad((number %% %s)::text, 8, '0'),
                 '*{{request_title}}* went from {{old_status}} to {{new_status}}'
            from generate_series(1, %s) number
          returning id
        )
        select id, row_number() over () - 1 as number from made
        """,
        (DESTINATIONS, CONFIGS),
    )
    connection.execute(
        "with lost as (insert into notification_config (entity_type, event_type) "
        "values ('task', 'nowhere') returning id) insert into numbered select id, -1 from lost"
    )
    connection.execute("grant select on numbered to service_role")
    for number in range(8):
        connection.execute(_ROWS, {"first": number, "last": number, "size": 1})
        _run(connection, keep=True)
    connection.execute("analyze")
    connection.execute(
        "insert into slack_destinations (destination, paused_for, paused_from, paused_to) "
        "select 'C' || lpad(number::text, 8, '0'), '30 days', now() - interval '3 days', "
        "now() - interval '2 days' from generate_series(0, %s) number "
        "on conflict (destination) do update set paused_for = excluded.paused_for, "
        "paused_from = excluded.paused_from, paused_to = excluded.paused_to",
        (DESTINATIONS - 1,),
    )
    connection.execute(
        "insert into slack_workspace (paused_for, paused_from, paused_to) values "
        "('10 days', now() - interval '5 days', now() - interval '4 days')"
    )


def _fill(connection: psycopg.Connection[Any], size: int, progress: Progress) -> None:
    for first in range(0, size, SLICE):
        last = min(first + SLICE, size) - 1
        connection.execute(_ROWS, {"first": first, "last": last, "size": size})
        progress(f"{last + 1:,} of {size:,} rows queued")
    routed = 0
    while routed < size * (1 - NEW):
        connection.execute(
            "select route_notifications('1 day', %s, now())", (min(ROUTED_AT_ONCE, size // 10),)
        )
        routed += min(ROUTED_AT_ONCE, size // 10)


_ROWS = f"""
    insert into notification_queue
      (config_id, entity_id, entity_type, event_data, next_attempt_at, created_at)
    select numbered.id, gen_random_uuid(), 'task',
           jsonb_build_object('request_title', 'Request ' || row, 'old_status', 'in_progress',
             'new_status', 'review', 'changed_by', gen_random_uuid(),
             'client_id', gen_random_uuid()),
           queued_at, queued_at
      from generate_series(%(first)s::int, %(last)s::int) row
     cross join lateral (
             select now() - interval '1 hour' * (1 - row::float8 / %(size)s) as queued_at
           ) times
      join numbered
        on numbered.number = case when row %% {round(1 / LOST)} = {round(1 / LOST) - 1} then -1
                                  else row %% {CONFIGS} end
"""  # noqa: S608
