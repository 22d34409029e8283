"""The cold archive on moto's S3: what counts as stored, which damage is found, what is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from local.faults import failing
from tests.integration.archive_bucket import BUCKET, DAY, NEXT_DAY, Bucket, lines
from tests.integration.conftest import bucket
from tests.integration.moto_s3 import path_of, s3_error
from workers.errors import DamagedArchiveError, PermanentError
from workers.retention.archive import MOST_DAYS, ColdArchive
from workers.retention.cold import build_chunk, by_date

# Its fixture too is taken from here by tests in other folders.
__all__ = ["BUCKET", "DAY", "Bucket", "bucket", "lines"]


def test_a_stored_object_has_its_manifest(bucket: Bucket) -> None:
    stored, written = bucket.archive().store(lines(5))

    (key,), (manifest,) = bucket.objects(), bucket.manifests()
    chunk = build_chunk(DAY, lines(5))
    assert stored == lines(5)
    assert bucket.body(key) == chunk.body
    assert bucket.body(manifest) == chunk.manifest.body()
    assert written == len(chunk.body) + len(chunk.manifest.body())
    head = bucket.s3.head_object(Bucket=BUCKET, Key=key)
    assert head["ContentType"] == "application/gzip"


def test_s3_is_told_the_checksum_of_each_object(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    puts = [one for one in bucket.server.journal.listing() if one["method"] == "PUT"]
    assert len(puts) == 2
    assert all(one["headers"].get("x-amz-checksum-sha256") for one in puts)


def test_the_object_is_read_back_before_its_manifest_is_written(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    calls = [
        (one["method"], one["path"].rpartition(".")[2]) for one in bucket.server.journal.listing()
    ]
    assert calls[1:] == [("PUT", "gz"), ("GET", "gz"), ("PUT", "json"), ("GET", "json")]


@pytest.mark.parametrize("kind", [".jsonl.gz", ".manifest.json"])
def test_a_false_manifest_does_not_block_later_runs(bucket: Bucket, kind: str) -> None:
    """A gateway on the way answers with its page and status 200; nothing arrived."""
    skip = 0 if kind == ".jsonl.gz" else 1
    bucket.fails(failing(200, method="PUT", skip=skip))
    with pytest.raises(DamagedArchiveError, match=f"{kind} .*it is missing"):
        bucket.archive().store(lines(3))
    assert bucket.archive().store(lines(3))[0] == lines(3)
    assert bucket.all_lines() == lines(3)


def test_each_day_has_its_own_objects(bucket: Bucket) -> None:
    both = [*lines(2, NEXT_DAY, start=10), *lines(3)]
    stored, _ = bucket.archive().store(both)
    assert sorted(stored) == sorted(both)
    assert [key.split("/")[1] for key in bucket.objects()] == ["date=2025-03-11", "date=2025-03-12"]


def test_rows_of_very_many_days_are_taken_a_few_days_at_a_time(bucket: Bucket) -> None:
    days = [DAY + timedelta(days=number) for number in range(MOST_DAYS + 3)]
    waiting = [line for number, day in enumerate(days) for line in lines(1, day, start=number)]
    archive = bucket.archive()
    stored, _ = archive.store(waiting[::-1])
    assert sorted(by_date(stored)) == days[:MOST_DAYS]
    left = [line for line in waiting if line not in stored]
    assert archive.store(left)[0] == left


def test_without_rows_nothing_is_called(bucket: Bucket) -> None:
    assert bucket.archive().store([]) == ([], 0)
    assert bucket.server.journal.count() == 0


def test_an_invalid_row_stops_it_before_anything_is_written(bucket: Bucket) -> None:
    with pytest.raises(PermanentError, match="not a JSON object with an id"):
        bucket.archive().store([*lines(3), '{"id": "x", "created_at": "-infinity"}'])
    assert bucket.keys() == []


def test_a_day_in_pieces_fetches_no_manifest_again(bucket: Bucket) -> None:
    archive = bucket.archive()
    for start in range(0, 50, 10):
        archive.store(lines(10, start=start))
    assert len(bucket.objects()) == 5
    # each object and manifest once, to verify it, and the listing of each call
    assert bucket.calls("GET") == 5 * 2 + 5
    assert sorted(bucket.all_lines()) == sorted(lines(50))


def test_the_same_rows_again_are_found_and_not_written(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    before = bucket.keys()
    assert bucket.archive().store(lines(5)[::-1]) == (lines(5)[::-1], 0)
    assert bucket.keys() == before
    assert bucket.calls("PUT") == 2


def test_rows_cut_differently_are_found_too(bucket: Bucket) -> None:
    bucket.archive().store(lines(6))
    bucket.archive().store(lines(6, start=6))
    before = bucket.keys()

    assert bucket.archive().store(lines(4, start=4)) == (lines(4, start=4), 0)
    assert bucket.keys() == before


def test_of_known_and_new_rows_the_new_ones_are_written(bucket: Bucket) -> None:
    bucket.archive().store(lines(6))
    stored, written = bucket.archive().store(lines(6, start=3))
    assert stored == lines(6, start=3)
    assert written
    assert sorted(bucket.all_lines()) == sorted(lines(9)), "no row has a second copy"


def test_a_changed_row_is_written_again_and_the_later_version_read_first(bucket: Bucket) -> None:
    bucket.archive().store(lines(3))
    bucket.app.backdate(BUCKET, timedelta(minutes=1))
    changed = lines(3)[1].replace('"number": 1', '"number": 100')
    assert bucket.archive().store([changed])[1] > 0
    assert bucket.all_lines() == [changed, *lines(3)]


def test_an_object_without_a_manifest_does_not_count(bucket: Bucket) -> None:
    orphan = build_chunk(DAY, lines(5))
    bucket.put(orphan.manifest.object_key, orphan.body)
    ignored: list[str] = []
    assert list(bucket.archive().read(DAY, DAY, ignored.append)) == []
    assert ignored == [orphan.manifest.object_key]

    _, written = bucket.archive().store(lines(5))
    assert written
    assert bucket.objects() == [orphan.manifest.object_key], "it takes the place of the orphan"


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the archive's may catch it."""


