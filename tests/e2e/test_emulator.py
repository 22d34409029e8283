"""The emulator: its answers when a function works, fails, hangs or cannot start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.emulator import Emulator, LambdaRuntime, child_processes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the Lambda emulator is a Linux program"
)


def function(folder: Path, source: str) -> Path:
    (folder / "app.py").write_text(source)
    return folder


def test_a_function_gets_the_event_its_environment_and_its_time(
    tmp_path: Path, runtime: LambdaRuntime
) -> None:
    source = """
import os

def lambda_handler(event, context):
    return {
        "event": event,
        "greeting": os.environ["GREETING"],
        "remaining": context.get_remaining_time_in_millis(),
        "memory": context.memory_limit_in_mb,
        "leaked": sorted(name for name in os.environ if name.startswith("PYTEST")),
    }
"""
    with Emulator(
        function(tmp_path, source),
        runtime,
        environment={"GREETING": "hello"},
        timeout=30,
        memory=256,
    ) as emulator:
        first = emulator.invoke({"number": 1})
        second = emulator.invoke({"number": 2})

    assert first["event"] == {"number": 1}
    assert second["event"] == {"number": 2}
    assert first["greeting"] == "hello"
    assert 25_000 < first["remaining"] <= 30_000
    assert first["memory"] == "256"
    assert first["leaked"] == []


def test_a_function_imports_the_layer_and_boto3(tmp_path: Path, runtime: LambdaRuntime) -> None:
    source = """
import boto3
import requests
import slack_sdk
import supabase
import workers.errors

def lambda_handler(event, context):
    return [module.__file__ for module in (requests, slack_sdk, supabase, workers.errors)]
"""
    with Emulator(function(tmp_path, source), runtime) as emulator:
        files = emulator.invoke({})

    assert all(file.startswith(str(runtime.layer)) for file in files)


def test_the_layer_has_bytecode_and_nothing_of_the_development_environment(
    runtime: LambdaRuntime,
) -> None:
    layer = runtime.layer

    assert list(layer.glob("workers/__pycache__/errors.*.pyc"))
    assert not (layer / "bin").exists()
    assert not (layer / "pytest").exists()
    assert not (layer / "boto3").exists()


def test_the_layer_does_not_contain_the_server(runtime: LambdaRuntime) -> None:
    found = {path.name for path in runtime.layer.iterdir()}
    assert {"workers", "supabase"} <= found
    foreign = ("server", "apscheduler", "prometheus_client", "psycopg", "local", "boto3")
    assert not [name for name in found if name.partition("-")[0].lower() in foreign]


def test_a_raised_error_is_in_the_body(tmp_path: Path, runtime: LambdaRuntime) -> None:
    source = """
def lambda_handler(event, context):
    raise ValueError("no such thing")
"""
    with Emulator(function(tmp_path, source), runtime) as emulator:
        body = emulator.invoke({})

    assert body["errorType"] == "ValueError"
    assert body["errorMessage"] == "no such thing"


def test_an_import_error_is_in_the_body(tmp_path: Path, runtime: LambdaRuntime) -> None:
    with Emulator(function(tmp_path, "import nothing_of_that_name"), runtime) as emulator:
        body = emulator.invoke({})

    assert body["errorType"] == "Runtime.ImportModuleError"
    assert "nothing_of_that_name" in body["errorMessage"]


def test_a_function_is_ended_at_its_timeout(tmp_path: Path, runtime: LambdaRuntime) -> None:
    source = """
import time

def lambda_handler(event, context):
    time.sleep(60)
"""
    with Emulator(function(tmp_path, source), runtime, timeout=1) as emulator:
        body = emulator.invoke({})

    assert body == "Task timed out after 1.00 seconds"


def test_nothing_is_left_running(tmp_path: Path, runtime: LambdaRuntime) -> None:
    source = """
import os

def lambda_handler(event, context):
    return os.getpid()
"""
    with Emulator(function(tmp_path, source), runtime) as emulator:
        pid = emulator.invoke({})
        assert pid in child_processes(emulator.pid)

    assert not Path(f"/proc/{pid}").exists()


def test_json_log_lines_are_separated_from_others(tmp_path: Path, runtime: LambdaRuntime) -> None:
    source = """
from aws_lambda_powertools import Logger

logger = Logger(service="sample")

@logger.inject_lambda_context
def lambda_handler(event, context):
    logger.info("Delivered", extra={"sent": 3})
    print("plain")
    return context.aws_request_id
"""
    with Emulator(function(tmp_path, source), runtime) as emulator:
        request_id = emulator.invoke({})
        (line,) = emulator.json_log_lines()

        assert "plain" in emulator.log_lines()
        assert line["message"] == "Delivered"
        assert line["sent"] == 3
        assert line["function_request_id"] == request_id
