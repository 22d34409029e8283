"""What the doctor says about stored templates."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.notifications.test_cookbook import EVENTS
from workers.answers import Answer
from workers.doctor.template_checks import (
    CARRIED,
    ConfigTemplate,
    check_templates,
    read_template,
)
from workers.findings import Finding


def config(event_type: str, template: str, **values: Any) -> ConfigTemplate:
    usual = {"id": "f1", "entity_type": "request", "digest": "", "events": 0, "carried": {}}
    row = {**usual, "event_type": event_type, "template": template, **values}
    return read_template(Answer.of("config_templates", row))


def warnings(*configs: ConfigTemplate) -> list[str]:
    findings: list[Finding] = list(check_templates(configs))
    return [one.text for one in findings if one.level == "warning"]


@pytest.mark.parametrize("kind", CARRIED, ids=lambda kind: kind[1])
def test_what_an_event_carries_is_what_the_docs_say(kind: tuple[str, str]) -> None:
    assert set(CARRIED[kind]) == set(EVENTS[kind[1]])


def test_events_that_were_queued_say_what_they_carry() -> None:
    seen = {"carried": {"title": "string"}, "events": 7}
    assert warnings(config("e", "{{title}}", **seen)) == []
    assert warnings(config("e", "{{name}}", **seen)) == [
        "the template of e (f1): none of its last 7 events carries {{name}}"
    ]
    # another trigger than usual
    assert warnings(config("status_change", "{{title}} {{new_status}}", **seen)) == [
        "the template of status_change (f1): none of its last 7 events carries {{new_status}}"
    ]


def test_without_a_queued_event_the_known_ones_apply() -> None:
    assert warnings(config("e", "{{whatever}}")) == []
    assert warnings(config("status_change", "{{new_status}} {{status}}")) == [
        "the template of status_change (f1): no such event carries {{status}}"
    ]
    old = {"entity_type": "platform_connection", "carried": {"platform": "string"}, "events": 1}
    assert warnings(config("sync_failed", "{{headline}} {{platform}}", **old)) == []


def test_templates_without_flaws_are_ok() -> None:
    (finding,) = check_templates([config("e", "{{a}}"), config("e", "b")])
    assert (finding.level, finding.text) == ("ok", "2 templates checked")
    assert list(check_templates([])) == []
    assert [one.level for one in check_templates([config("e", "**a**"), config("e", "b")])] == [
        "warning"
    ]
