"""The event's JSON text is read without changing any number, and any row is handled."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.notifications.rendered import check_limits, shown
from workers.errors import PermanentError
from workers.notifications.event_data import NumberLiteral, as_text, parse_event_data, unquoted
from workers.notifications.rendering import ELLIPSIS, VALUE_LIMIT, render

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
literals = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?", fullmatch=True)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1250.00", "1250.00"),
        ("12345678901234567.890", "12345678901234567.890"),
        ("0.00005", "0.00005"),
        ("-0", "-0"),
        ("1" + "0" * 30, "1" + "0" * 30),
        pytest.param("1" + "0" * 6000, "1" + "0" * (VALUE_LIMIT - 2) + ELLIPSIS, id="6,001 digits"),
        pytest.param(
            "0." + "0" * 5000 + "1", "0." + "0" * (VALUE_LIMIT - 3) + ELLIPSIS, id="5,001 decimals"
        ),
    ],
)
def test_a_number_is_shown_as_written(number: str, expected: str) -> None:
    event = parse_event_data(f'{{"a": {number}, "deep": [{{"b": {number}}}]}}')

    assert shown("{{a}}", event) == expected
    assert shown("{{deep.0.b}}", event) == expected
    assert render("{{deep}}", event, event_type="e").text.startswith(f'[{{"b":{number[:1000]}')


@given(literals)
def test_any_number_keeps_its_digits(number: str) -> None:
    event = parse_event_data(f'{{"a":[{number}],"b":{number}}}')

    assert shown("{{a}} {{b}}", event) == f"[{number}] {number}"
    assert isinstance(event, dict)
    assert isinstance(event["b"], NumberLiteral)


@given(json_values)
def test_reading_returns_what_was_written(value: object) -> None:
    """Except for numbers, which become texts; written again they are unchanged."""
    read = parse_event_data(json.dumps(value))

    if isinstance(value, str):
        assert read == value or isinstance(read, dict)
    elif value is not None:
        assert json.loads(as_text(read)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e22, "1" + "0" * 22),
        (1e-7, "0.0000001"),
        (5e-324, None),
        (1250.0, "1250.0"),
        (-1.5, "-1.5"),
        (10**30, "1" + "0" * 30),
        pytest.param(10**5000, None, id="5,001 digits"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1250.00"), "1250.00"),
        (Decimal("1E+999999999"), None),
        (float("inf"), "Infinity"),
        (float("nan"), "NaN"),
        ([1e22, Decimal("1E+1"), True, None, "x"], '[10000000000000000000000,10,true,null,"x"]'),
        ({1: (2,)}, '{"1":[2]}'),
    ],
)
def test_pythons_numbers_are_shown_without_exponents(value: object, expected: str | None) -> None:
    text = shown("{{a}}", {"a": value})

    check_limits(render("{{a}}", {"a": value}, event_type="e"))
    assert text == expected if expected else len(text) > 10


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_without_an_exponent_is_the_same_number(value: float) -> None:
    text = as_text(value)

    assert "e" not in text.lower()
    assert type(value)(Decimal(text)) == value


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000, "x", "", '{"a":'],
    ids=("lists", "objects", "whole", "word", "nothing", "half"),
)
def test_unreadable_data_is_reported_as_an_error_of_the_row(text: str) -> None:
    with pytest.raises(PermanentError, match=r"event_data is .* redrive") as caught:
        parse_event_data(text)

    assert caught.value.code == "event_data_unreadable"
    assert len(str(caught.value)) < 200


STRINGIFIED = json.dumps({"title": "T", "cost": 3})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps(STRINGIFIED), {"title": "T", "cost": "3"}),
        (json.dumps(json.dumps(STRINGIFIED)), {"title": "T", "cost": "3"}),
        (STRINGIFIED, {"title": "T", "cost": "3"}),
        ('"words"', "words"),
        ('"12"', "12"),
        ('"[1]"', "[1]"),
        ('"{half"', "{half"),
        pytest.param(json.dumps("[" * 200_000), "[" * 200_000, id="deep"),
        ("null", None),
        (None, None),
        ("12", "12"),
    ],
)
def test_an_object_in_a_string_is_read(text: str | None, expected: object) -> None:
    assert parse_event_data(text) == expected


def test_a_template_can_use_an_object_in_a_string() -> None:
    assert shown("{{title}} {{cost}}", STRINGIFIED) == "T 3"
    assert shown(None, STRINGIFIED) == "Status change: T · Cost: 3"
    assert unquoted(NumberLiteral("12")) == "12"


@given(st.text(st.characters(codec=None)))
def test_any_character_is_preserved(text: str) -> None:
    event = parse_event_data(json.dumps({"a": text}))

    assert event == {"a": text}
    check_limits(render("x {{a}}", event, event_type="e"))
