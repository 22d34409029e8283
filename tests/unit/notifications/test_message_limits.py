"""Messages at Slack's limits: where they are split and cut; extreme data is harmless."""

from __future__ import annotations

import json

import pytest

from tests.unit.notifications.rendered import check_limits, sections, shown, unescape, units
from workers.notifications.rendering import (
    BODY_LIMIT,
    ELLIPSIS,
    REPEAT_NOTE,
    SECTION_LIMIT,
    SHORTENED,
    TEXT_LIMIT,
    VALUE_LIMIT,
    Message,
    mark_repeat,
    plain_message,
    render,
)


def test_long_text_is_split_after_lines_and_words() -> None:
    lines = "\n".join(f"line {number} " + "word " * 60 for number in range(30))
    message = render(lines, None, event_type="e")

    assert not message.shortened
    assert "".join(sections(message)) == lines
    assert len(message.blocks) >= 4
    for text in sections(message)[:-1]:
        assert text.endswith("\n")
        assert len(text) > SECTION_LIMIT - len("line 10 " + "word " * 60)
    words = "another " * 1400
    parts = sections(render(f"an {words}", None, event_type="e"))
    assert all(text.endswith("another ") for text in parts)


def test_a_line_that_ends_early_does_not_make_a_short_section() -> None:
    first, _ = sections(render("x" * 1200 + "\n" + "y" * 4000, None, event_type="e"))
    assert len(first) == SECTION_LIMIT


def test_a_cut_is_visible() -> None:
    message = render("&" * 5000, None, event_type="e")

    assert message.shortened
    assert "".join(sections(message)).endswith(SHORTENED)
    assert BODY_LIMIT - 10 < sum(map(units, sections(message))) <= BODY_LIMIT
    assert message.text.endswith("&amp;" + ELLIPSIS)


def test_text_that_just_fits_is_not_cut() -> None:
    body = render("x" * BODY_LIMIT, None, event_type="e")
    assert not body.shortened
    assert "".join(sections(body)) == "x" * BODY_LIMIT
    assert render("x" * BODY_LIMIT + "{{a}}", {"a": "y"}, event_type="e").shortened
    value = render("{{a}}", {"a": "x" * VALUE_LIMIT}, event_type="e")
    assert not value.shortened
    assert value.text == "x" * VALUE_LIMIT


@pytest.mark.parametrize("rest", ["xx", "🇩🇪"])
def test_a_value_is_cut_no_more_than_necessary(rest: str) -> None:
    message = render("{{a}}", {"a": "x" * (VALUE_LIMIT - 1) + rest}, event_type="e")
    assert message.text == "x" * (VALUE_LIMIT - 1) + ELLIPSIS


def test_a_cut_searches_no_further_than_the_last_entity() -> None:
    message = render("&" + "x" * TEXT_LIMIT, None, event_type="e")
    assert message.text == "&amp;" + "x" * (TEXT_LIMIT - len("&amp;" + ELLIPSIS)) + ELLIPSIS


def test_blank_parts_do_not_become_blank_sections() -> None:
    message = render("a" + "\n" * 7000 + "b", None, event_type="e")

    assert "".join("".join(sections(message)).split()) == "ab"
    check_limits(message)
    late = render("\u200b" * 5000 + "b", None, event_type="e")
    check_limits(late)
    assert late.text.endswith("b")
    assert render("\n" * 20000 + "b", None, event_type="e").text == "E"


def test_an_overlong_value_is_cut_between_characters_as_a_reader_sees_them() -> None:
    for character in (
        "👨‍👩‍👧‍👦", "🇦🇿", "e\u0301", "0\u20dd", "\u0915\u093e", "👍🏻", "👍🏿", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "&"
    ):  # fmt: skip
        for lead in range(14):
            message = render("{{a}}", {"a": "x" * lead + character * 3000}, event_type="e")
            value = unescape("".join(sections(message)))
            assert message.shortened
            assert units(value) <= VALUE_LIMIT
            body = value.removesuffix(ELLIPSIS)[lead:]
            assert body == character * (len(body) // len(character))
    marks = render("{{a}}", {"a": "e" + "\u0301" * 50_000}, event_type="e")
    assert 0 < units(marks.text) <= VALUE_LIMIT


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        float("inf"),
        float("nan"),
        json.loads("[" * 900 + "]" * 900),
        {"x" * 60_000: ["y" * 60_000]},
    ],
    ids=("long number", "infinity", "nan", "nested", "long"),
)
def test_odd_values_are_harmless(value: object) -> None:
    check_limits(render("v {{a}}", {"a": value}, event_type="e"))


def test_a_value_nested_too_deeply_becomes_an_ellipsis() -> None:
    nested: list[object] = []
    for _ in range(200_000):
        nested = [nested]

    assert shown("v {{a}}", {"a": nested}) == f"v {ELLIPSIS}"
    while nested:  # taken apart step by step: freeing it at once would recurse as deeply
        nested = nested.pop()  # type: ignore[assignment]


@pytest.mark.parametrize(
    "template",
    ["{{a}}", "{{b}}", "{{", "<", "<a", "&", "{{a", "https://", "https://x.example/{{a}}",
     "<https://{{a}}|", "<x>", "`", "\u200b", "e\u0301", "\n", " ", "😀", "\x00"],
)  # fmt: skip
def test_a_very_long_template_is_rendered(template: str) -> None:
    """If the work grew with the square of the length, this would take minutes."""
    text = template * (300_000 // len(template))
    check_limits(render(text, {"a": "&" * 50_000, "b": ""}, event_type="e"))


def test_a_plain_message_always_fits() -> None:
    assert units(plain_message(Message("&amp;" * 2000, [])).text) <= TEXT_LIMIT


def test_a_long_message_leaves_room_to_say_that_it_is_a_repeat() -> None:
    repeat = mark_repeat(render("x" * TEXT_LIMIT, None, event_type="e"))
    assert repeat.text.endswith(f"x{ELLIPSIS}\n{REPEAT_NOTE}")
    assert len(repeat.text) == TEXT_LIMIT


def test_a_cut_right_after_a_link_leaves_it_whole() -> None:
    for filler in range(8):
        check_limits(render("x" * filler + "<@&>" * 3000, {}, event_type="e"))
