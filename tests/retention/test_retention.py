"""What a retention run moves and deletes, and what it keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.database.agency import NOW
from tests.retention.world import TimedDatabase, World, days_ago
from workers.errors import PermanentError, TransientError
from workers.retention.batches import MOST_ROWS

# `make test-long` takes 200,000.
ROWS = int(os.environ.get("RETENTION_ROWS", "40000"))
ACTIVITY = ("activity_log", "archived_activity_log")
COLUMNS = "id, user_id, entity_type, entity_id, action, details, created_at"


def of(summary: dict[str, Any], entity_type: str) -> dict[str, Any]:
    (one,) = [one for one in summary["policies"] if one["entity_type"] == entity_type]
    return dict(one)


def test_exactly_those_past_their_time_move(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(ROWS, days_ago(90.0001))
    world.activity(ROWS, days_ago(80))
    world.activity(ROWS // 2, days_ago(365.0001), "archived_activity_log")
    world.activity(1_000, days_ago(364), "archived_activity_log")
    world.take_snapshot(ACTIVITY)

    summary = world.run()

    done = of(summary, "activity_log")
    assert (done["archived"], done["purged"], done["status"]) == (ROWS, ROWS // 2, "complete")
    (same,) = world.rows(
        f"""
        select
          (select count(*) from (
             select {COLUMNS} from archived_activity_log
             except select {COLUMNS} from snapshot_activity_log
             except select {COLUMNS} from snapshot_archived_activity_log) x) as strangers,
          (select count(*) from (
             select {COLUMNS} from snapshot_activity_log where created_at < %s
             except select {COLUMNS} from archived_activity_log) x) as lost,
          (select count(*) from (
             select * from snapshot_activity_log where created_at >= %s
             except select * from activity_log) x) as taken_too_early,
          (select count(*) from activity_log) as active,
          (select count(*) from archived_activity_log) as archived
        """,  # noqa: S608
        days_ago(90), days_ago(90),
    )  # fmt: skip
    world.drop_snapshot(ACTIVITY)
    assert same == {
        "strangers": 0, "lost": 0, "taken_too_early": 0, "active": ROWS, "archived": ROWS + 1_000
    }  # fmt: skip
    sizes = [call["batch_size"] for name, call in world.database.calls if "batch" in name]
    assert max(sizes) == MOST_ROWS


def test_what_is_at_the_boundary_or_without_a_time_is_kept(world: World) -> None:
    world.policy("activity_log", 90, 365)
    for created_at in (days_ago(90), None, NOW + timedelta(days=400), NOW):
        world.activity(1, created_at)
        world.activity(1, created_at, "archived_activity_log")
    world.activity(1, days_ago(365), "archived_activity_log")
    world.activity(1, days_ago(90) - timedelta(microseconds=1))
    world.activity(1, days_ago(365) - timedelta(microseconds=1), "archived_activity_log")
    done = of(world.run(), "activity_log")
    assert (done["archived"], done["purged"]) == (1, 1)
    assert world.count("activity_log") == 4
    assert world.count("archived_activity_log") == 6


def test_notifications_go_when_their_time_has_come_and_their_deliveries_with_them(
    world: World,
) -> None:
    world.policy("notification_queue", 30, 90)
    config = world.agency.config("C0TEST000")

    def queued(days: float, **values: Any) -> str:
        return world.agency.notification(
            config, {}, created_at=days_ago(days), next_attempt_at=days_ago(days), **values
        )

    processed = {"is_processed": True, "processed_at": days_ago(30.5)}
    gone = [
        queued(31, **processed),
        queued(31, is_processed=True),
        queued(91, is_processed=True, outcome="expired", processed_at=days_ago(90.5)),
        queued(91, attempts=5, outcome="dead"),
        queued(91, attempts=5),  # as an older worker left it
        queued(91, attempts=7, max_attempts=7),
    ]
    kept = [
        queued(30, is_processed=True),
        queued(31, is_processed=True, processed_at=days_ago(1)),  # redriven lately
        queued(31, is_processed=True, outcome="expired"),
        queued(89, attempts=5, outcome="dead"),
        queued(400),  # it waits still
        queued(400, attempts=4),
        queued(400, attempts=5, max_attempts=9),
    ]
    for notification in (*gone, *kept):
        world.connection.execute(
            "insert into notification_deliveries "
            "(notification_id, config_id, destination, due_at, queued_at, ages_from) "
            "select id, gen_random_uuid(), 'C1', now(), now(), now() from notification_queue "
            "where id = %s",
            (notification,),
        )
    assert of(world.dry_run(), "notification_queue")["purged"] == len(gone)
    assert of(world.run(), "notification_queue")["purged"] == len(gone)
    left = {str(row["id"]) for row in world.rows("select id from notification_queue")}
    assert left == set(kept)
    assert world.count("notification_deliveries") == len(kept)


def test_the_ledger_goes_by_whole_days_and_what_is_known_of_them_with_it(world: World) -> None:
    world.policy("ad_metrics", 30, 90)
    world.connection.execute(
        "insert into metric_days (platform, account_id, date, read_at) "
        "select 'meta', '1001', (%s::timestamptz at time zone 'UTC')::date - ago, now() "
        "from generate_series(0, 99) ago;",
        (NOW,),
    )
    world.connection.execute(
        "insert into ad_metrics (platform, account_id, date, ad_id, measures, time_zone, sync_id) "
        "select platform, account_id, date, ad::text, '{}', 'UTC', gen_random_uuid() "
        "from metric_days, generate_series(1, 3) ad"
    )
    # a day that may not be over yet somewhere in the world is kept
    gone = 99 - 91
    assert of(world.dry_run(), "ad_metrics")["purged"] == gone * 4
    done = of(world.run(), "ad_metrics")
    assert (done["purged"], done["status"], done["remaining"]) == (gone * 4, "complete", 0)
    for table, rows in (("metric_days", 100 - gone), ("ad_metrics", (100 - gone) * 3)):
        assert world.count(table) == rows
    assert of(world.run(), "ad_metrics")["purged"] == 0


def test_sync_logs_go_when_they_have_ended(world: World) -> None:
    world.policy("metric_sync_logs", 30, 90)
    logs = {
        "old success": ("success", 31, True),
        "old partial": ("partial", 31, True),
        "old failure": ("failed", 31, False),
        "very old failure": ("failed", 91, True),
        "under way": ("in_progress", 91, False),
        "new": ("success", 29, False),
        "unknown": (None, 91, False),
    }
    for name, (status, days, _) in logs.items():
        world.connection.execute(
            "insert into metric_sync_logs (status, start_time, end_time, details) "
            "values (%s, %s, %s, %s)",
            (status, days_ago(days), days_ago(days), Jsonb({"name": name})),
        )
    assert of(world.run(), "metric_sync_logs")["purged"] == 3
    left = {row["details"]["name"] for row in world.rows("select details from metric_sync_logs")}
    assert left == {name for name, (_, _, goes) in logs.items() if not goes}


def test_what_is_not_understood_is_reported_and_the_rest_goes_on(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.policy("clients", 1, 1)
    world.policy("notification_queue", 0, 90)
    world.policy("metric_sync_logs", 30, -1)
    world.activity(5, days_ago(100))
    summary = world.run()
    assert (summary["outcome"], summary["refused"]) == ("complete", 3)
    assert of(summary, "activity_log")["archived"] == 5
    assert "no retention for 'clients'" in of(summary, "clients")["error"]
    assert "active_retention_days" in of(summary, "notification_queue")["error"]
    assert "archive_retention_days" in of(summary, "metric_sync_logs")["error"]


def test_of_two_policies_the_longer_times_apply(world: World) -> None:
    world.policy("activity_log", 30, 365)
    world.policy("activity_log", 90, 100)
    world.activity(3, days_ago(60))
    world.activity(4, days_ago(95))
    world.activity(5, days_ago(200), "archived_activity_log")
    done = of(world.run(), "activity_log")
    assert (done["archived"], done["purged"]) == (4, 0)
    assert "longer times apply" in done["remark"]
    stamps = world.rows("select last_archived_at, last_purged_at from retention_policies")
    assert [set(row.values()) for row in stamps] == [{NOW}, {NOW}]


def test_a_dry_run_says_what_would_go_and_changes_nothing(world: World) -> None:
    policy = world.policy("activity_log", 90, 365)
    world.activity(30, days_ago(100))
    world.activity(20, days_ago(400))
    world.activity(10, days_ago(400), "archived_activity_log")
    summary = world.dry_run()
    assert summary["outcome"] == "dry_run"
    done = of(summary, "activity_log")
    assert (done["archived"], done["purged"]) == (50, 30)
    assert (world.count("activity_log"), world.count("archived_activity_log")) == (50, 10)
    assert world.rows("select last_archived_at from retention_policies where id = %s", policy) == [
        {"last_archived_at": None}
    ]
    real = of(world.run(), "activity_log")
    assert (real["archived"], real["purged"]) == (50, 30)


def test_out_of_time_it_stops_and_later_runs_finish(world: World) -> None:
    policy = world.policy("activity_log", 90, 365)
    world.policy("notification_queue", 30, 90)
    world.activity(60_000, days_ago(100))
    call = world.database.call

    def slow(function: str, **arguments: Any) -> Any:
        world.clock.advance(0.5)
        return call(function, **arguments)

    world.database.call = slow  # type: ignore[method-assign]
    statuses: list[str] = []
    while world.rows("select 1 from retention_policies where last_purged_at is null"):
        begun = world.clock.now()
        summary = world.run(seconds=5)
        assert world.clock.now() - begun <= 5
        done = of(summary, "activity_log")
        statuses.append(done["status"])
        (row,) = world.rows("select last_archived_at from retention_policies where id = %s", policy)
        assert (row["last_archived_at"] is not None) == ("complete" in statuses)
        if len(statuses) == 1:
            (progress,) = world.rows(
                "select * from retention_progress where entity_type = 'activity_log'"
            )
            assert (progress["status"], progress["archived"]) == ("unfinished", done["archived"])
        assert len(statuses) < 20
    assert statuses[0] == "unfinished"
    assert world.count("archived_activity_log") == 60_000


@pytest.mark.parametrize("error", ["57014", "ReadTimeout", "ReadError"])
def test_a_batch_that_is_too_large_is_followed_by_smaller_ones(world: World, error: str) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(12_000, days_ago(100))
    call = world.database.call
    sizes: list[int] = []

    def troubled(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            sizes.append(arguments["batch_size"])
            if arguments["batch_size"] > 3_000:
                raise TransientError("canceling statement due to statement timeout", code=error)
        return call(function, **arguments)

    world.database.call = troubled  # type: ignore[method-assign]
    assert of(world.run(), "activity_log")["archived"] == 12_000
    assert sizes[:3] == [10_000, 5_000, 2_500]


def test_a_policy_that_fails_costs_no_other(world: World) -> None:
    activity = world.policy("activity_log", 90, 365)
    world.policy("notification_queue", 30, 90)
    world.activity(10, days_ago(100))
    world.agency.notification(None, {}, created_at=days_ago(31), is_processed=True)
    call = world.database.call

    def broken(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            raise TransientError("the database is away", code="57P03")
        return call(function, **arguments)

    world.database.call = broken  # type: ignore[method-assign]
    summary = world.run()
    assert summary["outcome"] == "failed"
    assert of(summary, "activity_log")["error"] == "57P03: the database is away"
    assert of(summary, "notification_queue")["purged"] == 1
    stamps = {
        str(row["id"]): row["last_purged_at"]
        for row in world.rows("select * from retention_policies")
    }
    assert stamps.pop(activity) is None
    assert list(stamps.values()) == [NOW + timedelta(seconds=world.clock.now())]

    world.database.call = call  # type: ignore[method-assign]
    assert of(world.run(), "activity_log")["archived"] == 10


def test_a_policy_that_fails_in_a_new_way_costs_no_other(world: World) -> None:
    world.policy("metric_sync_logs", 30, 90)
    world.policy("notification_queue", 30, 90)
    world.agency.notification(None, {}, created_at=days_ago(31), is_processed=True)
    call = world.database.call

    def broken(function: str, **arguments: Any) -> Any:
        if function == "purge_sync_log_batch":
            raise KeyError("went")
        return call(function, **arguments)

    world.database.call = broken  # type: ignore[method-assign]
    summary = world.run()
    assert summary["outcome"] == "failed"
    assert of(summary, "metric_sync_logs")["error"] == "KeyError: 'went'"
    assert of(summary, "notification_queue")["purged"] == 1


def test_a_failure_that_quotes_a_secret_is_told_without_it(world: World) -> None:
    world.policy("activity_log", 90, 365)
    secret = world.api.keys.secret
    call = world.database.call

    def quoting(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            raise PermanentError(f"refused apikey {secret}", code="odd")
        return call(function, **arguments)

    world.database.call = quoting  # type: ignore[method-assign]
    told = of(world.run(), "activity_log")["error"]
    assert told == "odd: refused apikey [redacted]"
    (progress,) = world.rows("select error from retention_progress")
    assert progress["error"] == told


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
def test_a_batch_takes_the_oldest_and_no_more_than_asked_for(
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


def test_a_slow_database_gets_smaller_batches_and_larger_ones_when_quick_again(
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


def test_two_runs_at_once_do_the_work_once(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(10, days_ago(100))
    world.connection.execute(
        "insert into worker_leases (name, holder, renewed_at, expires_at) "
        "values ('retention', gen_random_uuid(), %s, %s)",
        (NOW, NOW + timedelta(seconds=60)),
    )
    assert world.run()["outcome"] == "busy"
    assert world.count("activity_log") == 10
    world.clock.advance(61)
    assert world.run()["outcome"] == "complete"
    assert world.run()["outcome"] == "complete", "the lease was given back"


def test_a_run_that_loses_its_lease_stops(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(25_000, days_ago(100))
    call = world.database.call

    def overtaken(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            world.clock.advance(70)
            world.connection.execute(
                "update worker_leases set holder = gen_random_uuid(), expires_at = %s",
                (world.clock.as_of() + timedelta(seconds=60),),
            )
        return call(function, **arguments)

    world.database.call = overtaken  # type: ignore[method-assign]
    world.policy("metric_sync_logs", 30, 90)
    summary = world.run()
    done = of(summary, "activity_log")
    assert (done["status"], done["archived"]) == ("unfinished", MOST_ROWS)
    assert summary["outcome"] == "unfinished", "the other run's, and no failure"
    assert of(summary, "metric_sync_logs")["status"] == "unfinished", "left to the other run"


def test_of_rows_that_were_read_only_those_that_are_stored_are_purged(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(3, days_ago(400), "archived_activity_log")

    left: list[int] = []

    class OneAtATime:
        heed: Callable[[], None]

        def store(self, lines: Any) -> tuple[list[str], int]:
            left.append(world.count("archived_activity_log"))
            return list(lines[:1]), 1

    assert of(world.run(cold=OneAtATime()), "activity_log")["purged"] == 3
    assert left == [3, 2, 1]


def test_of_long_rows_fewer_are_on_their_way_at_once(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    world.connection.execute(
        "update archived_activity_log set details = jsonb_build_object('t', repeat('x', "
        "case when created_at = %s then 9000000 else 3000000 end))",
        (days_ago(400),),
    )
    stored: list[int] = []

    class Counting:
        heed: Callable[[], None]

        def store(self, lines: Any) -> tuple[list[str], int]:
            stored.append(len(lines))
            return list(lines), 1

    assert of(world.run(cold=Counting()), "activity_log")["purged"] == 5
    assert stored == [3, 2], "the oldest first, and the longest however long"


def test_rows_that_changed_on_their_way_are_not_purged(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(3, days_ago(400), "archived_activity_log")

    class Changing:
        heed: Callable[[], None]

        def store(self, lines: Any) -> tuple[list[str], int]:
            world.connection.execute("update archived_activity_log set action = action || '!'")
            return list(lines), 1

    done = of(world.run(cold=Changing()), "activity_log")
    assert (done["status"], done["purged"]) == ("failed", 0)
    assert "rows_changed" in done["error"]
    assert world.count("archived_activity_log") == 3


def test_an_unknown_entity_type_is_refused_by_the_database_too(world: World) -> None:
    with pytest.raises(Exception, match="there is no retention for clients"):
        world.connection.execute("select count_retention('clients', now(), now(), 1)")


def test_the_next_run_begins_with_what_fitted(world: World) -> None:
    world.policy("activity_log", 90, 365)
    call = world.database.call
    sizes: list[int] = []

    def troubled(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            sizes.append(arguments["batch_size"])
            world.clock.advance(0.5)  # neither slow nor quick
            if arguments["batch_size"] > 40:
                raise TransientError("canceling statement due to statement timeout", code="57014")
        return call(function, **arguments)

    world.database.call = troubled  # type: ignore[method-assign]
    for number, first in enumerate((10_000, 39)):
        world.activity(80, days_ago(100 + number))
        sizes.clear()
        assert of(world.run(), "activity_log")["archived"] == 80
        assert sizes[0] == first
        assert sizes[-1] == 39


def test_what_cannot_be_counted_is_archived_all_the_same(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(100))
    call = world.database.call

    def uncounted(function: str, **arguments: Any) -> Any:
        if function == "count_retention":
            raise TransientError("canceling statement due to statement timeout", code="57014")
        return call(function, **arguments)

    world.database.call = uncounted  # type: ignore[method-assign]
    dry = of(world.dry_run(), "activity_log")
    assert "could not be counted in time" in dry["remark"]
    done = of(world.run(), "activity_log")
    assert (done["status"], done["archived"]) == ("complete", 5)


def test_a_foreign_key_without_an_index_is_named_and_the_batches_shrink(world: World) -> None:
    world.connection.execute(
        "create table child (a uuid references activity_log (id));"
        "alter role authenticator set statement_timeout = '150ms'"
    )
    world.policy("activity_log", 90, 365)
    world.activity(300, days_ago(100))
    # each row that leaves looks through all of these
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


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (
            "purge_notification_batch(%s, %s, 50)",
            (
                "insert into notification_queue (entity_id, entity_type, is_processed, outcome, "
                "created_at, processed_at) select gen_random_uuid(), 'request', true, 'expired', "
                "{old} - n * interval '1 s', {old} from generate_series(1, 20000) n"
            ),
        ),
        (
            "purge_notification_batch(%s, %s, 50)",
            (
                "insert into notification_queue (entity_id, entity_type, created_at) "
                "select gen_random_uuid(), 'request', {old} - n * interval '1 s' "
                "from generate_series(1, 20000) n"
            ),
        ),
        (
            "purge_sync_log_batch(%s, %s, 50)",
            (
                "insert into metric_sync_logs (status, start_time) select 'failed', "
                "{old} - n * interval '1 s' from generate_series(1, 20000) n"
            ),
        ),
    ],
    ids=["expired", "waiting", "failed"],
)
def test_a_batch_reads_no_row_that_is_kept(world: World, step: str, kept: str) -> None:
    """Rows kept by the longer time lie before those that go, and are not looked at."""
    # without what tests before this one have left to be vacuumed
    world.connection.execute("truncate notification_queue, metric_sync_logs cascade")
    old = f"timestamptz '{days_ago(60)}'"
    world.connection.execute(kept.format(old=old).encode())
    world.connection.execute(
        "insert into notification_queue (entity_id, entity_type, is_processed, outcome, "
        "created_at) select gen_random_uuid(), 'request', true, 'sent', %(old)s "
        "from generate_series(1, 200)",
        {"old": days_ago(40)},
    )
    world.connection.execute(
        "insert into metric_sync_logs (status, start_time) select 'success', %(old)s "
        "from generate_series(1, 200)",
        {"old": days_ago(40)},
    )
    world.connection.execute("analyze notification_queue; analyze metric_sync_logs")
    table = "notification_queue" if "notification" in step else "metric_sync_logs"
    with world.connection.transaction():
        before = rows_read(world, table)
        (taken,) = world.rows(f"select {step} as rows", days_ago(30), days_ago(365))
        assert taken == {"rows": 50}
        # found, locked and deleted
        assert rows_read(world, table) - before <= 4 * 50


def test_threads_are_forgotten_once_nothing_was_said_in_them_for_long(world: World) -> None:
    for channel, days in (("C1", 91), ("C2", 92), ("C3", 93), ("C4", 89)):
        world.connection.execute(
            "insert into slack_threads values (%s, gen_random_uuid(), '5.000001', %s)",
            (channel, days_ago(days)),
        )
    for left in (["C1", "C4"], ["C4"]):
        world.rows("select purge_notification_batch(%s, %s, 2)", days_ago(30), days_ago(90))
        rows = world.rows("select destination from slack_threads order by 1")
        assert [row["destination"] for row in rows] == left


def rows_read(world: World, table: str) -> int:
    """By any scan of the table, in this transaction."""
    (row,) = world.rows(
        "select pg_stat_get_xact_tuples_returned(%(table)s::regclass) "
        "+ pg_stat_get_xact_tuples_fetched(%(table)s::regclass) + coalesce(sum("
        "pg_stat_get_xact_tuples_returned(indexrelid)), 0) as rows "
        "from pg_index where indrelid = %(table)s::regclass".replace("%(table)s", f"'{table}'")
    )
    return int(row["rows"])


class SlowCold:
    """Each request takes as long; it asks before each whether there is time."""

    def __init__(self, world: World, seconds: float, requests: int) -> None:
        self.heed: Callable[[], None] = lambda: None
        self._world, self._seconds, self._requests = world, seconds, requests
        self.during: Callable[[], None] = lambda: None

    def store(self, lines: Sequence[str]) -> tuple[list[str], int]:
        for _ in range(self._requests):
            self.heed()
            self._world.clock.advance(self._seconds)
        self.during()
        return list(lines), 1


@pytest.mark.parametrize("limit", [27.0, 100.0, 897.0])
def test_a_slow_cold_archive_heeds_the_deadline(world: World, limit: float) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    begun = world.clock.now()
    summary = world.run(seconds=limit, cold=SlowCold(world, 10.0, 1000))
    assert world.clock.now() - begun <= limit
    assert summary["outcome"] == "unfinished"
    assert world.count("archived_activity_log") == 5


def test_a_slow_cold_archive_keeps_the_lease(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    cold = SlowCold(world, 20.0, 10)
    outcomes: list[str] = []
    cold.during = lambda: outcomes.append(world.run()["outcome"])
    assert world.run(cold=cold)["outcome"] == "complete"
    assert outcomes == ["busy"]


def test_rows_that_another_run_purged_meanwhile_are_no_failure(world: World) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(400), "archived_activity_log")
    cold = SlowCold(world, 1.0, 1)
    cold.during = lambda: world.connection.execute("delete from archived_activity_log")
    assert world.run(cold=cold)["outcome"] == "complete"


def test_a_row_that_is_no_longer_due_stays(world: World) -> None:
    """As where its place was filled anew between looking and locking."""
    world.activity(2, days_ago(100))
    (taken,) = world.rows(
        "select taken.* from take_rows((select moving from moving_statements(%s)), null, '{}', "
        "'activity_log'::regclass, (select array_agg(ctid) from activity_log)) taken",
        f"created_at < '{days_ago(100)}'",
    )
    assert taken["went"] == 1
    assert taken["stayed"] == [{"code": "55P03", "reason": "in use", "rows": 1}]
