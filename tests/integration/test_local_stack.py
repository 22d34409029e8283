"""The local stack as its user meets it: starts, stops, keys, commands."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import running
from local.services import data_api, node, postgres
from local.services.keys import Keys, sign
from local.services.tether import Tether, TetherError
from local.stack import Running, Stack
from tests.conftest import LocalStack
from tests.integration.processes import (
    PATIENCE,
    children_of,
    copy_installed,
    copy_project,
    eventually,
    is_running,
    leftovers,
    python,
    run_command,
    temporary_directory,
)

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users too")


@pytest.fixture
def scratch() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


HELD_STACK = """
import signal
from local.stack import Stack
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts without
with Stack(progress=lambda what, seconds: print(what, flush=True)) as running:
    print(running.tether_pid, flush=True)
    signal.pause()
"""


def read_until_started(process: subprocess.Popen[str]) -> int:
    """The supervisor's pid, which comes after the lines of progress."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit():
            return int(line)
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_one_who_started_it(scratch: Path, number: signal.Signals) -> None:
    with python(scratch, "-c", HELD_STACK) as process:
        supervisor = read_until_started(process)
        family = {supervisor, *children_of(supervisor)}
        assert len(family) >= 4  # the supervisor, Postgres, the data API, Slack's fake
        assert leftovers(scratch)
        process.send_signal(number)
        process.communicate()
    eventually(lambda: not any(map(is_running, family)), "processes are left")
    eventually(lambda: not leftovers(scratch), "a directory is left")


def test_nothing_outlives_one_who_is_killed_while_starting(scratch: Path) -> None:
    with python(scratch, "-c", HELD_STACK) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Postgres 17")
        (supervisor,) = children_of(process.pid)
        family = {supervisor, *children_of(supervisor)}
        process.kill()
        process.communicate()
    eventually(lambda: not any(map(is_running, family)), "processes are left")
    eventually(lambda: not leftovers(scratch), "a directory is left")


def test_a_start_that_fails_says_why_and_leaves_nothing(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(data_api, "SCRIPT", data_api.SCRIPT.with_name("missing.mjs"))
    with pytest.raises(TetherError, match=r"(?s)data-api ended .*missing\.mjs"), Stack():
        pass
    assert leftovers(scratch) == []


BROKEN_MIGRATION = """
import sys
from pathlib import Path
from local.services import postgres
from local.__main__ import main
postgres.MIGRATIONS = Path(sys.argv[1])
sys.exit(main(["up"]))
"""


def test_a_broken_migration_is_named_and_leaves_nothing(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "1_fine.sql").write_text("create table fine (id int);")
    (tmp_path / "2_broken.sql").write_text("create tabel broken (id int);")
    with python(scratch, "-c", BROKEN_MIGRATION, str(tmp_path)) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    assert 'syntax error at or near "tabel"' in err
    assert "2_broken.sql" in err
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_a_temporary_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TetherError, match="ended unexpectedly"):
        Tether(tmp_path / "missing")


