"""A claim of 50 out of a short queue and out of longer ones."""

from __future__ import annotations

import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from local.services import postgres
from local.services.tether import Tether
from tests.benchmarks.figures import Figure
from tests.benchmarks.sizes import Progress, Sizes

BATCH = 50
# The original's way reads and sorts the whole queue, so a few times are enough.
ORIGINAL_ROUNDS = 3
MOST = 1.5
SLICE = 100_000


@dataclass(frozen=True)
class Shape:
    """What a queue is made of: `waiting` of it is due, the rest processed, but for a hundredth
    that is dead and one that is due later."""

    name: str
    configs: int
    waiting: float


ALL_WAIT = Shape("all due, 100 configs", configs=100, waiting=1.0)
MIXED = Shape("mixed, 200 configs", configs=200, waiting=0.1)

CLAIM = "select * from public.lock_and_get_notifications(%s)"
START = "select public.start_notification_run(%s)"

# The original's function, as far as an existing dashboard's is known.
ORIGINAL_CLAIM = """
    select id, config_id, entity_id, entity_type, event_data, attempts
      from public.notification_queue
     where is_processed = false and attempts < max_attempts and next_attempt_at <= now()
     order by created_at
     limit %s
       for update skip locked
"""

# The least that a claim has to do, when it knows already which rows to take.
FLOOR = """
    with claimed as (
      update public.notification_queue
         set claim_token = gen_random_uuid(), claimed_until = now() + interval '170 seconds'
       where id = any (%s)
      returning *
    ),
    delivery as (
      insert into public.notification_deliveries (notification_id, destination)
      select claimed.id, config.channel_id
        from claimed
        join public.notification_config config on config.id = claimed.config_id
      returning *
    )
    select * from claimed join delivery on delivery.notification_id = claimed.id
"""


def claims(progress: Progress, sizes: Sizes) -> list[Figure]:
    """Out of queues in which all waits, and of such as have been in use for months."""
    return [
        figure
        for shape in (ALL_WAIT, MIXED)
        for figure in _claims(shape, sizes.queues, sizes.claims, progress)
    ]


def _claims(
    shape: Shape, lengths: tuple[int, ...], rounds: int, progress: Progress
) -> list[Figure]:
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    with _queues(shape, lengths, progress) as queues:
        progress(f"{rounds} claims of {BATCH} out of each")
        # in turns, so that what else the machine does disturbs all alike
        for _ in range(rounds):
            for length, queue in queues.items():
                taken = queue.timed(times["claim", length], CLAIM, BATCH)
                ids = [row[0] for row in taken]
                assert len(ids) == BATCH, "the queue holds too little"
                queue.timed(times["floor", length], FLOOR, ids)
                queue.timed(times["start", length], START, uuid.uuid4())
        progress("the original's claim")
        for _ in range(min(rounds, ORIGINAL_ROUNDS)):
            for length, queue in queues.items():
                queue.timed(times["original", length], ORIGINAL_CLAIM, BATCH)
    milliseconds = {key: statistics.median(values) * 1000 for key, values in times.items()}
    return [
        *_claim_figures(shape, lengths, rounds, milliseconds),
        *(
            Figure(
                f"start of a run at {length:,} rows ({shape.name})",
                milliseconds["start", length],
                "ms",
            )
            for length in lengths
        ),
    ]


def _claim_figures(
    shape: Shape,
    lengths: tuple[int, ...],
    rounds: int,
    milliseconds: Mapping[tuple[str, int], float],
) -> Iterator[Figure]:
    shortest = lengths[0]
    for length in lengths:
        growth = milliseconds["claim", length] / milliseconds["claim", shortest]
        is_longer = length > shortest
        yield Figure(
            name=f"claim of {BATCH} at {length:,} rows ({shape.name})",
            ours=milliseconds["claim", length],
            unit="ms",
            floor=milliseconds["floor", length],
            original=milliseconds["original", length],
            target=f"at most {MOST} x that at {shortest:,}: {growth:.2f}" if is_longer else "",
            met=growth <= MOST if is_longer else None,
            note=f"Claims and starts: medians of {rounds} ({ORIGINAL_ROUNDS} for the original's), "
            "each rolled back, without network. Floor: the same rows claimed by a statement that "
            "knows their ids. Original: without lease, routes and turns.",
        )


