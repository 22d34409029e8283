"""Who gets an answer from the console, and what a browser may do with it."""

from __future__ import annotations

import re
import socket
from itertools import product

import httpx
import pytest

from server.console.serving import ConsoleServer
from tests.server.console.conftest import Console
from workers.errors import ConfigurationError

PAGES = ("/", "/doctor", "/runs/00000000-0000-0000-0000-000000000000", "/static/style.css", "/no")


def test_without_a_session_there_is_no_page(console: Console) -> None:
    with console.stranger() as stranger:
        for path, cookie in product(PAGES, ("", "x=1", f"console-{console.server.port}=guessed")):
            answer = stranger.get(path, headers={"cookie": cookie})
            assert answer.status_code == 401
            assert console.stack.running.api_url not in answer.text
            assert "set-cookie" not in answer.headers
            assert answer.headers["cache-control"] == "no-store"
            assert stranger.post(path).status_code == 403


def test_a_token_works_once_and_stays_in_no_address(console: Console) -> None:
    address = console.sign_in_url()
    with console.stranger() as first, console.stranger() as second:
        answer = first.get(f"{address}&state=dead")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?state=dead")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "domain" not in cookie
        assert "secure" not in cookie, "there is no TLS here"
        assert first.get("/").status_code == 200

        assert second.get(address).status_code == 401
        # a session is let through, and the token is removed from the address
        assert first.get(address).status_code == 303


def test_a_newer_token_replaces_the_one_before(console: Console) -> None:
    old, new = console.sign_in_url(), console.sign_in_url()
    with console.stranger() as stranger:
        assert stranger.get(old).status_code == 401
        assert stranger.get(new).status_code == 303


def test_a_request_without_a_session_prints_a_new_address_where_it_runs(console: Console) -> None:
    before = len(console.lines)
    with console.stranger() as stranger:
        for _ in range(3):
            assert stranger.get("/").status_code == 401
        assert len(console.lines) == before + 1, "one unused address is enough"
        assert stranger.get(console.lines[-1].rpartition(": ")[2]).status_code == 303


def test_a_token_leads_to_this_host_whatever_its_path(console: Console) -> None:
    token = console.sign_in_url().partition("?")[2]
    with console.stranger() as stranger:
        answer = stranger.get(f"{console.url}//elsewhere.example/x?{token}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/elsewhere.example/x")


def test_only_names_of_this_machine_are_answered(console: Console) -> None:
    for host in ("elsewhere.example", "127.0.0.1.elsewhere.example", "", "[", "::1"):
        assert console.get("/", host=host).status_code == 421
    # as through a tunnel
    for host in ("localhost:8000", "127.0.0.1", "[::1]:3002", "LOCALHOST"):
        assert console.get("/", host=host).status_code == 200


def test_a_foreign_origin_gets_nothing(console: Console) -> None:
    for headers in (
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ):
        answer = console.get("/", **headers)
        assert answer.status_code == 403
        assert console.stack.running.api_url not in answer.text


def test_its_own_pages_and_the_person_using_them_get_an_answer(console: Console) -> None:
    for headers in (
        {"origin": console.url},
        {"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"},
        {"sec_fetch_site": "none", "sec_fetch_mode": "navigate"},
        # a link of another page; a browser sends no cookie with it
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
    ):
        assert console.get("/", **headers).status_code == 200


def test_only_forms_of_its_own_pages_are_taken(console: Console) -> None:
    for headers in (
        {},
        {"origin": "https://elsewhere.example"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ):
        assert console.client.post("/doctor", headers=headers).status_code == 403


def test_every_answer_has_security_headers(console: Console) -> None:
    for path in PAGES:
        headers = console.get(path).headers
        policy = headers["content-security-policy"].split("; ")
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"unsafe|https?:|\*", headers["content-security-policy"])
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        expected = "immutable" if path.startswith("/static/") else "no-store"
        assert expected in headers["cache-control"]
    with console.stranger() as stranger:
        assert "content-security-policy" in stranger.get("/").headers


def test_no_page_refers_to_anything_outside_or_has_a_key(console: Console) -> None:
    keys = console.stack.environment()
    secrets = [keys["SUPABASE_SERVICE_ROLE_KEY"], keys["SLACK_BOT_TOKEN"]]
    for path in ("/", "/doctor"):
        page = console.page(path)
        for address in re.findall(r'(?:src|href|action|data-hx-get)="([^"]*)"', page):
            assert re.match(r"/(?!/)|#", address), address
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=", page)
        assert not any(secret in page for secret in secrets)


def test_a_first_visit_is_small(console: Console) -> None:
    page = console.page("/")
    shipped = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(shipped) >= 4
    weight = len(page.encode()) + sum(len(console.get(one).content) for one in shipped)
    assert weight <= 200_000


def test_it_is_bound_to_this_machine_by_default(console: Console) -> None:
    assert console.url == f"http://127.0.0.1:{console.server.port}"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", console.server.port), timeout=5)


def test_a_name_that_was_added_is_answered(console: Console) -> None:
    names = ["console.agency.example"]
    lines: list[str] = []
    server = ConsoleServer(console.project, "127.0.0.1", 0, lines.append, names)
    server.start()
    try:
        with httpx.Client(trust_env=False, verify=False) as client:  # noqa: S501 - see conftest
            named = {"host": "Console.Agency.Example"}
            assert client.get(server.url, headers=named).status_code == 401
            refused = client.get(server.url, headers={"host": "x.example"})
            assert (refused.status_code, "--name" in refused.text) == (421, True)

            # behind a proxy that has TLS
            proxied = {
                "host": "console.agency.example",
                "origin": "https://console.agency.example",
                "x-forwarded-proto": "https",
            }
            answer = client.get(lines[-1].rpartition(": ")[2], headers=proxied)
            assert answer.status_code == 303
            assert "secure" in answer.headers["set-cookie"].lower()
    finally:
        server.close()


def test_an_address_in_use_is_reported(console: Console) -> None:
    with pytest.raises(ConfigurationError, match=str(console.server.port)):
        ConsoleServer(console.project, "127.0.0.1", console.server.port, lambda line: None)