def test_an_end_within_is_an_end_of_all(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    family: set[int] = set()

    def fail_within() -> None:
        with Stack(seed=False) as running:
            family.update({running.tether_pid}, children_of(running.tether_pid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert len(family) >= 4
    assert not any(map(is_running, family))
    assert leftovers(scratch) == []


def test_a_child_that_ignores_its_signal_is_killed() -> None:
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True);"
        " signal.pause()"
    )
    with Tether() as tether:
        child = tether.start("stubborn", [sys.executable, "-c", stubborn], env={})
        child.wait_until(lambda: "on" in child.output() or None, PATIENCE)
        assert child.stop() == -signal.SIGKILL
        with pytest.raises(TetherError, match="No such file"):
            tether.start("missing", ["/no/such/program"], env={})
        failing = tether.start("failing", [sys.executable, "-c", "raise SystemExit('oh')"], env={})
        with pytest.raises(TetherError, match="status 1: oh"):
            failing.wait_until(lambda: None, PATIENCE)


def test_a_port_that_somebody_else_took_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody, Tether() as tether:
        taken = somebody.getsockname()[1]
        ports = iter([taken, taken, postgres._free_port()])
        monkeypatch.setattr(postgres, "_free_port", lambda: next(ports))
        server = postgres.start(tether)
        assert server.port != taken
        assert server.create_database("one")


@only_root
def test_postgres_runs_where_its_user_cannot_reach_the_clone(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(node.postgres_tree(), closed / "native", symlinks=True)
    monkeypatch.setattr(node, "postgres_tree", lambda: closed / "native")
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    with Tether(postgres.server_directory()) as tether:
        server = postgres.start(tether)
        assert server.create_database("one")


def ask(
    running: Running, path: str, key: str, bearer: str | None = None, body: Any = None
) -> httpx.Response:
    """One request as supabase-py sends it: the key in both headers, unless a user signed in."""
    headers = {"apikey": key, "Authorization": f"Bearer {bearer or key}"}
    with httpx.Client(trust_env=False, timeout=30, headers=headers) as client:
        url = f"{running.api_url}/rest/v1/{path}"
        return client.get(url) if body is None else client.post(url, json=body)


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


LAST_LINE = "Ctrl-C stops it."


def read_until_up(process: subprocess.Popen[str]) -> list[str]:
    """What `up` says once it is up."""
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    while not lines or lines[-1] != LAST_LINE:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        lines.append(line.strip())
    return lines


def the_state(scratch: Path) -> Running:
    (state,) = scratch.glob("agency-dashboard-workers-*/stack.json")
    assert state.stat().st_mode & 0o777 == 0o600
    assert state.parent.stat().st_mode & 0o777 == 0o700
    return Running.from_json(json.loads(state.read_text()))


def queued(running: Running) -> int:
    answer = ask(running, "notification_queue?select=id", running.keys.secret)
    return len(answer.json())


def test_up_is_found_by_the_other_commands_and_ends_cleanly(scratch: Path) -> None:
    assert run_command(scratch, "reset")[:2] == (
        0, "No stack is running; each one starts with the sample agency.\n"
    )  # fmt: skip
    with python(scratch, "-m", "local", "up") as up:
        lines = read_until_up(up)
        kept = the_state(scratch)
        family = {kept.tether_pid, *children_of(kept.tether_pid)}

        exported = dict(
            line.removeprefix("export ").split("=", 1) for line in lines if "export" in line
        )
        assert exported == {
            **kept.environment(),
            "SUPABASE_ANON_KEY": kept.keys.publishable,
            "DATABASE_URL": kept.database_url,
        }

        status, out, err = run_command(scratch, "up")
        assert (status, out, "is up already" in err) == (1, "", True)

        before = queued(kept)
        status, out, err = run_command(scratch, "invoke", "notifications")
        assert status == 0, err
        assert json.loads(out)["sent"] == kept.slack.count("chat.postMessage") > 0

        kept.slack.configure(latency=0.001)
        running_reset = run_command(scratch, "reset")
        assert running_reset[:2] == (0, "The stack is back to the sample agency.\n")
        assert queued(kept) == before
        assert kept.slack.state()["messages"] == {}
        assert kept.slack.journal() == []
        assert kept.slack.settings()["latency"] == 0
        status, out, err = run_command(scratch, "invoke", "notifications")
        assert json.loads(out)["sent"] > 0, err

        up.send_signal(signal.SIGINT)
        rest, err = up.communicate(timeout=PATIENCE)
    assert (up.returncode, rest) == (0, "")
    assert err.endswith("Stopping.\n")
    assert "Traceback" not in err
    assert not any(map(is_running, family))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_up_ends_in_order_on_other_signals_too(scratch: Path, number: signal.Signals) -> None:
    with python(scratch, "-m", "local", "up") as up:
        read_until_up(up)
        up.send_signal(number)
        _, err = up.communicate(timeout=PATIENCE)
    assert up.returncode == 128 + number
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_ctrl_c_while_starting_leaves_nothing(scratch: Path) -> None:
    with python(scratch, "-m", "local", "up") as up:
        assert up.stderr is not None
        assert up.stderr.readline().startswith("Postgres 17 ready")
        up.send_signal(signal.SIGINT)
        out, err = up.communicate(timeout=PATIENCE)
    assert (up.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_a_killed_up_is_not_found_again(scratch: Path) -> None:
    with python(scratch, "-m", "local", "up") as up:
        read_until_up(up)
        up.kill()
        up.communicate()
    eventually(lambda: not leftovers(scratch), "a directory is left")
    status, out, _ = run_command(scratch, "reset")
    assert (status, out.startswith("No stack is running")) == (0, True)
    assert list(scratch.iterdir()) == []


def test_what_is_found_is_the_stack_that_was_remembered(
    stack: LocalStack, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert running.find() is None
    running.remember(stack.running)
    assert running.find() == stack.running
    with pytest.raises(running.StateError, match="at the same time"):
        running.remember(stack.running)
    assert [path.name for path in running.state_file().parent.iterdir()] == ["stack.json"]
    running.forget()
    assert list(scratch.iterdir()) == []

    # the ports of one that was killed, in use by this stack
    running.remember(replace(stack.running, keys=Keys.generate()))
    assert running.find() is None
    for nonsense in ("", "{}", '["no", "state"]', '{"keys": {}}'):
        running.state_file().parent.mkdir(exist_ok=True)
        running.state_file().write_text(nonsense)
        assert running.find() is None
        assert list(scratch.iterdir()) == []


def test_state_in_a_folder_of_somebody_else_is_not_trusted(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    running.state_file().parent.symlink_to(scratch)
    with pytest.raises(running.StateError, match="belongs to somebody else"):
        running.find()
    status, _, err = run_command(scratch, "reset")
    assert (status, "belongs to somebody else" in err) == (1, True)


def test_the_demo_shows_what_arrived(scratch: Path) -> None:
    status, out, err = run_command(scratch, "demo")
    assert status == 0, out + err
    assert "#creative" in out
    assert "@here love it & ship it" in out
    assert "\x1b[" not in out + err  # colours are for terminals
    assert all(len(line) <= 80 for line in (out + err).splitlines())
    assert list(scratch.iterdir()) == []


NO_NETWORK = {
    "npm_config_registry": "http://127.0.0.1:1/", "npm_config_fetch_retries": "0",
    "HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1",
}  # fmt: skip


def test_what_is_installed_needs_no_network(scratch: Path) -> None:
    node.ensure_installed(with_dev=True)
    for options in ([], ["--with-dev"]):
        with python(
            scratch, "-m", "local.services.node", "install", *options, env=NO_NETWORK
        ) as process:
            assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 0


def test_an_install_without_network_says_so(scratch: Path, tmp_path: Path) -> None:
    copy_project(tmp_path / "clone")
    env = {**NO_NETWORK, "npm_config_cache": str(tmp_path / "cache")}
    with python(
        scratch, "-m", "local.services.node", "install", env=env, cwd=tmp_path / "clone"
    ) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    assert "the first start needs the network" in err
    assert "Traceback" not in err


def as_nobody() -> dict[str, Any]:
    """How to start a process as a user without any rights."""
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def python_of_anybody() -> str | None:
    """An interpreter of this version that any user can run, or None."""
    names = [sys.executable, f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3"]
    for name in names:
        found = shutil.which(name, path=None if "/" in name else "/usr/bin:/usr/local/bin")
        if found and _is_same_version(found):
            return found
    return None


def _is_same_version(interpreter: str) -> bool:
    ask_version = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [interpreter, "-c", ask_version], capture_output=True, text=True, cwd="/", **as_nobody()
        )
    except OSError:
        return False
    return bool(answer.stdout.split() == [str(part) for part in sys.version_info[:2]])


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """A clone with everything installed, in a folder of its own."""
    with temporary_directory() as outer:
        copy_project(outer / "clone")
        copy_installed(node.MODULES, outer / "clone" / "local" / "services" / "node_modules")
        copy_installed(Path(sysconfig.get_path("purelib")), outer / "packages")
        yield outer / "clone"


def in_clone(clone: Path) -> dict[str, str]:
    places = (clone, clone / "layers" / "shared", clone.parent / "packages")
    return {"PYTHONPATH": os.pathsep.join(map(str, places)), "HOME": "/nonexistent"}


@only_root
def test_an_ordinary_user_runs_it(clone: Path, scratch: Path) -> None:
    interpreter = python_of_anybody()
    if interpreter is None:
        pytest.skip("no interpreter of this version that other users can run")
    status, out, err = run_command(
        scratch,
        env={**in_clone(clone), "PYTHONDONTWRITEBYTECODE": ""},
        args=[interpreter, "-m", "local", "invoke", "notifications"],
        cwd=clone,
        umask=0o077,
        **as_nobody(),
    )
    assert status == 0, err
    assert json.loads(out)["sent"] > 0
    assert list(scratch.iterdir()) == []
    assert not list(clone.glob("local/__pycache__"))  # it is not theirs to write to


@only_root
def test_root_runs_it_below_a_folder_that_only_root_may_enter(clone: Path, scratch: Path) -> None:
    clone.parent.chmod(0o700)
    env = {**in_clone(clone), "PYTHONDONTWRITEBYTECODE": "1"}
    status, out, err = run_command(
        scratch, "invoke", "notifications", env=env, cwd=clone, umask=0o077
    )
    clone.parent.chmod(0o755)
    assert status == 0, err
    assert json.loads(out)["sent"] > 0
    assert list(scratch.iterdir()) == []
    assert not list(clone.glob("local/__pycache__"))
