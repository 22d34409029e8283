"""A round of retention: rows of all ages, disturbed runs, and a clean one."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from local.http_server import HttpServer
from local.services.proxy import proxy
from tests.integration.moto_s3 import CREDENTIALS, client
from tests.retention.test_crashes import (
    BUCKET,
    COLD,
    KINDS,
    OTHERS,
    PLAIN,
    Others,
    Store,
    other_rows,
    others_there,
)
from tests.retention.world import World, days_ago
from tests.soak.chaos import TIMEOUT_SECONDS, end_faults, kinds, spoil
from tests.soak.ground import Ground
from tests.soak.processes import assert_listed, run_process
from tests.soak.tally import Tally, assert_silent
from workers.retention.archive import ColdArchive

ACTIVE_DAYS, ARCHIVE_DAYS = 90, 365
# Ages well within a retention period and just past it.
ACTIVE_AGES = (1, 89, 91, 100, 364, 366, 400)
ARCHIVED_AGES = (100, 364, 366, 400, 401, 700)
PURGE_PATHS = (
    "", "archive_activity_batch", "purge_archived_batch", "purge_archived_lines",
    "purge_notification_batch", "purge_sync_log_batch",
)  # fmt: skip
# Policies that cannot be carried out, or that a longer retention overrules.
ODD_POLICIES = (("clients", 1, 1), ("activity_log", 0, 1), ("activity_log", 1, 1), ("", -5, 7))


@dataclass(frozen=True)
class Rows:
    """Ids of the rows at the start: all activity, the activity to keep, and other tables' rows."""

    kept: frozenset[str]
    all: frozenset[str]
    others: Others


def play(ground: Ground, rng: random.Random, tally: Tally) -> None:
    """One round. Raises AssertionError for a broken promise."""
    with proxy(ground.api.url) as between:
        world = World(replace(ground.api, url=between.url))
        try:
            store = _new_store(ground) if rng.random() < 0.6 else None
            rows = _fill(world, rng)
            for _ in range(rng.randint(1, 3)):
                _disturbed_run(ground, world, between, store, rng, tally)
                _check_meanwhile(world, store, rows)
                world.clock.advance(rng.choice((1.0, 30.0, 120.0)))
            _finish(world, store)
            _check(ground, world, store, rows)
            _count(world, rows, tally)
        finally:
            world.close()


def _new_store(ground: Ground) -> Store:
    ground.s3.reset()
    s3 = client(ground.s3)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return Store(ground.s3, s3)


def _fill(world: World, rng: random.Random) -> Rows:
    world.policy("activity_log", ACTIVE_DAYS, ARCHIVE_DAYS)
    for policy in rng.sample(ODD_POLICIES, rng.randrange(len(ODD_POLICIES))):
        world.policy(*policy)
    for days in ACTIVE_AGES:
        world.activity(rng.randint(0, 40), days_ago(days))
    for days in ARCHIVED_AGES:
        world.activity(rng.randint(0, 40), days_ago(days), "archived_activity_log")
    everything = _ids(world, "true")
    return Rows(
        frozenset(_ids(world, f"created_at >= '{days_ago(ARCHIVE_DAYS)}'")),
        frozenset(everything),
        other_rows(world, lambda: rng.randint(0, 2)),
    )


def _ids(world: World, condition: str) -> list[str]:
    """The ids in the two tables; a row in both of them occurs twice."""
    query = " union all ".join(
        f"select id::text from {table} where {condition}"  # noqa: S608
        for table in ("activity_log", "archived_activity_log")
    )
    return [row["id"] for row in world.rows(query)]


def _disturbed_run(
    ground: Ground, world: World, between: HttpServer, store: Store | None, rng: random.Random,
    tally: Tally,
) -> None:  # fmt: skip
    spoil(between, rng, kinds(ground.api.keys.secret), paths=PURGE_PATHS)
    spoil(ground.s3, rng, kinds("AWS4-HMAC-SHA256 Signature=42"), within=6)
    s3_url = ground.reached(ground.s3.url, rng, tally) if store else ground.s3.url
    order = {
        "url": ground.reached(between.url, rng, tally),
        "key": world.api.keys.secret,
        "as_of": world.clock.as_of().isoformat(),
        "bucket": BUCKET if store else None,
        "kill_at": rng.choice((None, rng.choice(PLAIN + OTHERS + (COLD if store else ())))),
        "timeout": TIMEOUT_SECONDS,
    }
    ended = run_process(
        "tests.retention.killed_run", order, patience=ground.patience(rng),
        passed=world.clock.advance,
        environment={**CREDENTIALS, "AWS_ENDPOINT_URL_S3": s3_url},
    )  # fmt: skip
    tally.add("retention runs", ended.how)
    assert_listed(ended.steps, KINDS)
    assert_silent(ended.said, ground.secrets)
    end_faults(between, tally)
    end_faults(ground.s3, tally)


def _finish(world: World, store: Store | None) -> None:
    cold = ColdArchive(BUCKET, store.s3) if store else None
    for _ in range(4):
        world.clock.advance(120)
        summary = world.run(cold=cold)
        if summary["outcome"] == "complete":
            return
    raise AssertionError(f"a clean run does not complete: {summary}")


def _check_meanwhile(world: World, store: Store | None, rows: Rows) -> None:
    found = _ids(world, "true")
    assert len(found) == len(set(found)), "a row is in both tables"
    assert rows.kept <= set(found), "a row is gone before its retention ended"
    assert rows.others.kept <= others_there(world), "a row that must be kept is gone"
    if store:
        gone = rows.all - set(found)
        assert gone <= _stored(store), "a row was purged that is not in the cold archive"


def _stored(store: Store) -> set[str]:
    return {_id_of(line) for line in store.rows()}


def _id_of(line: str) -> str:
    """The id in a row's text, whose numbers are longer than a JSON parser preserves."""
    return line.partition('"id": "')[2].partition('"')[0]


def _check(ground: Ground, world: World, store: Store | None, rows: Rows) -> None:
    _check_meanwhile(world, store, rows)
    assert set(_ids(world, "true")) == rows.kept, "a row outlived its retention"
    assert others_there(world) == rows.others.kept, "a row outlived its retention"
    late = world.rows("select 1 from activity_log where created_at < %s", days_ago(ACTIVE_DAYS))
    assert not late, f"{len(late)} rows were not archived in time"
    early = world.rows(
        "select 1 from archived_activity_log where created_at >= %s", days_ago(ACTIVE_DAYS)
    )
    assert not early, f"{len(early)} rows were archived too early"
    if store:
        lines = store.rows()
        assert len(lines) == len(set(lines)) == len(rows.all - rows.kept), "not once each"
    assert_silent(world.rows("select * from retention_progress"), ground.secrets)


def _count(world: World, rows: Rows, tally: Tally) -> None:
    tally.add("activity rows", "in neither or both", 0)
    tally.add("activity rows", "archived", world.count("archived_activity_log"))
    tally.add("activity rows", "purged", len(rows.all - rows.kept))
    tally.add("other rows", "purged", len(rows.others.all - rows.others.kept))
    tally.add("other rows", "kept", len(rows.others.kept))
