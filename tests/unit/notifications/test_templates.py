"""How a template renders values, links and mentions, and what replaces an empty one."""

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
        ("{{ a }}{{\ta}}{{a  }}", "vvv"),
        ("{{ b }} {{a.b}} {{é}} {{a-b}}", "{{ b }} {{a.b}} {{é}} {{a-b}}"),
        (
            "{{}} {{ }} {{a b}} {{#if a}} {{.a}} {{a.}} {{\na}}",
            "{{}} {{ }} {{a b}} {{#if a}} {{.a}} {{a.}} {{\na}}",
        ),
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
        ("<{{a}}!channel>", "x", "&lt;x!channel&gt;"),
        ("<!subteam^{{a}}>", "S1", "<!subteam^S1>"),
        ("<!subteam^{{a}}|@design>", "S1", "<!subteam^S1|@design>"),
        ("<!subteam^{{a}}>", "channel", "&lt;!subteam^channel&gt;"),
        ("<!subteam{{a}}>", "^S1", "&lt;!subteam^S1&gt;"),
        ("<!{{a}}>", "subteam^S1", "&lt;!subteam^S1&gt;"),
        ("Call <tel:{{a}}|{{a}}>", "+49 40 12", "Call <tel:+49%2040%2012|+49 40 12>"),
        ("<https://{{a}}/r|Open>", "app.agency.example", "<https://app.agency.example/r|Open>"),
        ("<https://{{a}}/r>", "evil.example/x?", "&lt;https://evil.example/x?/r&gt;"),
        ("<https://{{a}}/r>", "me@evil.example", "&lt;https://me@evil.example/r&gt;"),
        ("<!date^{{a}}^{date_short}|soon>", "1700000000", "<!date^1700000000^{date_short}|soon>"),
        ("<!date^{{a}}^{date}|soon>", "1^x|<", "soon"),
        ("<!date^{{a}}^{date}>", "1^x|<", "&lt;!date^1^x|&lt;^{date}&gt;"),
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


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("<@{{id}}> you are assigned", "you are assigned"),
        ("Hi <@{{id}}>, you are assigned", "Hi, you are assigned"),
        ("Ask <@{{id}}> or <@{{id}}>.", "Ask or."),
        ("Ask <@{{id}}>\nor <#{{id}}>", "Ask\nor"),
        ("<@{{id}}>: done", ": done"),
        ("(<@{{id}}>) done", "() done"),
        ("<@{{id}}|{{name}}> is assigned", "Ava &amp; Co is assigned"),
        ("In <#{{id}}> today", "In today"),
        ("In <#{{id}}|the channel> today", "In the channel today"),
        ("For <!subteam^{{id}}> now", "For now"),
        ("For <!subteam^{{id}}|@design> now", "For @design now"),
        ("Due <!date^{{id}}^{date_short}|{{name}}>.", "Due Ava &amp; Co."),
        ("Due <!date^{{id}}^{date_short}>.", "Due."),
        ("<https://h.example/r/{{id}}|Open {{name}}>", "Open Ava &amp; Co"),
        ("See <https://h.example/r/{{id}}>.", "See."),
        ("<{{id}}|Open>", "Open"),
        ("See <{{id}}> there", "See there"),
        ("<mailto:{{id}}|Write>", "Write"),
        ("> <@{{id}}> said", "> said"),
        ("x", "x"),
    ],
)
@pytest.mark.parametrize("value", [None, "", " \u200b", "unknown"])
def test_markup_without_a_value_leaves_nothing_behind(
    template: str, expected: str, value: object
) -> None:
    event = {"name": "Ava & Co", **({} if value == "unknown" else {"id": value})}
    message = render(template, event, event_type="e")

    assert sections(message) == [expected]
    assert message.unknown_keys == (("id",) if value == "unknown" and "id" in template else ())


def test_an_empty_value_is_allowed_in_a_query() -> None:
    event = {"q": "", "id": 7}
    assert shown("<https://h.example/?q={{q}}&id={{id}}|Find>", event) == (
        "<https://h.example/?q=&amp;id=7|Find>"
    )
    assert shown("<https://h.example/#{{q}}>", event) == "<https://h.example/#>"
    assert shown("<https://h.example/{{q}}?id={{id}}|Find>", event) == "Find"


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("*{{a}}*", "x", "*x*"),
        ("a *{{a}}* b", None, "a b"),
        ("a *_{{a}}_* b", "", "a b"),
        ("Total: `{{a}}`.", None, "Total:."),
        ("~{{a}}~", "x y", "~x y~"),
        ("*{{a}}*", " x ", " *x* "),
        ("*{{a}}*", "x\n\ny", "*x*\n\n*y*"),
        ("> _{{a}}_", "x\ny", "> _x_\n> _y_"),
        ("*_{{a}}_*", "x\ny", "*_x_*\n*_y_*"),
        ("`{{a}}`", "a`b", "`a\u02cbb`"),
        ("*{{missing}}*", "x", "*{{missing}}*"),
        ("*{{a}}_", "x\ny", "*x\ny_"),
        ("```{{a}}```", "x\ny", "```x\ny```"),
        ("```{{a}}```", "`x`", "```\u200b`x`\u200b```"),
        ("`{{a}}{{a}}{{a}}", "`", "`\u200b`\u200b`\u200b`"),
        ("{{a}}{{a}}", "``", "``\u200b``"),
    ],
)
def test_a_value_keeps_the_formatting_around_it_whole(
    template: str, value: str | None, expected: str
) -> None:
    assert shown(template, {"a": value, "b": 1}) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{who}}:\n> {{a}}", "Ava:\n> 1\n> 2"),
        (">{{a}}\n{{a}}", ">1\n>2\n1\n2"),
        ("&gt; {{a}}", "&gt; 1\n&gt; 2"),
        ("  > - {{a}} by {{who}}", "  > - 1\n  > 2 by Ava"),
        ("> {{who}} {{a}}{{a}}", "> Ava 1\n> 21\n> 2"),
        (">>> {{a}}\nand {{a}}", ">>> 1\n2\nand 1\n2"),
        ("a > {{a}}", "a > 1\n2"),
        ("{{a}}> {{a}}", "1\n2> 1\n2"),
        ("```\n> {{a}}\n```\n> {{a}}", "```\n> 1\n2\n```\n> 1\n> 2"),
        ("> ```{{a}}```\n> {{a}}", "> ```1\n> 2```\n> 1\n> 2"),
        ("> a ```b``` {{a}}", "> a ```b``` 1\n> 2"),
        ("{{q}} {{a}}", "&gt; mine 1\n2"),
        ("x\n{{q}}{{a}}", "x\n&gt; mine1\n2"),
        ("{{none}}> {{a}}", "> 1\n> 2"),
    ],
)
def test_a_value_of_several_lines_is_quoted_whole(template: str, expected: str) -> None:
    event = {"a": "1\n2", "who": "Ava", "q": "> mine", "none": None}
    assert shown(template, event) == expected


