"""`python -m local invoke`: what it runs against, and its contract with scripts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import running
from tests.conftest import LocalStack
from tests.integration.processes import copy_project, python, run_command, temporary_directory

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def scratch() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


@pytest.fixture
def is_up(stack: LocalStack, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack is found by other processes, as one that `up` keeps running."""
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    running.remember(stack.running)


# --- what it runs against ---


def test_without_anything_it_starts_a_stack_of_its_own(scratch: Path) -> None:
    status, out, err = run_command(scratch, "invoke", "notifications")
    assert status == 0, err
    assert json.loads(out)["sent"] > 0
    assert "Postgres 17 ready" in err
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("is_up")
def test_a_stack_that_is_up_is_used(stack: LocalStack, scratch: Path) -> None:
    # neither a proxy nor settings of the shell get in between
    env = {"HTTP_PROXY": NOWHERE, "http_proxy": NOWHERE, "SLACK_BOT_TOKEN": "xoxb-other"}
    status, out, err = run_command(scratch, "invoke", "notifications", env=env)
    assert status == 0, err
    assert json.loads(out)["sent"] == stack.running.slack.count("chat.postMessage") > 0
    assert "Against the stack that is up" in err


@pytest.mark.usefixtures("is_up")
def test_the_environment_comes_before_a_stack_that_is_up(stack: LocalStack, scratch: Path) -> None:
    env = {**stack.environment(), "SUPABASE_URL": NOWHERE}
    status, out, err = run_command(scratch, "invoke", "notifications", env=env)
    assert (status, out) == (1, "")
    assert f"Against {NOWHERE} (SUPABASE_URL)" in err
    assert stack.running.slack.count("chat.postMessage") == 0


def test_a_dotenv_names_the_project_and_the_environment_beats_it(
    stack: LocalStack, scratch: Path, tmp_path: Path
) -> None:
    copy_project(tmp_path / "clone")
    lines = [f'export {name}="{value}"' for name, value in stack.environment().items()]
    (tmp_path / "clone" / ".env").write_text("# settings\n\n" + "\n".join(lines))

    def invoked(**env: str) -> tuple[int, str, str]:
        return run_command(scratch, "invoke", "notifications", env=env, cwd=tmp_path / "clone")

    status, out, err = invoked()
    assert status == 0, err
    assert json.loads(out)["sent"] == stack.running.slack.count("chat.postMessage") > 0
    assert f"Against {stack.running.api_url} (.env)" in err
    status, out, err = invoked(SUPABASE_URL=NOWHERE)
    assert (status, out) == (1, "")
    assert f"Against {NOWHERE} (SUPABASE_URL)" in err

    (tmp_path / "clone" / ".env").write_text("SUPABASE_URL=x\nno setting\n")
    status, out, err = invoked()
    assert (status, out) == (1, "")
    assert ".env, line 2: expected NAME=value" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("is_up")
def test_a_dotenv_without_a_project_leaves_it_to_the_stack(
    stack: LocalStack, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_project(tmp_path / "clone")
    (tmp_path / "clone" / ".env").write_text("SUPABASE_URL=\nSLACK_CHANNEL_RATE=0\n")
    monkeypatch.setattr(running, "ROOT", tmp_path / "clone")  # whose stack it is
    running.remember(stack.running)
    status, out, err = run_command(scratch, "invoke", "notifications", cwd=tmp_path / "clone")
    assert status == 0, err
    assert json.loads(out)["sent"] > 0


def test_a_refused_key_is_status_1_with_the_reason(stack: LocalStack, scratch: Path) -> None:
    env = {**stack.environment(), "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_wrong"}
    status, out, err = run_command(scratch, "invoke", "notifications", env=env)
    assert (status, out) == (1, "")
    assert "Traceback" in err
    assert "CredentialsError: Supabase refused SUPABASE_SERVICE_ROLE_KEY" in err


# --- the contract, with a function made for it ---

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
    if event.get("no json"):
        return object()
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
    env = {"SUPABASE_URL": NOWHERE, "SEEN": "yes"}
    with python(project, "-c", INVOKE_THERE, str(project), *arguments, env=env) as process:
        out, err = process.communicate()
    return process.returncode, out.splitlines(), err


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


def test_a_summary_that_lambda_could_not_return_is_status_1(probe: Path) -> None:
    event = probe / "other.json"
    event.write_text('{"no json": true}')
    status, out, err = invoked(probe, "probe", "--event", str(event))
    assert (status, out) == (1, [])
    assert "is not JSON serializable" in err


def test_what_cannot_be_invoked_is_status_2(probe: Path) -> None:
    status, out, err = invoked(probe, "unheard_of")
    assert (status, out) == (2, [])
    assert "there are: probe" in err
    assert invoked(probe, "probe", "--event", "missing.json")[0] == 2
    (probe / "events" / "probe.json").write_text("{")
    status, out, err = invoked(probe, "probe")
    assert (status, out) == (2, [])
    assert "is not JSON" in err
    (probe / "template.yaml").write_text("Globals: {Function: {}}\nResources: {}\n")
    (probe / "events" / "probe.json").write_text("{}")
    status, out, err = invoked(probe, "probe")
    assert (status, out) == (2, [])
    assert "no function with CodeUri functions/probe" in err
    assert invoked(probe)[0] == 2
