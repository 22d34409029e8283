"""The local stack's data API: keys, values, errors, limits and lost connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from local.services import data_api, node, postgres
from local.services.keys import sign
from local.services.tether import Tether
from tests.conftest import LocalStack
from tests.integration.data_api_client import ask, local_client
from tests.integration.processes import eventually


@contextmanager
def own_api(stack: LocalStack, **settings: Any) -> Iterator[LocalStack]:
    """The test's own local API over the stack's database."""
    running = stack.running
    with Tether() as tether:
        url, _ = data_api.start(
            tether, node.find(), running.database_url, running.keys, local_only=True, **settings
        )
        yield replace(stack, running=replace(running, api_url=url))


@pytest.fixture
def local(stack: LocalStack) -> Iterator[LocalStack]:
    """The stack with the local API, even if it has PostgREST."""
    if data_api.chosen() is None:
        yield stack
    else:
        with own_api(stack) as own:
            yield own


def call(stack: LocalStack, function: str, **arguments: Any) -> httpx.Response:
    return ask(stack.running, f"rpc/{function}", stack.running.keys.secret, body=arguments)


def define(stack: LocalStack, statements: str) -> None:
    stack.connection.execute(statements)
    data_api.reload_schema(stack.running.api_url)


def test_both_kinds_of_secret_key_have_the_service_role(local: LocalStack) -> None:
    keys = local.running.keys
    for key in (keys.secret, keys.legacy_service_role):
        answer = ask(local.running, "notification_queue?select=id", key)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()) > 3


def test_public_keys_and_users_have_their_own_grants(local: LocalStack) -> None:
    keys = local.running.keys
    user_id = "a0000000-0000-4000-8000-000000000001"
    user = keys.user_token(user_id)
    define(
        local,
        """
        create table ungranted (id int);
        create table for_users (id int);
        grant select on for_users to authenticated;
        create function me() returns uuid language sql as 'select auth.uid()';
        """,
    )
    asking = [(keys.publishable, None), (keys.legacy_anon, None), (keys.publishable, user)]
    for key, bearer in asking:
        refused = ask(local.running, "ungranted?select=*", key, bearer)
        assert refused.status_code in (401, 403)
        assert refused.json()["code"] == "42501"
        assert (ask(local.running, "for_users", key, bearer).status_code == 200) == bool(bearer)
    assert ask(local.running, "rpc/me", keys.publishable, user, {}).json() == user_id


@pytest.mark.parametrize("path", ["profiles?select=id", "rpc/worker_health"])
def test_unknown_keys_are_refused(local: LocalStack, path: str) -> None:
    secret = local.running.keys.jwt_secret
    forged = sign({"role": "service_role"}, "another secret")
    expired = sign({"role": "service_role"}, secret, lifetime=-60)
    for key, message in (
        ("sb_secret_guessed", "Unregistered API key"),
        ("guessed", "Invalid API key"),
        (forged, "No suitable key or wrong key type"),
        ("a.b.c", "No suitable key or wrong key type"),
        (expired, "JWT expired"),
    ):
        answer = ask(local.running, path, key)
        assert (answer.status_code, answer.json()["message"]) == (401, message)
        assert ("code" in answer.json()) == ("JWT" in message or "suitable" in message)


def test_small_clock_skew_is_tolerated(local: LocalStack) -> None:
    claims = {"role": "service_role"}
    just_expired = sign(claims, local.running.keys.jwt_secret, lifetime=-5)
    assert ask(local.running, "rpc/worker_health", just_expired, body={}).status_code == 200


def test_keys_stay_out_of_messages(stack: LocalStack) -> None:
    assert stack.running.keys.secret not in repr(stack.running)


def test_an_error_of_a_table_has_postgrests_form(local: LocalStack) -> None:
    define(
        local,
        """
        create table checked (id int primary key check (id > 0));
        grant all on checked to service_role;
        """,
    )
    key = local.running.keys.secret
    refused = ask(local.running, "checked", key, body={"id": -1})
    assert (refused.status_code, refused.json()["code"]) == (400, "23514")
    ask(local.running, "checked", key, body={"id": 1})
    refused = ask(local.running, "checked", key, body={"id": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "23505")


def test_tables_are_read_in_a_session_of_authenticator(local: LocalStack) -> None:
    define(
        local,
        """
        create function session_settings() returns text language sql as $$
          select concat_ws(' ', current_user, session_user, current_setting('statement_timeout'),
                           current_setting('lock_timeout')) $$;
        create view session_seen as select session_settings() as settings;
        grant select on session_seen to service_role;
        """,
    )
    answer = ask(local.running, "session_seen", local.running.keys.secret)
    assert answer.json() == [{"settings": "service_role authenticator 8s 8s"}]


def test_a_slow_statement_is_ended(stack: LocalStack) -> None:
    stack.connection.execute(
        "create function slow() returns void language sql as 'select pg_sleep(60)'"
    )
    with own_api(stack, statement_timeout="200ms") as own:
        refused = call(own, "slow")
    assert (refused.status_code, refused.json()["code"]) == (500, "57014")


def test_the_settings_of_a_role_are_reloaded(local: LocalStack) -> None:
    keys = local.running.keys
    body = {"name": "statement_timeout"}
    define(
        local,
        "create function setting_of(name text) returns text language sql as "
        "'select current_setting(name)'",
    )
    assert ask(local.running, "rpc/setting_of", keys.publishable, body=body).json() == "3s"
    try:
        define(local, "alter role anon set statement_timeout = '4s'")
        assert ask(local.running, "rpc/setting_of", keys.publishable, body=body).json() == "4s"
    finally:
        define(local, "alter role anon set statement_timeout = '3s'")


@pytest.mark.parametrize("most", [1, 20, 100, 1000])
def test_results_are_limited_to_max_rows(stack: LocalStack, most: int) -> None:
    stack.connection.execute(
        """
        create table many as select generate_series(1, 1500) as id;
        grant select on many to service_role;
        create function all_of_them() returns setof many language sql as 'select * from many';
        create function in_one() returns jsonb language sql as 'select jsonb_agg(id) from many';
        """
    )
    with own_api(stack, max_rows=most) as own:
        key = own.running.keys.secret
        assert len(ask(own.running, "many?select=id", key).json()) == most
        assert len(ask(own.running, "many?limit=7", key).json()) == min(most, 7)
        assert len(call(own, "all_of_them").json()) == most
        assert len(call(own, "in_one").json()) == 1500


def test_a_function_can_set_status_and_headers(local: LocalStack) -> None:
    define(
        local,
        """
        create function teapot(status text, headers text) returns text language sql as $$
          select set_config('response.status', status, true)
              || set_config('response.headers', headers, true) $$
        """,
    )
    answer = call(local, "teapot", status="418", headers='[{"X-Kettle": "on"}, {"X-Lid": "off"}]')
    assert (answer.status_code, answer.headers["x-kettle"], answer.headers["x-lid"]) == (
        418, "on", "off"
    )  # fmt: skip
    refused = call(local, "teapot", status="hot", headers="[]")
    assert (refused.status_code, refused.json()["code"]) == (500, "PGRST112")
    refused = call(local, "teapot", status="200", headers='{"X-Kettle": "on"}')
    assert (refused.status_code, refused.json()["code"]) == (500, "PGRST111")


def test_a_refused_answer_is_not_committed(local: LocalStack) -> None:
    define(
        local,
        """
        create table written (id int);
        grant all on written to service_role;
        create function write_two() returns setof int language sql
          as 'insert into written values (1), (2) returning id';
        """,
    )
    key = local.running.keys.secret
    headers = {"apikey": key, "Accept": "application/vnd.pgrst.object+json"}
    with local_client(headers=headers) as client:
        refused = client.post(f"{local.running.api_url}/rest/v1/rpc/write_two", json={})
    assert (refused.status_code, refused.json()["code"]) == (406, "PGRST116")
    assert local.connection.execute("select count(*) from written").fetchone() == (0,)
    assert call(local, "write_two").json() == [1, 2]
    assert local.connection.execute("select count(*) from written").fetchone() == (2,)


def test_a_deferred_constraint_is_an_error_of_the_call(local: LocalStack) -> None:
    define(
        local,
        """
        create table parents (id int primary key);
        create table children (parent int references parents deferrable initially deferred);
        create function adopt() returns int language sql security definer set search_path = public
          as 'insert into children values (1) returning parent';
        """,
    )
    refused = call(local, "adopt")
    assert (refused.status_code, refused.json()["code"]) == (409, "23503")
    assert call(local, "worker_health").status_code == 200


def test_megabytes_are_sent_and_received(local: LocalStack) -> None:
    define(local, "create function same(value jsonb) returns jsonb language sql as 'select value'")
    rows = [{"id": number, "text": "ü" * 200, "none": None} for number in range(10_000)]
    assert call(local, "same", value=rows).json() == rows


def test_calls_wait_for_a_connection(stack: LocalStack) -> None:
    stack.connection.execute(
        "create function nap() returns int language sql as $$ select 1 from pg_sleep(0.05) $$"
    )
    with own_api(stack, pool=2) as own, ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: call(own, "nap").json(), range(20)))
    assert answers == [1] * 20


def test_a_call_whose_session_is_ended_is_an_error(local: LocalStack) -> None:
    define(local, "create function nap() returns void language sql as 'select pg_sleep(60)'")
    answers: list[httpx.Response] = []
    calling = threading.Thread(target=lambda: answers.append(call(local, "nap")))
    calling.start()

    def is_ended() -> bool:
        # only the session that runs it; nothing waits for the API's others
        return bool(
            local.connection.execute(
                """
                select pg_terminate_backend(pid) from pg_stat_activity
                 where usename = 'authenticator' and wait_event = 'PgSleep'
                """
            ).fetchall()
        )

    eventually(is_ended, "the call never came to Postgres")
    calling.join()
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "57P01")
    assert answers[0].headers["retry-after"] == "0"
    assert call(local, "worker_health").status_code == 200


def test_it_reconnects_after_the_database_is_recreated(stack: LocalStack) -> None:
    server = stack.running.maintenance_url
    postgres.create_database(server, "passing", "sample")
    url = stack.running.database_url.rpartition("/")[0] + "/passing"
    passing = replace(stack.running, database_url=url)
    with own_api(replace(stack, running=passing)) as own:
        assert call(own, "worker_health").status_code == 200
        postgres.drop_database(server, "passing")
        refused = call(own, "worker_health")
        assert refused.status_code == 503
        assert refused.json()["code"] in ("57P01", "PGRST000", "PGRST001", "PGRST002")
        postgres.create_database(server, "passing", "sample")
        eventually(lambda: call(own, "worker_health").status_code == 200, "it did not come back")
    postgres.drop_database(server, "passing")


def test_a_new_table_is_found_after_a_notice(local: LocalStack) -> None:
    # The stack was reset for this test, so the API may just be about to listen again, and then
    # reloads its tables without a notice. So the time before a notice is not tested.
    key = local.running.keys.secret
    assert ask(local.running, "profiles", key).status_code == 200  # knows its tables from now on
    local.connection.execute("create table later (id int); grant select on later to service_role")

    def is_known() -> bool:
        local.connection.execute("notify pgrst, 'reload schema'")
        return bool(ask(local.running, "later", key).status_code == 200)

    eventually(is_known, "the API never heard of the new table")


def test_a_new_function_is_found_after_a_notice(local: LocalStack) -> None:
    assert call(local, "worker_health").status_code == 200  # knows its functions from now on
    local.connection.execute("create function later() returns int language sql as 'select 1'")

    def is_known() -> bool:
        local.connection.execute("notify pgrst, 'reload schema'")
        return bool(call(local, "later").status_code == 200)

    eventually(is_known, "the API never heard of the new function")


def test_several_apis_over_one_server_share_the_role(stack: LocalStack) -> None:
    with own_api(stack) as first, own_api(stack) as second:
        assert call(first, "worker_health").status_code == 200
        assert call(second, "worker_health").status_code == 200
        assert call(stack, "worker_health").status_code == 200


def test_other_paths_are_not_found(local: LocalStack) -> None:
    headers = {"apikey": local.running.keys.secret}
    with local_client(base_url=local.running.api_url, headers=headers) as client:
        for path in ("/", "/rest/v1", "/storage/v1/object"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert answer.json() == {"message": "no Route matched with those values"}
        assert client.get("/auth/v1/health").status_code == 200
