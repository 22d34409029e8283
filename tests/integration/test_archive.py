"""The cold archive on moto's S3: what counts as stored, and every way in which S3 can fail."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.faults import Fault, close, failing, hang, redirect, reset, truncate
from local.http_server import HttpServer
from tests.conftest import LocalStack
from tests.integration.moto_s3 import CREDENTIALS, REGION, MotoS3, client, path_of, s3_error
from workers.errors import ConfigurationError, DamagedArchiveError, PermanentError, TransientError
from workers.operate.__main__ import main
from workers.operate.archive import MOST_CHARACTERS, MOST_LINES, in_requests
from workers.retention.archive import MOST_DAYS, ColdArchive
from workers.retention.cold import build_chunk, by_date

BUCKET = "agency-archive"
DAY = date(2025, 3, 11)
NEXT_DAY = DAY + timedelta(days=1)


@dataclass
class Bucket:
    """The bucket, past the archive: what lies in it, and what goes wrong on the way to it."""

    server: HttpServer
    s3: Any

    @property
    def app(self) -> MotoS3:
        assert isinstance(self.server.app, MotoS3)
        return self.server.app

    def archive(self) -> ColdArchive:
        """As a new process has it."""
        return ColdArchive(BUCKET)

    def keys(self) -> list[str]:
        return list(self.app.state()[BUCKET])

    def objects(self) -> list[str]:
        return [key for key in self.keys() if key.endswith(".jsonl.gz")]

    def manifests(self) -> list[str]:
        return [key for key in self.keys() if key.endswith(".manifest.json")]

    def body(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=BUCKET, Key=key)

    def fails(self, fault: Fault) -> None:
        self.server.faults.add(fault)

    def calls(self, method: str) -> int:
        return sum(one["method"] == method for one in self.server.journal.listing())

    def all_lines(self) -> list[str]:
        chunks = self.archive().read(date.min, date.max)
        return [line for chunk in chunks for line in chunk.lines]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with HttpServer(MotoS3()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        s3 = client(server)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        server.journal.clear()
        yield Bucket(server, s3)


def lines(count: int, day: date = DAY, start: int = 0) -> list[str]:
    return [
        json.dumps(
            {
                "id": str(UUID(int=number)),
                "created_at": f"{day}T{number // 60:02}:{number % 60:02}:00+00:00",
                "details": {"number": number},
            }
        )
        for number in range(start, start + count)
    ]


def test_what_is_stored_lies_there_with_its_manifest(bucket: Bucket) -> None:
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
def test_what_somebody_else_said_was_stored_holds_up_no_later_run(
    bucket: Bucket, kind: str
) -> None:
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


def test_a_line_that_is_no_row_stops_it_before_anything_is_written(bucket: Bucket) -> None:
    with pytest.raises(PermanentError, match="no JSON object with an id"):
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


def test_a_row_that_changed_is_written_and_the_later_one_is_read_first(bucket: Bucket) -> None:
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


@pytest.mark.parametrize(("damage", "told"), DAMAGES, ids=["flipped", "short", "empty", "long"])
def test_a_damaged_object_is_found_by_the_next_run_and_by_a_restore(
    bucket: Bucket, damage: Callable[[bytes], bytes], told: str
) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.put(key, damage(bucket.body(key)))

    for attempt in (lambda: bucket.archive().store(lines(5)), bucket.all_lines):
        with pytest.raises(DamagedArchiveError, match=told) as caught:
            attempt()
        assert caught.value.key == key
        assert caught.value.code == "archive_damaged"


@pytest.mark.parametrize(("damage", "told"), DAMAGES, ids=["flipped", "short", "empty", "long"])
def test_what_reads_back_otherwise_was_not_stored(
    bucket: Bucket, damage: Callable[[bytes], bytes], told: str
) -> None:
    bucket.app.spoil = lambda request, body: (
        damage(body) if request.method == "GET" and request.path.endswith(".gz") else body
    )
    with pytest.raises(DamagedArchiveError, match=r"date=2025-03-11/\w+\.jsonl\.gz"):
        bucket.archive().store(lines(5))


def test_a_manifest_that_reads_back_otherwise_was_not_stored(bucket: Bucket) -> None:
    bucket.app.spoil = lambda request, body: (
        body.replace(b'"rows": 5', b'"rows": 6') if request.method == "GET" else body
    )
    with pytest.raises(DamagedArchiveError, match=r"\.manifest\.json"):
        bucket.archive().store(lines(5))


def test_a_damaged_manifest_is_named(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.manifests()
    bucket.put(key, b"{")
    with pytest.raises(DamagedArchiveError, match="no manifest") as caught:
        bucket.archive().store(lines(5))
    assert caught.value.key == key


def test_a_manifest_whose_object_is_gone_is_named(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.delete(key)
    with pytest.raises(DamagedArchiveError, match="missing") as caught:
        bucket.archive().store(lines(5))
    assert caught.value.key == key


def test_that_it_is_gone_is_told_also_to_a_role_that_may_list_its_prefix_only(
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


@pytest.mark.parametrize(
    "fault",
    [
        s3_error("InternalError", 500),
        s3_error("SlowDown", 503),
        s3_error("RequestTimeout", 400),
        s3_error("BadDigest", 400),
        failing(502, times=None),
        failing(429, times=None),
        reset(times=None),
        close(times=None),
    ],
    ids=lambda fault: f"{fault.how} {fault.status} {fault.body[27:50]}",
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_trouble_that_passes_is_transient(bucket: Bucket, fault: Fault, method: str) -> None:
    bucket.fails(Fault(**{**vars(fault), "method": method}))
    with pytest.raises(TransientError):
        bucket.archive().store(lines(5))
    assert bucket.manifests() == []


def test_trouble_that_passes_at_once_is_not_noticed(bucket: Bucket) -> None:
    bucket.fails(failing(503, method="PUT"))
    bucket.fails(failing(503, method="GET"))
    assert bucket.archive().store(lines(5))[0] == lines(5)


def test_an_answer_that_breaks_off_is_transient_and_names_the_object(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.fails(truncate(method="GET", path=path_of(BUCKET, key), times=None))
    with pytest.raises(TransientError, match=key):
        bucket.archive().store(lines(5))


def test_nobody_there_is_transient(bucket: Bucket) -> None:
    archive = bucket.archive()
    bucket.server.stop()
    with pytest.raises(TransientError, match="cannot be reached"):
        archive.store(lines(5))


def test_a_name_that_dns_does_not_know_is_transient(bucket: Bucket) -> None:
    impatient = Config(retries={"total_max_attempts": 1})
    elsewhere = boto3.client("s3", config=impatient, endpoint_url="http://s3.invalid")
    with pytest.raises(TransientError, match="EndpointConnectionError"):
        ColdArchive(BUCKET, elsewhere).store(lines(3))


def test_no_answer_in_time_is_transient(bucket: Bucket) -> None:
    impatient = Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    archive = ColdArchive(BUCKET, boto3.client("s3", config=impatient))
    bucket.fails(hang(30))
    with pytest.raises(TransientError, match="ReadTimeoutError"):
        archive.store(lines(5))


def test_the_calls_do_not_wait_for_long(bucket: Bucket) -> None:
    config = bucket.archive()._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("InvalidAccessKeyId", 403),
        ("IllegalLocationConstraintException", 400),
    ],
)
def test_a_refusal_is_a_matter_of_configuration(
    bucket: Bucket, method: str, code: str, status: int
) -> None:
    bucket.fails(s3_error(code, status, method=method))
    with pytest.raises(ConfigurationError, match=f"{code}.*ARCHIVE_BUCKET_NAME") as caught:
        bucket.archive().store(lines(5))
    assert caught.value.code == code
    assert bucket.manifests() == []


def test_a_read_back_that_is_refused_says_of_what(bucket: Bucket) -> None:
    key = build_chunk(DAY, lines(5)).manifest.object_key
    bucket.fails(s3_error("AccessDenied", 403, method="GET", path=path_of(BUCKET, key)))
    with pytest.raises(ConfigurationError, match=key):
        bucket.archive().store(lines(5))


def test_a_redirect_is_a_matter_of_configuration_and_not_followed(bucket: Bucket) -> None:
    bucket.fails(redirect(f"{bucket.server.url}/elsewhere", method="PUT", times=None))
    with pytest.raises(ConfigurationError, match=r"302.*ARCHIVE_BUCKET_NAME"):
        bucket.archive().store(lines(3))
    assert bucket.keys() == []
    assert not any("elsewhere" in one["path"] for one in bucket.server.journal.listing())


def test_a_bucket_that_does_not_exist_is_a_matter_of_configuration(bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="NoSuchBucket"):
        ColdArchive("none").store(lines(5))


def test_a_name_that_no_bucket_can_have_is_a_matter_of_configuration(bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="Invalid bucket name"):
        ColdArchive("no bucket").store(lines(5))


def test_missing_credentials_are_a_matter_of_configuration(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigurationError, match="credentials"):
        bucket.archive().store(lines(5))


def test_what_is_new_to_us_goes_through(bucket: Bucket) -> None:
    bucket.fails(s3_error("SomethingOfNextYear", 400))
    with pytest.raises(ClientError, match="SomethingOfNextYear"):
        bucket.archive().store(lines(5))


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


def test_what_comes_before_the_damage_is_read(bucket: Bucket) -> None:
    bucket.archive().store([*lines(3), *lines(3, NEXT_DAY, start=10)])
    bucket.put(bucket.objects()[1], b"x")
    found = bucket.archive().read(DAY, NEXT_DAY)
    assert list(next(found).lines) == lines(3)
    with pytest.raises(DamagedArchiveError, match="date=2025-03-12"):
        next(found)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(stack: LocalStack, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name, value in {**stack.environment(), "ARCHIVE_BUCKET_NAME": BUCKET}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        return main(["restore", *arguments], out), out.getvalue()

    return call


THESE_DAYS = ("--since", "2025-03-11", "--until", "2025-03-12")


def archived_rows(stack: LocalStack, count: int) -> list[str]:
    """New rows of archived_activity_log, one a minute from the morning of DAY."""
    stack.connection.execute(
        """
        insert into archived_activity_log
          (id, user_id, entity_type, entity_id, action, details, created_at, archived_at)
        select gen_random_uuid(), gen_random_uuid(), 'request', gen_random_uuid(), 'updated',
               ('{"n": 1.' || repeat('1', 30) || ', "t": "\\u2028 é"}')::jsonb,
               timestamptz '2025-03-11 08:00:00.000001+00' + number * interval '1 minute',
               '2025-06-01'
          from generate_series(1, %s) number
        """,
        (count,),
    )
    return table(stack)


def table(stack: LocalStack) -> list[str]:
    found = stack.connection.execute(
        "select to_jsonb(archived)::text from archived_activity_log archived "
        "where created_at < '2025-03-13' order by created_at"
    )
    return [row[0] for row in found.fetchall()]


def test_restored_rows_equal_the_originals_to_the_last_column(
    run: Run, stack: LocalStack, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = archived_rows(stack, 1500)
    bucket.archive().store(rows)
    stack.connection.execute("delete from archived_activity_log where created_at < '2025-03-13'")

    assert run(*THESE_DAYS) == (0, "1500 of 1500 rows restored; the others were there.\n")
    assert table(stack) == rows
    assert "2025-03-12: 1500 rows read, 1500 restored\n" in capsys.readouterr().err


def test_rows_that_are_there_stay_as_they_are(run: Run, stack: LocalStack, bucket: Bucket) -> None:
    rows = archived_rows(stack, 3)
    bucket.archive().store(rows)
    status, text = run(*THESE_DAYS, "--json")
    assert (status, json.loads(text)) == (0, {"read": 3, "restored": 0, "ignored": []})
    assert table(stack) == rows


def test_an_object_without_a_manifest_is_told(
    run: Run, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    orphan = build_chunk(DAY, lines(2))
    bucket.put(orphan.manifest.object_key, orphan.body)
    assert run(*THESE_DAYS) == (0, "Nothing of these days is in the cold archive.\n")
    assert orphan.manifest.object_key in capsys.readouterr().err


def test_a_damaged_object_fails_the_command_and_is_named(
    run: Run, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.archive().store(lines(3))
    (key,) = bucket.objects()
    bucket.put(key, b"x")
    assert run(*THESE_DAYS) == (1, "")
    assert f"{key} in the cold archive is damaged" in capsys.readouterr().err


def test_a_range_that_ends_before_it_begins_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--since", "2025-03-12", "--until", "2025-03-11")[0] == 2
    assert "--until is before" in capsys.readouterr().err


def test_without_a_bucket_its_setting_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # as the template sets it where there is no archive
    monkeypatch.setenv("ARCHIVE_BUCKET_NAME", "")
    assert run(*THESE_DAYS)[0] == 1
    assert "ARCHIVE_BUCKET_NAME is missing" in capsys.readouterr().err


def test_requests_are_bounded_in_lines_and_in_characters() -> None:
    many = [str(number) for number in range(2 * MOST_LINES + 1)]
    assert [len(piece) for piece in in_requests(many)] == [MOST_LINES, MOST_LINES, 1]
    large = "x" * MOST_CHARACTERS
    assert list(in_requests(["a", large, large + "y", "b"])) == [
        ["a"],
        [large],
        [large + "y"],
        ["b"],
    ]
    assert list(in_requests([])) == []
