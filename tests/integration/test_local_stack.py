"""The local stack as its user meets it: starts, stops, keys, commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import data_api, node, postgres
from local.keys import sign
from local.stack import ROOT, Running, Stack
from local.tether import Tether, TetherError
from tests.conftest import LocalStack

PATIENCE = 30.0


def eventually(is_so: Callable[[], bool], what: str) -> None:
    """Wait for another process to have done something."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def children_of(pid: int) -> set[int]:
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return {int(child) for child, parent in pairs if int(parent) == pid}


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    # one that nobody has waited for yet is over all the same
    return state.stdout.strip() not in ("",) and not state.stdout.startswith("Z")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory for temporary files that Postgres's user may enter too."""
    # not tmp_path: only its owner may enter that
    directory = Path(tempfile.mkdtemp(prefix="scratch-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def python(scratch: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# --- start and stop ---

HELD_STACK = """
import signal, sys
from local.stack import Stack
with Stack(progress=lambda what, seconds: print(what, flush=True)) as running:
    print(running.tether_pid, flush=True)
    signal.pause()
"""


def leftovers(scratch: Path) -> list[str]:
    return [path.name for path in scratch.iterdir() if path.name.startswith("agency-stack-")]


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
        assert len(family) >= 4  # the supervisor, Postgres, the data API, Slack's stand-in
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives Postgres to another user")
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


# --- keys ---


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


# --- the data API, where plain lite differs from PostgREST ---


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


# --- commands ---


def test_reset_brings_the_sample_agency_back(stack: LocalStack) -> None:
    running = stack.running

    def queued() -> int:
        answer = ask(running, "notification_queue?select=id", running.keys.secret)
        return len(answer.json())

    before = queued()
    stack.connection.execute("truncate notification_queue cascade")
    assert queued() == 0
    running.slack.configure(latency=0.001)
    running.reset()
    assert queued() == before > 0
    assert running.slack.settings()["latency"] == 0


def run_command(scratch: Path, *arguments: str) -> tuple[int, str, str]:
    with python(scratch, "-m", "local", *arguments) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_up_is_found_by_the_other_commands_and_ends_cleanly(scratch: Path) -> None:
    assert run_command(scratch, "reset")[:2] == (
        0, "No stack is running; each one starts with the sample agency.\n"
    )  # fmt: skip
    with python(scratch, "-m", "local", "up") as up:
        assert up.stdout is not None
        while (line := up.stdout.readline()).strip() != "Ctrl-C stops it.":
            assert line, up.stderr.read() if up.stderr else ""
        (state,) = scratch.glob("agency-dashboard-workers-*/stack.json")
        assert state.stat().st_mode & 0o777 == 0o600
        assert state.parent.stat().st_mode & 0o777 == 0o700
        kept = Running.from_json(json.loads(state.read_text()))
        family = {kept.tether_pid, *children_of(kept.tether_pid)}

        status, _, err = run_command(scratch, "up")
        assert (status, "is up already" in err) == (1, True)

        status, out, err = run_command(scratch, "invoke", "notifications")
        assert status == 0, err
        assert json.loads(out.splitlines()[-1])["sent"] > 0
        assert out.count("\n") == 1
        assert kept.slack.count("chat.postMessage") > 0

        status, out, err = run_command(scratch, "reset")
        assert status == 0, err
        assert kept.slack.count("chat.postMessage") == 0

        up.send_signal(signal.SIGINT)
        up.communicate(timeout=PATIENCE)
    assert up.returncode == 0
    assert not any(map(is_running, family))
    assert list(scratch.iterdir()) == []


def test_a_killed_up_is_not_found_again(scratch: Path) -> None:
    with python(scratch, "-m", "local", "up") as up:
        assert up.stdout is not None
        while (line := up.stdout.readline()).strip() != "Ctrl-C stops it.":
            assert line
        (state,) = scratch.glob("agency-dashboard-workers-*/stack.json")
        up.kill()
        up.communicate()
    eventually(lambda: not leftovers(scratch), "a directory is left")
    assert run_command(scratch, "reset")[0] == 0
    assert not state.exists()


def test_the_demo_shows_what_arrived(scratch: Path) -> None:
    status, out, err = run_command(scratch, "demo")
    assert status == 0, out + err
    assert "#creative" in out
    assert "\x1b[" not in out  # colours are for terminals
    assert leftovers(scratch) == []


# --- the contract of invoke, with a function made for it ---

TEMPLATE = """
Globals: {Function: {MemorySize: 256}}
Resources:
  Probe:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: functions/probe, Timeout: 7, Role: !GetAtt Role.Arn}
"""

PROBE = """
import os
import sys

print("a print of the module")


def lambda_handler(event, context):
    print("a print of the handler")
    os.write(1, b"past Python\\n")
    left = context.get_remaining_time_in_millis()
    assert 0 < left <= 7000
    assert context.invoked_function_arn.endswith(":function:probe")
    assert context.aws_request_id
    if event.get("raise"):
        raise ValueError("the handler's own words")
    return {"event": event, "memory": context.memory_limit_in_mb, "seen": os.environ["SEEN"]}
"""


INVOKE_THERE = """
import sys
from pathlib import Path
from local import invoke
from local.__main__ import main

invoke.ROOT = Path(sys.argv[1])
invoke.FUNCTIONS = invoke.ROOT / "functions"
sys.exit(main(["invoke", *sys.argv[2:]]))
"""


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """A project with one function."""
    (tmp_path / "functions" / "probe").mkdir(parents=True)
    (tmp_path / "functions" / "probe" / "app.py").write_text(PROBE)
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "probe.json").write_text('{"from": "the default file"}')
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    return tmp_path


def invoked(project: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Status, lines of stdout, stderr; configured so that no stack is needed."""
    configured = {"SUPABASE_URL": "http://127.0.0.1:1", "SEEN": "yes"}
    result = subprocess.run(
        [sys.executable, "-c", INVOKE_THERE, str(project), *arguments],
        cwd=ROOT,
        env={**os.environ, **configured},
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout.splitlines(), result.stderr


def test_the_summary_alone_is_on_stdout(probe: Path) -> None:
    status, (line,), err = invoked(probe, "probe")
    assert status == 0
    assert json.loads(line) == {
        "event": {"from": "the default file"}, "memory": 256, "seen": "yes"
    }  # fmt: skip
    for words in ("a print of the module", "a print of the handler", "past Python"):
        assert words in err


def test_a_handler_that_raises_is_status_1(probe: Path) -> None:
    event = probe / "other.json"
    event.write_text('{"raise": true}')
    status, out, err = invoked(probe, "probe", "--event", str(event))
    assert (status, out) == (1, [])
    assert "ValueError: the handler's own words" in err


def test_what_cannot_be_invoked_is_status_2(probe: Path) -> None:
    status, out, err = invoked(probe, "unheard_of")
    assert (status, out) == (2, [])
    assert "there are: probe" in err
    assert invoked(probe, "probe", "--event", "missing.json")[0] == 2
    (probe / "events" / "probe.json").write_text("{")
    status, out, err = invoked(probe, "probe")
    assert (status, out) == (2, [])
    assert "is not JSON" in err.replace("\n", " ")
