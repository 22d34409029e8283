"""`python -m local invoke`: what it runs against, and its contract with scripts."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import running
from local.fakes.sqs import FakeSqs, queue_url
from local.http_server import HttpServer
from local.stack import ROOT
from tests.conftest import LocalStack
from tests.integration.processes import (
    children_of,
    communicate,
    copy_project,
    eventually,
    forked_command,
    is_running,
    python,
    run_command,
    temporary_directory,
)

NOWHERE = "http://127.0.0.1:1"
# The environment tells made-up functions what to do; it reaches only those of a project.
THERE = ("--project", "--yes")
PLANNED = ("invoke", "metrics_sync", *THERE)


@pytest.fixture
def scratch() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


@pytest.fixture
def is_up(stack: LocalStack, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack is found by other processes, as one that `up` keeps running."""
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    running.remember(stack.running)


def test_without_anything_it_starts_a_stack_of_its_own(scratch: Path) -> None:
    status, out, err = run_command(scratch, "invoke", "notifications")
    assert status == 0, err
    assert json.loads(out)["sent"] > 0
    assert "Postgres 17 ready" in err
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("is_up")
def test_a_stack_that_is_up_is_used(stack: LocalStack, scratch: Path) -> None:
    # neither a proxy nor settings of the shell get in between
    env = {
        "HTTP_PROXY": NOWHERE, "http_proxy": NOWHERE, "SLACK_BOT_TOKEN": "xoxb-other",
        "SUPABASE_URL": NOWHERE,
    }  # fmt: skip
    status, out, err = run_command(scratch, "invoke", "notifications", env=env)
    assert status == 0, err
    assert json.loads(out)["sent"] == stack.running.slack.count("chat.postMessage") > 0
    assert "Using the running stack" in err


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
    status, out, err = forked_command(project, project, "invoke", *arguments, *THERE, env=env)
    return status, out.splitlines(), err


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


PLAN = """
import os

from workers.metrics.sync_queue import SyncQueue


def lambda_handler(event, context):
    bodies = os.environ["BODIES"].split()
    if "plan" in bodies:
        raise ValueError("the plan's own words")
    unsent = SyncQueue(os.environ["SYNC_QUEUE_URL"]).send(bodies)
    return {"planned": len(bodies), "unsent": unsent, "key": os.environ["AWS_ACCESS_KEY_ID"]}
"""

CONSUMER = """
import json
import os
import time


def lambda_handler(event, context):
    (record,) = event["Records"]
    body = record["body"]
    seen = {
        "pid": os.getpid(),
        "record": record,
        "left": context.get_remaining_time_in_millis(),
        "service": os.environ["POWERTOOLS_SERVICE_NAME"],
    }
    with open(os.environ["SEEN"], "a") as file:
        print(json.dumps(seen), file=file)
    print(f"a print of {body}")
    if body == "raise":
        raise ValueError("the consumer's own words")
    if body == "die":
        os._exit(1)
    if body == "hang":
        time.sleep(300)
    if body == "no-json":
        return object()
    failures = [{"itemIdentifier": record["messageId"]}] if body == "report" else []
    return {"batchItemFailures": failures}
"""


class Planning:
    """A clone in which these two functions take the places of the real ones."""

    def __init__(self, clone: Path, scratch: Path, seen: Path) -> None:
        self.clone, self.scratch, self.file = clone, scratch, seen

    def environment(self, bodies: str, **env: str) -> dict[str, str]:
        return {"SUPABASE_URL": NOWHERE, "SEEN": str(self.file), "BODIES": bodies, **env}

    def run(self, bodies: str, **env: str) -> tuple[int, dict[str, Any], str]:
        """Status, summary, stderr of an invocation that sends these messages."""
        environment = self.environment(bodies, **env)
        status, out, err = forked_command(self.scratch, self.clone, *PLANNED, env=environment)
        return status, json.loads(out or "{}"), err

    def seen(self) -> list[dict[str, Any]]:
        """What the messages met, one entry for each."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that its modules are compiled once."""
    made = tmp_path_factory.mktemp("planning") / "clone"
    copy_project(made)
    (made / "functions" / "metrics_sync" / "app.py").write_text(PLAN)
    (made / "functions" / "connection_sync" / "app.py").write_text(CONSUMER)
    return made


@pytest.fixture
def planning(clone: Path, scratch: Path, tmp_path: Path) -> Iterator[Planning]:
    yield Planning(clone, scratch, tmp_path / "seen")
    (clone / ".env").unlink(missing_ok=True)