class KilledClient:
    """A client of which the call of that number, or its answer, is the last."""

    def __init__(self, real: Any, number: int, *, after: bool) -> None:
        self._real, self._number, self._after = real, number, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name not in ("get_object", "put_object"):
            return method

        def call(**arguments: Any) -> Any:
            self._number -= 1
            if self._number == 0 and not self._after:
                raise Killed
            answer = method(**arguments)
            if self._number == 0:
                raise Killed
            return answer

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
def test_after_a_kill_at_any_call_a_rerun_leaves_each_row_once(
    bucket: Bucket, number: int, after: bool
) -> None:
    with pytest.raises(Killed):
        ColdArchive(BUCKET, KilledClient(bucket.s3, number, after=after)).store(lines(8))

    # with another size of batch
    assert bucket.archive().store(lines(3))[0] == lines(3)
    assert bucket.archive().store(lines(5, start=3))[0] == lines(5, start=3)
    assert sorted(bucket.all_lines()) == sorted(lines(8))


def flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (flipped, "SHA-256"),
    (lambda body: body[:-5], "bytes, not"),
    (lambda body: b"", "0 bytes, not"),
    (lambda body: body + b"\0", "bytes, not"),
]


@pytest.mark.parametrize(("damage", "shown"), DAMAGES, ids=["flipped", "short", "empty", "long"])
def test_a_damaged_object_is_found_by_the_next_run_and_by_a_restore(
    bucket: Bucket, damage: Callable[[bytes], bytes], shown: str
) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.put(key, damage(bucket.body(key)))

    for attempt in (lambda: bucket.archive().store(lines(5)), bucket.all_lines):
        with pytest.raises(DamagedArchiveError, match=shown) as caught:
            attempt()
        assert caught.value.key == key
        assert caught.value.code == "archive_damaged"


@pytest.mark.parametrize(("damage", "shown"), DAMAGES, ids=["flipped", "short", "empty", "long"])
def test_an_object_that_reads_back_differently_was_not_stored(
    bucket: Bucket, damage: Callable[[bytes], bytes], shown: str
) -> None:
    bucket.app.spoil = lambda request, body: (
        damage(body) if request.method == "GET" and request.path.endswith(".gz") else body
    )
    with pytest.raises(DamagedArchiveError, match=r"date=2025-03-11/\w+\.jsonl\.gz"):
        bucket.archive().store(lines(5))


def test_a_manifest_that_reads_back_differently_was_not_stored(bucket: Bucket) -> None:
    bucket.app.spoil = lambda request, body: (
        body.replace(b'"rows": 5', b'"rows": 6') if request.method == "GET" else body
    )
    with pytest.raises(DamagedArchiveError, match=r"\.manifest\.json"):
        bucket.archive().store(lines(5))


def test_a_damaged_manifest_is_named(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.manifests()
    bucket.put(key, b"{")
    with pytest.raises(DamagedArchiveError, match="not a valid manifest") as caught:
        bucket.archive().store(lines(5))
    assert caught.value.key == key


def test_a_manifest_whose_object_is_gone_is_named(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.delete(key)
    with pytest.raises(DamagedArchiveError, match="missing") as caught:
        bucket.archive().store(lines(5))
    assert caught.value.key == key


def test_a_missing_object_is_reported_even_to_a_role_that_may_list_one_prefix(
    bucket: Bucket,
) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.delete(key)
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: without the right to
    # list the bucket as a whole a key that does not exist is refused
    bucket.fails(s3_error("AccessDenied", 403, method="GET", path=path_of(BUCKET, key)))
    with pytest.raises(DamagedArchiveError, match="missing") as caught:
        bucket.archive().store(lines(5))
    assert caught.value.key == key


def test_damage_among_other_rows_does_not_matter_now(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.put(key, b"x")
    assert bucket.archive().store(lines(5, start=10))[0] == lines(5, start=10)


def test_a_range_is_read_with_both_its_days(bucket: Bucket) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    for number, day in enumerate(days):
        bucket.archive().store(lines(3, day, start=number * 10))
    bucket.put("activity_log/date=2025-03-12/notes.txt", b"not ours")
    bucket.put("activity_log/notes.txt", b"not ours")

    chunks = list(bucket.archive().read(days[1], days[3]))
    assert [chunk.manifest.date for chunk in chunks] == days[1:4]
    assert [line for chunk in chunks for line in chunk.lines] == [
        line for number in (1, 2, 3) for line in lines(3, days[number], start=number * 10)
    ]
    assert [chunk.manifest.date for chunk in bucket.archive().read(days[2], days[2])] == [days[2]]
    assert list(bucket.archive().read(days[4] + timedelta(days=1), date.max)) == []


def test_rows_before_the_damage_are_read(bucket: Bucket) -> None:
    bucket.archive().store([*lines(3), *lines(3, NEXT_DAY, start=10)])
    bucket.put(bucket.objects()[1], b"x")
    found = bucket.archive().read(DAY, NEXT_DAY)
    assert list(next(found).lines) == lines(3)
    with pytest.raises(DamagedArchiveError, match="date=2025-03-12"):
        next(found)
