"""The line that replaces a missing template: what the event holds, in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.notifications.rendered import check_limits, tokens
from workers.notifications.entities import NO_ENTITIES, Client, Entities, Person, Request
from workers.notifications.event_data import NumberLiteral, parse_event_data
from workers.notifications.locales import LOCALES
from workers.notifications.plain_line import Wording, in_words
from workers.notifications.rendering import render

REQUEST = "e0000000-0000-4000-8000-000000000001"
WORDING = Wording("https://app.agency.example/requests/{id}")
LINK = f"<https://app.agency.example/requests/{REQUEST}|Spring &amp; launch>"
ENTITIES = Entities(
    Request(REQUEST, "Spring & launch", "2026-12-01"),
    Client("Nordlys <Outdoor>"),
    actor=Person("Ava Lindqvist", "U0AVA00000"),
    assignee=Person("Carla Mendes"),
)


def line(
    event_type: str, event: object, entities: Entities = ENTITIES, wording: Wording = WORDING
) -> str:
    return render(None, event, event_type=event_type, entities=entities, wording=wording).text


def test_it_shows_everything_that_the_event_holds() -> None:
    change = {"old_status": "in_progress", "new_status": "needs_review", "request_id": REQUEST}
    assert line("status_change", change) == (
        f"Status change: {LINK} · Nordlys &lt;Outdoor&gt; · In progress → Needs review · "
        "by <@U0AVA00000>"
    )
    upload = {"file_name": "menu-v3.pdf", "uploaded_at": "2026-11-26T00:00:00Z"}
    assert line("asset_uploaded", upload) == (
        f"Asset uploaded: menu-v3.pdf · {LINK} · Nordlys &lt;Outdoor&gt; · Uploaded at: "
        "<!date^1795651200^{date_short} {time}|Nov 26, 2026> · by <@U0AVA00000>"
    )
    assert line("comment_added", {"comment": "I *like*\nit", "author": "Nordlys"}) == (
        f"Comment added: {LINK} · Nordlys &lt;Outdoor&gt; · by <@U0AVA00000> — I *like* it"
    )
    assert line("assigned", {"assigned_to": "a0", "due_date": "2026-12-01"}) == (
        f"Assigned: {LINK} · Nordlys &lt;Outdoor&gt; · Due date: Dec 1, 2026 · to Carla Mendes · "
        "by <@U0AVA00000>"
    )


@pytest.mark.parametrize(
    ("event", "actor", "expected"),
    [
        ({"author": "Ava & Co"}, Person(), "by Ava &amp; Co"),
        ({"changed_by": "Ava"}, Person(), "by Ava"),
        ({"changed_by": "a0000000-0000-4000-8000-000000000001"}, Person(), None),
        ({"changed_by": "a0000000-0000-4000-8000-000000000001"},
         Person("Ava Lindqvist"), "by Ava Lindqvist"),
        ({"author": "A. L."}, Person("Ava"), "by A. L."),
        ({}, Person("Ava", "channel"), "by Ava"),
        ({}, Person(), None),
        ({"author": "<!channel>"}, Person(), "by &lt;!channel&gt;"),
    ],
)  # fmt: skip
def test_who_did_it_is_mentioned_or_named(event: Any, actor: Person, expected: str | None) -> None:
    shown = line("comment_added", event, Entities(actor=actor))
    assert shown == ("Comment added" if expected is None else f"Comment added: {expected}")


def test_a_request_is_linked_if_a_setting_says_how() -> None:
    event = {"request_id": REQUEST, "request_title": "Film | cut"}
    assert (
        line("e", event, NO_ENTITIES)
        == f"E: <https://app.agency.example/requests/{REQUEST}|Film | cut>"
    )
    assert line("e", event, NO_ENTITIES, Wording()) == "E: Film | cut"
    assert line("e", {"request_id": "../?x=1|<"}, NO_ENTITIES) == (
        "E: <https://app.agency.example/requests/..%2F%3Fx%3D1%7C%3C|Open the request>"
    )
    assert line("e", {"title": "Film", "request_id": "7"}, NO_ENTITIES) == (
        "E: <https://app.agency.example/requests/7|Film>"
    )
    assert line("e", {"title": "Film"}, NO_ENTITIES) == "E: Film"


@pytest.mark.parametrize(
    ("code", "words"),
    [("needs_review", "Needs review"), ("new_request", "New request"), ("completed", "Completed"),
     ("in-progress", "In progress"), ("Waiting for QA", "Waiting for QA"), ("A_b", "A b"),
     ("", ""), ("<!here>", "<!here>")],
)  # fmt: skip
def test_codes_are_written_in_words(code: str, words: str) -> None:
    assert in_words(code) == words


BUDGET = (
    '{"client": "Nordlys", "spent": 12500.5, "currency": "EUR", "percent": 91.5, "impressions": '
    '1234567, "since": "2026-11-01", "year": 2026, "campaign_id": 7, "is_over": true, "note": "x"}'
)


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en-US", ("Spent: €12,500.50 · Percent: 91.5% · Impressions: 1,234,567 · "
                  "Since: Nov 1, 2026")),
        ("de-DE", ("Spent: 12.500,50\u00a0€ · Percent: 91,5\u00a0% · Impressions: 1.234.567 · "
                  "Since: 01.11.2026")),
        ("fr-FR", ("Spent: 12\u202f500,50\u00a0€ · Percent: 91,5\u00a0% · "
                  "Impressions: 1\u202f234\u202f567 · Since: 1 nov. 2026")),
    ],
)  # fmt: skip
def test_numbers_money_and_dates_are_those_of_the_locale(locale: str, expected: str) -> None:
    event = parse_event_data(BUDGET)
    assert line("budget_alert", event, NO_ENTITIES, Wording(locale=locale)) == (
        f"Budget alert: Nordlys · {expected}"
    )


def test_an_amount_without_a_currency_is_a_number() -> None:
    event = {"spent": NumberLiteral("1250.00")}
    assert line("e", event, NO_ENTITIES) == "E: Spent: 1,250.00"
    assert line("e", {**event, "currency": "coins"}, NO_ENTITIES) == "E: Spent: 1,250.00"


def test_an_account_is_named_with_its_platform_and_the_reason() -> None:
    event = {"platform": "google_ads", "account_name": "Nordlys", "account_id": "123-456-7890",
             "error": "token <expired>", "headline": "Sync works again"}  # fmt: skip
    assert line("sync_failed", event, NO_ENTITIES) == (
        "Sync works again: Google ads: Nordlys (123-456-7890) — token &lt;expired&gt;"
    )
    assert line(
        "sync_failed", {**event, "platform_name": "Google Ads", "headline": ""}, NO_ENTITIES
    ) == ("Sync failed: Google Ads: Nordlys (123-456-7890) — token &lt;expired&gt;")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ("request_title", "request_id", "client", "author", "comment", "old_status", "new_status",
     "due_date", "spent", "currency", "platform", "account_name", "headline", "changed_by")
)  # fmt: skip


@given(
    event=st.dictionaries(KEYS | st.text(max_size=9), JSON | st.text(min_size=300), max_size=20),
    event_type=st.text(max_size=50),
    locale=st.sampled_from(sorted(LOCALES)),
)
def test_any_event_gives_a_line_within_slacks_limits_that_mentions_no_one(
    event: dict[str, Any], event_type: str, locale: str
) -> None:
    message = render(
        None, event, event_type=event_type, wording=Wording("https://a.example/#/{id}", locale)
    )
    check_limits(message)
    assert "\n" not in message.text
    for token in tokens(message.text):
        assert token.startswith(("https://a.example/#/", "!date^"))
