"""The commands `up`, `reset` and `demo`, and how commands find a running stack."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from local import running
from local.services.keys import Keys
from local.stack import ROOT, Running
from tests.conftest import LocalStack
from tests.integration.data_api_client import ask
from tests.integration.processes import (
    LONG,
    children_of,
    communicate,
    eventually,
    forked_command,
    is_running,
    leftovers,
    python,
    run_command,
)

LAST_LINE = "Ctrl-C stops it."


def read_until_up(process: subprocess.Popen[str]) -> list[str]:
    """What `up` prints once the stack runs."""
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    while not lines or lines[-1] != LAST_LINE:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        lines.append(line.strip())
    return lines


def is_let_in(line: str) -> bool:
    """Whether the address in a line leads to the console's pages."""
    request = urllib.request.Request(line.strip().rpartition(": ")[2])
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
    )
    with opener.open(request, timeout=LONG) as answer:
        return b"<h1>Overview</h1>" in answer.read()


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
        0, "No stack is running; every stack starts with the sample agency.\n"
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

        (address,) = [line for line in lines if line.startswith(f"Console of {kept.api_url}: ")]
        assert is_let_in(address)

        status, out, err = forked_command(scratch, ROOT, "up")
        assert (status, out, "is already running" in err) == (1, "", True)

        with python(scratch, "-m", "local", "console") as console:
            assert console.stdout is not None
            line = console.stdout.readline()
            assert line.startswith(f"Console of {kept.api_url}: "), "of the running stack"
            assert is_let_in(line)
            console.send_signal(signal.SIGINT)
            _, err = communicate(console)
            assert (console.returncode, "Traceback" in err) == (130, False)

        before = queued(kept)
        status, out, err = run_command(scratch, "invoke", "notifications")
        assert status == 0, err
        assert json.loads(out)["sent"] == kept.slack.count("chat.postMessage") > 0

        kept.slack.configure(latency=0.001)
        running_reset = forked_command(scratch, ROOT, "reset")
        assert running_reset[:2] == (0, "The stack was reset to the sample agency.\n")
        assert queued(kept) == before
        assert kept.slack.state()["messages"] == {}
        assert kept.slack.journal() == []
        assert kept.slack.settings()["latency"] == 0
        status, out, err = forked_command(scratch, ROOT, "invoke", "notifications")
        assert json.loads(out)["sent"] > 0, err

        up.send_signal(signal.SIGINT)
        rest, err = communicate(up)
    assert (up.returncode, rest) == (0, "")
    assert err.endswith("Stopping.\n")
    assert "Traceback" not in err
    assert not any(map(is_running, family))
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_up_stops_cleanly_on_other_signals_too(scratch: Path, number: signal.Signals) -> None:
    with python(scratch, "-m", "local", "up") as up:
        read_until_up(up)
        up.send_signal(number)
        _, err = communicate(up)
    assert up.returncode == 128 + number
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_ctrl_c_while_starting_leaves_nothing(scratch: Path) -> None:
    with python(scratch, "-m", "local", "up") as up:
        assert up.stderr is not None
        assert "Postgres 17 ready" in up.stderr.readline()
        up.send_signal(signal.SIGINT)
        out, err = communicate(up)
    assert (up.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_a_killed_up_is_not_found_again(scratch: Path) -> None:
    with python(scratch, "-m", "local", "up") as up:
        read_until_up(up)
        up.kill()
        up.communicate()
    eventually(lambda: not leftovers(scratch), "a directory is left")
    status, out, _ = forked_command(scratch, ROOT, "reset")
    assert (status, out.startswith("No stack is running")) == (0, True)
    assert list(scratch.iterdir()) == []


def test_only_the_remembered_stack_is_found(
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

    # the ports of a killed stack, now used by this one
    running.remember(replace(stack.running, keys=Keys.generate()))
    assert running.find() is None
    for nonsense in ("", "{}", '["no", "state"]', '{"keys": {}}'):
        running.state_file().parent.mkdir(exist_ok=True)
        running.state_file().write_text(nonsense)
        assert running.find() is None
        assert list(scratch.iterdir()) == []


def test_state_in_another_users_folder_is_not_trusted(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    running.state_file().parent.symlink_to(scratch)
    with pytest.raises(running.StateError, match="belongs to another user"):
        running.find()
    status, _, err = forked_command(scratch, ROOT, "reset")
    assert (status, "belongs to another user" in err) == (1, True)
