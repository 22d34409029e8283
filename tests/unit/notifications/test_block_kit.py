"""The blocks of any message are what Slack's own types and limits allow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.fakes.slack_blocks import problems, text_sum
from tests.unit.notifications.slack_shapes import SHAPES, misfits
from tests.unit.notifications.test_cookbook import ENTITIES, EVENTS, SECTIONS, WORDING, blocks
from workers.notifications.rendering import (
    TEXT_LIMIT,
    TOTAL_LIMIT,
    Message,
    mark_repeat,
    plain_message,
    render,
)

DECLARED = json.loads(SHAPES.read_text(encoding="utf-8"))


def check(message: Message) -> None:
    assert message.blocks
    for form in (message, mark_repeat(message)):
        assert misfits(form.blocks, "SectionBlock[]", DECLARED) == []
        assert problems(form.blocks) == []
        assert text_sum(form.blocks) <= TOTAL_LIMIT
        assert 0 < len(form.text) <= TEXT_LIMIT
    assert plain_message(message).blocks == []


def test_the_shapes_match_slacks_package() -> None:
    assert DECLARED["version"] == "3.2.0"
    assert DECLARED["interfaces"]["SectionBlock"]["type"] == ["'section'", False]
    assert "SectionBlock" in DECLARED["aliases"]["KnownBlock"].split(" | ")
    assert set(DECLARED["interfaces"]) == {"SectionBlock", "MrkdwnElement", "PlainTextElement"}


@pytest.mark.parametrize("event", EVENTS)
def test_every_message_of_the_cookbook_is_valid(event: str) -> None:
    template = blocks(SECTIONS[event])[0]
    for one in (template, None, template * 400):
        check(render(one, EVENTS[event], event_type=event, entities=ENTITIES, wording=WORDING))


VALUES = (
    st.none()
    | st.text(max_size=40)
    | st.sampled_from(("<!here>", "```", "&" * 4_000, "é\n" * 2_000))
)
PIECES = st.sampled_from(
    ("{{a}}", "*{{a}}*", "> {{b}}\n", "```", "<{{a}}|{{b}}>", "<@{{a}}>", "\n", "&", "<",
     "x" * 2_990, "https://x.example/{{a}} ", "{{words.a}}", "{{no}}")
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=20), max_size=12), VALUES, VALUES)
def test_a_message_of_any_template_and_values_is_valid(pieces: list[str], a: Any, b: Any) -> None:
    check(
        render(
            "".join(pieces), {"a": a, "b": b}, event_type="e", entities=ENTITIES, wording=WORDING
        )
    )


@pytest.mark.parametrize(
    ("blocks", "flaw"),
    [
        ([{"type": "section", "text": {"type": "mrkdwn"}}], "/0/text/text is missing"),
        ([{"type": "section", "colour": "red"}], "/0/colour is not a field of it"),
        ([{"type": "section", "expand": "yes"}], "/0/expand is no boolean"),
        ([{"type": "sections"}], "/0/type is not 'section'"),
        ([{"text": {"type": "mrkdwn", "text": "x"}}], "/0/type is missing"),
        (["x"], "/0 is not an object"),
        ({}, " is not a list"),
        ([{"type": "section", "accessory": {}}], "SectionBlockAccessory is not recorded"),
    ],
)
def test_an_invalid_block_is_reported(blocks: Any, flaw: str) -> None:
    assert any(flaw in one for one in misfits(blocks, "SectionBlock[]", DECLARED))
