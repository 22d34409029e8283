"""The predicate for what waits is the same everywhere, word for word, so that indexes serve it.

It cannot be in a view or a generated column, because the dashboard must be free to alter its
columns.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg

WAITS = (
    "coalesce(is_processed, false) = false and coalesce(attempts, 0) < coalesce(max_attempts, 5)"
)
ENDED_UNSENT = WAITS.replace("<", ">=")
DELIVERED = "is_processed and coalesce(outcome, '') not in ('dead', 'expired')"


def normal(text: str) -> str:
    """Without aliases, upper case and line breaks, and with NOT as people write it."""
    text = re.sub(r"\b\w+\.(?=(is_processed|attempts|max_attempts|outcome)\b)", "", text.lower())
    text = text.replace(
        "not coalesce(is_processed, false)", "coalesce(is_processed, false) = false"
    )
    return re.sub(r"\s+", " ", text)


def loosened(text: str) -> str:
    """Without parentheses, of which Postgres writes more than people do."""
    return " ".join(re.sub(r"[()]", " ", normal(text)).split())


def test_every_index_on_what_waits_has_the_same_predicate(db: psycopg.Connection[Any]) -> None:
    rows = db.execute(
        """
        select indexrelid::regclass::text as name, pg_get_expr(indpred, indrelid) as predicate
          from pg_index
         where indrelid = 'notification_queue'::regclass
           and pg_get_expr(indpred, indrelid) ~ 'attempts'
        """
    ).fetchall()
    said = {row["name"]: loosened(row["predicate"]) for row in rows}
    assert said == {
        "notification_queue_unrouted_idx": f"{loosened(WAITS)} and routed_at is null",
        "notification_queue_enqueue_key": f"enqueue_key is not null and {loosened(WAITS)}",
        "notification_queue_ended_idx": f"{loosened(ENDED_UNSENT)} or outcome = 'expired'::text",
        "notification_queue_config_ended_idx": (
            f"{loosened(ENDED_UNSENT)} or outcome = 'expired'::text"
        ),
        "notification_queue_dead_idx": loosened(ENDED_UNSENT),
        # that of retention, and that of queue list
        "notification_queue_undelivered_idx": (
            f"outcome = any array['dead'::text, 'expired'::text] or {loosened(ENDED_UNSENT)}"
        ),
        "notification_queue_waiting_idx": loosened(WAITS),
    }


def test_every_function_uses_the_predicate_of_the_indexes(db: psycopg.Connection[Any]) -> None:
    times = 0
    for row in db.execute(
        """
        select proname, pg_get_functiondef(oid) as body from pg_proc
         where pronamespace = 'public'::regnamespace and prokind = 'f'
        """
    ):
        body = normal(re.sub(r"--[^\n]*", "", row["body"]))
        rest = body.replace(WAITS, "it waits").replace(ENDED_UNSENT, "it is dead")
        # that of retention, and that of the console
        rest = rest.replace(DELIVERED, "it is delivered")
        times += rest.count("it waits") + rest.count("it is dead")
        # half of it, or spelled differently
        for other in (
            r"coalesce\(is_processed, \w+\) (=|<>|is)",
            r"\b(where|and|or|not|on) \(?is_processed\b",
            r"(?<!when )coalesce\(attempts, \d+\) (<|>)",
        ):
            found = re.search(other, rest)
            assert found is None, (row["proname"], rest[found.start() - 40 : found.end() + 40])
    assert times >= 15


def test_the_planner_agrees(db: psycopg.Connection[Any]) -> None:
    """The predicate serves its purpose if the index is used."""
    db.execute("set enable_seqscan = off")
    plan = db.execute(
        f"explain select from notification_queue queued where {WAITS} and routed_at is null "
        "order by coalesce(next_attempt_at, '-infinity'::timestamptz), created_at, id limit 1"
    ).fetchall()
    assert "notification_queue_unrouted_idx" in str(plan)
