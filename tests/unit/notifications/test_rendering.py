"""What Slack is sent: safe, within its limits, and true to the template."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from workers.notifications.rendering import (
    BODY_LIMIT,
    ELLIPSIS,
    REPEAT_NOTE,
    SECTION_LIMIT,
    SHORTENED,
    TEXT_LIMIT,
    TOKEN_LIMIT,
    TOTAL_LIMIT,
    VALUE_LIMIT,
    Message,
    mark_repeat,
    plain_message,
    render,
)

ENTITY = re.compile(r"&(amp|lt|gt);")
CHARACTERS = {"amp": "&", "lt": "<", "gt": ">"}
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
        "<!{{a}}|{{b}}>",
        "<!date^{{a}}^{date}|{{b}}>",
        "<https://agency.example/r/{{a}}|Open {{b}}>",
        "https://agency.example/r/{{a}}.",
        "https://agency.example{{a}}",
        "https://{{a}}",
        "<!channel>",
        "*",
        "> ",
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


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def sections(message: Message) -> list[str]:
    return [block["text"]["text"] for block in message.blocks]  # type: ignore[index]


def unescape(text: str) -> str:
    return ENTITY.sub(lambda entity: CHARACTERS[entity[1]], text)


def shown(template: str | None, event: object = None, event_type: str = "status_change") -> str:
    return "".join(sections(render(template, event, event_type=event_type)))


def tokens(text: str) -> list[str]:
    return re.findall(r"<([^<>\n]*)>", text)


def check_limits(message: Message) -> None:
    texts = sections(message)
    for text in (message.text, *texts):
        text.encode()  # no lone surrogates
        assert text.strip()
        assert not [
            char for char in text if unicodedata.category(char) == "Cc" and char not in "\n\t"
        ]
        outside = re.sub(r"<[^<>\n]+>", "", text)
        assert "<" not in outside  # no link or mention in halves
        assert "&" not in ENTITY.sub("", outside)  # no entity in halves
    assert all(units(text) <= SECTION_LIMIT for text in texts)
    assert sum(units(text) for text in texts) <= TOTAL_LIMIT
    assert 1 <= len(message.blocks) <= 50
    assert units(message.text) <= TEXT_LIMIT


@given(templates | st.none(), events, any_text)
def test_any_template_and_any_value_give_a_message_within_slacks_limits(
    template: str | None, event: object, event_type: str
) -> None:
    message = render(template, event, event_type=event_type)

    check_limits(message)
    assert message.blocks == [
        {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
        for text in sections(message)
    ]
    assert message == render(template, event, event_type=event_type)


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
    """Every live token is one that the template has, completed only where it asks for it."""
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
def test_a_value_does_not_lead_a_link_elsewhere(value: str) -> None:
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
def test_unescaped_it_reads_as_the_value_was(value: str) -> None:
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
def test_nothing_is_lost_where_nothing_is_cut(parts: list[str], value: str) -> None:
    template = "".join(parts)
    message = render(f"first {template} last", {"a": value, "b": 1}, event_type="e")

    expected = re.sub(r"\{\{([ab])\}\}", lambda m: value if m[1] == "a" else "1", template)
    assume(
        not message.shortened and len(message.blocks) == -(-units(message.text) // SECTION_LIMIT)
    )
    assert unescape("".join(sections(message))) == f"first {expected} last"


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


def test_what_does_not_fit_is_cut_visibly() -> None:
    message = render("&" * 5000, None, event_type="e")

    assert message.shortened
    assert "".join(sections(message)).endswith(SHORTENED)
    assert BODY_LIMIT - 10 < sum(map(units, sections(message))) <= BODY_LIMIT
    assert message.text.endswith("&amp;" + ELLIPSIS)


def test_what_just_fits_is_not_cut() -> None:
    body = render("x" * BODY_LIMIT, None, event_type="e")
    assert not body.shortened
    assert "".join(sections(body)) == "x" * BODY_LIMIT
    assert render("x" * BODY_LIMIT + "{{a}}", {"a": "y"}, event_type="e").shortened
    value = render("{{a}}", {"a": "x" * VALUE_LIMIT}, event_type="e")
    assert not value.shortened
    assert value.text == "x" * VALUE_LIMIT


@pytest.mark.parametrize("rest", ["xx", "🇩🇪"])
def test_no_more_of_a_value_is_cut_than_has_to_be(rest: str) -> None:
    message = render("{{a}}", {"a": "x" * (VALUE_LIMIT - 1) + rest}, event_type="e")
    assert message.text == "x" * (VALUE_LIMIT - 1) + ELLIPSIS


def test_a_cut_looks_no_further_than_the_last_entity() -> None:
    message = render("&" + "x" * TEXT_LIMIT, None, event_type="e")
    assert message.text == "&amp;" + "x" * (TEXT_LIMIT - len("&amp;" + ELLIPSIS)) + ELLIPSIS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "[]"),
        (True, "[true]"),
        (False, "[false]"),
        (0, "[0]"),
        (-1.5, "[-1.5]"),
        (12345678901234567890, "[12345678901234567890]"),
        ([1, None, "ü"], '[[1,null,"ü"]]'),
        ({"k": {"ü": True}}, '[{"k":{"ü":true}}]'),
        ("", "[]"),
        ("{{b}}", "[{{b}}]"),
        ("a\r\nb\rc\td\x00\x1f\x7f\x9be", "[a\nb\nc\tde]"),
        ("half \ud83d", "[half \ufffd]"),
        ("needs_review 2 * 3 ~ 6", "[needs_review 2 * 3 ~ 6]"),
        ("```\ncode\n```", "[`\ncode\n`]"),
        ("@here #general https://x.example", "[@here #general https://x.example]"),
    ],
)
def test_values(value: object, expected: str) -> None:
    assert shown("[{{a}}]", {"a": value, "b": "never"}) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ a }} {{a.b}} {{é}} {{}} {{a-b}}", "{{ a }} {{a.b}} {{é}} {{}} {{a-b}}"),
        ("{{{a}}}", "{v}"),
        ("{{a}}{{a}}", "vv"),
        ("{{A}} {{missing}}", "{{A}} {{missing}}"),
        ("*R&D* _x_ `c` > q", "*R&amp;D* _x_ `c` > q"),
        ("a < b {{a}} > c", "a &lt; b v &gt; c"),
        ("a < b", "a &lt; b"),
        ("&amp; &lt;", "&amp; &lt;"),
        ("<!channel> <@U1> <#C1|x>", "<!channel> <@U1> <#C1|x>"),
        ("<https://x.example/?a=1&b=2|two words>", "<https://x.example/?a=1&b=2|two words>"),
        ("<mailto:a@x.example|write>", "<mailto:a@x.example|write>"),
        ("<b>bold</b>", "&lt;b&gt;bold&lt;/b&gt;"),
        ("<https://x.example/{{a}}|Open {{a}}>", "<https://x.example/v|Open v>"),
        ("See https://x.example/{{a}}?y=1&z=2.", "See <https://x.example/v?y=1&amp;z=2>."),
        ("*https://x.example/{{missing}}*", "*https://x.example/{{missing}}*"),
        ("(https://x.example)", "(<https://x.example>)"),
        ("<!{{a}}>", "&lt;!v&gt;"),
        ("<{{a}}>", "&lt;v&gt;"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    assert shown(template, {"a": "v"}) == expected


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("<@{{a}}>", "U123ABC", "<@U123ABC>"),
        ("<@{{a}}>", "channel", "&lt;@channel&gt;"),
        ("<@{{a}}>", "U1|x", "&lt;@U1|x&gt;"),
        ("<#{{a}}>", "C9", "<#C9>"),
        ("<{{a}}|Open>", "https://x.example/a b|c", "<https://x.example/a%20b%7Cc|Open>"),
        ("<{{a}}|Open>", "https://x.example/\u2003", "<https://x.example/%E2%80%83|Open>"),
        ("<{{a}}|Open>", "!channel", "&lt;!channel|Open&gt;"),
        ("<{{a}}|Open>", "@U1", "&lt;@U1|Open&gt;"),
        ("<{{a}}|Open>", "javascript:x", "&lt;javascript:x|Open&gt;"),
        ("<{{a}}!channel>", "", "&lt;!channel&gt;"),
        ("<!subteam^{{a}}>", "S1", "&lt;!subteam^S1&gt;"),
        ("<!date^{{a}}^{date_short}|soon>", "1700000000", "<!date^1700000000^{date_short}|soon>"),
        ("<!date^{{a}}^{date}|soon>", "1^x|<", "&lt;!date^1^x|&lt;^{date}|soon&gt;"),
        ("https://x.example{{a}}", "/r/1", "<https://x.example/r/1>"),
        ("https://x.example{{a}}", "@evil.example", "https://x.example@evil.example"),
        ("https://{{a}}.x.example/", "acme", "<https://acme.x.example/>"),
        ("https://{{a}}.x.example/", "evil/", "https://evil/.x.example/"),
        ("https://www.{{a}}.x.example", "evil?", "https://www.evil?.x.example"),
        ("https://x-{{a}}.x.example", "evil#", "https://x-evil#.x.example"),
        ("https://x.example/{{a}}", "y" * 3000, None),
        ("<https://x.example|{{a}}>", "two\nlines>", "<https://x.example|two lines&gt;>"),
        ("<https://x.example|{{a}}>", "", "<https://x.example>"),
    ],
)
def test_a_value_completes_a_link_or_stays_characters(
    template: str, value: str, expected: str | None
) -> None:
    text = shown(template, {"a": value})

    assert text == expected if expected is not None else not tokens(text)


@pytest.mark.parametrize(
    "template", ["<https://x.example/PATH>", "https://x.example/PATH", "<https://x.example/{{a}}>"]
)
def test_a_link_is_live_as_long_as_it_fits(template: str) -> None:
    longest = TOKEN_LIMIT - len("<https://x.example/>")
    for length in (longest, longest + 1):
        path = "y" * length
        live = tokens(shown(template.replace("PATH", path), {"a": path}))
        assert live == ([f"https://x.example/{path}"] if length == longest else [])


@pytest.mark.parametrize("event", [None, [], ["a"], "a", 'text with "a"', 3, True])
def test_only_objects_have_keys(event: object) -> None:
    message = render("{{a}}", event, event_type="e")

    assert message.text == "{{a}}"
    assert message.unknown_keys == ("a",)


def test_unknown_keys_are_named_once_in_order() -> None:
    message = render("{{y}} {{x}} {{y}} {{a}} <https://h.example/{{z}}>", {"a": 1}, event_type="e")

    assert message.unknown_keys == ("y", "x", "z")


STATUS = {
    "old_status": "in_progress",
    "new_status": "needs_review",
    "request_id": "4f0c",
    "request_title": "Spring launch",
    "changed_by": "9a1b",
    "client_id": None,
}


@pytest.mark.parametrize(
    ("event_type", "event", "expected"),
    [
        ("status_change", STATUS, "Status change: Spring launch (in_progress → needs_review)"),
        ("status_change", {"status": "done"}, "Status change: (done)"),
        ("status_change", {"old_status": "a"}, "Status change"),
        ("comment_added", {"title": "A & B", "comment": "Hi\n<!here>"},
         "Comment added: A &amp; B — Hi &lt;!here&gt;"),
        ("comment_added", {"message": "Hi"}, "Comment added: Hi"),
        ("comment_added", {"message": "```Hi```"}, "Comment added: `Hi`"),
        ("asset_uploaded", {"name": "\u200b", "file_name": 7}, "Asset uploaded: 7"),
        ("asset_uploaded", {"title": [1], "name": True}, "Asset uploaded"),
        ("", None, "Notification"),
        ("<!channel>", [], "&lt;!channel&gt;"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("template", [None, "", " \n\t", "\x00", "\u200b\u3164", "{{client_id}}"])
def test_without_a_visible_template_the_known_fields_tell(
    template: str | None, event_type: str, event: object, expected: str
) -> None:
    if template == "{{client_id}}":
        event = {**(event if isinstance(event, dict) else {}), "client_id": " \u2800"}

    message = render(template, event, event_type=event_type)

    assert message.text == expected
    assert sections(message) == [expected]


def test_blank_stretches_make_no_blank_sections() -> None:
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
def test_odd_values_do_no_harm(value: object) -> None:
    check_limits(render("v {{a}}", {"a": value}, event_type="e"))


def test_a_value_nested_beyond_what_python_writes_is_an_ellipsis() -> None:
    nested: list[object] = []
    for _ in range(200_000):
        nested = [nested]

    assert shown("v {{a}}", {"a": nested}) == f"v {ELLIPSIS}"
    while nested:  # taken apart by hand: freeing it at once would go as deep
        nested = nested.pop()  # type: ignore[assignment]


@pytest.mark.parametrize(
    "template",
    ["{{a}}", "{{b}}", "{{", "<", "<a", "&", "{{a", "https://", "https://x.example/{{a}}",
     "<https://{{a}}|", "<x>", "`", "\u200b", "e\u0301", "\n", " ", "😀", "\x00"],
)  # fmt: skip
def test_a_very_long_template_comes_to_its_end(template: str) -> None:
    """Work that grew with the square of the length would take minutes."""
    text = template * (300_000 // len(template))
    check_limits(render(text, {"a": "&" * 50_000, "b": ""}, event_type="e"))


@given(templates, any_text)
def test_the_plain_message_is_the_text_alone(template: str, value: str) -> None:
    message = render(template, {"a": value, "b": value}, event_type="e")
    plain = plain_message(message)

    assert plain.blocks == []
    assert plain.text == message.text
    assert plain.unknown_keys == message.unknown_keys


def test_a_plain_message_fits_whatever_it_was_made_of() -> None:
    assert units(plain_message(Message("&amp;" * 2000, [])).text) <= TEXT_LIMIT


@given(templates, any_text)
def test_a_repeat_says_so_below_the_message(template: str, value: str) -> None:
    message = render(template, {"a": value, "b": value}, event_type="e")
    repeat = mark_repeat(message)

    check_limits(repeat)
    assert repeat.text.endswith(REPEAT_NOTE)
    assert sections(repeat) == [*sections(message), REPEAT_NOTE]
    assert plain_message(repeat).text.endswith(REPEAT_NOTE)
    assert mark_repeat(plain_message(message)).blocks == []


def test_a_long_message_leaves_room_to_say_that_it_is_a_repeat() -> None:
    repeat = mark_repeat(render("x" * TEXT_LIMIT, None, event_type="e"))
    assert repeat.text.endswith(f"x{ELLIPSIS}\n{REPEAT_NOTE}")
    assert len(repeat.text) == TEXT_LIMIT


def test_a_cut_right_behind_a_link_leaves_it_whole() -> None:
    for filler in range(8):
        check_limits(render("x" * filler + "<@&>" * 3000, {}, event_type="e"))
