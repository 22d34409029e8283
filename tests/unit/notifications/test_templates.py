"""What a template makes of values, links and mentions, and what stands in for an empty one."""

from __future__ import annotations

import pytest

from tests.unit.notifications.rendered import sections, shown, tokens
from workers.notifications.rendering import TOKEN_LIMIT, render


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
