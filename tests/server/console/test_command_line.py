"""The console as a process: its first line, its settings, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from local.environment import bare
from local.stack import ROOT
from server import command_line
from server.console import command_line as console_command_line
from tests.conftest import LocalStack
from tests.integration.processes import LONG
from tests.server.process import NEVER, server


@contextmanager
def started(
    environment: Mapping[str, str], *arguments: str, folder: Path = ROOT
) -> Iterator[subprocess.Popen[str]]:
    """`python -m server.console` at a free port."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers" / "shared")])
    with subprocess.Popen(
        [sys.executable, "-m", "server.console", "--port", "0", *arguments],
        env={**bare(), "PYTHONPATH": path, **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def page_at(line: str, project: str) -> str:
    """The page to which the address in that line leads."""
    name, _, address = line.strip().rpartition(": ")
    assert name == f"Console of {project}"
    assert address.startswith("http://127.0.0.1:")
    # an http address needs no certificates, which take longer to read than all else here
    with httpx.Client(trust_env=False, timeout=LONG, verify=False) as client:  # noqa: S501
        return client.get(address, follow_redirects=True).text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_first_line_names_the_project_and_lets_one_in(
    stack: LocalStack, number: signal.Signals
) -> None:
    with started(stack.environment()) as process:
        assert process.stdout is not None
        page = page_at(process.stdout.readline(), stack.running.api_url)
        assert "<h1>Overview</h1>" in page
        assert stack.running.keys.secret not in page
        process.send_signal(number)
        rest, errors = process.communicate(timeout=LONG)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_an_address_that_others_can_reach_is_warned_about(stack: LocalStack) -> None:
    with started(stack.environment(), "--host", "0.0.0.0") as process:  # noqa: S104 - is tested
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "<h1>Overview</h1>" in page_at(line, stack.running.api_url)
        process.terminate()
        _, errors = process.communicate(timeout=LONG)
    assert "Put a proxy with TLS in front of it" in errors


def test_a_dotenv_is_read_with_project(stack: LocalStack, tmp_path: Path) -> None:
    kept = "".join(f"{name}={value}\n" for name, value in stack.environment().items())
    (tmp_path / ".env").write_text(kept)
    with started({}, folder=tmp_path) as process:
        out, errors = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (2, "")
    assert "SUPABASE_URL is missing" in errors
    assert "SLACK_BOT_TOKEN is missing" in errors

    with started({}, "--project", folder=tmp_path) as process:
        assert process.stdout is not None
        assert "<h1>Overview</h1>" in page_at(process.stdout.readline(), stack.running.api_url)


def test_a_server_has_a_console_if_asked(
    stack: LocalStack, capfd: pytest.CaptureFixture[str]
) -> None:
    schedules = {"METRICS_SCHEDULE": NEVER, "RETENTION_SCHEDULE": NEVER}
    environment = {**stack.environment(), **schedules, "CONSOLE_PORT": "0"}
    with server(environment, "notifications", "--console", "--read-only") as running:
        running.wait_for("ready")
        line = capfd.readouterr().err
        page = page_at(line, stack.running.api_url)
        assert "<h1>Overview</h1>" in page
        assert ">read-only<" in page
        assert "token=" not in str(running.lines), "it lets one in, so it is not logged"
        assert running.end() == 0


def test_the_installed_command_leads_to_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def noted(arguments: list[str]) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(console_command_line, "main", noted)
    monkeypatch.setattr(command_line, "main", noted)
    for arguments in (["console", "--port", "1"], ["serve", "--once"]):
        monkeypatch.setattr(sys, "argv", ["agency-workers", *arguments])
        assert command_line.agency_workers() == 0
    assert asked == [["--port", "1"], ["--once"]]
    monkeypatch.setattr(sys, "argv", ["agency-workers", "other"])
    assert command_line.agency_workers() == 2
    assert "serve|console" in capsys.readouterr().err


def test_invalid_combinations_of_arguments_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for main, arguments in (
        (console_command_line.main, ["--port", "x"]),
        (console_command_line.main, ["--port", "70000"]),
        (command_line.main, ["--once", "--console"]),
        (command_line.main, ["--read-only"]),
    ):
        with pytest.raises(SystemExit) as refused:
            main(arguments)
        assert refused.value.code == 2
    assert "drop --once" in capsys.readouterr().err
