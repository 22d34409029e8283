"""Where a long text is cut: what is open there is closed, and reopened after the cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.notifications.rendered import check_limits, units
from tests.unit.notifications.rendered import sections as texts
from workers.notifications.mrkdwn import ELLIPSIS, FENCE, is_visible, sections, shorten
from workers.notifications.rendering import SHORTENED, mark_repeat, plain_message, render

LIMIT = 80
words = st.lists(st.sampled_from(("ab", "word", "longer-word", "é", "👍🏽", "&amp;", "<@U1>")))
lines = st.lists(words.map(" ".join), min_size=1, max_size=12).map("\n".join)
markup = st.lists(
    st.sampled_from(
        ("*", "_", "~", "`", FENCE, "\n", "> ", ">>> ", "&gt; ", " ", "a", "word", "&amp;", "<@U1>")
    ),
    max_size=150,
).map("".join)


def cut(text: str, limit: int = LIMIT) -> list[str]:
    return list(sections(text, limit))


def bare(text: str) -> str:
    """The text without marks, quotes and spaces."""
    return re.sub(r"[*_~`>\s]|&gt;", "", text)


@settings(deadline=None)
@given(markup)
@example("`" * 200)
@example(f"{FENCE}a\n" * 50)
@example("*a _b ~c " * 40)
@example("> " * 100)
@example("\n" * 300 + "a")
@example("*" + "\n" * 300 + "a*")
def test_nothing_is_lost_and_nothing_is_too_long(text: str) -> None:
    parts = cut(text)

    assert all(units(part) <= LIMIT and is_visible(part) for part in parts)
    assert bare("".join(parts)) == bare(text)
    assert cut(text, units(text) or 1) == ([text] if is_visible(text) else [])
    short = shorten(text, LIMIT, ELLIPSIS)
    assert units(short) <= LIMIT
    assert short == text or short.endswith(ELLIPSIS)
    assert bare(text).startswith(bare(short.removesuffix(ELLIPSIS)))


@given(lines, lines, lines, st.sampled_from(("", "\n", " ")))
def test_a_fence_is_whole_in_each_part(before: str, code: str, after: str, gap: str) -> None:
    text = f"{before}\n{FENCE}{gap}{code}{gap}{FENCE}\n{after}"
    parts = cut(text)

    assert all(part.count(FENCE) % 2 == 0 for part in parts)
    assert "".join(parts).replace(FENCE, "").split() == text.replace(FENCE, "").split()
    if code.strip():
        assert not any(re.search(rf"{FENCE}\s*{FENCE}", part) for part in parts)
    short = shorten(text, LIMIT, ELLIPSIS)
    assert short.count(FENCE) % 2 == 0


@given(lines, st.sampled_from(("*", "_", "~", "*_", "_*~")))
def test_bold_and_similar_formats_are_whole_in_each_part(inner: str, marks: str) -> None:
    inner = f"first {inner.replace('*', '')} last"
    text = f"See {marks}{inner}{marks[::-1]} now"
    parts = cut(text)

    for part in parts:
        for mark in marks:
            assert part.count(mark) % 2 == 0
            # opened before and closed after visible text, or it would not be a format
            assert not re.search(rf"(?<!\S)\{mark}\s|\s\{mark}(?!\S)", part)
    assert bare("".join(parts)) == bare(text)


@given(st.lists(st.sampled_from(("code", "x=1", "&lt;b&gt;")), min_size=1).map(" ".join))
def test_inline_code_is_whole_in_each_part(code: str) -> None:
    for part in cut(f"Run `{code}` now"):
        assert part.count("`") % 2 == 0
        assert re.sub(r"`[^`]+`", "", part).strip() in ("Run  now", "Run", "now", "Run now", "")


@given(lines, st.sampled_from(("> ", ">", "&gt; ", "> • ")))
def test_a_quoted_line_is_quoted_in_each_part(text: str, quote: str) -> None:
    quoted = "\n".join(quote + line for line in text.split("\n"))

    for part in cut(quoted):
        for line in part.split("\n"):
            assert not line.strip() or line.startswith(quote.rstrip(" •"))


@given(lines)
def test_a_quote_of_the_rest_continues_in_each_part(text: str) -> None:
    parts = cut(f"Ava:\n>>> first {text}")

    assert all(part.startswith(">>>") for part in parts[1:])
    assert parts[0].startswith("Ava:")


def test_a_mark_without_its_counterpart_is_a_character() -> None:
    for text in ("5 * 3 is " + "ab " * 60, "snake_case " * 20, "* item\n" * 20, "`" + "ab " * 60):
        assert "".join(cut(text)) == text
    unclosed = f"{FENCE} " + "ab " * 60
    assert "".join(cut(unclosed)) == unclosed


def test_a_quote_mark_in_code_quotes_nothing() -> None:
    parts = cut(f"{FENCE}\n> " + "ab " * 60 + f"\n{FENCE}")
    assert len(parts) > 2
    assert all(part.startswith(f"{FENCE}ab") for part in parts[1:])


def test_a_quoted_fence_stays_quoted() -> None:
    parts = cut(f"> {FENCE}" + "ab " * 60 + FENCE)
    assert len(parts) > 2
    assert all(part.startswith(f"> {FENCE}ab") for part in parts)
    assert all(part.endswith(FENCE) for part in parts)


def test_a_fence_that_begins_at_a_cut_begins_after_it() -> None:
    first, second = cut("x" * 60 + f"\n{FENCE}\n" + "code " * 14 + FENCE)
    assert (first, second[:9]) == ("x" * 60 + "\n", f"{FENCE}\ncode ")
    first, second = cut("x" * 5 + f" {FENCE}" + "code " * 13 + f"\n{FENCE}after it")
    assert first.endswith(f"code \n{FENCE}")
    assert second == "after it"


# --- the same through a template ---

CODE = '<div class="row"><b>R&D "Q4"</b></div>\n' * 40


@pytest.mark.parametrize(
    "template",
    [
        "{{a}}:\n```{{a}}```\nPlease check",
        "```\n{{a}}\n{{b}}\n```",
        "```{{a}}{{b}}{{a}}{{b}}{{a}}{{b}}{{a}}{{b}}```",
        "> ```{{a}}{{b}}```",
        "*x* ```{{a}}``` _y_ ```{{b}}``` z",
    ],
)
def test_code_of_any_length_stays_code(template: str) -> None:
    message = render(template, {"a": CODE, "b": "line of log\n" * 160}, event_type="e")

    check_limits(message)
    repeat = mark_repeat(message)
    for text in (*texts(message), message.text, repeat.text, plain_message(repeat).text):
        assert text.count(FENCE) % 2 == 0
    assert not message.text.removesuffix(ELLIPSIS).endswith("\n")


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(("{{a}}", "*{{a}} {{b}}*", "```{{b}}```", "> {{a}}\n", "`{{b}}` ", "\n")),
        max_size=9,
    ),
    st.text("ab *_~`\n>&", max_size=60),
    st.integers(1, 80),
)
def test_no_value_breaks_the_code_of_its_template(parts: list[str], value: str, times: int) -> None:
    template = "".join(parts)
    message = render(template, {"a": value * times, "b": value}, event_type="e")

    check_limits(message)
    for text in (*texts(message), message.text):
        assert text.count(FENCE) % 2 == 0
    if template.count(FENCE) and not message.shortened and len(message.blocks) == 1:
        assert message.text.count(FENCE) == template.count(FENCE)


def test_the_note_about_shortening_is_outside_of_the_code() -> None:
    message = render("```" + "{{a}}" * 9 + "```", {"a": "word " * 399}, event_type="e")

    assert message.shortened
    assert texts(message)[-1].endswith(f"{FENCE}{SHORTENED}")
    bold = render("*" + "{{a}}" * 9 + "*", {"a": "word " * 399 + "end"}, event_type="e")
    assert texts(bold)[-1].rstrip().endswith(SHORTENED.strip())
    assert all(text.count("*") == 2 for text in texts(bold))
