"""The format of the cold archive: what goes in comes out, and nothing else does."""

from __future__ import annotations

import gzip
import hashlib
import json
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import DamagedArchiveError, PermanentError
from workers.retention.cold import (
    Chunk,
    Manifest,
    build_chunk,
    by_date,
    check_object,
    day_of,
    is_manifest,
    object_of,
    parse_manifest,
    row_key,
)

DAY = date(2025, 3, 11)
MIDNIGHT = datetime(2025, 3, 11, tzinfo=UTC)
MICROSECONDS_OF_A_DAY = 24 * 3600 * 1_000_000

# What Postgres stores: any text but NUL and halves of a character.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
details = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
moments = st.integers(0, MICROSECONDS_OF_A_DAY - 1).map(
    lambda microseconds: MIDNIGHT + timedelta(microseconds=microseconds)
)


def line_of(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def days_of(details: st.SearchStrategy[Any]) -> st.SearchStrategy[list[str]]:
    """The lines of some rows of one day."""
    row = st.fixed_dictionaries(
        {
            "id": st.uuids().map(str),
            "created_at": moments.map(datetime.isoformat),
            "details": details,
        }
    )
    rows = st.lists(row, min_size=1, max_size=12, unique_by=lambda one: one["id"])
    return rows.map(lambda rows: [line_of(row) for row in rows])


days_of_lines = days_of(details)
# Enough where it matters which rows there are and not what is in them.
plain_days = days_of(st.none())


def lines(count: int, day: date = DAY) -> list[str]:
    return [
        line_of({"id": f"{number:04}", "created_at": f"{day}T08:00:{number:02}+00:00"})
        for number in range(count)
    ]


def stored_again(chunk: Chunk) -> Chunk:
    """As another process finds it: by its bytes alone."""
    manifest = parse_manifest(chunk.manifest.key, chunk.manifest.body())
    return check_object(manifest, chunk.body)


@given(days_of_lines)
def test_any_lines_come_back_as_they_were(given_lines: list[str]) -> None:
    chunk = build_chunk(DAY, given_lines)
    again = stored_again(chunk)
    assert again == chunk
    assert sorted(again.lines) == sorted(given_lines)


@given(plain_days, st.randoms())
def test_the_same_rows_are_the_same_object(given_lines: list[str], random: Any) -> None:
    shuffled = [*given_lines]
    random.shuffle(shuffled)
    assert build_chunk(DAY, shuffled) == build_chunk(DAY, given_lines)


def test_a_line_keeps_every_character() -> None:
    line = (
        '{"id": "a",  "created_at":"2025-03-11T09:00:00.5+01:00", "details": {"n": '
        '1.10000000000000000000000000001, "m": 1e400, "z": "\u2028\x85"}}'
    )
    assert stored_again(build_chunk(DAY, [line])).lines == (line,)


@pytest.mark.parametrize("point", ["", ".", "e"])
def test_a_number_of_any_length_is_kept(point: str) -> None:
    number = "9" * 9000 + (f"{point}{'9' * 9000}" if point else "")
    line = f'{{"id": "a", "created_at": "2025-03-11T08:00:00+00:00", "details": {number}}}'
    assert stored_again(build_chunk(DAY, [line])).lines == (line,)


@settings(max_examples=20)
@given(
    st.sampled_from(["[", '{"a":']),
    st.text(),
    st.dictionaries(st.text(max_size=3), st.none() | st.text() | st.lists(st.text())),
)
def test_a_row_of_any_depth_is_stored_under_its_own_key(
    opening: str, text: str, others: dict[str, Any]
) -> None:
    """Deeper than Python's parser goes; Postgres stores thousands of levels."""
    closing = {"[": "]", '{"a":': "}"}[opening]
    inside = {"id": "not this", "created_at": "2001-01-01T00:00:00+00:00", "n": 1.5, **others}
    deep = f"{opening * 6000}{json.dumps(inside)}{closing * 6000}"
    line = (
        f'{{"action": {json.dumps(text)}, "details": {deep}, "user_id": null, "n": [7, "x"], '
        '"created_at": "2025-03-11T08:00:00+00:00", "id": "a"}'
    )
    assert row_key(line) == row_key(lines_of("a"))
    assert stored_again(build_chunk(DAY, [line])).lines == (line,)


def lines_of(identity: str) -> str:
    return line_of({"id": identity, "created_at": "2025-03-11T08:00:00+00:00"})


def test_rows_without_a_key_of_their_own_are_all_kept() -> None:
    twice = [line_of({"id": None, "created_at": "2025-03-11T08:00:00+00:00"})] * 2
    other = line_of({"id": "a", "created_at": "2025-03-11T08:00:00+00:00", "n": 1})
    given_lines = [*twice, other, lines_of("a")]
    assert sorted(stored_again(build_chunk(DAY, given_lines)).lines) == sorted(given_lines)


def test_the_manifest_says_what_the_object_holds() -> None:
    chunk = build_chunk(DAY, lines(3))
    value = json.loads(chunk.manifest.body())
    sha256 = hashlib.sha256(chunk.body).hexdigest()
    assert value == {
        "format": 1,
        "entity_type": "activity_log",
        "date": "2025-03-11",
        "object": f"activity_log/date=2025-03-11/{sha256[:24]}.jsonl.gz",
        "rows": 3,
        "bytes": len(chunk.body),
        "sha256": sha256,
        "first": {"created_at": "2025-03-11T08:00:00+00:00", "id": "0000"},
        "last": {"created_at": "2025-03-11T08:00:02+00:00", "id": "0002"},
    }
    assert chunk.manifest.key == f"activity_log/date=2025-03-11/{sha256[:24]}.manifest.json"
    assert gzip.decompress(chunk.body).decode() == "".join(f"{line}\n" for line in lines(3))


def test_rows_are_grouped_by_their_day_in_utc() -> None:
    late = line_of({"id": "a", "created_at": "2025-03-12T00:30:00+01:00"})
    early = line_of({"id": "b", "created_at": "2025-03-11T23:30:00-01:00"})
    assert by_date([early, late]) == {DAY: [late], DAY + timedelta(days=1): [early]}


@given(plain_days, st.data())
def test_no_byte_of_an_object_may_change(given_lines: list[str], data: st.DataObject) -> None:
    chunk = build_chunk(DAY, given_lines)
    place = data.draw(st.integers(0, len(chunk.body) - 1))
    flipped = data.draw(st.integers(1, 255))
    body = bytearray(chunk.body)
    body[place] ^= flipped
    with pytest.raises(DamagedArchiveError, match=chunk.manifest.object_key):
        check_object(chunk.manifest, bytes(body))


@given(plain_days, st.data())
def test_an_object_may_not_be_cut_or_grow(given_lines: list[str], data: st.DataObject) -> None:
    chunk = build_chunk(DAY, given_lines)
    cut = data.draw(st.integers(0, len(chunk.body) - 1))
    for body in (chunk.body[:cut], chunk.body + b"\0", chunk.body + chunk.body):
        with pytest.raises(DamagedArchiveError, match="bytes, not"):
            check_object(chunk.manifest, body)


@given(plain_days, plain_days)
def test_no_object_is_taken_for_another(one: list[str], other: list[str]) -> None:
    mine, foreign = build_chunk(DAY, one), build_chunk(DAY, other)
    if mine.body == foreign.body:
        return
    with pytest.raises(DamagedArchiveError):
        check_object(mine.manifest, foreign.body)
    with pytest.raises(DamagedArchiveError, match=r"belongs|SHA-256"):
        parse_manifest(mine.manifest.key, foreign.manifest.body())


@given(plain_days, st.data())
def test_a_manifest_that_changed_is_refused_or_says_the_same(
    given_lines: list[str], data: st.DataObject
) -> None:
    chunk = build_chunk(DAY, given_lines)
    body = bytearray(chunk.manifest.body())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(DamagedArchiveError):
        manifest = parse_manifest(chunk.manifest.key, bytes(body))
        assert check_object(manifest, chunk.body) == chunk


def forged(body: bytes, **changes: Any) -> Manifest:
    """A manifest for which those bytes have the right size and checksum."""
    sha256 = hashlib.sha256(body).hexdigest()
    first, last = row_key(lines(3)[0]), row_key(lines(3)[2])
    values: dict[str, Any] = {
        "date": DAY,
        "object_key": "activity_log/forged",
        "rows": 3,
        "size": len(body),
        "sha256": sha256,
        "first": first,
        "last": last,
    }
    return Manifest(**{**values, **changes})


def packed(*given_lines: str, end: str = "\n") -> bytes:
    return gzip.compress(("\n".join(given_lines) + end).encode())


NO_ID = line_of({"created_at": "2025-03-11T08:00:01+00:00"})


@pytest.mark.parametrize(
    ("body", "changes", "problem"),
    [
        (b"not a gzip at all", {}, "not a gzip"),
        (packed(*lines(3))[:-9], {}, "not a gzip"),
        (packed(*lines(3)) + b"more", {}, "not a gzip"),
        (gzip.compress(b"\xff\n"), {}, "not UTF-8"),
        (packed(*lines(3), end=""), {}, "is cut off"),
        (packed(*lines(2)), {}, "2 rows, not 3"),
        (packed(*lines(4)), {}, "4 rows, not 3"),
        (gzip.compress(b""), {}, "0 rows"),
        (packed(lines(3)[0], NO_ID, lines(3)[2]), {}, "an id"),
        (packed(*lines(3)[::-1]), {}, "not in order"),
        (packed(*lines(3, DAY + timedelta(days=1))), {}, "not of 2025-03-11"),
        (packed(*lines(3)), {"last": row_key(lines(4)[3])}, "range"),
        (packed(*lines(3)), {"first": row_key(lines(2)[1])}, "range"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_an_object_is_reported(
    body: bytes, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DamagedArchiveError, match=problem) as caught:
        check_object(forged(body, **changes), body)
    assert caught.value.key == "activity_log/forged"
    assert caught.value.code == "archive_damaged"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": 2}, "its format or entity type is another"),
        ({"entity_type": "notification_queue"}, "its format or entity type is another"),
        ({"date": "2025-03-12"}, "its date and SHA-256 are not those of its object"),
        ({"date": "soon"}, "soon"),
        ({"object": "activity_log/date=2025-03-11/other.jsonl.gz"}, "not those of its object"),
        ({"rows": "3"}, "rows and bytes must be whole numbers"),
        ({"rows": True}, "rows and bytes must be whole numbers"),
        ({"rows": 0}, "rows and bytes must be whole numbers"),
        ({"bytes": 2.5}, "rows and bytes must be whole numbers"),
        ({"sha256": "ABC"}, "no SHA-256"),
        ({"sha256": None}, "TypeError"),
        ({"first": {"created_at": "2025-03-11T08:00:00+00:00"}}, "KeyError"),
        (
            {"first": {"created_at": "2025-03-11T08:00:00", "id": "0000"}},
            "no time with a",
        ),
        ({"last": "0002"}, "TypeError"),
    ],
    ids=str,
)
def test_a_manifest_of_another_form_is_refused(change: dict[str, Any], problem: str) -> None:
    manifest = build_chunk(DAY, lines(3)).manifest
    body = json.dumps({**json.loads(manifest.body()), **change}).encode()
    with pytest.raises(
        DamagedArchiveError, match=rf"{manifest.key} .*valid manifest \(.*{problem}"
    ):
        parse_manifest(manifest.key, body)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"7", b"{}", b"[" * 100_000])