class _Queue:
    """One database's queue, used as the workers' key does, and left as it was."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def timed(self, times: list[float], statement: str, argument: Any) -> list[Any]:
        """Run the statement and roll it back; `times` gets the seconds that it took."""
        with self._connection.transaction(force_rollback=True), self._connection.cursor() as cursor:
            started = time.perf_counter()
            cursor.execute(statement, (argument,))
            rows = cursor.fetchall()
            times.append(time.perf_counter() - started)
        return rows


@contextmanager
def _queues(
    shape: Shape, lengths: tuple[int, ...], progress: Progress
) -> Iterator[dict[int, _Queue]]:
    """Queues of the shape by their length, in databases of their own."""
    with Tether(postgres.server_directory()) as tether, ExitStack() as connections:
        server = postgres.start(tether)
        migrated = server.create_database("migrated")
        postgres.bootstrap(migrated)
        postgres.migrate(migrated)
        queues = {}
        for length in lengths:
            url = server.create_database(f"queue_{length}", template="migrated")
            connection = connections.enter_context(psycopg.connect(url, autocommit=True))
            _fill(connection, shape, length, progress)
            connection.execute("set role service_role")
            queues[length] = _Queue(connection)
        yield queues


def _fill(connection: psycopg.Connection[Any], shape: Shape, size: int, progress: Progress) -> None:
    connection.execute(
        """
        create temp table numbered as
        with made as (
          insert into notification_config (entity_type, event_type, channel_id, template)
          select 'request', 'status_change', 'C' || lpad(number::text, 8, '0'),
                 '*{{request_title}}* went from {{old_status}} to {{new_status}}'
            from generate_series(1, %s) number
          returning id
        )
        select id, row_number() over () - 1 as number from made
        """,
        (shape.configs,),
    )
    for first in range(0, size, SLICE):
        last = min(first + SLICE, size) - 1
        connection.execute(_ROWS, {**_kinds(shape), "first": first, "last": last, "size": size})
        progress(f"{last + 1:,} of {size:,} rows queued ({shape.name})")
    connection.execute("vacuum (analyze) notification_queue")
    connection.execute("analyze notification_config")


def _kinds(shape: Shape) -> dict[str, Any]:
    """The hundredths of a config's rows that are due, dead, due later and, above, processed."""
    waiting = round(shape.waiting * 100)
    return {"configs": shape.configs, "waiting": waiting, "dead": waiting, "later": waiting + 1}


_ROWS = """
    insert into notification_queue
      (config_id, entity_id, entity_type, event_data, is_processed, processed_at, attempts,
       next_attempt_at, created_at)
    select numbered.id, gen_random_uuid(), 'request',
           jsonb_build_object('request_title', 'Request ' || row, 'old_status', 'in_progress',
             'new_status', 'review', 'changed_by', gen_random_uuid(),
             'client_id', gen_random_uuid(), 'request_id', gen_random_uuid()),
           kind > %(later)s,
           case when kind > %(later)s then queued_at + interval '1 minute' end,
           case when kind = %(dead)s then 5 else 0 end,
           case when kind = %(later)s then now() + interval '1 day' else queued_at end,
           queued_at
      from generate_series(%(first)s::int, %(last)s::int) row
     -- each config has its share of every kind, in a queue of ten rows a config as well
     cross join lateral (
             select (row / %(configs)s * 10 + (row %% %(configs)s + row / %(configs)s / 10) %% 10)
                    %% 100 as kind
           ) kinds
     cross join lateral (
             select now() - interval '1 hour' * (1 - row::float8 / %(size)s)
                    - case when kind > %(later)s then interval '1 day' * (1 + row %% 90)
                           else interval '0' end as queued_at
           ) times
      join numbered on numbered.number = row %% %(configs)s
"""
