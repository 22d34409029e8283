"""What docs/architecture/ shows of SQL is what the database answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.database.walkthroughs import PAGES, SAMPLE, Walkthrough
from workers.notifications.rendering import render
from workers.notifications.slack import METADATA_EVENT, METADATA_KEY


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_the_database_answers(page: Path, db: psycopg.Connection[Any]) -> None:
    """Where the new answers are right: python -m tests.database.walkthroughs writes them."""
    db.execute(SAMPLE.read_bytes())
    shown = page.read_text(encoding="utf-8")
    assert Walkthrough(db).rewritten(shown) == shown


def test_an_id_that_the_database_makes_up_is_numbered(db: psycopg.Connection[Any]) -> None:
    number = "00000000-0000-4000-8000-000000000001"
    page = f"```sql\nselect gen_random_uuid();\n-- ?\nselect text '{number}';\n-- ?\n```\n"
    assert Walkthrough(db).rewritten(page).count(f"-- {number}\n") == 2


def test_an_answer_that_changed_is_noticed(db: psycopg.Connection[Any]) -> None:
    page = "```sql\nselect 1 as one, null as two;\n-- ?\n\nselect '{\"a\": 1}'::jsonb;\n-- ?\n```\n"
    assert Walkthrough(db).rewritten(page) == (
        "```sql\nselect 1 as one, null as two;\n-- one | two\n-- ----+-----\n-- 1   | null\n\n"
        'select \'{"a": 1}\'::jsonb;\n-- {"a": 1}\n```\n'
    )


def test_the_post_is_the_one_that_would_be_rendered() -> None:
    (page,) = (page for page in PAGES if page.stem == "queue-to-slack")
    text = page.read_text(encoding="utf-8")
    post = json.loads(text.partition("```json\n")[2].partition("```")[0])
    template = re.findall(r'"template": "(.+?)"', text)[0]
    event = re.findall(r"'(\{\"request_title\".+?\})'", text, re.DOTALL)[0]
    rendered = render(template, json.loads(event), event_type="status_change")
    assert post["text"] == rendered.text
    assert post["metadata"] == {
        "event_type": METADATA_EVENT,
        "event_payload": {METADATA_KEY: "00000000-0000-4000-8000-000000000001"},
    }