def test_an_invalid_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="not a valid manifest"):
        parse_manifest(build_chunk(DAY, lines(1)).manifest.key, body)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "7",
        "{",
        "[" * 100_000,
        '{"id": "a", "details": ' + "[" * 100_000 + "]" * 100_000 + "}",
        line_of({"id": "a"}),
        line_of({"id": "a", "created_at": None}),
        line_of({"id": "a", "created_at": "-infinity"}),
        line_of({"id": "a", "created_at": "0044-03-15T00:00:00+00:00 BC"}),
        line_of({"id": "a", "created_at": "0001-01-01T00:00:00+14:00"}),
        line_of({"id": "a", "created_at": "2025-03-11T08:00:00"}),
        line_of({"id": [7], "created_at": "2025-03-11T08:00:00+00:00"}),
        line_of({"created_at": "2025-03-11T08:00:00+00:00"}),
    ],
    ids=lambda line: line[:60],
)
def test_a_line_that_is_not_a_row_with_a_time_is_refused(line: str) -> None:
    with pytest.raises(PermanentError, match=r"a time \(\w+Error\)") as caught:
        build_chunk(DAY, [line])
    assert caught.value.code == "unreadable_row"


@pytest.mark.parametrize(
    ("given_lines", "problem"),
    [
        ([], "there are none"),
        (lines(1, DAY + timedelta(days=1)), "one is not of 2025-03-11"),
        ([lines(1)[0].replace(",", ",\n")], "one takes more than one line"),
    ],
    ids=["none", "another day", "two lines"],
)
def test_no_object_is_made_of_other_lines(given_lines: list[str], problem: str) -> None:
    with pytest.raises(PermanentError, match=rf"Rows cannot be archived: {problem}\."):
        build_chunk(DAY, given_lines)


