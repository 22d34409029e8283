"""The token of a session's forms, the arguments of actions, and their numbers in words."""

from __future__ import annotations

from uuid import UUID

import pytest

from server.console.actions import ACTIONS, MOST_CHOSEN, NOUNS
from server.console.pages.actions import in_words
from server.console.sessions import KEPT_FOR, Sessions


def test_a_form_token_is_of_one_session_of_one_process() -> None:
    here, there = Sessions(lambda: 0.0), Sessions(lambda: 0.0)
    assert here.form_token("a") == here.form_token("a")
    assert len({here.form_token("a"), here.form_token("b"), there.form_token("a")}) == 3


def test_a_name_goes_with_its_session() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    session = sessions.begin(sessions.new_token())
    assert session is not None
    assert sessions.name(session) is None
    sessions.set_name(session, "Ada")
    assert sessions.name(session) == "Ada"
    now[0] = KEPT_FOR + 1
    assert not sessions.is_valid(session)
    assert sessions.name(session) is None


def test_every_number_has_words() -> None:
    assert in_words({"notifications": 1, "deliveries": 1200}) == [
        "1 notification", "1,200 deliveries",
    ]  # fmt: skip
    assert in_words({"unheard_of": 2}) == ["unheard_of: 2"]
    assert all(one and several for one, several in NOUNS.values())


@pytest.mark.parametrize("name", list(ACTIONS))
def test_an_action_refuses_invalid_arguments(name: str) -> None:
    action = ACTIONS[name]
    odd = {
        "id": ["x"], "destination": ["a", "b"], "connection_id": ["x"], "channel": ["<b>"],
        "since": ["2026-02-02"], "until": ["2026-02-01"], "as_of": ["x"],
    }  # fmt: skip
    if name in ("examine", "retention_dry_run"):
        assert action.read(odd) == {}, "it has no arguments"
        return
    with pytest.raises(ValueError, match=r"\w+"):
        action.read(odd)


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("backfill", {"since": ["2026-01-01"], "until": ["9000-01-01"]}, "has not come yet"),
        ("backfill", {"since": ["1990-01-01"], "until": ["2026-01-01"]}, "more than 4,000"),
        ("retention", {"as_of": ["9000-01-01T00:00:00+00:00"]}, "has not come yet"),
        ("save_template", {"template": ["a", "b"]}, "one template"),
    ],
)
def test_what_cannot_be_is_named(name: str, values: dict[str, list[str]], problem: str) -> None:
    known = {"connection_id": [str(UUID(int=1))], "config_id": [str(UUID(int=1))]}
    with pytest.raises(ValueError, match=problem):
        ACTIONS[name].read({**known, **values})


def test_a_count_that_ends_early_says_so() -> None:
    assert in_words({"notifications_waiting": 10_000}) == [
        "10,000 or more notifications waiting there"
    ]
    assert in_words({"notifications": 10_000}) == ["10,000 notifications"]


def test_a_selection_is_limited_and_has_each_id_once() -> None:
    ids = [f"00000000-0000-0000-0000-{number:012}" for number in range(MOST_CHOSEN + 1)]
    assert ACTIONS["skip"].read({"id": [*ids[:2], ids[0].upper()]}) == {"ids": ids[:2]}
    with pytest.raises(ValueError, match="At most 1,000"):
        ACTIONS["skip"].read({"id": ids})
