"""What a notification says, from what the database tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from server.console.notification_message import first_line, shown_message
from workers.redaction import mask_all


def notification(template: str | None, data: str | None) -> dict[str, Any]:
    config = {"template": template, "event_type": "status_change"}
    return {"config": config, "event_data": data, "names": {"C1": "creative"}}


def test_it_is_rendered_as_the_worker_does() -> None:
    shown = shown_message(
        notification("*{{title}}* in <#C1>: {{amount}} {{gone}}", '{"title": "a", "amount": 1.50}'),
        is_repeat=False,
    )
    assert shown.html == (
        '<div class="slack-section"><strong>a</strong> in <span class="slack-mention" title="C1">'
        "#creative</span>: 1.50 {{gone}}</div>"
    )
    assert (shown.problem, shown.unknown_keys, shown.is_shortened) == (None, ("gone",), False)


def test_a_repeat_says_so() -> None:
    shown = shown_message(notification("x", "{}"), is_repeat=True)
    assert "This may be a repeat" in shown.html


def test_without_a_config_there_is_a_plain_line() -> None:
    shown = shown_message({"config": None, "event_data": None, "names": {}}, is_repeat=False)
    assert "Notification" in shown.html


def test_data_that_cannot_be_read_is_named() -> None:
    shown = shown_message(notification("x", "{"), is_repeat=False)
    assert (shown.html, "not JSON" in (shown.problem or "")) == ("", True)


@pytest.mark.parametrize("secret", ['"hunter2hunter2"', "1234567890"])
def test_what_looks_like_a_secret_is_neither_shown_nor_in_the_way(secret: str) -> None:
    told = mask_all(notification("{{a}} {{password}}", f'{{"a": 1, "password": {secret}}}'))
    assert "1 [redacted]" in shown_message(told, is_repeat=False).html


@pytest.mark.parametrize(
    ("template", "line"),
    [("*{{a}}*\nmore", "<b>"), ("<https://a.example|here> {{a}}", "here <b>")],
)
def test_the_first_line_is_plain_text(template: str, line: str) -> None:
    row = {"template": template, "event_data": '{"a": "<b>"}', "event_type": "x"}
    assert first_line(row, {}) == line


def test_a_row_whose_data_cannot_be_read_has_no_line() -> None:
    assert first_line({"template": "x", "event_data": "{", "event_type": "x"}, {}) == ""
