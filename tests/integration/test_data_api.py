"""The local stack's data API: its keys, and values, errors and limits like PostgREST's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from local.services import data_api, node
from local.services.keys import Keys, sign
from local.services.tether import Tether
from tests.conftest import LocalStack
from tests.integration.data_api_client import ask
from tests.integration.processes import eventually


def test_both_kinds_of_secret_key_are_the_service(stack: LocalStack) -> None:
    keys = stack.running.keys
    for key in (keys.secret, keys.legacy_service_role):
        answer = ask(stack.running, "notification_queue?select=id", key)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()) > 3


def test_public_keys_and_users_get_what_is_granted_to_them(stack: LocalStack) -> None:
    keys = stack.running.keys
    user_id = "a0000000-0000-4000-8000-000000000001"
    user = keys.user_token(user_id)
    stack.connection.execute(
        """
        create table ungranted (id int);
        create table for_users (id int);
        grant select on for_users to authenticated;
        create function me() returns uuid language sql as 'select auth.uid()';
        """
    )
    data_api.reload_schema(stack.running.api_url)
    asking = [(keys.publishable, None), (keys.legacy_anon, None), (keys.publishable, user)]
    for key, bearer in asking:
        refused = ask(stack.running, "ungranted?select=*", key, bearer)
        assert refused.status_code in (401, 403)
        assert refused.json()["code"] == "42501"
        assert (ask(stack.running, "for_users", key, bearer).status_code == 200) == bool(bearer)
    assert ask(stack.running, "rpc/me", keys.publishable, user, {}).json() == user_id


def test_keys_that_nobody_gave_out(stack: LocalStack) -> None:
    keys = stack.running.keys
    forged = sign({"role": "service_role"}, "another secret")
    expired = sign({"role": "service_role"}, keys.jwt_secret, lifetime=-1)
    for key in ("sb_secret_guessed", "a.b.c", forged, expired):
        answer = ask(stack.running, "profiles?select=id", key)
        assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")


def test_keys_stay_out_of_messages(stack: LocalStack) -> None:
    assert stack.running.keys.secret not in repr(stack.running)


def test_values_and_errors_are_postgrests(stack: LocalStack) -> None:
    stack.connection.execute(
        """
        create function kind_of(value jsonb) returns text language sql
          as 'select jsonb_typeof(value)';
        create function refuse() returns void language plpgsql
          as $$ begin raise exception 'not so' using hint = 'try again', detail = 'why'; end $$;
        create function one_row() returns table (amount numeric, at timestamptz) language sql
          as $$ select 1.50, timestamptz '2026-01-01 08:00:00+00' $$;
        """
    )
    data_api.reload_schema(stack.running.api_url)

    def call(function: str, **arguments: Any) -> httpx.Response:
        return ask(stack.running, f"rpc/{function}", stack.running.keys.secret, body=arguments)

    assert call("kind_of", value=[1, {"a": 2}]).json() == "array"
    assert call("kind_of", value={"a": []}).json() == "object"
    assert call("one_row").json() == [{"amount": 1.5, "at": "2026-01-01T08:00:00+00:00"}]
    refused = call("refuse")
    assert refused.status_code == 400
    assert refused.json() == {
        "code": "P0001", "message": "not so", "details": "why", "hint": "try again"
    }  # fmt: skip


def test_the_state_of_an_error_is_postgrests(stack: LocalStack) -> None:
    stack.connection.execute(
        """
        create table checked (id int primary key check (id > 0));
        grant all on checked to service_role;
        create function fail_with(state text) returns void language plpgsql
          as $$ begin raise exception using errcode = state, message = 'so'; end $$;
        """
    )
    data_api.reload_schema(stack.running.api_url)
    key = stack.running.keys.secret
    refused = ask(stack.running, "checked", key, body={"id": -1})
    assert (refused.status_code, refused.json()["code"]) == (400, "23514")
    ask(stack.running, "checked", key, body={"id": 1})
    refused = ask(stack.running, "checked", key, body={"id": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "23505")
    for state, status in (("40001", 500), ("53300", 503), ("25006", 405), ("22023", 400)):
        refused = ask(stack.running, "rpc/fail_with", key, body={"state": state})
        assert (refused.status_code, refused.json()["code"]) == (status, state)
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    with httpx.Client(trust_env=False, headers=headers) as client:
        refused = client.delete(f"{stack.running.api_url}/rest/v1/checked")
    assert refused.json()["code"] == "21000"  # a delete of everything


def test_a_statement_that_takes_too_long_is_ended(stack: LocalStack) -> None:
    stack.connection.execute(
        "create function slow() returns void language sql as 'select pg_sleep(60)'"
    )
    keys = Keys.generate()
    with Tether() as tether:
        url, _ = data_api.start(
            tether, node.find(), stack.running.database_url, keys, statement_timeout="200ms"
        )
        refused = ask(replace(stack.running, api_url=url), "rpc/slow", keys.secret, body={})
    assert (refused.status_code, refused.json()["code"]) == (500, "57014")


def test_no_answer_has_more_than_a_thousand_rows(stack: LocalStack) -> None:
    stack.connection.execute(
        """
        create table many as select generate_series(1, 1500) as id;
        grant select on many to service_role;
        create function all_of_them() returns setof many language sql
          as 'select * from many';
        """
    )
    data_api.reload_schema(stack.running.api_url)
    key = stack.running.keys.secret
    assert len(ask(stack.running, "many?select=id", key).json()) == 1000
    assert len(ask(stack.running, "rpc/all_of_them", key, body={}).json()) == 1000


def test_a_new_table_is_known_once_it_is_notified_of(stack: LocalStack) -> None:
    # the stack was reset for this test: the API has begun to listen anew
    key = stack.running.keys.secret
    assert ask(stack.running, "profiles", key).status_code == 200  # knows its tables from now on
    stack.connection.execute("create table later (id int); grant select on later to service_role")
    assert ask(stack.running, "later", key).json()["code"] == "PGRST205"

    def is_known() -> bool:
        stack.connection.execute("notify pgrst, 'reload schema'")
        return bool(ask(stack.running, "later", key).status_code == 200)

    eventually(is_known, "the API never heard of the new table")
