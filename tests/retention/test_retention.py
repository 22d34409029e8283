"""What a retention run moves and deletes, and what it keeps."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.database.agency import NOW
from tests.retention.world import World, days_ago, of
from workers.errors import PermanentError, TransientError
from workers.retention.batches import MOST_ROWS

# `make test-long` takes 200,000.
ROWS = int(os.environ.get("RETENTION_ROWS", "40000"))
ACTIVITY = ("activity_log", "archived_activity_log")
COLUMNS = "id, user_id, entity_type, entity_id, action, details, created_at"


@pytest.mark.parametrize(
    ("as_of", "archived"),
    [(NOW - timedelta(days=1), 3), (NOW + timedelta(days=30), 7)],
)
def test_a_run_takes_what_was_due_at_a_time_and_never_what_will_be(
    world: World, as_of: datetime, archived: int
) -> None:
    world.policy("activity_log", 90, 365)
    world.activity(3, days_ago(91.5))
    world.activity(4, days_ago(90.5))
    world.activity(5, days_ago(80))
    assert of(world.run(as_of=as_of), "activity_log")["archived"] == archived


def test_exactly_the_expired_rows_move(world: World) -> None:
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


def test_rows_at_the_boundary_or_without_a_time_are_kept(world: World) -> None:
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


def test_expired_notifications_go_with_their_deliveries(
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
        queued(31, is_processed=True, processed_at=days_ago(1)),  # redriven recently
        queued(31, is_processed=True, outcome="expired"),
        queued(89, attempts=5, outcome="dead"),
        queued(400),  # still waiting
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


def test_the_ledger_goes_by_whole_days_with_what_is_known_about_them(world: World) -> None:
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


def test_expired_sync_logs_go_once_they_have_ended(world: World) -> None:
    world.policy("metric_sync_logs", 30, 90)
    logs = {
        "old success": ("success", 31, True),
        "old partial": ("partial", 31, True),
        "old failure": ("failed", 31, False),
        "very old failure": ("failed", 91, True),
        "in progress": ("in_progress", 91, False),
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


def test_an_invalid_policy_is_reported_and_the_others_are_carried_out(world: World) -> None:
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


def test_a_dry_run_counts_what_would_go_and_changes_nothing(world: World) -> None:
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


def test_a_run_out_of_time_stops_and_later_runs_finish(world: World) -> None:
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
        started = world.clock.now()
        summary = world.run(seconds=5)
        assert world.clock.now() - started <= 5
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


def test_a_failing_policy_does_not_affect_the_others(world: World) -> None:
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


def test_an_unexpected_failure_does_not_affect_the_others(world: World) -> None:
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
    assert of(summary, "metric_sync_logs")["error"] == (
        "an error in the worker itself: please report it. KeyError: 'went'"
    )
    assert of(summary, "notification_queue")["purged"] == 1


def test_a_failure_that_quotes_a_secret_is_reported_without_it(world: World) -> None:
    world.policy("activity_log", 90, 365)
    secret = world.api.keys.secret
    call = world.database.call

    def quoting(function: str, **arguments: Any) -> Any:
        if function == "archive_activity_batch":
            raise PermanentError(f"refused apikey {secret}", code="odd")
        return call(function, **arguments)

    world.database.call = quoting  # type: ignore[method-assign]
    error = of(world.run(), "activity_log")["error"]
    assert error == "odd: refused apikey [redacted]"
    (progress,) = world.rows("select error from retention_progress")
    assert progress["error"] == error


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
    assert world.run()["outcome"] == "complete", "the lease was released"


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
    assert summary["outcome"] == "unfinished", "left to the other run, not a failure"
    assert of(summary, "metric_sync_logs")["status"] == "unfinished", "left to the other run"


def test_an_unknown_entity_type_is_refused_by_the_database_too(world: World) -> None:
    with pytest.raises(Exception, match="there is no retention for clients"):
        world.connection.execute("select count_retention('clients', now(), now(), 1)")


def test_rows_that_cannot_be_counted_are_archived_all_the_same(world: World) -> None:
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
    """Rows that are kept longer are older than those that go, and are not read."""
    # without dead rows of earlier tests
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


def test_threads_without_recent_messages_are_purged(world: World) -> None:
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
