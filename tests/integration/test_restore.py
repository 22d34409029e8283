"""The restore command: from the cold archive back into the database."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LocalStack
from tests.integration.archive_bucket import BUCKET, DAY, Bucket, lines
from workers.composition.restore import MOST_CHARACTERS, MOST_LINES, in_requests
from workers.operate.__main__ import main
from workers.retention.cold import build_chunk

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

    assert run(*THESE_DAYS) == (0, "1500 of 1500 rows restored; the others already existed.\n")
    assert table(stack) == rows
    assert "2025-03-12: 1500 rows read, 1500 restored\n" in capsys.readouterr().err


def test_rows_that_are_there_stay_as_they_are(run: Run, stack: LocalStack, bucket: Bucket) -> None:
    rows = archived_rows(stack, 3)
    bucket.archive().store(rows)
    status, text = run(*THESE_DAYS, "--json")
    assert (status, json.loads(text)) == (0, {"read": 3, "restored": 0, "ignored": []})
    assert table(stack) == rows


def test_an_object_without_a_manifest_is_reported(
    run: Run, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    orphan = build_chunk(DAY, lines(2))
    bucket.put(orphan.manifest.object_key, orphan.body)
    assert run(*THESE_DAYS) == (0, "The cold archive has nothing for these days.\n")
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