@pytest.mark.parametrize("value", [">>> mine", "x\n>>> mine", "x\n  >>>>mine"])
def test_a_value_does_not_quote_what_follows_it(value: str) -> None:
    text = shown("{{a}}\nStatus: *open*", {"a": value})

    assert "\u200b&gt;&gt;&gt;" in text
    assert text.replace("\u200b", "").replace("&gt;", ">") == f"{value}\nStatus: *open*"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1795636800", 1795636800),
        (1795636800, 1795636800),
        (1795636800.123456, 1795636800),
        ("1795636800.999999", 1795636800),
        ("1795636800.", 1795636800),
        (1795636800123, 1795636800),
        ("99999999999", 99999999999),
        (0, 0),
        ("2026-11-26T00:00:00+00:00", 1795651200),
        ("2026-11-26T00:00:00Z", 1795651200),
        ("2026-11-26 00:00:00+00", 1795651200),
        ("2026-11-26T02:00:00.123456+02:00", 1795651200),
        (" 2026-11-26T00:00:00 ", 1795651200),
        ("2026-11-26", 1795651200 + 12 * 3600),
    ],
)
def test_a_date_accepts_the_times_that_a_dashboard_writes(value: object, seconds: int) -> None:
    expected = f"Due <!date^{seconds}^{{date_short}} {{time}}|then>"
    assert shown("Due <!date^{{due}}^{date_short} {time}|then>", {"due": value}) == expected
    link = f"<!date^{seconds}^{{date}}^https://h.example/7|then>"
    assert (
        shown("<!date^{{due}}^{date}^https://h.example/{{id}}|then>", {"due": value, "id": 7})
        == link
    )


@pytest.mark.parametrize(
    "value",
    ["soon", "-5", "1969-12-31T23:59:59Z", "0001-01-01", "2026-13-01", "9" * 17, "1e9", True],
)
def test_an_invalid_time_is_shown_as_the_author_wants(value: object) -> None:
    assert shown("<!date^{{due}}^{date}|then>", {"due": value}) == "then"


NESTED = {
    "client": {"name": "Nordlys", "tags": ["a", {"b": "deep"}], "none": None},
    "client.name2": "flat",
    "due-date": "soon",
    "größe": "M",
    "record": '{"title": "In a string"}',
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{client.name}} {{ client.name }}", "Nordlys Nordlys"),
        ("{{client.tags.0}} {{client.tags.1.b}}", "a deep"),
        ("{{client.name2}}", "flat"),
        ("{{due-date}} {{größe}}", "soon M"),
        ("{{record.title}}", "In a string"),
        ("[{{client.none}}]", "[]"),
        ("*{{client.name}}*", "*Nordlys*"),
        (
            "<https://h.example/{{client.name}}|{{ client.tags.0 }}>",
            "<https://h.example/Nordlys|a>",
        ),
        ("https://h.example/{{client.name}}", "<https://h.example/Nordlys>"),
        ("{{client.tags}}", '["a",{"b":"deep"}]'),
    ],
)
def test_a_path_leads_into_the_event(template: str, expected: str) -> None:
    assert shown(template, NESTED) == expected


@pytest.mark.parametrize(
    "path",
    ["client.nam", "client.name.x", "client.tags.2", "client.tags.x", "client.tags.1.c", "x.y",
     "client.none.x", f"client.tags.{'9' * 500}", "client.tags.-1", "due-dat"],
)  # fmt: skip
def test_a_path_without_a_value_stays_and_is_counted(path: str) -> None:
    message = render(f"{{{{{path}}}}}", NESTED, event_type="e")

    assert message.text == f"{{{{{path}}}}}"
    assert message.unknown_keys == ((path,) if "-1" not in path else ())


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
        ("status_change", STATUS, "Status change: Spring launch · In progress → Needs review"),
        ("status_change", {"status": "done"}, "Status change: Done"),
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
def test_without_a_visible_template_the_known_fields_are_shown(
    template: str | None, event_type: str, event: object, expected: str
) -> None:
    if template == "{{client_id}}":
        event = {**(event if isinstance(event, dict) else {}), "client_id": " \u2800"}

    message = render(template, event, event_type=event_type)

    assert message.text == expected
    assert sections(message) == [expected]
