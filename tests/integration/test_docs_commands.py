"""Every command and query in README and docs/ is run here, or has a reason for not being run."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.http_server import HttpServer
from tests.conftest import LocalStack
from tests.integration.moto_s3 import CREDENTIALS, REGION, MotoS3, client
from workers.composition.container import forget_clients
from workers.operate.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
# Their SQL is run, and its answers compared, by tests/database/test_walkthroughs.py.
WALKTHROUGHS = ROOT / "docs" / "architecture"
OPERATE = ".venv/bin/python -m workers.operate "

# What is not run here, by its start, and why.
NOT_RUN = {
    "make demo": "CI's first step on a clean clone; the scenes are tested as invocations",
    "make test": "this is it",
    "cp .env.example": "tests/unit/test_docs.py reads the file",
    "POSTGREST=": "tests/integration/test_data_api_postgrest.py",
    "make doctor": "`operate doctor`, which is run here",
    "cat >": "a file typed manually",
    "aws secretsmanager": "needs an AWS account; reading the secret is test_composition.py's",
    "make serve": "tests/server/test_serve.py runs servers against the stack",
    "make console": "tests/integration/test_stack_commands.py starts it",
    "pip install": "as in the Dockerfile, in `make image`",
    "agency-workers serve": "the same main as the next",
    "python -m server": "tests/server/test_serve.py and test_once.py",
    "docker ": "needs Docker; `make image` does the same with buildah and podman",
    "kubectl ": "needs a cluster; `make image` has podman play the manifest",
    "pm2 start deploy/": "tests/deploy/test_pm2.py",
    "pm2 save": "tests/deploy/test_pm2.py",
    "python3 -m venv": "as in the Dockerfile, in `make image`",
    ".venv/bin/pip install": "as in the Dockerfile, in `make image`",
    **dict.fromkeys(
        ["aws cloudformation", "aws ecr", "REGISTRY=", "gcloud ", "for secret in", "done"],
        "needs an account; docs/deploy/ says what was tried instead",
    ),
    **dict.fromkeys(
        ["cd /opt", "chgrp", "chmod", "cp -r deploy/systemd", "echo SUPABASE_URL", "export ",
         "git clone", "install -d", "mkdir", "npm install -g", "pm2 startup", "rm supabase",
         "sudo ", "systemctl ", "useradd"],
        "changes the machine; tests/deploy/test_systemd.py has the units in a separate tree",
    ),
}  # fmt: skip
# Placeholders for ids, and where to find such a row.
IDS = {
    "ENTITY-ID": "select entity_id from notification_queue limit 1",
    "REQUEST-ID": "select request_id from metric_ad_links limit 1",
    "CONNECTION-ID": "select id from platform_connections limit 1",
}
# The doctor reports what the fixture broke, and that no worker has run.
EXPECTED_STATUS = {"doctor": 1, "status": 1}


def blocks(language: str) -> list[str]:
    """The code blocks of a language, on all pages."""
    return [
        block
        for page in PAGES
        if page.parent != WALKTHROUGHS
        for block in re.findall(
            rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        )
    ]


def shown() -> list[str]:
    """The commands, each once."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def operations() -> list[str]:
    """The operator's commands without their comments, each once."""
    commands = [line.removeprefix(OPERATE) for line in shown() if line.startswith(OPERATE)]
    return list(dict.fromkeys(line.partition(" #")[0].strip() for line in commands))


def test_each_command_is_run_or_has_its_reason() -> None:
    for command in shown():
        reasons = [reason for start, reason in NOT_RUN.items() if command.startswith(start)]
        assert command.startswith(OPERATE) or len(reasons) == 1, command


def test_no_reason_is_unused() -> None:
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in shown()), start


def test_a_clone_is_installed_in_place() -> None:
    """So that `operate migrate` finds the migrations next to its code."""
    installed = [line for line in shown() if line.startswith(".venv/bin/pip") and "-r " not in line]
    assert installed
    for line in installed:
        assert "--editable ." in line


@pytest.fixture
def operating(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[LocalStack]:
    """The sample agency with a dead notification, a parked destination, and a bucket."""
    stack.connection.execute(
        "update notification_queue set attempts = 5 "
        "where id = (select min(id::text)::uuid from notification_queue);"
        "insert into slack_destinations "
        "(destination, parked_at, park_code, park_reason, probe_at, paused_since) "
        "values ('C0123456789', now(), 'is_archived', 'archived', now(), now());"
        "insert into metric_accounts (platform, account_id, not_before) "
        "select platform, account_id, now() + interval '1 hour' from metric_connections() "
        "where platform = 'meta'"
    )
    with HttpServer(MotoS3()) as s3:
        client(s3).create_bucket(
            Bucket="archive", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        environment = {
            **stack.environment(), **CREDENTIALS, "ARCHIVE_BUCKET_NAME": "archive",
            "AWS_ENDPOINT_URL_S3": s3.url, "SUPABASE_DB_URL": stack.running.database_url,
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield stack
    forget_clients()


def one_id(stack: LocalStack, command: str) -> str:
    """The id for the page's placeholder ID."""
    query = {
        "dead": "select id from notification_queue where attempts = 5",
        "skip": "select id from notification_queue where not is_processed and attempts < 5",
    }.get(
        command.split(maxsplit=1)[0], "select id from platform_connections where platform = 'meta'"
    )
    row = stack.connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("command", operations())
def test_an_operators_command_works_as_shown(
    command: str, operating: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, _, from_file = command.partition("<")
    arguments = shlex.split(line)
    if "ID" in arguments:
        arguments[arguments.index("ID")] = one_id(operating, line)
    if from_file:
        row = operating.connection.execute(
            "select account_id, credentials::text from platform_connections where platform='meta'"
        ).fetchone()
        assert row is not None
        arguments[3] = row[0]  # the example's account does not exist
        monkeypatch.setattr("sys.stdin", io.StringIO(row[1]))
    if arguments in (["retention"], ["migrate"], ["connections", "remove", *arguments[2:]]):
        arguments.append("--yes")  # there is no terminal to confirm at
    if arguments[0] == "backfill":  # the platforms keep three years
        today = datetime.now(UTC).date()
        arguments[3], arguments[5] = f"{today - timedelta(60)}", f"{today - timedelta(50)}"
    out = io.StringIO()
    assert main(arguments, out) == EXPECTED_STATUS.get(arguments[0], 0), out.getvalue()


def queries() -> list[str]:
    """The queries that only read; test_migrations.py runs those that build indexes."""
    return list(dict.fromkeys(block for block in blocks("sql") if block.startswith("select")))


@pytest.mark.parametrize("query", queries(), ids=lambda query: " ".join(query.split())[:40])
def test_a_query_works_as_shown(query: str, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into metric_ad_links (platform, request_id, level, id) "
        "select 'meta', id, 'ad', '1' from requests limit 1"
    )
    for name, where in IDS.items():
        row = stack.connection.execute(where.encode()).fetchone()
        assert row is not None
        query = query.replace(name, str(row[0]))
    assert not re.search(r"[A-Z]+-ID", query)
    stack.connection.execute(query.encode()).fetchall()
