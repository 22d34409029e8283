"""What was shown is what is done: an action that would affect more by then asks again, and what it
did is recorded as it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest

from server.console import acting
from server.console.acting import Confirmation, InThread, Scope
from server.console.answers.actions import Acceptance
from server.console.project import Project
from tests.server.console.conftest import Console
from tests.server.console.test_actions import (
    CHANNEL,
    _settings,  # noqa: F401 - a fixture
    asked,
    ended,  # noqa: F401 - a fixture
    ended_as,
    form_of,
    parked,  # noqa: F401 - a fixture
    records,
    send,
    sql,
    states,
    templates,
)
from workers.errors import TransientError

KEY = "99999999-0000-4000-8000-000000000001"


def _config(console: Console) -> str:
    ((config,),) = sql(console, "select id::text from notification_config order by id limit 1")
    return str(config)


def _deliver(console: Console, destination: str, state: str = "pending") -> None:
    """One more notification that waits for that destination."""
    sql(
        console,
        """
        with made as (
          insert into notification_queue (config_id, entity_id, entity_type, attempts, routed_at)
          values (%s, gen_random_uuid(), 'request', case %s when 'dead' then 5 else 0 end, now())
          returning id, config_id
        )
        insert into notification_deliveries
          (notification_id, config_id, destination, due_at, queued_at, ages_from, state)
        select id, config_id, %s, now(), now(), now(), %s from made
        returning notification_id
        """,
        _config(console), state, destination, state,
    )  # fmt: skip


def _more_waits_there(console: Console) -> None:
    _deliver(console, CHANNEL)


def _more_is_old(console: Console) -> None:
    sql(
        console,
        "insert into activity_log (entity_type, entity_id, action, created_at) values "
        "('request', gen_random_uuid(), 'imported', now() - interval '100 days') returning id",
    )


@pytest.mark.usefixtures("_settings")
@pytest.mark.parametrize(
    ("name", "grow"),
    [
        ("release_destination", _more_waits_there),
        ("save_template", _more_waits_there),
        ("skip", _more_waits_there),
        ("retention", _more_is_old),
    ],
)
def test_what_would_affect_more_by_then_asks_again(
    parked: Console,  # noqa: F811 - the fixture
    name: str,
    grow: Callable[[Console], None],
) -> None:
    _more_waits_there(parked)
    arguments = {
        "release_destination": {"destination": CHANNEL},
        "save_template": {"config_id": _config(parked), "template": "new"},
        "skip": {"state": "waiting"},
    }.get(name, {})
    form = asked(parked, name, **arguments)
    grow(parked)
    answer = send(parked, name, form)
    assert (answer.status_code, records(parked)) == (409, [])
    assert 'data-refused="stale"' in answer.text
    again = {**form_of(answer.text), "who": "Ada"}
    assert send(parked, name, again).status_code == 303
    if name == "retention":
        ended_as(parked, again["key"])
    ((confirmed,),) = sql(parked, "select confirmed from console_actions")
    # as the page counted them; Postgres sorts the names of JSON
    counts = [int(count.replace(",", "")) for count in re.findall(r"<li>([\d,]+) ", answer.text)]
    assert sorted(counts) == sorted(confirmed.values())


def test_another_channel_of_what_a_filter_matches_is_counted(console: Console) -> None:
    _deliver(console, "C0FIRST000")
    ((notification, config),) = sql(
        console,
        "select notification_id, config_id from notification_deliveries "
        "where destination = 'C0FIRST000'",
    )
    sql(
        console,
        "insert into notification_deliveries (notification_id, config_id, destination, due_at, "
        "queued_at, ages_from, state) values (%s, %s, 'C0SECOND00', now(), now(), now(), "
        "'pending') returning 1",
        notification, config,
    )  # fmt: skip
    page = console.page("/actions/confirm/skip?state=waiting&channel=C0FIRST000")
    assert "2 deliveries" in page
    assert "1 of them to another channel or person" in page
    assert "of them to" not in console.page("/actions/confirm/skip?state=waiting")


def test_a_notification_that_died_again_is_redriven_on_its_own_page_only(
    console: Console,
    ended: list[str],  # noqa: F811 - the fixture
) -> None:
    old, form = (asked(console, "redrive", id=ended[0]) for _ in range(2))
    assert send(console, "redrive", form).status_code == 303
    sql(console, "update notification_queue set attempts = 5 where id = %s returning 1", ended[0])
    assert send(console, "redrive", old).status_code == 409
    assert states(console, ended[:1]) == ["dead"]


def test_deferred_days_are_among_what_a_release_did(synced: Console) -> None:
    ((connection, platform),) = sql(
        synced,
        "select id::text, platform from platform_connections where platform = 'tiktok'",
    )
    sql(
        synced,
        "update metric_days set try_after = now() + interval '1 day', failures = 1 "
        "where platform = %s and date > current_date - 4 returning 1",
        platform,
    )
    form = asked(synced, "release_account", connection_id=connection)
    assert send(synced, "release_account", form).status_code == 303
    ((confirmed, touched),) = sql(synced, "select confirmed, touched from console_actions")
    assert touched["days_to_be_read_again"] == confirmed["days_to_be_read_again"] > 0


# Bidi, control and other invisible characters, and blanks: as people paste them.
STORED = [
    "plain",
    "  *{{a}}*\n\n",
    "\n{{a}}",
    "a\u202bb\u202c \u2028",
    "bell\x07",
    "a\r\nb",
    "</textarea>&amp;\"'",
]


@pytest.mark.parametrize("stored", STORED)
def test_a_template_that_is_edited_changes_by_the_edit_alone(
    console: Console,
    ended: list[str],  # noqa: F811 - the fixture
    stored: str,
) -> None:
    config = _config(console)
    sql(console, "update notification_config set template = %s where id = %s returning 1", stored,
        config)  # fmt: skip
    where = f"/notifications/try?notification={ended[3]}"

    def shown(template: str) -> str:
        form = {**form_of(console.page(where)), "template": template, "data": "{}", "event": "e"}
        return console.client.post(
            "/notifications/try", data=form, headers={"origin": console.url}
        ).text

    # a browser drops the line break after the tag, and reads the others as one character
    found = re.search(r'name="template"[^>]*>\n(.*?)</textarea>', console.page(where), re.S)
    assert found is not None
    seen = unescape(found[1]).replace("\r\n", "\n")
    assert seen == stored.replace("\r\n", "\n")
    assert "save_template" not in shown(seen), "it is what is stored"
    saving = form_of(shown(seen + " !").partition('action="/actions/confirm/save_template"')[2])
    form = asked(console, "save_template", **saving)
    assert send(console, "save_template", form).status_code == 303
    assert templates(console)[config] == stored.replace("\r\n", "\n") + " !"


@pytest.mark.parametrize("stored", ['Password: "{{request_title}}"', "x" * 12_001])
def test_a_template_of_which_a_part_is_not_shown_is_not_saved(
    console: Console,
    ended: list[str],  # noqa: F811 - the fixture
    stored: str,
) -> None:
    sql(console, "update notification_config set template = %s returning 1", stored)
    form = form_of(console.page(f"/notifications/try?notification={ended[3]}"))
    form |= {"template": "changed", "data": "{}", "event": "e"}
    page = console.client.post(
        "/notifications/try", data=form, headers={"origin": console.url}
    ).text
    assert "save_template" not in page
    assert "only the dashboard can change it" in page


@pytest.mark.usefixtures("_settings")
def test_a_test_message_that_is_not_posted_is_a_failure(console: Console) -> None:
    form = asked(console, "test_post", channel="C0NOSUCH000")
    assert send(console, "test_post", form).status_code == 303
    outcome, touched, error = ended_as(console, form["key"])
    assert (outcome, touched["messages_posted"]) == ("failed", 0)
    assert "channel_not_found" in error


@pytest.mark.usefixtures("_settings")
def test_days_that_the_platform_no_longer_keeps_are_counted(synced: Console) -> None:
    ((connection,),) = sql(
        synced, "select id::text from platform_connections where platform = 'meta'"
    )
    days = {"since": "2023-10-20", "until": "2023-11-10"}
    form = asked(synced, "backfill", connection_id=connection, **days)
    assert send(synced, "backfill", form).status_code == 303
    outcome, touched, error = ended_as(synced, form["key"])
    assert (outcome, error) == ("done", None)
    assert touched["days_not_kept"] > 0
    assert touched["days_not_kept"] + touched["days_read"] == 22


def test_an_end_that_could_not_be_recorded_is_recorded_again(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [True, True]

    class _Lossy(Project):
        def call(self, function: str, **arguments: Any) -> Any:
            if function == "end_console_action" and lost:
                lost.pop()
                raise TransientError("no answer", code="x")
            return super().call(function, **arguments)

    monkeypatch.setattr(acting, "RECORDED_AFTER", (0.0, 0.0))
    work = InThread(lambda project, arguments: Scope("same", {}), lambda *_: {"subjects": 1})
    project = _Lossy(console.project._settings, console.project._database)
    act = Confirmation(KEY, "same", "x", {}, "Ada", "s")
    assert work.act(project, "examine", act) is Acceptance.BEGUN
    assert ended_as(console, KEY) == ["done", {"subjects": 1}, None]


def test_clients_whose_names_are_hidden_are_paged_through(synced: Console) -> None:
    names = [f"sb_secret_{letter * 24}" for letter in "abcdefghijklmnopqrst"]
    sql(synced, "insert into clients (name) select unnest(%s::text[]) returning 1", names)
    ((count,),) = sql(synced, "select count(*) from clients")
    pages, path = 0, "/metrics/spend"
    while path:
        page = synced.page(path)
        pages += page.count("data-client=")
        onward = re.search(r'href="([^"]+)" rel="next">Next page', page)
        path = unescape(onward[1]) if onward else ""
        assert pages <= count
    assert pages == count