def test_keys_of_objects_and_manifests_are_distinguished() -> None:
    manifest = build_chunk(DAY, lines(1)).manifest
    assert day_of(manifest.key) == day_of(manifest.object_key) == DAY
    assert is_manifest(manifest.key)
    assert not is_manifest(manifest.object_key)
    assert object_of(manifest.key) == manifest.object_key


@pytest.mark.parametrize(
    "key",
    [
        "activity_log/date=2025-03-11/notes.txt",
        "activity_log/date=2025-02-31/0123456789abcdef01234567.jsonl.gz",
        "other/activity_log/date=2025-03-11/0123456789abcdef01234567.jsonl.gz",
        "activity_log/date=2025-03-11/0123456789abcdef01234567.jsonl.gz.bak",
    ],
)
def test_other_keys_have_no_day(key: str) -> None:
    assert day_of(key) is None


def test_ranges_overlap_where_they_touch() -> None:
    manifest = build_chunk(DAY, lines(5)[1:4]).manifest
    keys = [row_key(line) for line in lines(5)]
    assert manifest.overlaps(keys[0], keys[1])
    assert manifest.overlaps(keys[3], keys[4])
    assert manifest.overlaps(keys[2], keys[2])
    assert not manifest.overlaps(keys[0], keys[0])
    assert not manifest.overlaps(keys[4], keys[4])


def test_an_object_does_not_depend_on_when_it_was_made() -> None:
    time_of_gzip = build_chunk(DAY, lines(1)).body[4:8]
    assert time_of_gzip == bytes(4)


def test_a_row_belongs_to_its_day_in_utc_wherever_it_is_read() -> None:
    key = row_key('{"id": "a", "created_at": "2025-03-11T00:30:00+01:00"}')
    assert key.created_at.tzinfo is UTC
    assert key.created_at == datetime(2025, 3, 10, 23, 30, tzinfo=UTC)


def test_rows_that_cannot_be_archived_have_a_code() -> None:
    with pytest.raises(PermanentError) as caught:
        build_chunk(DAY, [])
    assert caught.value.code == "unreadable_row"


def test_damage_names_the_object_and_says_what_it_is() -> None:
    chunk = build_chunk(DAY, lines(2))
    size = chunk.manifest.size
    for body, problem in (
        (chunk.body + b"x", f"it has {size + 1} bytes, not {size}"),
        (bytes(size), "its SHA-256 does not match"),
    ):
        with pytest.raises(DamagedArchiveError, match=f"{chunk.manifest.object_key}.*{problem}"):
            check_object(chunk.manifest, body)
