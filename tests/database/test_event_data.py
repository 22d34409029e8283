"""What the ids of an event refer to, as a claim returns it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.database.agency import NOW, Agency
from tests.database.runs import Run

GONE = "aaaaaaaa-0000-4000-8000-000000000000"


@pytest.fixture
def people(agency: Agency) -> dict[str, str]:
    """A client, a request of theirs, and three people: with and without a Slack id and a name."""
    (client,) = agency.connection.execute(
        "insert into clients (name) values ('Nordlys') returning id"
    ).fetchall()
    ava, ben, stranger = agency.user(" U0AVA00000 "), agency.user(), agency.user("U0NOBODY00")
    agency.connection.execute(
        "update profiles set first_name = 'Ava', last_name = 'Lindqvist' where id = %s", (ava,)
    )
    agency.connection.execute("update profiles set first_name = 'Ben' where id = %s", (ben,))
    request = agency.request(client_id=client["id"], assigned_to=ben, due_date="2025-04-01")
    return {"client": str(client["id"]), "request": request, "ava": ava, "ben": ben,
            "stranger": stranger}  # fmt: skip


def known(agency: Agency, data: Any, entity_type: str = "comment", entity_id: str = GONE) -> Any:
    row = agency.connection.execute(
        "select known_of_event(%s, %s, %s) as known", (Jsonb(data), entity_type, entity_id)
    ).fetchone()
    assert row is not None
    return row["known"]


AVA = {"name": "Ava Lindqvist", "slack_id": "U0AVA00000"}
BEN = {"name": "Ben", "slack_id": None}
NOTHING = dict.fromkeys(("request", "client", "actor", "assignee"))


def test_a_request_leads_to_its_client_and_assignee(agency: Agency, people: dict[str, str]) -> None:
    request = {"id": people["request"], "title": "Spring launch", "due_date": "2025-04-01"}
    found = known(agency, {"request_id": people["request"]})
    # a date on some dashboards, a time on others
    found["request"]["due_date"] = found["request"]["due_date"][:10]
    expected = {"request": request, "client": {"name": "Nordlys"}, "actor": None, "assignee": BEN}
    assert found == expected
    assert known(agency, None, "request", people["request"])["client"] == {"name": "Nordlys"}
    assert known(agency, {"request_id": GONE}, "request", people["request"]) == NOTHING
    assert known(agency, {"request_id": "7"}, "comment", people["request"]) == NOTHING


@pytest.mark.parametrize("key", ["changed_by", "author_id", "author", "uploaded_by", "user_id"])
def test_the_actor_is_found_by_the_id_in_the_event(
    agency: Agency, people: dict[str, str], key: str
) -> None:
    assert known(agency, {key: people["ava"].upper()})["actor"] == AVA
    assert known(agency, {key: people["stranger"]})["actor"] == {
        "name": None, "slack_id": "U0NOBODY00"
    }  # fmt: skip
    for odd in (GONE, "Ava", None, 7, [people["ava"]], ""):
        assert known(agency, {key: odd})["actor"] is None


def test_the_events_own_ids_take_precedence_over_those_of_its_request(
    agency: Agency, people: dict[str, str]
) -> None:
    found = known(agency, {"request_id": people["request"], "assigned_to": people["ava"]})
    assert found["assignee"] == AVA
    assert known(agency, {"client_id": people["client"]})["client"] == {"name": "Nordlys"}


@pytest.mark.parametrize("data", [None, [], "x", 7, {"changed_by": {"id": 1}}, "{"])
def test_an_event_without_ids_has_no_entities(agency: Agency, data: Any) -> None:
    assert known(agency, data) == NOTHING


def test_an_object_stored_as_text_has_the_same_entities(
    agency: Agency, people: dict[str, str]
) -> None:
    data = {"request_id": people["request"], "changed_by": people["ava"]}
    assert known(agency, json.dumps(data)) == known(agency, data)


def test_the_entities_are_returned_with_the_claim(agency: Agency, people: dict[str, str]) -> None:
    run = Run(agency)
    run.start(NOW)
    agency.notification(
        agency.config("C1"), {"changed_by": people["ava"]}, entity_id=people["request"],
        next_attempt_at=NOW,
    )  # fmt: skip
    (taken,) = run.take(NOW)
    assert taken["known"]["actor"] == AVA
    assert taken["known"]["request"]["title"] == "Spring launch"
