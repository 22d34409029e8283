"""Without an extra's packages a command names what is missing; what does not need them works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from local.environment import bare
from tests.conftest import LocalStack
from tests.integration.processes import LONG

# Runs a module as `python -m` would where the first argument's packages are not installed.
WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
SECRET = {"WORKERS_SECRET_NAME": "agency-dashboard-workers/default"}
BUCKET = {"ARCHIVE_BUCKET_NAME": "archive"}
DAYS = "--since 2025-01-01 --until 2025-01-31"


def run(
    command: str, missing: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, *command.split()],
        env={**bare(), **environment}, capture_output=True, text=True, timeout=LONG,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "missing", "extra", "status", "message"),
    [
        ("server --once", "boto3", SECRET, 2,
         "WORKERS_SECRET_NAME is set, and boto3 is not installed: pip install .[aws]"),
        ("server retention --once", "boto3", BUCKET, 2,
         "ARCHIVE_BUCKET_NAME is set, and boto3 is not installed: pip install .[aws]"),
        (f"workers.operate restore {DAYS}", "boto3", BUCKET, 1,
         "ARCHIVE_BUCKET_NAME is set, and boto3 is not installed: pip install .[aws]"),
        ("server.console", "uvicorn", {}, 2,
         "uvicorn is not installed: pip install .[console]"),
    ],
)  # fmt: skip
def test_a_missing_package_is_named_with_its_extra(
    command: str,
    missing: str,
    extra: dict[str, str],
    status: int,
    message: str,
    stack: LocalStack,
) -> None:
    environment = stack.environment()
    if extra is SECRET:  # it is read only for a key that is not set
        del environment["SUPABASE_SERVICE_ROLE_KEY"]
    ended = run(command, missing, {**environment, **extra})
    assert (ended.returncode, "Traceback" in ended.stdout + ended.stderr) == (status, False)
    assert message in ended.stdout + ended.stderr


def test_the_operators_commands_need_no_client_of_aws(stack: LocalStack) -> None:
    ended = run("workers.operate queue list", "boto3,botocore", stack.environment())
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
