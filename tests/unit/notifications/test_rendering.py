"""Properties of what is sent to Slack: safe, within its limits, and true to the template."""

from __future__ import annotations

import re

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.unit.notifications.rendered import check_limits, sections, shown, tokens, unescape, units
from workers.notifications.rendering import (
    REPEAT_NOTE,
    SECTION_LIMIT,
    mark_repeat,
    plain_message,
    render,
)

HOSTILE = (
    "<!channel>",
    "<!here|here>",
    "@here",
    "@channel",
    "<@U1>",
    "<#C1|general>",
    "<https://evil.example|your bank>",
    "<!subteam^S1>",
    "!channel",
    "@U123",
    "https://evil.example",
    "javascript:alert(1)",
    "&lt;!channel&gt;",
    "&amp;lt;",
    "lt;",
    "amp;",
    "&",
    "{{other}}",
    "}}",
    "{{",
    ">",
    "|",
    "`" * 3,
    "*bold* _it_ ~no~ `code`",
    "\u202eabc",
    "שלום עולם",
    "مرحبا",
    "👨‍👩‍👧‍👦" * 3,
    "🇩🇪🇫🇷",
    "e\u0301" * 5,
    "\x00\x07\x1b[31m",
    "\r\n",
    "\ud83d",
)

any_text = st.text(st.characters(codec=None)) | st.sampled_from(HOSTILE)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=8,
)
keys = st.sampled_from(("a", "b", "other", "title", "old_status", "new_status", "comment"))
events = st.dictionaries(keys, values) | values
fragments = st.sampled_from(
    (
        "{{a}}",
        "{{b}}",
        "{{a}}{{b}}",
        "<{{a}}>",
        "<{{a}}|{{b}}>",
        "<!{{a}}>",
        "<@{{a}}>",
        "<#{{a}}|x>",
        "<!subteam^{{a}}>",
        "<!{{a}}|{{b}}>",
        "<!date^{{a}}^{date}|{{b}}>",
        "<https://agency.example/r/{{a}}|Open {{b}}>",
        "https://agency.example/r/{{a}}.",
        "https://agency.example{{a}}",
        "https://{{a}}",
        "<!channel>",
        "*",
        "*{{a}}*",
        "`{{b}}`",
        "```",
        "{{ a }}",
        "{{a.b}}",
        "> ",
        ">>> ",
        "> {{a}}",
        "<",
        "&",
        "&lt;",
        "\n",
        " ",
        "{{",
        "}}",
        "{{missing}}",
    )
)
templates = st.lists(fragments | any_text).map("".join)


@given(templates | st.none(), events, any_text)
def test_any_template_and_value_give_a_message_within_slacks_limits(
    template: str | None, event: object, event_type: str
) -> None:
    message = render(template, event, event_type=event_type)

    check_limits(message)
    assert message.blocks == [
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": text, "verbatim": True},
            "expand": True,
        }
        for text in sections(message)
    ]
    assert message == render(template, event, event_type=event_type)


@settings(deadline=None)
@given(
    st.lists(fragments, min_size=1).map("".join),
    st.lists(st.sampled_from(HOSTILE) | st.text("<>&|@#!;ltgampU1^/:.\n "), min_size=1, max_size=3),
    st.integers(900, 3100),
)
def test_limits_hold_wherever_the_cut_falls(template: str, parts: list[str], size: int) -> None:
    value = "".join(parts)
    filler = "x" * (size % 97)
    long = (value * size)[:size]

    check_limits(render(filler + template * 40, {"a": long, "b": value}, event_type="e"))
    check_limits(render(f"{filler}{value * 200} {template}" * 30, {"a": value}, event_type="e"))


@given(
    st.text(st.characters(codec=None)) | st.lists(st.sampled_from(HOSTILE)).map("".join), templates
)
def test_a_value_opens_no_link_and_no_mention(value: str, template: str) -> None:
    """Every live token is one of the template's, completed only where it has a placeholder."""
    text = shown(template, {"a": value, "b": value, "title": value})

    for token in tokens(text):
        target = token.partition("|")[0]
        if target.startswith(("!", "#", "@")):
            authored = [found.partition("|")[0] for found in tokens(template)]
            patterns = [re.escape(one).replace(r"\{\{a\}\}", "[A-Z0-9]+") for one in authored]
            assert any(re.fullmatch(pattern, target) for pattern in patterns)
            assert target in authored or re.fullmatch(r"[@#][A-Z][A-Z0-9]+|!date\^.*", target)
        assert not target.lower().startswith("javascript")


@given(st.text(st.characters(codec=None)) | st.sampled_from(HOSTILE))
@example("@evil.example/")
@example(".evil.example/")
@example(":pw@evil.example")
@example("\\@evil.example")
def test_a_value_cannot_point_a_link_elsewhere(value: str) -> None:
    for template in (
        "https://a.example{{a}}",
        "<https://a.example{{a}}|x>",
        "https://a.example/{{a}}",
    ):
        for token in tokens(shown(template, {"a": value})):
            host = re.match(r"https://([^/?#|]*)", token)
            assert host is not None
            assert re.fullmatch(r"a\.example[A-Za-z0-9-]*", host[1])


@given(st.text("<>&;ltgamp!@#|U1CHere \n`", max_size=200))
def test_unescaping_restores_the_value(value: str) -> None:
    assume(value.strip())
    expected = re.sub("`{3,}", "`", value)

    assert unescape(shown("{{a}}", {"a": value})) == expected
    assert "<" not in shown("{{a}}", {"a": value})
    assert unescape(shown("a {{a}}lt;{{a}} z", {"a": value})) == f"a {expected}lt;{expected} z"


@given(
    st.lists(
        st.sampled_from(
            ("{{a}}", "{{b}}", "{{none}}", " ", "\n", "{", "}}", "text", "é", "👍🏽", "שלום")
        ),
        max_size=900,
    ),
    st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="`"), max_size=30),
)
def test_nothing_is_lost_if_nothing_is_cut(parts: list[str], value: str) -> None:
    template = "".join(parts)
    message = render(f"first {template} last", {"a": value, "b": 1}, event_type="e")

    expected = re.sub(r"\{\{([ab])\}\}", lambda m: value if m[1] == "a" else "1", template)
    assume(
        not message.shortened and len(message.blocks) == -(-units(message.text) // SECTION_LIMIT)
    )
    assert unescape("".join(sections(message))) == f"first {expected} last"


@given(templates, any_text)
def test_the_plain_message_is_the_text_alone(template: str, value: str) -> None:
    message = render(template, {"a": value, "b": value}, event_type="e")
    plain = plain_message(message)

    assert plain.blocks == []
    assert plain.text == message.text
    assert plain.unknown_keys == message.unknown_keys


@given(templates, any_text)
def test_a_repeat_is_noted_below_the_message(template: str, value: str) -> None:
    message = render(template, {"a": value, "b": value}, event_type="e")
    repeat = mark_repeat(message)

    check_limits(repeat)
    assert repeat.text.endswith(REPEAT_NOTE)
    assert sections(repeat) == [*sections(message), REPEAT_NOTE]
    assert plain_message(repeat).text.endswith(REPEAT_NOTE)
    assert mark_repeat(plain_message(message)).blocks == []
