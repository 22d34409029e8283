from __future__ import annotations

import argparse
import io
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.operate.output import as_json, plain, show, width_of

texts = st.text() | st.sampled_from(["漢字", "e\u0301", "\x1b[31m", "a\nb", "\u202e", "\U0001f600"])


@given(texts)
def test_everything_printed_is_visible(text: str) -> None:
    for character in plain(text):
        assert unicodedata.category(character)[0] != "C"
        assert character not in "\u2028\u2029"


@given(st.recursive(st.none() | st.integers() | texts, lambda some: st.lists(some) |
                    st.dictionaries(texts, some), max_leaves=8))  # fmt: skip
def test_json_is_the_same_once_it_is_read(value: Any) -> None:
    written = as_json(value)
    assert json.loads(written) == value or "[redacted]" in written
    assert all(unicodedata.category(character)[0] != "C" for character in written)


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("漢字", 4), ("e\u0301", 1), ("\uff57", 2)]
)
def test_the_width_is_that_of_a_terminal(text: str, width: int) -> None:
    assert width_of(text) == width


def shown(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    out = io.StringIO()
    show(rows, columns, argparse.Namespace(json=False), out, empty="none")
    return out.getvalue().splitlines()


def test_wide_characters_stay_in_their_columns() -> None:
    rows = [{"a": "漢字", "b": "x"}, {"a": "abcd", "b": "y"}, {"a": "e\u0301", "b": None}]
    assert shown(rows, ("a", "b")) == ["a     b", "漢字  x", "abcd  y", "e\u0301     -"]


@given(st.lists(st.fixed_dictionaries({"id": texts, "reason": texts}), min_size=1, max_size=4))
def test_no_line_is_wider_than_the_terminal(rows: list[dict[str, Any]]) -> None:
    long = [{"id": "7" * 36, "reason": f"{row['reason']} " * 30} for row in rows]
    assert max(map(width_of, shown(long, ("id", "reason")))) <= 80


def test_a_table_that_is_too_wide_becomes_blocks() -> None:
    rows = [{"id": "7" * 36, "state": "parked", "reason": "word " * 20, "until": None}] * 2
    first, *rest = shown(rows, ("id", "state", "reason", "until"))
    assert first == "7" * 36
    assert rest[0] == "  state   parked"
    assert rest[1].startswith("  reason  word word")
    assert "" in rest
    assert not any("until" in line for line in rest)


def test_lists_and_objects_are_one_cell() -> None:
    assert shown([{"a": ["x", 1], "b": {"n": 2}}], ("a", "b")) == ["a    b", "x,1  n 2"]
    assert shown([], ("a",)) == ["none"]
