"""`python -m local invoke --project`: a real project is touched only by explicit word."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.services.node import MODULES
from local.stack import ROOT
from tests.conftest import LocalStack
from tests.integration.processes import (
    communicate,
    copy_project,
    forked_command,
    run_command,
    temporary_directory,
)

REAL_RUN = str(ROOT / "events" / "retention-scheduled.json")
CHANGES = [
    ("notifications", (), "posts what is queued"),
    ("metrics_sync", (), "stores their figures"),
    ("connection_sync", (), "stores its figures"),
    ("retention", ("--event", REAL_RUN), "archives and purges"),
]
READS = [("health", ()), ("doctor", ()), ("retention", ())]


class Production:
    """A clone whose `.env` names a project that plays production; a person's terminal in it."""

    def __init__(self, stack: LocalStack, clone: Path, scratch: Path) -> None:
        self.stack, self.clone, self._scratch = stack, clone, scratch
        self.write_dotenv(stack.environment())

    def write_dotenv(self, values: dict[str, str]) -> None:
        lines = [f'export {name}="{value}"' for name, value in values.items()]
        (self.clone / ".env").write_text("# settings\n\n" + "\n".join(lines) + "\n")

    def invoke(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        return forked_command(self._scratch, self.clone, "invoke", *arguments, "--project", env=env)

    def counts(self) -> dict[str, int]:
        """What a run would change."""
        tables = ("activity_log", "archived_activity_log", "performance_metrics", "worker_runs")
        rows = {name: f"select count(*) from {name}" for name in tables}  # noqa: S608 - ours
        waiting = "select count(*) from notification_queue where not is_processed"
        return {
            "posts": self.stack.running.slack.count("chat.postMessage"),
            **{name: self._one(query) for name, query in {**rows, "waiting": waiting}.items()},
        }

    def _one(self, query: str) -> int:
        row = self.stack.connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that its modules are compiled once."""
    made = tmp_path_factory.mktemp("project") / "clone"
    copy_project(made)
    (made / "local" / "services" / "node_modules").symlink_to(MODULES)
    return made


@pytest.fixture
def production(stack: LocalStack, clone: Path) -> Iterator[Production]:
    with temporary_directory() as scratch:
        yield Production(stack, clone, scratch)


@pytest.mark.parametrize(("function", "more", "words"), CHANGES)
def test_without_a_terminal_and_yes_nothing_is_changed(
    production: Production, function: str, more: tuple[str, ...], words: str
) -> None:
    before = production.counts()
    status, out, err = production.invoke(function, *more)
    assert (status, out) == (1, "")
    assert err.splitlines()[0] == f"Project: {production.stack.running.api_url}"
    assert words in err
    assert "Not a terminal: pass --yes" in err
    assert production.counts() == before


@pytest.mark.parametrize(("function", "more"), READS)
def test_commands_that_only_read_do_not_ask(
    production: Production, function: str, more: tuple[str, ...]
) -> None:
    before = production.counts()
    status, out, err = production.invoke(function, *more)
    assert status == 0, err
    assert json.loads(out)
    assert err.splitlines()[0] == f"Project: {production.stack.running.api_url}"
    after = production.counts()
    assert {**after, "worker_runs": 0} == {**before, "worker_runs": 0}


def test_the_first_retention_run_is_a_dry_one(production: Production) -> None:
    status, out, _ = production.invoke("retention", "--yes")
    assert status == 0
    summary = json.loads(out)
    assert summary["outcome"] == "dry_run"
    assert summary["archived"] > 0


def test_it_is_done_once_confirmed(production: Production) -> None:
    before = production.counts()
    status, _, err = production.invoke("retention", "--event", REAL_RUN, "--yes")
    assert status == 0, err
    assert production.counts()["activity_log"] < before["activity_log"]
    status, _, err = production.invoke("notifications", "--yes")
    assert status == 0, err
    assert production.counts()["posts"] > before["posts"]


def answered(production: Production, answer: str) -> int:
    """The exit status of an invocation that a person answers at a terminal."""
    ours, theirs = pty.openpty()
    path = os.pathsep.join([str(production.clone), str(production.clone / "layers" / "shared")])
    with subprocess.Popen(
        [sys.executable, "-m", "local", "invoke", "notifications", "--project"],
        cwd=production.clone, env={**os.environ, "PYTHONPATH": path},
        stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        communicate(process)
        status = process.returncode
    os.close(ours)
    return status


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_a_person_is_asked(production: Production, answer: str, status: int) -> None:
    before = production.counts()
    assert answered(production, answer) == status
    assert (production.counts()["posts"] > before["posts"]) == (status == 0)


def test_without_a_target_the_local_stack_is_used(production: Production) -> None:
    before = production.counts()
    with temporary_directory() as scratch:
        environment = production.stack.environment()
        status, out, err = run_command(
            scratch, "invoke", "notifications", env=environment, cwd=production.clone
        )
    assert status == 0, err
    assert json.loads(out)["sent"] > 0
    assert production.stack.running.api_url not in err
    assert production.counts() == before


def test_the_environment_beats_the_dotenv(production: Production) -> None:
    status, out, err = production.invoke("health", SUPABASE_URL="http://127.0.0.1:1")
    assert err.splitlines()[0] == "Project: http://127.0.0.1:1"
    assert status == 0
    assert json.loads(out)["statusCode"] == 503


def test_no_project_is_named(production: Production) -> None:
    production.write_dotenv({"SLACK_BOT_TOKEN": "xoxb-1"})
    status, out, err = production.invoke("health")
    assert (status, out) == (2, "")
    assert "set SUPABASE_URL in .env" in err


def test_a_malformed_dotenv_is_named(production: Production) -> None:
    (production.clone / ".env").write_text("SUPABASE_URL=x\nno setting\n")
    status, out, err = production.invoke("notifications", "--yes")
    assert (status, out) == (1, "")
    assert ".env, line 2: expected NAME=value" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("event", "words"),
    [({"dryRun": True}, "unknown key 'dryRun'"), ({"dry_run": "true"}, "must be true or false")],
)
def test_a_misspelt_dry_run_is_refused(
    production: Production, event: dict[str, Any], words: str
) -> None:
    before = production.counts()
    file = production.clone / "event.json"
    file.write_text(json.dumps(event))
    status, out, err = production.invoke("retention", "--event", str(file), "--yes")
    assert (status, out) == (1, "")
    assert words in err
    assert "Traceback" not in err
    assert production.counts() == before


def test_a_refused_key_is_reported_in_a_sentence(production: Production) -> None:
    status, out, err = production.invoke(
        "notifications", "--yes", SUPABASE_SERVICE_ROLE_KEY="sb_secret_wrong"
    )
    assert (status, out) == (1, "")
    assert "CredentialsError: Supabase refused SUPABASE_SERVICE_ROLE_KEY" in err
    assert "Traceback" not in err
