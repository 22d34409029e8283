"""What SQL functions return, read field by field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Any

import pytest

from workers.answers import Answer, read_flag, read_text, read_texts, read_whole, read_wholes
from workers.errors import ConfigurationError


class Colour(Enum):
    RED = "red"


READERS: dict[str, tuple[Callable[[Answer, str], Any], list[Any], list[Any]]] = {
    "flag": (Answer.flag, [True, False], [None, 0, "true"]),
    "whole": (Answer.whole, [0, -3, 10**30], [None, True, 1.5, "1"]),
    "optional_whole": (Answer.optional_whole, [None, 4], [False, "4"]),
    "number": (Answer.number, [0, 1.5], [None, True, "1.5"]),
    "optional_number": (Answer.optional_number, [None, 1.5], [True, []]),
    "text": (Answer.text, ["", "a"], [None, 1, ["a"]]),
    "optional_text": (Answer.optional_text, [None, "a"], [1, {}]),
    "texts": (lambda answer, name: list(answer.texts(name)), [[], ["a"]], [None, "a", ["a", 1]]),
    "time": (
        lambda answer, name: answer.time(name).isoformat(),
        ["2026-03-01T10:00:00+00:00"], [None, 1, "", "2026-03-01", "2026-03-01T10:00:00"],
    ),
    "optional_time": (
        lambda answer, name: (time := answer.optional_time(name)) and time.isoformat(),
        [None, "2026-03-01T10:00:00.500000+02:00"], ["soon", 1],
    ),
    "day": (
        lambda answer, name: f"{answer.day(name)}",
        ["2026-03-01"], [None, 1, "", "2026-02-30", "2026-03-01T10:00:00+00:00"],
    ),
    "optional_day": (
        lambda answer, name: (day := answer.optional_day(name)) and f"{day}",
        [None, "2026-03-01"], ["soon", 1],
    ),
    "decimal": (
        lambda answer, name: f"{answer.decimal(name)}",
        ["0", "-1.50", "123456789012345678.000001"], [None, 1, "", "x", "NaN", "Infinity"],
    ),
    "optional_decimal": (
        lambda answer, name: (value := answer.optional_decimal(name)) and f"{value}",
        [None, "1.5"], [1.5, "x"],
    ),
    "wholes": (Answer.wholes, [{}, {"a": 1}], [None, [], 1]),
    "texts_by_name": (Answer.texts_by_name, [{}, {"a": "b"}], [None, [], "a"]),
    "by_date": (
        lambda answer, name: answer.by_date(name)[0].fields,
        [{}, {"2026-03-01": 1}], [None, [], "2026-03-01"],
    ),
    "json": (Answer.json, [None, 1, {"a": []}], []),
    "inner": (lambda answer, name: answer.inner(name).fields, [{}, {"a": 1}], [None, [], "a"]),
    "optional_inner": (
        lambda answer, name: (inner := answer.optional_inner(name)) and inner.fields,
        [None, {"a": 1}], [[], 0],
    ),
    "inners": (
        lambda answer, name: [one.fields for one in answer.inners(name)],
        [[], [{"a": 1}]], [None, {}, [None]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_a_field_of_its_type_is_returned_as_it_is(reader: str) -> None:
    read, good, _ = READERS[reader]
    for value in good:
        assert read(Answer.of("f", {"x": value}), "x") == value


@pytest.mark.parametrize("reader", READERS)
def test_a_field_of_another_type_is_an_error_that_names_it_without_its_value(reader: str) -> None:
    read, _, bad = READERS[reader]
    for value in bad:
        with pytest.raises(
            ConfigurationError, match=r"the database's f returned x, which is .*, not "
        ):
            read(Answer.of("f", {"x": value}), "x")


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_field_is_an_error_that_names_it_and_the_fix(reader: str) -> None:
    read, _, _ = READERS[reader]
    with pytest.raises(ConfigurationError, match=r"f returned no x: .*operate migrate") as caught:
        read(Answer.of("f", {"y": 1}), "x")
    assert caught.value.code == "unexpected_answer"


def test_a_choice_is_a_member_of_its_enumeration() -> None:
    assert Answer.of("f", {"x": "red"}).choice("x", Colour) is Colour.RED
    for value in ("blue", None, []):
        with pytest.raises(ConfigurationError, match=r"returned x, which is .*, not one of red"):
            Answer.of("f", {"x": value}).choice("x", Colour)


@pytest.mark.parametrize("value", [None, True, 1, "a", [], [{}]])
def test_an_answer_is_an_object(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"f returned .*, not an object"):
        Answer.of("f", value)


def test_several_answers_are_an_array_of_objects() -> None:
    assert [one.fields for one in Answer.each("f", [{"a": 1}, {}])] == [{"a": 1}, {}]
    with pytest.raises(ConfigurationError, match="an object, not an array"):
        Answer.each("f", {})
    with pytest.raises(ConfigurationError, match="null, not an object"):
        Answer.each("f", [{}, None])


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (read_whole, [0, 7], [None, True, 1.5, "1", {}]),
        (read_flag, [True, False], [None, 0, "true"]),
        (read_text, ["", "a"], [None, 1, ["a"]]),
        (read_texts, [[], ["a"]], [None, "a", ["a", 1]]),
        (read_wholes, [[], [1, 2]], [None, 1, [1, "a"], [True]]),
    ],
)
def test_an_answer_of_one_value(
    read: Callable[[str, object], Any], good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        assert read("f", value) == value
    for value in bad:
        with pytest.raises(ConfigurationError, match=r"the database's f returned .*, not "):
            read("f", value)


def test_fields_named_by_dates_have_dates() -> None:
    inner, days = Answer.of("f", {"x": {"2026-03-01": "a"}}).by_date("x")
    assert {day: inner.text(field) for day, field in days.items()} == {date(2026, 3, 1): "a"}
    with pytest.raises(ConfigurationError, match="f returned x with a field that is not a date"):
        Answer.of("f", {"x": {"2026-03-01": "a", "secret": "b"}}).by_date("x")


@pytest.mark.parametrize("value", ["infinity", "-infinity"])
def test_a_time_without_a_date_is_none(value: str) -> None:
    assert Answer.of("f", {"x": value}).optional_time("x") is None