def test_every_message_of_a_plan_is_handled_once(planning: Planning) -> None:
    bodies = [f"m{number}" for number in range(25)]
    status, summary, err = planning.run(" ".join(bodies), METRICS_CONCURRENCY="2")

    assert status == 0, err
    counts = {name: summary[name] for name in ("planned", "messages_handled", "messages_failed")}
    assert counts == {"planned": 25, "messages_handled": 25, "messages_failed": 0}
    seen = planning.seen()
    assert sorted(one["record"]["body"] for one in seen) == sorted(bodies)
    assert len({one["pid"] for one in seen}) <= 2
    assert {one["service"] for one in seen} == {"connection_sync"}
    assert all(60_000 < one["left"] <= 300_000 for one in seen)
    assert err.count("a print of m") == 25


def test_a_message_comes_in_the_form_of_the_sample_event(planning: Planning) -> None:
    planning.run("one")
    (sample,) = json.loads((ROOT / "events" / "connection_sync.json").read_text())["Records"]
    (seen,) = planning.seen()

    def form(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: form(inner) for key, inner in value.items()}
        return type(value)

    assert form(seen["record"]) == form(sample)
    assert seen["record"]["awsRegion"] in seen["record"]["eventSourceARN"]


def test_messages_that_fail_are_counted_and_the_others_continue(planning: Planning) -> None:
    bodies = "die a raise b report c no-json d die e"
    status, summary, err = planning.run(bodies)

    assert status == 0, err
    assert (summary["messages_handled"], summary["messages_failed"]) == (5, 5)
    assert len(planning.seen()) == 10
    assert "ValueError: the consumer's own words" in err
    assert "is not JSON serializable" in err


def test_a_plan_without_messages_starts_nothing(planning: Planning) -> None:
    status, summary, err = planning.run("")
    assert status == 0, err
    assert (summary["messages_handled"], summary["messages_failed"]) == (0, 0)


def test_a_plan_that_raises_is_status_1(planning: Planning) -> None:
    status, summary, err = planning.run("plan")
    assert (status, summary) == (1, {})
    assert "ValueError: the plan's own words" in err


def test_the_fake_for_sqs_is_sent_no_credentials_of_the_developer(planning: Planning) -> None:
    status, summary, err = planning.run(
        "one", AWS_ACCESS_KEY_ID="AKIAREAL", AWS_SECRET_ACCESS_KEY="real", AWS_PROFILE="nobody"
    )
    assert status == 0, err
    assert summary["key"] == "local"


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_queue_that_is_configured_is_left_to_aws(planning: Planning, place: str) -> None:
    with HttpServer(FakeSqs()) as server:
        env = {
            "AWS_ENDPOINT_URL_SQS": server.url,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        if place == ".env":
            (planning.clone / ".env").write_text(f"SYNC_QUEUE_URL={queue_url(server)}\n")
        else:
            env["SYNC_QUEUE_URL"] = queue_url(server)
        status, summary, err = planning.run("a b", **env)

        assert status == 0, err
        assert "messages_handled" not in summary
        assert [message["body"] for message in server.app.state()] == ["a", "b"]


def containers_of(pid: int) -> set[int]:
    """The processes that handle messages; one above them has started them."""
    return {one for above in children_of(pid) for one in children_of(above)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_invocation_leaves_no_process(
    planning: Planning, number: signal.Signals
) -> None:
    env = planning.environment("hang hang hang hang hang", METRICS_CONCURRENCY="2")
    command = ["-m", "local", *PLANNED]
    with python(planning.scratch, *command, env=env, cwd=planning.clone) as process:
        eventually(lambda: len(containers_of(process.pid)) == 2, "no message was delivered")
        children = children_of(process.pid) | containers_of(process.pid)
        eventually(planning.file.exists, "no message arrived")
        process.send_signal(number)
        communicate(process)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert not [child for child in children if is_running(child)]


def test_what_handles_messages_does_not_outlive_a_killed_invocation(planning: Planning) -> None:
    env = planning.environment("hang quick", METRICS_CONCURRENCY="2")
    command = ["-m", "local", *PLANNED]
    with python(planning.scratch, *command, env=env, cwd=planning.clone) as process:
        eventually(lambda: planning.file.exists() and len(planning.seen()) == 2, "none")
        quick, hanging = sorted(planning.seen(), key=lambda one: one["record"]["body"] == "hang")
        process.kill()
        eventually(lambda: not is_running(quick["pid"]), "an idle process is left")
        os.kill(hanging["pid"], signal.SIGKILL)  # it would end with its message
