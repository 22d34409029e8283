"""docs/messages.md: what it says about each event is true, and its templates render as it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.notifications.rendered import check_limits
from workers.notifications.entities import ENTITY_PATHS, Client, Entities, Person, Request
from workers.notifications.event_data import parse_event_data
from workers.notifications.plain_line import Wording
from workers.notifications.rendering import render

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
REQUEST = "e0000000-0000-4000-8000-000000000001"
AVA, CLIENT = "a0000000-0000-4000-8000-000000000001", "c0000000-0000-4000-8000-000000000001"
WORDING = Wording("https://app.example.com/requests/{id}")
ENTITIES = Entities(
    Request(REQUEST, "Spring launch film", "2026-12-01"),
    Client("Nordlys Outdoor"),
    actor=Person("Ava Lindqvist", "U0AVA00000"),
    assignee=Person("Ben Okafor", "U0BEN00000"),
)
OF_A_REQUEST = {"request_id": REQUEST, "request_title": "Spring launch film"}
OF_A_SYNC = {
    "headline": "Sync failed", "state": "failed", "problem": "refused",
    "error": "the access token has expired", "failed_since": "2026-11-26T00:00:00+00:00",
    "connection_id": "b0000000-0000-4000-8000-000000000001", "platform": "facebook",
    "platform_name": "Meta", "account_id": "act_1203300000000001",
    "account_name": "Nordlys Outdoor", "connections": 1,
}  # fmt: skip
EVENTS: dict[str, dict[str, Any]] = {
    # as the dashboard's trigger on requests queues it
    "status_change": {**OF_A_REQUEST, "old_status": "in_progress", "new_status": "needs_review",
                      "changed_by": AVA, "client_id": CLIENT},
    "comment_added": {**OF_A_REQUEST, "author": "Carla Mendes",
                      "comment": "Love it & ship it\n<!channel>"},
    "asset_uploaded": {**OF_A_REQUEST, "name": "menu-v3.pdf"},
    "assigned": OF_A_REQUEST,
    "due_soon": {"request_title": "Spring launch film", "due_date": "2026-12-01"},
    "budget_alert": {"client": "Nordlys Outdoor", "percent": 91.5},
    "sync_failed": OF_A_SYNC,
    "sync_recovered": {**OF_A_SYNC, "headline": "Sync works again", "state": "recovered"},
}  # fmt: skip
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def blocks(text: str) -> list[str]:
    return re.findall(r"^```text\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)


def shown(template: str | None, event: str, wording: Wording = WORDING) -> str:
    data = parse_event_data(json.dumps(EVENTS[event]))
    message = render(template, data, event_type=event, entities=ENTITIES, wording=wording)
    check_limits(message)
    assert message.unknown_keys == ()
    return message.text


def test_each_event_has_its_section() -> None:
    assert list(SECTIONS) == list(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_a_template_becomes_what_the_page_shows(event: str) -> None:
    template, becomes = blocks(SECTIONS[event])
    assert shown(template, event) == becomes
    # and without a name, an address or a Slack id none of its markup remains
    bare = render(template, EVENTS[event], event_type=event).text
    assert not re.search(r"\{\{|\bnull\b|<@|<\||\|>|&lt;(?!!channel)", bare)


@pytest.mark.parametrize("event", EVENTS)
def test_the_page_lists_the_keys_of_each_event(event: str) -> None:
    carried = re.search(r"carry|Carries", SECTIONS[event])
    text = SECTIONS[event] if carried else PAGE.partition("## The workers' own events")[2]
    sentence = re.search(r"(?:Carries|Both carry)(.*?)\.\n", text, re.DOTALL)
    assert sentence is not None
    assert sorted(re.findall(r"`(\w+)`", sentence[1])) == sorted(EVENTS[event])


def test_the_sample_agency_queues_the_events_of_the_page() -> None:
    seed = (ROOT / "supabase" / "seed.sql").read_text(encoding="utf-8")
    types = dict(re.findall(r"\('(f0[0-9a-f-]+)', '\w+', '(\w+)'", seed))
    queued = re.findall(r"'(f0[0-9a-f-]+)',\s+'e0[0-9a-f-]+', '\w+',\s+'(\{.*?\})'", seed)
    assert {types[config] for config, _ in queued} == set(EVENTS) - {
        "sync_failed", "sync_recovered"
    }  # fmt: skip
    for config, data in queued:
        assert set(json.loads(data)) <= set(EVENTS[types[config]]) | {"request_id"}, types[config]


def test_the_plain_line_is_as_shown() -> None:
    assert blocks(PAGE)[0] == shown(None, "status_change")


def test_the_table_lists_the_keys_of_every_event() -> None:
    table = PAGE.partition("## What every event has")[2].partition("\n\nA prefix")[0]
    assert set(re.findall(r"`(\w+\.\w+)`", table)) == set(ENTITY_PATHS)


def test_the_forms_are_as_shown() -> None:
    rows = re.findall(r"^\| `(\w+\.(\w+))`.* \| `(.+?)`.* \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for key, name, value, becomes in rows:
        data = {name: value, "currency": "EUR"}
        texts = [
            render(f"{{{{{key}}}}}", data, event_type="e", wording=Wording(locale=locale)).text
            for locale in ("en-US", "de-DE")
        ]
        assert ", ".join(texts).replace("\u00a0", " ") == becomes


@pytest.mark.parametrize("form", ["words", "number", "percent", "money", "date"])
@pytest.mark.parametrize("value", [None, True, "", [1], {"a": 1}, "<!here> & co", "soon", "1e5"])
def test_a_value_without_that_form_stays_as_it_is(form: str, value: Any) -> None:
    plain = render("[{{a}}]", {"a": value}, event_type="e").text
    written = render(f"[{{{{{form}.a}}}}]", {"a": value}, event_type="e").text
    assert written == (plain.replace("soon", "Soon") if form == "words" else plain)


def test_the_events_own_key_takes_precedence_over_a_form() -> None:
    event = {"words": {"a": "own"}, "a": "b_c"}
    assert render("{{words.a}}", event, event_type="e").text == "own"
    message = render("{{words.words.a}} {{money.}} {{words.x}}", {"a": 1}, event_type="e")
    assert message.text == "{{words.words.a}} {{money.}} {{words.x}}"
