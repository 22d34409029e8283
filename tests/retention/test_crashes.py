"""Retention runs that are killed at each step, with and without a cold archive: no row is ever
missing from both places, and none goes before its time."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any, NamedTuple

import pytest

from local.faults import redirect
from local.http_server import HttpServer
from tests import forked
from tests.integration.moto_s3 import CREDENTIALS, MotoS3, client, s3_error
from tests.notifications.killed_run import kinds_of
from tests.retention.world import World, days_ago
from workers.retention.archive import ColdArchive

BUCKET = "agency-archive"
# Where a crash can fall in a run over one policy, whose rows are of two days.
PLAIN = (
    *(
        f"{when} {step} 1"
        for step in (
            "take_worker_lease", "list_retention_policies", "count_retention",
            "archive_activity_batch", "purge_archived_batch", "complete_retention_policies",
            "record_retention_progress", "purge_worker_runs", "renew_worker_lease",
        )
        for when in ("before", "after")
    ),
)  # fmt: skip
COLD = tuple(
    f"{when} {step}"
    for step in (
        "read_archived_activity 1", "ListObjectsV2 1", "PutObject 1", "PutObject 2", "PutObject 3",
        "GetObject 1", "GetObject 2",
        "purge_archived_lines 1", "read_archived_activity 2", "count_due 1",
    )
    for when in ("before", "after")
)  # fmt: skip

# Where one can fall while notifications and sync logs are purged, which goes nowhere else.
OTHERS = tuple(
    f"{when} {step}"
    for step in (
        "purge_notification_batch 1", "purge_notification_batch 2", "purge_sync_log_batch 1",
        "purge_sync_log_batch 2", "complete_retention_policies 1",
    )
    for when in ("before", "after")
)  # fmt: skip
# Where S3 redirects, its client asks where the bucket is.
REDIRECTED = ("before HeadBucket 1", "after HeadBucket 1")
KINDS = kinds_of((*PLAIN, *COLD, *OTHERS, *REDIRECTED))


@dataclass
class Store:
    """The bucket, as the test looks into it."""

    server: HttpServer
    s3: Any

    def rows(self) -> list[str]:
        """The rows in all objects that have a manifest."""
        app = self.server.app
        assert isinstance(app, MotoS3)
        keys = set(app.state()[BUCKET])
        found = []
        for key in keys:
            if key.endswith(".jsonl.gz") and key.replace(".jsonl.gz", ".manifest.json") in keys:
                body = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                found += gzip.decompress(body).decode().splitlines()
        return found


class Others(NamedTuple):
    """Ids of rows that are not activity: all, and those whose time has not come."""

    all: set[str]
    kept: set[str]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[HttpServer]:
    with HttpServer(MotoS3()) as server:
        yield server


@pytest.fixture
def store(s3_server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    s3_server.reset()
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.url)
    made = client(s3_server)
    made.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return Store(s3_server, made)


def killed_run(world: World, kill_at: str | None, bucket: str | None) -> list[str]:
    """The steps that a run took until it was killed, or to its end."""
    order = {
        "url": world.api.url,
        "key": world.api.keys.secret,
        "as_of": world.clock.as_of().isoformat(),
        "bucket": bucket,
        "kill_at": kill_at,
    }
    lines = forked.killed_run("tests.retention.killed_run", order, {"NO_PROXY": "127.0.0.1"})
    taken = [line for line in lines if not line.startswith("ended ")]
    assert kinds_of(taken) <= KINDS, "a step that is on no list, so that no kill is tried there"
    return lines


def old_rows(world: World) -> set[str]:
    """Rows to archive and rows to purge on two days; the texts of those to purge."""
    world.policy("activity_log", 90, 365)
    world.activity(5, days_ago(100))
    world.activity(3, days_ago(400), "archived_activity_log")
    world.activity(4, days_ago(401), "archived_activity_log")
    return {
        row["line"]
        for row in world.rows(
            "select to_jsonb(archived)::text as line from archived_activity_log archived"
        )
    }


def everywhere(world: World) -> list[str]:
    """The ids in both tables, in order."""
    return sorted(
        str(row["id"])
        for row in world.rows(
            "select id from activity_log union all select id from archived_activity_log"
        )
    )


def after_the_lease(world: World) -> None:
    world.clock.advance(timedelta(minutes=2).total_seconds())


def other_rows(world: World, copies: Callable[[], int] = lambda: 2) -> Others:
    """Notifications and sync logs, past their time or not, so many of each."""
    world.policy("notification_queue", 30, 90)
    world.policy("metric_sync_logs", 30, 90)
    config = world.agency.config("C0TEST000")
    found = Others(set(), set())
    for days, ended, failed in product((29, 31, 89, 91), (True, False), (True, False)):
        stays = days < (90 if failed else 30) or not ended
        for _ in range(copies()):
            ids = (
                _notification(world, config, days, ended, failed),
                _sync_log(world, days, ended, failed),
            )
            found.all.update(ids)
            found.kept.update(ids if stays else ())
    return found


def _notification(world: World, config: str, days: int, ended: bool, failed: bool) -> str:
    values: dict[str, Any] = {"attempts": 5 if failed and ended else 0}
    if ended:
        values |= {"is_processed": not failed, "outcome": "dead" if failed else "sent"}
    return world.agency.notification(config, {}, created_at=days_ago(days), **values)


def _sync_log(world: World, days: int, ended: bool, failed: bool) -> str:
    status = ("failed" if failed else "success") if ended else "in_progress"
    (row,) = world.rows(
        "insert into metric_sync_logs (status, start_time) values (%s, %s) returning id",
        status,
        days_ago(days),
    )
    return str(row["id"])


def others_there(world: World) -> set[str]:
    """The ids of the notifications and sync logs that exist."""
    query = "select id from notification_queue union all select id from metric_sync_logs"
    return {str(row["id"]) for row in world.rows(query)}


def test_the_steps_are_those_of_a_run(world: World, store: Store) -> None:
    old_rows(world)
    *taken, ended = killed_run(world, None, None)
    assert ended == "ended complete"
    assert kinds_of(taken) == kinds_of(PLAIN)
    assert set(PLAIN) <= set(taken)

    world.connection.execute("truncate archived_activity_log, activity_log, retention_policies")
    old_rows(world)
    *taken, ended = killed_run(world, None, BUCKET)
    assert ended == "ended complete"
    assert set(COLD) <= set(taken)

    world.connection.execute("truncate archived_activity_log, activity_log, retention_policies")
    other_rows(world)
    *taken, ended = killed_run(world, None, None)
    assert ended == "ended complete"
    assert set(OTHERS) <= set(taken)


@pytest.mark.parametrize("step", OTHERS)
def test_a_kill_while_other_rows_are_purged(world: World, step: str) -> None:
    others = other_rows(world)
    assert killed_run(world, step, None)[-1] == step
    assert others.kept <= others_there(world) <= others.all
    after_the_lease(world)
    assert world.run()["outcome"] == "complete"
    assert others_there(world) == others.kept


@pytest.mark.parametrize("step", PLAIN)
def test_a_kill_loses_no_row_and_a_rerun_completes(world: World, step: str) -> None:
    old_rows(world)
    before = everywhere(world)
    assert killed_run(world, step, None)[-1] == step
    after = everywhere(world)
    assert len(set(after)) == len(after), "no row is in both tables"
    assert set(before) - set(after) in (
        set(), set(before) - {str(row["id"]) for row in _to_be_kept(world)}
    )  # fmt: skip
    after_the_lease(world)
    assert world.run()["outcome"] == "complete"
    assert world.count("activity_log") == 0
    assert world.count("archived_activity_log") == 5


def _to_be_kept(world: World) -> list[dict[str, Any]]:
    """The rows that are to be archived and not yet to be purged, wherever they are."""
    return world.rows(
        "select id from activity_log union all "
        "select id from archived_activity_log where created_at >= %s",
        days_ago(365),
    )


@pytest.mark.parametrize("step", COLD)
def test_a_kill_on_the_way_to_the_cold_archive(world: World, store: Store, step: str) -> None:
    lines = old_rows(world)
    assert killed_run(world, step, BUCKET)[-1] == step

    def in_the_table() -> set[str]:
        return {
            row["line"]
            for row in world.rows(
                "select to_jsonb(archived)::text as line from archived_activity_log archived "
                "where created_at < %s",
                days_ago(365),
            )
        }

    assert in_the_table() | set(store.rows()) >= lines, "at worst in both places"
    after_the_lease(world)
    assert world.run(cold=ColdArchive(BUCKET))["outcome"] == "complete"
    assert in_the_table() == set()
    assert sorted(store.rows()) == sorted(lines), "and no second copy counts"


@pytest.mark.parametrize("step", REDIRECTED)
def test_a_kill_while_the_bucket_is_looked_for(world: World, store: Store, step: str) -> None:
    lines = old_rows(world)
    store.server.faults.add(redirect("http://127.0.0.1:9/elsewhere", method="PUT"))
    assert killed_run(world, step, BUCKET)[-1] == step
    after_the_lease(world)
    assert world.run(cold=ColdArchive(BUCKET))["outcome"] == "complete"
    assert sorted(store.rows()) == sorted(lines)


def test_a_redirect_fails_one_policy_and_no_other(world: World, store: Store) -> None:
    old_rows(world)
    others = other_rows(world)
    store.server.faults.add(redirect("http://127.0.0.1:9/elsewhere", method="PUT", times=None))
    summary = world.run(cold=ColdArchive(BUCKET))
    assert {one["entity_type"]: one["status"] for one in summary["policies"]} == {
        "activity_log": "failed", "notification_queue": "complete", "metric_sync_logs": "complete"
    }  # fmt: skip
    assert others_there(world) == others.kept
    assert world.count("archived_activity_log") == 12, "nothing is purged that is not stored"


def test_restored_rows_are_the_originals_to_the_last_column(world: World, store: Store) -> None:
    old_rows(world)
    world.take_snapshot(["archived_activity_log"])
    try:
        summary = world.run(cold=ColdArchive(BUCKET))
        assert summary["outcome"] == "complete"
        assert summary["policies"][0]["verified_bytes"] > 0
        assert world.count("archived_activity_log") == 5
        days = (days_ago(410).date(), days_ago(390).date())
        for chunk in ColdArchive(BUCKET).read(*days):
            world.database.call("restore_archived_activity", lines=list(chunk.lines))
        (differences,) = world.rows(
            "select (select count(*) from (select * from snapshot_archived_activity_log except "
            "select * from archived_activity_log) x) as lost, "
            "(select count(*) from archived_activity_log) as count"
        )
        assert differences == {"lost": 0, "count": 12}
    finally:
        world.drop_snapshot(["archived_activity_log"])


@pytest.mark.parametrize("damage", ["corrupted", "short", "denied"])
def test_rows_that_are_not_verified_are_not_purged(world: World, store: Store, damage: str) -> None:
    old_rows(world)
    app = store.server.app
    assert isinstance(app, MotoS3)
    if damage == "denied":
        store.server.faults.add(s3_error("AccessDenied", 403, method="PUT"))
    else:
        cut = slice(0, -3) if damage == "short" else slice(None)

        def spoil(request: Any, body: bytes) -> bytes:
            if request.method == "GET" and ".jsonl.gz" in request.path:
                return (body[:20] + b"\x00" + body[21:])[cut]
            return body

        app.spoil = spoil
    summary = world.run(cold=ColdArchive(BUCKET))
    (done,) = summary["policies"]
    assert (done["status"], done["purged"]) == ("failed", 0)
    assert "denied" not in damage or "AccessDenied" in done["error"]
    assert damage == "denied" or "activity_log/date=" in done["error"]
    assert world.count("archived_activity_log") == 12, "the archiving went on, the purge did not"


def test_two_runs_at_once_do_the_work_once(world: World, store: Store) -> None:
    lines = old_rows(world)
    with ThreadPoolExecutor(2) as pool:
        ends = [steps[-1] for steps in pool.map(lambda _: killed_run(world, None, BUCKET), "ab")]
    assert "ended complete" in ends
    assert set(ends) <= {"ended complete", "ended busy"}
    assert sorted(store.rows()) == sorted(lines), "nothing is kept twice"
    assert (world.count("activity_log"), world.count("archived_activity_log")) == (0, 5)
