"""What the doctor says of stored templates."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.notifications.test_cookbook import EVENTS
from workers.doctor.template_checks import CARRIED, check_templates
from workers.findings import Finding


def config(event_type: str, template: str, **values: Any) -> dict[str, Any]:
    usual = {"id": "f1", "entity_type": "request", "events": 0, "carried": {}}
    return {**usual, "event_type": event_type, "template": template, **values}


def told(*configs: dict[str, Any]) -> list[str]:
    findings: list[Finding] = list(check_templates(configs))
    return [one.text for one in findings if one.level == "warning"]


@pytest.mark.parametrize("kind", CARRIED, ids=lambda kind: kind[1])
def test_what_an_event_carries_is_what_the_page_says(kind: tuple[str, str]) -> None:
    assert set(CARRIED[kind]) == set(EVENTS[kind[1]])


def test_events_that_were_queued_say_what_they_carry() -> None:
    seen = {"carried": {"title": "string"}, "events": 7}
    assert told(config("e", "{{title}}", **seen)) == []
    assert told(config("e", "{{name}}", **seen)) == [
        "the template of e (f1): none of its last 7 events carries {{name}}"
    ]
    # another trigger than usual
    assert told(config("status_change", "{{title}} {{new_status}}", **seen)) == [
        "the template of status_change (f1): none of its last 7 events carries {{new_status}}"
    ]


def test_where_none_was_queued_the_known_events_are_known() -> None:
    assert told(config("e", "{{whatever}}")) == []
    assert told(config("status_change", "{{new_status}} {{status}}")) == [
        "the template of status_change (f1): no such event carries {{status}}"
    ]
    old = {"entity_type": "platform_connection", "carried": {"platform": "string"}, "events": 1}
    assert told(config("sync_failed", "{{headline}} {{platform}}", **old)) == []


def test_templates_without_flaws_are_well() -> None:
    (finding,) = check_templates([config("e", "{{a}}"), config("e", "b")])
    assert (finding.level, finding.text) == ("ok", "2 templates looked at")
    assert list(check_templates([])) == []
    assert [one.level for one in check_templates([config("e", "**a**"), config("e", "b")])] == [
        "warning"
    ]
