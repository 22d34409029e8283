"""What will not work in a template is named; what works is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.notifications.test_cookbook import SECTIONS, blocks
from workers.notifications.template_flaws import flaws_of, never_carried

SEED = (Path(__file__).resolve().parents[3] / "supabase" / "seed.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{{#if title}}x{{/if}}", ["{{#if title}} is shown as typed", "{{/if}} is shown as typed"]),
        ("{{ request title }}", ["{{ request title }} is shown as typed"]),
        ("{{title | upper}}", ["{{title | upper}} is shown as typed"]),
        ("{{{title}}}", ["{{{title}}} is shown as typed"]),
        ("{{title}", ["{{ is shown as typed"]),
        ("by {author}", ["{author} is shown as typed: a placeholder is {{key}}"]),
        ("by ${author}", ["${author} is shown as typed"]),
        ("by <%= author %>", ["<%= author %> is shown as typed"]),
        ("by [[author]]", ["[[author]] is shown as typed"]),
        ("**{{title}}** is new", ["bold is *text*"]),
        ("__{{title}}__ is new", ["italics _text_"]),
        ("~~old~~", ["struck through is ~text~"]),
        ("[Open]({{url}})", ["a link is <https://address|text>"]),
        ("# {{title}}\nx", ["there are no headings"]),
        (
            "<b>{{title}}</b><br/>",
            ["<b> is shown as typed: Slack does not support HTML", "</b>", "<br/>"],
        ),
        ("<app.example.com/{{id}}|Open>", ["cannot become a link: an address starts with https"]),
        ("<https://app.example/a b|Open>", ["has no spaces"]),
        ("<javascript:{{id}}|Open>", ["cannot become a link"]),
        ("<@ava>", ["<@ava> cannot become a mention: a person is mentioned by Slack's member id"]),
        ("<@U0{{name}} x>", ["cannot become a mention"]),
        ("<#general>", ["<#general> cannot become a mention: a channel is mentioned by its id"]),
        ("<!all>", ["<!all> cannot become a mention"]),
        ("<!{{whom}}>", ["cannot become a mention"]),
        ("<!date^{{due}}|soon>", ["cannot become a mention"]),
        ("<!date^{{due}}^{date}>", ["needs a text after a |"]),
        ("www.example.com/{{id}}", ["is not a link without https://"]),
        ("<https://app.example/{{id}}|Open", ["is not closed by a >"]),
        ("Ask <@{{id}} now", ["is not closed by a >"]),
        ("*{{title}} is new", ["* is not closed in: *x is new"]),
        ("*{{title}} * is new", ["* is not closed"]),
        ("~{{title}} is `new", ["~ is not closed", "` is not closed"]),
        ("*{{title}}\nis new*", ["* is not closed"]),
        ("```\n{{log}}", ["a code block is not closed"]),
    ],
)
def test_a_flaw_is_named_with_its_place(template: str, named: list[str]) -> None:
    found = flaws_of(template)
    for flaw in named:
        assert any(flaw in one for one in found), found
    assert len(found) == len(named), found


@pytest.mark.parametrize(
    "template",
    [
        "", "{{title}} {{ client.name }}", "*{{title}}* _{{a}}_ ~{{b}}~ `{{c}}`",
        "2 * 3 * 4 and a*b, snake_case_name, it`s",
        "* one\n* two", "- {{a}}", "> {{comment}}", ">>> {{comment}}",
        "```\nif (a) { b } **x** <b>\n```",
        "<https://app.example/r/{{id}}|Open {{title}}>", "<{{url}}|Open>", "<{{base}}/r/{{id}}>",
        "https://app.example/r/{{id}}?a=1", "https://{{tenant}}.app.example/", "https://{{host}}",
        "<https://{{host}}/r|Open>", "<mailto:{{mail}}|{{mail}}>", "<tel:{{n}}>",
        "<@{{slack_id}}>", "<@U123ABC>", "<#C123ABC|general>", "<#{{channel}}>", "<!here>",
        "<!subteam^{{group}}|@design>", "<!channel>",
        "<!date^{{due}}^{date_short} at {time}|{{due}}>",
        "<!date^{{due}}^{date}^https://app.example/{{id}}|soon>", "a < b, 5 > 3", ":tada: *New*!",
        "*<{{request.url}}|{{title}}>*: _new_", "(*{{title}}*)", "R&D", "*a*, *b*",
    ],
)  # fmt: skip
def test_valid_markup_has_no_flaws(template: str) -> None:
    assert flaws_of(template) == []


def test_the_templates_of_the_page_and_of_the_sample_agency_have_no_flaws() -> None:
    seeded = re.findall(r"'([^'\n]*\{\{[^'\n]*)'", SEED)
    assert len(seeded) == 5
    for template in [*seeded, *(blocks(text)[0] for text in SECTIONS.values())]:
        assert flaws_of(template) == [], template


def test_at_most_ten_flaws_are_named() -> None:
    assert len(flaws_of(" ".join(f"{{{{#a{n}}}}}" for n in range(50)))) == 10


CARRIED = {"title": "string", "client": "object", "client.name": "string", "tags": "array",
           "deep": "object", "deep.er": "object"}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "never"),
    [
        ("{{title}} {{client.name}} {{tags.0}} {{deep.er.still}}", []),
        ("{{request.url}} {{actor.slack_id}} {{client.name}} {{words.title}}", []),
        ("{{titel}} {{titel}} {{client.nam}} {{x.y}}", ["titel", "client.nam", "x.y"]),
        ("<https://a.example/{{id}}|{{title}}> *{{name}}*", ["id", "name"]),
        ("{{words.nope}} {{request.nope}} {{words.request.title}}", ["words.nope", "request.nope"]),
        ("{{deep.other.still}}", ["deep.other.still"]),
    ],
)
def test_placeholders_that_no_event_fills(template: str, never: list[str]) -> None:
    assert never_carried(template, CARRIED) == never


@given(st.text(alphabet=st.sampled_from("{}<>@#!*_~`|^ \nab.:/-[]()$%"), max_size=80))
def test_any_template_can_be_checked(template: str) -> None:
    assert len(flaws_of(template)) <= 10


@pytest.mark.parametrize("piece", ["{{", "<", "*", "<@{{a}}>", "https://{{", "[a](", "**", "<b "])
def test_a_very_long_template_is_checked_in_time(piece: str) -> None:
    flaws_of(piece * (12_000 // len(piece)))
