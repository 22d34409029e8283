"""The pages of notifications, as served."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.environment import of_stack
from local.faults import slack_error
from local.invoke import invoke, scheduled_event
from tests.server.console.conftest import Console

HOSTILE = "<b>x</b>\"'`{{7*7}}<!--\x07\u202e"


def run(console: Console, **settings: str) -> dict[str, Any]:
    """One run of the worker over the console's stack."""
    event, environment = scheduled_event("notifications"), of_stack(console.stack.running)
    environment |= settings
    summary: dict[str, Any] = invoke("notifications", event, environment)
    return summary


def listed(page: str) -> list[str]:
    """The ids in a list, in its order."""
    return re.findall(r'<tr id="n-([-0-9a-f]{36})">', page)


def sample(number: int) -> str:
    """The id of the sample agency's notification of that number."""
    return f"d0000000-0000-4000-8000-{number:012}"


def test_the_list_and_its_filters(console: Console) -> None:
    assert listed(console.page("/notifications")) == [sample(n) for n in (*range(9, 0, -1), 10)]
    run(console)
    assert listed(console.page("/notifications?state=skipped")) == [sample(9)]
    assert listed(console.page("/notifications?state=expired")) == [sample(10)]
    by_channel = console.page("/notifications?channel=C0LEADERS00")
    assert listed(by_channel) == [sample(7)]
    assert "Nordlys Outdoor has spent 91.5 % of its budget" in by_channel
    found = console.page("/notifications?text=CTR+IS+UP")
    assert listed(found) == [sample(4)]
    assert "newest 10,000 notifications that match the other filters" in found
    config = "f0000000-0000-4000-8000-000000000001"
    assert listed(console.page(f"/notifications?config={config}&state=sent")) == [
        sample(n) for n in (8, 2, 1)
    ]
    assert listed(console.page("/notifications?event=no-such")) == []
    about = "e0000000-0000-4000-8000-000000000004"
    assert listed(console.page(f"/notifications?text={about}")) == [sample(n) for n in (9, 8, 6)]
    assert console.get(f"/notifications?text={sample(4)}").headers["location"] == (
        f"/notifications/{sample(4)}"
    )


def test_older_notifications_are_on_further_pages(console: Console) -> None:
    console.stack.queue_notifications(120, 2)
    found: list[str] = []
    address: str | None = "/notifications?event=load"
    while address:
        page = console.page(address)
        found += listed(page)
        older = re.search(r'<a href="([^"]+)">Older</a>', page)
        address = older[1].replace("&amp;", "&") if older else None
    rows = console.connection.execute(
        "select id::text from notification_queue where entity_type = 'request' "
        "and event_data ? 'number' order by created_at desc, id desc"
    ).fetchall()
    assert found == [row[0] for row in rows]
    assert len(found) == 120


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("state=gone", "gone is not a state"),
        ("config=x", "x is not a valid id"),
        ("since=tomorrow", "tomorrow is not a time such as 2026-11-28T09:00"),
    ],
)
def test_an_invalid_filter_is_reported(console: Console, query: str, words: str) -> None:
    answer = console.get(f"/notifications?{query}")
    assert answer.status_code == 400
    assert words in answer.text


def test_one_notification_before_and_after(console: Console) -> None:
    address = f"/notifications/{sample(3)}"
    before = console.page(address)
    assert "The next notifications run looks up its destinations." in before
    run(console)
    page = console.page(address)
    message = re.search(r'<div class="slack-message" dir="auto">(.*?)</div>\s*<p', page, re.DOTALL)
    assert message is not None
    assert message[1] == (
        '<div class="slack-section">Nordlys &lt;!channel&gt; on <strong>Spring launch film</strong>'
        ": @here love it &amp; ship it &lt;https://evil.example|click&gt;</div>"
    )
    assert "Slack accepted it." in page
    assert "#creative" in page
    assert "It has ended: nothing comes next." in page


def test_names_of_ids_in_the_event_are_in_the_message(console: Console) -> None:
    ben = "a0000000-0000-4000-8000-000000000002"
    console.connection.execute(
        "update notification_queue set event_data = event_data || "
        "jsonb_build_object('uploaded_by', %s::text) where id = %s",
        (ben, sample(5)),
    )
    line = "Asset uploaded: menu-v3.pdf · Menu &amp; window signs · Café Lumière · by @Ben Okafor"
    for address in ("/notifications", f"/notifications/{sample(5)}"):
        assert line in re.sub(r"<[^<>]+>", "", console.page(address))


def test_each_attempt_is_shown_with_slacks_answer_and_what_comes_next(console: Console) -> None:
    console.stack.running.slack.add_faults(
        slack_error("no_permission", path="chat.postMessage", times=1)
    )
    run(console)
    (row,) = console.connection.execute(
        "select notification_id::text from notification_deliveries where state = 'pending' "
        "and error_code = 'no_permission'"
    ).fetchall()
    live = {"hx_request": "true", "hx_target": "div#live"}
    page = console.get(f"/notifications/{row[0]}", **live).text
    assert page.lstrip().startswith("<section")
    assert "Slack refuses this channel or person; nothing was sent." in page
    assert "Slack refused chat.postMessage: no_permission." in page
    assert re.search(r"It is tried again|Slack asked to wait|The next run posts it", page)


def test_a_thread_is_linked_from_each_of_its_messages(console: Console) -> None:
    run(console, NOTIFICATION_THREADS="on")
    first, reply = (
        console.page(f"/notifications/{sample(1)}"),
        console.page(f"/notifications/{sample(3)}"),
    )
    for page in (first, reply):
        assert "Its thread in Slack" in page
    assert re.search(r"<li>this one, which started it.*\n.*<li><a", first)
    assert f'<a href="/notifications/{sample(3)}">comment_added</a>' in first
    assert f'<a href="/notifications/{sample(1)}">status_change</a>, which started it' in reply
    assert "Its thread in Slack" not in console.page(f"/notifications/{sample(5)}")


def test_a_dead_notification_shows_why_and_how_to_deliver_it(console: Console) -> None:
    console.stack.running.slack.add_faults(slack_error("no_text", path="chat.postMessage", times=1))
    run(console)
    (dead,) = listed(console.page("/notifications?state=dead"))
    page = console.page(f"/notifications/{dead}")
    assert "Slack refuses this message, and would refuse it again." in page
    assert f"python -m workers.operate dead redrive {dead}" in page


def test_hostile_text_is_text(console: Console) -> None:
    console.connection.execute(
        "update notification_config set template = %s, event_type = %s", (HOSTILE, HOSTILE[:50])
    )
    console.connection.execute("update notification_queue set last_error = %s", (HOSTILE,))
    for address in ("/notifications", f"/notifications/{sample(1)}"):
        page = console.page(address)
        assert "<b>x</b>" not in page
        assert "&lt;b&gt;x&lt;/b&gt;" in page
        assert "{{7*7}}" in page
        assert "\x07" not in page
        assert "\u202e" not in re.sub(r'<div class="slack-message".*?</div>', "", page, flags=re.S)


def test_a_notification_that_does_not_exist(console: Console) -> None:
    assert console.get("/notifications/d0000000-0000-4000-8000-00000000ffff").status_code == 404
    assert console.get("/notifications/no-id").status_code == 404
