"""Which rows a batch takes, and how many at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.retention.world import TimedDatabase, World, days_ago, of
from workers.errors import TransientError


@pytest.mark.parametrize("error", ["57014", "ReadTimeout", "ReadError"])
def test_a_batch_that_is_too_large_is_followed_by_smaller_ones(world: World, error: str) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(12_000, days_ago(100))
    call = world.database.call
    sizes: list[int] = []

    def failing(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            sizes.append(arguments["batch_size"])
            if arguments["batch_size"] > 3_000:
                raise TransientError("canceling statement due to statement timeout", code=error)
        return call(function, **arguments)

    world.database.call = failing  # type: ignore[method-assign]
    assert of(world.run(), "activity_log")["archived"] == 12_000
    assert sizes[:3] == [10_000, 5_000, 2_500]


@pytest.mark.parametrize(
    ("batch", "table"),
    [
        ("archive_activity_batch(%s, 2)", "activity_log"),
        ("purge_archived_batch(%s, 2)", "archived_activity_log"),
        ("purge_notification_batch(%s, now(), 2)", "notification_queue"),
        ("purge_sync_log_batch(%s, now(), 2)", "metric_sync_logs"),
    ],
    ids=["archiving", "archived", "notifications", "sync-logs"],
)
def test_a_batch_takes_the_oldest_rows_and_no_more_than_asked_for(
    world: World, batch: str, table: str
) -> None:
    for days in (3, 5, 4):
        if table == "notification_queue":
            world.agency.notification(None, {}, created_at=days_ago(days), is_processed=True)
        elif table == "metric_sync_logs":
            world.connection.execute(
                "insert into metric_sync_logs (status, start_time) values ('success', %s)",
                (days_ago(days),),
            )
        else:
            world.activity(1, days_ago(days), table)
    (taken,) = world.rows(f"select {batch} as rows", days_ago(1))
    assert taken == {"rows": 2}
    time = "start_time" if table == "metric_sync_logs" else "created_at"
    assert world.rows(f"select {time} as time from {table}") == [{"time": days_ago(3)}]  # noqa: S608


def test_batches_shrink_while_the_database_is_slow(
    world: World,
) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(40_000, days_ago(100))
    call = world.database.call
    sizes: list[int] = []

    def slow(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            sizes.append(arguments["batch_size"])
            world.clock.advance(1.5 if len(sizes) <= 2 else 0.1)
        return call(function, **arguments)

    world.database.call = slow  # type: ignore[method-assign]
    world.run()
    assert sizes[:5] == [10_000, 5_000, 2_500, 5_000, 10_000]


def test_the_next_run_starts_with_the_batch_size_that_worked(world: World) -> None:
    world.policy("activity_log", 90, 365)
    call = world.database.call
    sizes: list[int] = []

    def failing(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            sizes.append(arguments["batch_size"])
            world.clock.advance(0.5)  # neither slow nor quick
            if arguments["batch_size"] > 40:
                raise TransientError("canceling statement due to statement timeout", code="57014")
        return call(function, **arguments)

    world.database.call = failing  # type: ignore[method-assign]
    for number, first in enumerate((10_000, 39)):
        world.activity(80, days_ago(100 + number))
        sizes.clear()
        assert of(world.run(), "activity_log")["archived"] == 80
        assert sizes[0] == first
        assert sizes[-1] == 39


def test_a_foreign_key_without_an_index_is_named_and_the_batches_shrink(world: World) -> None:
    world.connection.execute(
        "create table child (a uuid references activity_log (id));"
        "alter role authenticator set statement_timeout = '150ms'"
    )
    world.policy("activity_log", 90, 365)
    world.activity(300, days_ago(100))
    # each row that leaves searches all of these
    world.connection.execute("insert into child select null from generate_series(1, 20000)")
    try:
        dry = of(world.dry_run(), "activity_log")
        assert "all of child is searched" in dry["remark"]
        limited = TimedDatabase(world.api.url, world.api.keys.secret, world.clock)
        world.database, usual = limited, world.database
        done = of(world.run(), "activity_log")
        limited.close()
        world.database = usual
    finally:
        world.connection.execute(
            "alter role authenticator set statement_timeout = '8s'; drop table child"
        )
    assert (done["status"], done["archived"]) == ("complete", 300), done


def test_a_row_that_is_no_longer_due_stays(world: World) -> None:
    """As if another row took its place between reading and locking."""
    world.activity(2, days_ago(100))
    (taken,) = world.rows(
        "select taken.* from take_rows((select moving from moving_statements(%s)), null, '{}', "
        "'activity_log'::regclass, (select array_agg(ctid) from activity_log)) taken",
        f"created_at < '{days_ago(100)}'",
    )
    assert taken["went"] == 1
    assert taken["stayed"] == [{"code": "55P03", "reason": "in use", "rows": 1}]
