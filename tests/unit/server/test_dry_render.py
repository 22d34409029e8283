"""A template tried out: the worker's message, with unknown, cut and escaped parts marked."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.console.dry_render import Trial, Tried, try_out
from workers.doctor.template_checks import ConfigTemplate
from workers.notifications.entities import NO_ENTITIES
from workers.notifications.event_data import parse_event_data
from workers.notifications.plain_line import PLAIN_WORDING
from workers.notifications.rendering import VALUE_LIMIT, render


def trial(template: str, data: object) -> Trial:
    """Of a template without a config, with that data."""
    text = data if isinstance(data, str) else json.dumps(data)
    return try_out(Tried(template, text, "event", NO_ENTITIES, {}, None, PLAIN_WORDING))


def test_each_placeholder_has_its_result() -> None:
    data = {"title": "Menu", "odd": "<b> & @here", "long": "x" * 5000, "none": None}
    found = trial("{{title}} {{odd}} {{long}} {{none}} {{missing}} {{title}}", data)
    assert {one.key: one.state for one in found.placeholders} == {
        "title": "filled", "odd": "escaped", "long": "cut", "none": "empty", "missing": "unknown",
    }  # fmt: skip
    values = {one.key: one.value for one in found.placeholders}
    assert values["title"] == "Menu"
    assert values["odd"] == "&lt;b&gt; &amp; @here"
    assert len(values["long"]) <= VALUE_LIMIT
    assert found.is_shortened


def test_the_message_has_marks() -> None:
    html = str(trial("*{{missing}}* {{odd}} {{long}}", {"odd": "<b>", "long": "x" * 5000}).html)
    assert '<mark class="unknown" title="unknown">{{missing}}</mark>' in html
    assert '<mark class="escaped" title="escaped">&lt;</mark>b' in html
    assert '<mark class="cut" title="cut">…</mark>' in html
    assert "<b>b" not in html


def test_what_looks_like_a_placeholder_in_a_value_is_not_marked() -> None:
    html = str(trial("{{title}} {{missing}}", {"title": "{{other}}"}).html)
    assert "{{other}}" in html
    assert ">{{other}}</mark>" not in html
    assert ">{{missing}}</mark>" in html


def test_the_flaws_are_those_that_the_doctor_reports() -> None:
    flaws = trial("**bold** {{ no key }} <a href=x>", {}).flaws
    assert any("bold is *text*" in flaw for flaw in flaws)
    assert any("only {{key}}" in flaw for flaw in flaws)
    assert any("HTML" in flaw for flaw in flaws)
    assert trial("*{{title}}*", {"title": "x"}).flaws == ()


def test_a_key_that_no_event_of_the_config_carries_is_reported() -> None:
    config = ConfigTemplate(
        id="c1", entity_type="request", event_type="e", template="", digest="", events=3,
        carried={"title": "string"},
    )  # fmt: skip
    tried = Tried("{{titel}}", '{"titel": 1}', "e", NO_ENTITIES, {}, config, PLAIN_WORDING)
    assert try_out(tried).flaws == ("none of its last 3 events carries {{titel}}",)


def test_a_masked_number_is_read_as_text() -> None:
    found = trial("{{a}}", '{"a": [redacted]}')
    assert (found.problem, found.placeholders[0].value) == (None, "[redacted]")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ('{"title": ', "Expecting value, line 1, column 11"),
        ('{\n"title": x}', "line 2, column 10"),
        ('{"title": NaN}', "NaN is not a number"),
        ('{"title": [-Infinity]}', "-Infinity is not a number"),
    ],
)
def test_data_that_is_not_json_is_reported_with_its_place(data: str, problem: str) -> None:
    found = trial("{{title}}", data)
    assert problem in (found.problem or "")
    assert not found.html


def test_a_number_of_any_size_is_json() -> None:
    assert trial("{{title}}", '{"title": 1e999}').problem is None


def test_an_ellipsis_of_the_template_is_no_mark_of_a_cut() -> None:
    assert "mark" not in trial("Wait … {{title}}", {"title": "x"}).html
    assert 'class="cut"' in trial("Wait … {{title}}", {"title": "x" * 9_000}).html


@given(st.text(max_size=60), st.dictionaries(st.sampled_from("abc"), st.text(max_size=60)))
def test_marks_add_nothing_but_marks(template: str, data: dict[str, str]) -> None:
    """The visible text is that of the message, and no text becomes a tag."""
    template = template.replace("\0", "") + " {{a}} {{b}}"
    found = trial(template, data)
    tags = {tag for tag in re.findall(r"<(/?\w+)", str(found.html)) if "mark" in tag}
    assert tags <= {"mark", "/mark"}
    bare = re.sub(r"</?mark[^>]*>", "", str(found.html))
    message = render(template, parse_event_data(json.dumps(data)), event_type="event")
    from server.console.slack_message import message_html

    assert unescape(bare) == unescape(str(message_html(message.text, message.blocks, {})))
