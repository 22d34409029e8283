"""The message of a notification, from what the database returns about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server.console.answers.notifications import (
    ListedNotification,
    Notification,
    read_notification,
)
from server.console.notification_message import first_line, shown_message
from workers.answers import Answer
from workers.notifications.entities import NO_ENTITIES
from workers.redaction import mask_all


def row(template: str | None, data: str | None) -> dict[str, Any]:
    """As console_notification returns it."""
    return {
        "id": "n1", "state": "waiting", "entity_type": "request", "entity_id": "e1",
        "config": {"id": "c1", "entity_type": "request", "event_type": "status_change",
                   "template": template, "is_active": True},
        "event_data": data,
        "known": {"request": None, "client": None, "actor": None, "assignee": None},
        "names": {"C1": "creative"}, "max_attempts": 5, "last_error": None, "created_at": None,
        "processed_at": None, "next_attempt_at": None, "claimed_until": None, "deliveries": [],
        "destinations": [], "unrouted": None, "workspace": None, "ahead": {}, "threads": {},
    }  # fmt: skip


def notification(template: str | None, data: str | None) -> Notification:
    return read_notification(Answer.of("console_notification", row(template, data)))


def listed(template: str, data: str) -> ListedNotification:
    return ListedNotification(
        id="n1", state="waiting", event_type="x", created_at=None, error=None, template=template,
        event_data=data, entities=NO_ENTITIES, deliveries=(),
    )  # fmt: skip


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


def test_a_possible_duplicate_is_marked() -> None:
    shown = shown_message(notification("x", "{}"), is_repeat=True)
    assert "This may be a repeat" in shown.html


def test_without_a_config_there_is_a_plain_line() -> None:
    shown = shown_message(replace(notification(None, None), config=None), is_repeat=False)
    assert "Notification" in shown.html


def test_unreadable_data_is_reported() -> None:
    shown = shown_message(notification("x", "{"), is_repeat=False)
    assert (shown.html, "not JSON" in (shown.problem or "")) == ("", True)


@pytest.mark.parametrize("secret", ['"hunter2hunter2"', "1234567890"])
def test_what_looks_like_a_secret_is_masked_and_the_rest_is_shown(secret: str) -> None:
    masked = mask_all(row("{{a}} {{password}}", f'{{"a": 1, "password": {secret}}}'))
    found = read_notification(Answer.of("console_notification", masked))
    assert "1 [redacted]" in shown_message(found, is_repeat=False).html


@pytest.mark.parametrize(
    ("template", "line"),
    [("*{{a}}*\nmore", "<b>"), ("<https://a.example|here> {{a}}", "here <b>")],
)
def test_the_first_line_is_plain_text(template: str, line: str) -> None:
    assert first_line(listed(template, '{"a": "<b>"}'), {}) == line


def test_a_row_with_unreadable_data_has_no_line() -> None:
    assert first_line(listed("x", "{"), {}) == ""
