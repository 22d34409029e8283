"""The console's actions: confirmed first, done once, refused where necessary, and recorded."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Any
from uuid import uuid4

import httpx
import pytest

from server.console.acting import Confirmation, InThread, Run, Scope
from server.console.actions import ACTIONS
from server.console.app import LINKED, SUBJECTS
from server.console.project import Project
from server.console.serving import ConsoleServer
from tests.conftest import LocalStack
from tests.integration.processes import LONG, eventually
from tests.server.console.conftest import Console
from workers.composition.container import forget_clients
from workers.errors import TransientError

CHANNEL = "C0PARKED0"
_PARKED = """
    insert into slack_destinations
      (destination, parked_at, park_code, park_reason, probe_at, paused_since)
    values ('C0PARKED0', now() - interval '1 hour', 'not_in_channel', 'Slack: not_in_channel',
            now() + interval '5 hours', now() - interval '1 hour')
    on conflict (destination) do update
       set parked_at = excluded.parked_at, park_code = excluded.park_code,
           paused_since = excluded.paused_since
"""


def sql(console: Console, query: str, *values: Any) -> list[Any]:
    return console.connection.execute(query.encode(), values).fetchall()


def form_of(page: str) -> dict[str, str]:
    """The fields that the page's form sends."""
    return {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input[^>]*name="([^"]*)"[^>]*value="([^"]*)"', page)
    }


def asked(console: Console, name: str, **arguments: Any) -> dict[str, str]:
    """The form of the page that asks for confirmation."""
    answer = console.client.get(f"/actions/confirm/{name}", params=arguments)
    assert answer.status_code == 200, answer.text
    return {**form_of(answer.text), "who": "Ada"}


def send(
    console: Console, name: str, form: dict[str, Any], client: httpx.Client | None = None
) -> httpx.Response:
    headers = {"origin": console.url}
    return (client or console.client).post(f"/actions/confirm/{name}", data=form, headers=headers)


@pytest.fixture
def parked(console: Console) -> Console:
    console.connection.execute(_PARKED.encode())
    return console


def is_parked(console: Console) -> bool:
    query = "select parked_at is not null from slack_destinations where destination = %s"
    return bool(sql(console, query, CHANNEL)[0][0])


def records(console: Console) -> list[Any]:
    return sql(console, "select action, subject, who, outcome, touched from console_actions")


def test_a_destination_is_released_as_confirmed(parked: Console) -> None:
    assert f"destination={CHANNEL}" in parked.page("/")
    form = asked(parked, "release_destination", destination=CHANNEL)
    assert is_parked(parked), "asking does nothing"
    answer = send(parked, "release_destination", form)
    assert answer.status_code == 303, answer.text
    assert (answer.status_code, answer.headers["location"]) == (303, f"/actions/{form['key']}")
    assert not is_parked(parked)
    touched = {"destinations": 1}
    assert records(parked) == [("release_destination", CHANNEL, "Ada", "done", touched)]
    page = parked.page(answer.headers["location"])
    assert 'data-outcome="done"' in page
    assert "1 destination" in page
    assert CHANNEL in parked.page("/actions")
    assert "Ada" in parked.page("/actions")


def test_an_account_is_released_as_confirmed(synced: Console) -> None:
    ((connection, platform, _),) = sql(
        synced,
        "select id::text, platform, account_id from platform_connections order by id limit 1",
    )
    assert "data-empty" in synced.page(
        f"/actions/confirm/release_account?connection_id={connection}"
    )
    sql(
        synced,
        "update metric_accounts set not_before = now() + interval '3 hours', failures = 3 "
        "where lower(platform) = lower(%s) returning 1", platform,
    )  # fmt: skip
    form = asked(synced, "release_account", connection_id=connection)
    assert send(synced, "release_account", form).status_code == 303
    query = (
        "select count(*) from metric_accounts "
        "where not_before > now() and lower(platform) = lower(%s)"
    )
    assert sql(synced, query, platform) == [(0,)]
    touched = {"released": 1, "days_to_be_read_again": 0}
    assert records(synced) == [("release_account", connection, "Ada", "done", touched)]


@pytest.fixture
def ended(console: Console) -> list[str]:
    """Ids of two dead, an expired and a waiting notification."""
    rows = sql(
        console,
        """
        insert into notification_queue
          (config_id, entity_id, entity_type, event_data, attempts, outcome, is_processed)
        select (select id from notification_config order by id limit 1), gen_random_uuid(),
               'request', '{"request_title": "x"}', attempts, outcome, outcome is not null
          from (values (5, null), (5, null), (0, 'expired'), (0, null)) made (attempts, outcome)
        returning id::text
        """,
    )
    return [row[0] for row in rows]


def states(console: Console, ids: list[str]) -> list[str]:
    """As the list of notifications shows them."""
    found = console.connection.execute(
        b"select one ->> 'state' from jsonb_array_elements("
        b"console_notification_rows(%s::uuid[])) one",
        (ids,),
    )
    return [row[0] for row in found]


def test_selected_notifications_are_redriven_and_no_others(
    console: Console, ended: list[str]
) -> None:
    assert states(console, ended) == ["dead", "dead", "expired", "waiting"]
    page = console.page("/notifications")
    assert all(f'name="id" value="{one}"' in page for one in ended)
    form = asked(console, "redrive", id=[ended[0], ended[2], ended[3]])
    form["id"] = [ended[0], ended[2], ended[3]]  # type: ignore[assignment]
    assert send(console, "redrive", form).status_code == 303
    assert states(console, ended) == ["waiting", "dead", "waiting", "waiting"]
    assert records(console)[0][-1] == {"notifications": 2}


def test_a_notification_is_redriven_from_its_page(console: Console, ended: list[str]) -> None:
    assert f"/actions/confirm/redrive?id={ended[1]}" in console.page(f"/notifications/{ended[1]}")
    assert f"/actions/confirm/skip?id={ended[3]}" in console.page(f"/notifications/{ended[3]}")
    form = asked(console, "redrive", id=ended[1])
    assert send(console, "redrive", form).status_code == 303
    assert states(console, ended) == ["dead", "waiting", "expired", "waiting"]
    assert "data-empty" in console.page(f"/actions/confirm/redrive?id={ended[1]}")


def test_all_that_match_a_filter_are_redriven(console: Console, ended: list[str]) -> None:
    page = console.page("/notifications?state=dead")
    assert "/actions/confirm/redrive?state=dead" in page
    form = asked(console, "redrive", state="dead")
    assert form["state"] == "dead"
    ((before,),) = sql(
        console,
        "select count(*) from notification_queue "
        "where not is_processed and coalesce(attempts, 0) >= coalesce(max_attempts, 5)",
    )
    assert send(console, "redrive", form).status_code == 303
    assert states(console, ended) == ["waiting", "waiting", "expired", "waiting"]
    assert records(console)[0][-1] == {"notifications": before}


def test_a_filter_that_matches_others_by_then_is_stale(console: Console, ended: list[str]) -> None:
    form = asked(console, "redrive", state="dead")
    sql(console, "update notification_queue set attempts = 5 where id = %s returning 1", ended[3])
    assert send(console, "redrive", form).status_code == 409
    assert states(console, ended) == ["dead", "dead", "expired", "dead"]


@pytest.mark.parametrize("query", [{}, {"state": "sent"}, {"event": "x"}, {"id": "x"}])
def test_nothing_is_redriven_without_a_selection(console: Console, query: dict[str, str]) -> None:
    assert console.client.get("/actions/confirm/redrive", params=query).status_code == 400


def test_waiting_notifications_are_skipped(console: Console, ended: list[str]) -> None:
    form = asked(console, "skip", id=ended)
    form["id"] = ended  # type: ignore[assignment]
    assert send(console, "skip", form).status_code == 303
    assert states(console, ended) == ["dead", "dead", "expired", "skipped"]
    assert records(console)[0][-1] == {"notifications": 1}


def templates(console: Console) -> dict[str, str | None]:
    return dict(sql(console, "select id::text, template from notification_config"))


def test_a_template_is_saved_as_confirmed(console: Console, ended: list[str]) -> None:
    ((config,),) = sql(
        console, "select config_id::text from notification_queue where id = %s", ended[3]
    )
    sql(
        console, "update notification_config set template = 'old' where id = %s returning 1", config
    )
    before = templates(console)
    tried = form_of(console.page(f"/notifications/try?notification={ended[3]}"))
    tried |= {"template": "*{{request_title}}*\r\n<b>", "data": "{}", "event": "status_change"}
    page = console.client.post(
        "/notifications/try", data=tried, headers={"origin": console.url}
    ).text
    saving = form_of(page.partition('action="/actions/confirm/save_template"')[2])
    assert saving["template"] == "*{{request_title}}*\n<b>"
    form = asked(console, "save_template", **saving)
    assert templates(console) == before
    form["template"] = saving["template"].replace("\n", "\r\n")  # as a browser sends it
    assert send(console, "save_template", form).status_code == 303
    assert templates(console) == {**before, config: saving["template"]}
    assert records(console)[0][-1] == {"templates": 1}
    assert "old" in console.page(f"/actions/{form['key']}"), "the template that it replaced"
    where = "/actions/confirm/save_template"
    assert "data-empty" in console.client.get(where, params=saving).text, (
        "it already has this template"
    )
    for odd in ({"template": " "}, {"template": "x" * 12_001}, {"config_id": "x"}):
        assert console.client.get(where, params={**saving, **odd}).status_code == 400
    other = asked(console, "save_template", **{**saving, "template": "newer"})
    sql(
        console,
        "update notification_config set template = 'dash' where id = %s returning 1",
        config,
    )
    assert send(console, "save_template", other).status_code == 409
    assert templates(console)[config] == "dash"


def test_a_template_that_changes_at_that_moment_is_not_overwritten(console: Console) -> None:
    """The dashboard commits its change after the console has compared, before it saves."""
    ((config,),) = sql(
        console, "select id::text from notification_config where template is not null limit 1"
    )
    form = asked(console, "save_template", config_id=config, template="tried")
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, console.connection.transaction():
        sql(console, "update notification_config set template = 'dash' where id = %s returning 1",
            config)  # fmt: skip
        answer = pool.submit(send, console, "save_template", form)
        eventually(lambda: sql(console, waiting)[0][0] > 0, "it does not wait")
    assert answer.result().status_code == 409
    assert templates(console)[config] == "dash"


@pytest.fixture
def _settings(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of this process, which the doctor reads."""
    for name, value in console.stack.environment().items():
        monkeypatch.setenv(name, value)
    forget_clients()
    yield
    forget_clients()


def ended_as(console: Console, key: str) -> list[Any]:
    """Outcome, numbers and error of a record, once it has ended."""
    query = "select outcome, touched, error from console_actions where id = %s"

    def has_ended() -> bool:
        return sql(console, query, key)[0][0] is not None

    eventually(has_ended, "it does not end")
    return list(sql(console, query, key)[0])


@pytest.mark.usefixtures("_settings")
def test_a_test_message_is_posted_by_the_doctor(console: Console) -> None:
    form = asked(console, "test_post", channel="C0CREATIVE0")
    answers = [send(console, "test_post", form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    outcome, touched, error = ended_as(console, form["key"])
    assert (outcome, error) == ("done", None)
    assert touched["subjects"] > 4
    assert len(records(console)) == 1
    assert "C0CREATIVE0" in console.page("/doctor")
    assert console.client.get("/actions/confirm/test_post?channel=%3Cb%3E").status_code == 400


@pytest.mark.usefixtures("_settings")
def test_retention_takes_what_was_confirmed(console: Console) -> None:
    due = "select count(*) from activity_log where created_at < now() - interval '90 days'"
    ((before,),) = sql(console, due)
    assert before > 0
    counted = asked(console, "retention_dry_run")
    assert send(console, "retention_dry_run", counted).status_code == 303
    outcome, touched, _ = ended_as(console, counted["key"])
    assert (outcome, touched["rows_counted_to_archive"]) == ("done", before)
    assert sql(console, due) == [(before,)]

    form = asked(console, "retention")
    assert send(console, "retention", form).status_code == 303
    outcome, touched, error = ended_as(console, form["key"])
    assert (outcome, touched["rows_archived"], error) == ("done", before, None)
    assert sql(console, due) == [(0,)]
    # a confirmation from before that run is stale
    assert send(console, "retention", {**form, "key": str(uuid4())}).status_code == 409
    assert send(console, "retention", form).headers["location"].endswith("?again")


@pytest.mark.usefixtures("_settings")
def test_days_of_an_account_are_read_again(synced: Console) -> None:
    ((connection,),) = sql(
        synced, "select id::text from platform_connections where platform = 'tiktok'"
    )
    form = asked(
        synced, "backfill", connection_id=connection, since="2026-01-01", until="2026-01-05"
    )
    assert send(synced, "backfill", form).status_code == 303
    outcome, touched, error = ended_as(synced, form["key"])
    assert (outcome, error) == ("done", None)
    assert touched["days_read"] == 5
    days = sql(
        synced,
        "select count(*) from metric_days where platform = 'tiktok' "
        "and date between '2026-01-01' and '2026-01-05'",
    )
    assert days == [(5,)]
    for since, until in (("2026-01-05", "2026-01-01"), ("x", "2026-01-01"), ("", "")):
        query = {"connection_id": connection, "since": since, "until": until}
        answer = synced.client.get("/actions/confirm/backfill", params=query)
        assert answer.status_code == 400


def test_the_same_action_runs_once_at_a_time(console: Console) -> None:
    running, may_end = threading.Event(), threading.Event()

    def carry_out(project: Project, arguments: Any, run: Run) -> dict[str, int]:
        run.report({"subjects": 1})
        running.set()
        may_end.wait(LONG)
        return {"subjects": 2}

    work = InThread(lambda project, arguments: Scope("same", {}), carry_out)
    keys = [str(uuid4()) for _ in range(2)]
    acts = [Confirmation(key, "same", "x", {}, "Ada", "s") for key in keys]
    assert work.act(console.project, "examine", acts[0]) == "begun"
    assert running.wait(LONG)
    assert "1 section checked" in console.page(f"/actions/{keys[0]}")
    assert ">running</span>" in console.page("/actions")
    assert work.act(console.project, "examine", acts[1]) == "busy"
    assert work.act(console.project, "examine", acts[0]) == "repeated"
    may_end.set()
    assert ended_as(console, keys[0]) == ["done", {"subjects": 2}, None]
    assert work.act(console.project, "examine", acts[1]) == "begun"
    assert ended_as(console, keys[1])[0] == "done"


def test_failed_and_interrupted_actions_are_shown(console: Console) -> None:
    def refused(project: Project, arguments: Any, run: Run) -> dict[str, int]:
        run.report({"subjects": 3})
        raise TransientError("no answer, Bearer abcdefghijklmnop", code="x")

    key = str(uuid4())
    work = InThread(lambda project, arguments: Scope("same", {}), refused)
    act = Confirmation(key, "same", "x", {}, "Ada", "s")
    assert work.act(console.project, "examine", act) == "begun"
    outcome, touched, error = ended_as(console, key)
    assert (outcome, touched) == ("failed", {"subjects": 3})
    assert "no answer" in error
    assert "abcdefghijklmnop" not in error
    # one whose console has ended: it does not block others
    sql(
        console,
        "update console_actions set ended_at = null, outcome = null, "
        "renewed_at = now() - interval '3 minutes' returning 1",
    )
    assert "interrupted" in console.page(f"/actions/{key}")
    assert ">interrupted</span>" in console.page("/actions")
    other = Confirmation(str(uuid4()), "same", "x", {}, "Ada", "s")
    assert work.act(console.project, "examine", other) == "begun"
    ended_as(console, other.key)
    assert ended_as(console, key)[0] == "interrupted"


def test_a_confirmation_that_is_sent_twice_acts_once(parked: Console) -> None:
    form = asked(parked, "release_destination", destination=CHANNEL)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: send(parked, "release_destination", form), range(4)))
    assert [answer.status_code for answer in answers] == [303] * 4
    assert len(records(parked)) == 1
    assert sum(answer.headers["location"].endswith("?again") for answer in answers) == 3
    parked.connection.execute(_PARKED.encode())
    assert send(parked, "release_destination", form).headers["location"].endswith("?again")
    assert is_parked(parked), "the earlier confirmation is used up"


def test_two_people_who_race_act_once(parked: Console) -> None:
    forms = [asked(parked, "release_destination", destination=CHANNEL) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda form: send(parked, "release_destination", form), forms))
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert len(records(parked)) == 1


def test_a_stale_page_does_nothing_and_asks_again(parked: Console) -> None:
    form = asked(parked, "release_destination", destination=CHANNEL)
    parked.connection.execute(
        b"update slack_destinations set parked_at = now() where destination = 'C0PARKED0'"
    )
    answer = send(parked, "release_destination", form)
    assert answer.status_code == 409
    assert 'data-refused="stale"' in answer.text
    assert is_parked(parked)
    assert records(parked) == []
    again = {**form_of(answer.text), "who": "Ada"}
    assert again["key"] != form["key"]
    assert send(parked, "release_destination", again).status_code == 303
    assert not is_parked(parked)


@pytest.fixture
def read_only(parked: Console) -> Iterator[httpx.Client]:
    """A client with a session at a read-only console."""
    lines: list[str] = []
    server = ConsoleServer(parked.project, "127.0.0.1", 0, lines.append, read_only=True)
    server.start()
    with httpx.Client(base_url=server.url, verify=False, trust_env=False) as client:  # noqa: S501
        server.announce()
        client.get(lines[-1].rpartition(": ")[2])
        yield client
    server.close()


def test_a_read_only_console_offers_and_does_nothing(
    parked: Console, read_only: httpx.Client
) -> None:
    assert "Release…" not in read_only.get("/").text
    assert "read-only" in read_only.get("/").text
    form = asked(parked, "release_destination", destination=CHANNEL)
    headers = {"origin": str(read_only.base_url).rstrip("/")}
    for name in ACTIONS:
        where = f"/actions/confirm/{name}"
        assert read_only.get(where, params={"destination": CHANNEL}).status_code == 403
        answer = read_only.post(where, data=form, headers=headers)
        assert (answer.status_code, "read-only" in answer.text) == (403, True)
    assert is_parked(parked)


@pytest.mark.parametrize("name", list(ACTIONS))
def test_requests_without_a_valid_session_and_form_do_nothing(parked: Console, name: str) -> None:
    form = asked(parked, "release_destination", destination=CHANNEL)
    where = f"/actions/confirm/{name}"
    with parked.stranger() as stranger, parked.stranger() as other:
        assert send(parked, name, form, stranger).status_code == 401
        other.get(parked.sign_in_url())
        # another session's page, and none
        for token in (form["form_token"], "", "x"):
            answer = send(parked, name, {**form, "form_token": token}, other)
            assert (answer.status_code, "another session" in answer.text) == (403, True)
    for origin in ("https://elsewhere.example", "null", "http://127.0.0.1:1"):
        answer = parked.client.post(where, data=form, headers={"origin": origin})
        assert answer.status_code == 403
    assert parked.client.post(where, data=form).status_code == 403, "it names no origin"
    for method in ("GET", "HEAD"):
        parked.client.request(method, where, params=form)
    assert is_parked(parked)
    assert records(parked) == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"key": "x"}, 400),
        ({"who": " "}, 400),
        ({"destination": ""}, 400),
        ({"destination": ["C0PARKED0", "C1"]}, 400),
        ({"fingerprint": "guessed"}, 409),
        ({"destination": "x" * 1_000_001}, 413),
    ],
)
def test_an_invalid_form_is_refused(parked: Console, change: dict[str, Any], status: int) -> None:
    form = {**asked(parked, "release_destination", destination=CHANNEL), **change}
    assert send(parked, "release_destination", form).status_code == status
    assert is_parked(parked)


def test_every_form_needs_the_token_of_its_session(console: Console) -> None:
    """Each route that takes a form refuses one without the token of its session."""
    paths = [
        route.path.replace("{action}", "release_destination")
        for subject in (*SUBJECTS, *LINKED)
        for route in subject.ROUTES
        if route.methods and "POST" in route.methods
    ]
    assert paths
    for path in paths:
        answer = console.client.post(path, headers={"origin": console.url})
        assert (answer.status_code, "another session" in answer.text) == (403, True), path


def test_it_is_read_only_where_others_can_reach_it(console: Console) -> None:
    made: Callable[..., ConsoleServer] = lambda host, *names, **options: ConsoleServer(  # noqa: E731
        console.project, host, 0, lambda line: None, names, **options
    )
    for host, names, options, expected in (
        ("127.0.0.1", [], {}, False),
        ("127.0.0.1", [], {"read_only": True}, True),
        ("127.0.0.1", ["console.example.com"], {}, True),
        ("0.0.0.0", [], {}, True),  # noqa: S104 - it never answers
        ("0.0.0.0", [], {"read_only": False}, False),  # noqa: S104
    ):
        server = made(host, *names, **options)
        server.close()
        assert server.is_read_only is expected


def test_retention_deletes_records_after_a_year(stack: LocalStack) -> None:
    stack.connection.execute(
        b"insert into console_actions (id, action, arguments, who, session, began_at, renewed_at, "
        b"ended_at, outcome, confirmed) select gen_random_uuid(), 'skip', '{}', 'Ada', 'x', at, "
        b"at, at, 'done', '{}' from unnest(array[now() - interval '366 days', "
        b"now() - interval '364 days']) at"
    )
    stack.connection.execute(b"select purge_worker_runs(interval '30 days', 1000)")
    left = stack.connection.execute(b"select count(*) from console_actions").fetchone()
    assert left == (1,)
