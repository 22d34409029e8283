"""The console's pages and forms without a database: what is checked before anything is done."""

from __future__ import annotations

import asyncio
from html import unescape
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from server.console.actions import ACTIONS
from server.console.app import console_app
from server.console.project import Project
from server.console.sessions import Sessions
from workers.errors import TransientError
from workers.settings import Settings

KEY = "00000000-0000-0000-0000-000000000001"
ORIGIN = {"origin": "http://localhost"}
SCOPE = {"fingerprint": "f", "numbers": {"destinations": 1}}


SETTINGS = SimpleNamespace(
    supabase_url="https://project.example", app_request_url=None, notification_locale="en-US"
)
NO_ENTITIES = {"request": None, "client": None, "actor": None, "assignee": None}


class _Project(Project):
    """A project whose database answers only some functions."""

    def __init__(self, **answers: Any) -> None:
        """`answers`: by function."""
        super().__init__(lambda: cast(Settings, SETTINGS))
        self.asked: list[str] = []
        self._answers = {"console_scope": SCOPE, **answers}

    def call(self, function: str, **arguments: Any) -> Any:
        self.asked.append(function)
        if function in self._answers:
            return self._answers[function]
        raise TransientError(f"no answer to {function}, Bearer abcdefghijklmnop", code="x")


class Client:
    """A browser with a session at a console, or without one."""

    def __init__(self, project: _Project, *, may_act: bool = True) -> None:
        self.project, self.sessions = project, Sessions(lambda: 0.0)
        self._app = console_app(
            project, self.sessions, names=["localhost"], cookie="c",
            announce=lambda: None, may_act=may_act,
        )  # fmt: skip
        self.session = self.sessions.begin(self.sessions.new_token()) or ""

    def ask(
        self, method: str, path: str, *, cookie: str | None = None, **options: Any
    ) -> httpx.Response:
        """`cookie`: instead of its session's."""

        async def asking() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=self._app),
                base_url="http://localhost",
                cookies={"c": self.session if cookie is None else cookie},
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(asking())

    def form(self, **changes: str) -> dict[str, str]:
        """The fields of the page that confirms the release of a destination."""
        return {
            "form_token": self.sessions.form_token(self.session), "key": KEY, "fingerprint": "f",
            "who": "Ada", "destination": "C1", **changes,
        }  # fmt: skip


@pytest.fixture
def client() -> Client:
    return Client(_Project())


def test_without_an_answer_it_is_shown_that_it_may_have_been_done(client: Client) -> None:
    answer = client.ask(
        "POST", "/actions/confirm/release_destination", data=client.form(), headers=ORIGIN
    )
    assert answer.status_code == 503
    assert "It is unknown whether it was done" in answer.text
    assert "abcdefghijklmnop" not in answer.text
    assert client.project.asked == ["console_act"]


@pytest.mark.parametrize("name", list(ACTIONS))
def test_refused_forms_do_not_reach_the_database(client: Client, name: str) -> None:
    where, good = f"/actions/confirm/{name}", client.form()
    for data, headers in (
        ({**good, "form_token": "x"}, ORIGIN),
        ({**good, "form_token": ""}, ORIGIN),
        (good, {}),
        (good, {"origin": "https://elsewhere.example"}),
        (good, {**ORIGIN, "sec-fetch-site": "cross-site"}),
        (good, {**ORIGIN, "host": "elsewhere.example"}),
    ):
        answer = client.ask("POST", where, data=data, headers=headers)
        assert answer.status_code in (403, 421)
    assert client.ask("POST", where, data=good, headers=ORIGIN, cookie="x").status_code == 401
    reader = Client(client.project, may_act=False)
    assert reader.ask("POST", where, data=reader.form(), headers=ORIGIN).status_code == 403
    assert reader.ask("GET", where, params={"destination": "C1"}).status_code == 403
    assert client.project.asked == []


def test_who_confirms_is_remembered_for_the_session(client: Client) -> None:
    where = "/actions/confirm/release_destination"
    client.ask("POST", where, data=client.form(who="Grace"), headers=ORIGIN)
    assert 'value="Grace"' in client.ask("GET", f"{where}?destination=C1").text


def test_a_name_of_invisible_characters_is_none(client: Client) -> None:
    where = "/actions/confirm/release_destination"
    form = client.form(who="\u200b\u202e")
    assert client.ask("POST", where, data=form, headers=ORIGIN).status_code == 400
    assert client.project.asked == []


@pytest.mark.parametrize(
    "body", [b"form_token=\xff", b"&".join(b"id=%d" % number for number in range(3000))]
)
def test_an_invalid_form_is_refused(client: Client, body: bytes) -> None:
    answer = client.ask("POST", "/actions/confirm/skip", content=body, headers=ORIGIN)
    assert answer.status_code == 400


def test_a_template_can_be_tried_in_a_read_only_console() -> None:
    reader = Client(_Project(config_templates=[], known_of_event=NO_ENTITIES), may_act=False)
    assert "Menu &amp; window signs" in reader.ask("GET", "/notifications/try").text
    form = {**reader.form(), "template": "*{{a}}* {{b}}", "data": '{"a": "<b>x</b>"}'}
    page = reader.ask("POST", "/notifications/try", data=form, headers=ORIGIN).text
    assert 'data-key="a" data-state="escaped"' in page
    assert 'data-key="b" data-state="unknown"' in page
    assert '<mark class="escaped" title="escaped">&lt;</mark>b' in page
    assert "<b>" not in page
    form["form_token"] = "x"
    answer = reader.ask("POST", "/notifications/try", data=form, headers=ORIGIN)
    assert answer.status_code == 403


def test_spend_at_a_glance() -> None:
    spend = [
        {"date": day, "platform": "meta", "currency": "EUR", "spend": value, "is_complete": True}
        for day, value in (("2026-11-20", "50.5"), ("2026-11-27", "101"))
    ]
    found = {
        "clients": [
            {"id": "1", "name": "Nordlys <b>", "spend": spend},
            {"id": "2", "name": "Quiet", "spend": []},
        ],
        "after": {"id": KEY},
    }
    client = Client(_Project(console_client_spend=found))
    page = client.ask("GET", "/metrics/spend?until=2026-11-27").text
    assert 'data-client="Nordlys &lt;b&gt;"' in page
    assert 'data-figure="week" data-value="101"' in page
    assert 'data-figure="before" data-value="50.5"' in page
    assert "+100.0 %" in page
    assert 'data-day="2026-11-20"' in page
    assert "No spend in either week" in page
    assert "until=2026-11-20" in page
    assert f"after=%7B%22id%22%3A%22{KEY}%22%7D" in page
    nothing = Client(_Project(console_client_spend={"clients": [], "after": None}))
    assert "Next week" not in nothing.ask("GET", "/metrics/spend?until=9000-12-31").text
    assert client.ask("GET", "/metrics/spend?until=x").status_code == 400


def test_an_answer_of_another_shape_names_the_function_and_the_field() -> None:
    client = Client(_Project(console_client_spend={"clients": [{"id": "1"}], "after": None}))
    answer = client.ask("GET", "/metrics/spend")
    assert answer.status_code == 503
    assert "console_client_spend returned no name" in unescape(answer.text)
    assert "python -m workers.operate migrate" in answer.text
