"""Runs a function as Lambda does, without Docker and without AWS.

The function's folder, the layer as deployed by `sam deploy` (built for this machine's
processor) and AWS's own runtime client run behind the Lambda Runtime Interface Emulator, which
comes with sam. Only Linux can run the emulator.

The emulator reports failures in the body, mostly with HTTP status 200, so only the body shows
whether an invocation succeeded.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "shared"
BUILD = ROOT / ".build" / "emulator"
VENV_BIN = ROOT / ".venv" / "bin"
RUNTIME_REQUIREMENTS = Path(__file__).with_name("requirements.txt")

LAMBDA_PYTHON = "3.13"
REGION = "eu-west-1"
START_TIMEOUT_SECONDS = 600
REPORT_TIMEOUT_SECONDS = 600
STOP_TIMEOUT_SECONDS = 20
DAY_SECONDS = 24 * 3600

# `make test` passes its options on; the layer's recipe must not see them.
MAKE_VARIABLES = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}


@dataclass(frozen=True)
class LambdaRuntime:
    """An interpreter with AWS's runtime client, and the layer that its functions see as /opt."""

    python: Path
    layer: Path


def lambda_runtime() -> LambdaRuntime:
    """The current layer and a runtime for it: Lambda's Python if this machine has it.

    A build from the same files is reused, also by tests in parallel processes.
    """
    interpreter, version = find_interpreter()
    BUILD.mkdir(parents=True, exist_ok=True)
    artifacts = BUILD / f"layer-{version}-{_digest_of_layer(interpreter)}"
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not artifacts.exists():
            for layer in BUILD.glob("layer-*"):
                # a newer one may be in use
                if time.time() - layer.stat().st_mtime > DAY_SECONDS:
                    shutil.rmtree(layer)
            with tempfile.TemporaryDirectory(prefix="building-", dir=BUILD) as folder:
                build_layer(Path(folder) / "layer", interpreter, version)
                (Path(folder) / "layer").rename(artifacts)
        return LambdaRuntime(runtime_environment(interpreter, version), artifacts / "python")


def _digest_of_layer(interpreter: Path) -> str:
    """A digest of everything that the layer is built from."""
    digest = hashlib.sha256(str(interpreter).encode())
    for file in sorted(LAYER.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(LAYER)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def find_interpreter() -> tuple[Path, str]:
    """Lambda's version of Python if one runs here, else the one that runs this.

    A command of that name is not enough: pyenv leaves shims that run no interpreter.
    """
    name = f"python{LAMBDA_PYTHON}"
    candidates = [Path(folder) / name for folder in os.get_exec_path()]
    candidates += sorted((Path.home() / ".pyenv" / "versions").glob(f"{LAMBDA_PYTHON}*/bin/{name}"))
    for candidate in candidates:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            probe = [candidate, "-c", "import sys, venv; print(sys.executable)"]
            found = subprocess.run(probe, check=True, capture_output=True, text=True, timeout=300)
            return Path(found.stdout.strip()), LAMBDA_PYTHON
    return Path(sys.executable), f"{sys.version_info.major}.{sys.version_info.minor}"


def build_layer(artifacts: Path, interpreter: Path, version: str) -> None:
    """Build the layer for this machine, by the recipe that sam uses."""
    folders = [str(VENV_BIN), str(interpreter.parent), os.environ["PATH"]]
    command = [
        "make",
        "--no-print-directory",
        "build-SharedLayer",
        f"ARTIFACTS_DIR={artifacts}",
        f"PYTHON_VERSION={version}",
        f"PLATFORM={platform.machine()}-manylinux_2_28",
    ]
    environment = {key: value for key, value in os.environ.items() if key not in MAKE_VARIABLES}
    built = subprocess.run(
        command,
        cwd=LAYER,
        env={**environment, "PATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    if built.returncode:
        raise RuntimeError(f"The layer could not be built:\n{built.stdout}{built.stderr}")


def runtime_environment(interpreter: Path, version: str) -> Path:
    """The Python of a virtual environment with the packages of Lambda's runtime."""
    digest = hashlib.sha256(RUNTIME_REQUIREMENTS.read_bytes() + str(interpreter).encode())
    folder = BUILD / f"runtime-{version}-{digest.hexdigest()[:12]}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        uv = VENV_BIN / "uv"
        shutil.rmtree(folder, ignore_errors=True)
        create = [uv, "venv", "--quiet", "--python", interpreter, folder]
        install = [uv, "pip", "install", "--quiet", "--python", python]
        locked_only = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
        install += [*locked_only, "--compile-bytecode"]  # as in AWS; they do not change
        for command in (create, [*install, "--requirement", RUNTIME_REQUIREMENTS]):
            subprocess.run(command, check=True, timeout=3000)
        ready.touch()
    return python


class Emulator:
    """One function in its own emulator, from entering the context to leaving it.

    `function` is the folder with app.py. Nothing of this process's environment reaches it:
    it has only `environment` and what Lambda itself sets.
    """

    def __init__(
        self,
        function: Path,
        runtime: LambdaRuntime,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: int = 120,
        memory: int = 512,
    ) -> None:
        self._function = function
        self._runtime = runtime
        self._environment = environment or {}
        self._timeout = timeout
        self._memory = memory
        self._invocations = 0

    def __enter__(self) -> Emulator:
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-")
        self._output = Path(self._folder.name) / "output.log"
        self._port, runtime_port = free_ports(2)
        command = [
            str(emulator_program()),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self._port}",
            "--runtime-api-address",
            f"127.0.0.1:{runtime_port}",
            str(self._runtime.python),
            "-m",
            "awslambdaric",
            "app.lambda_handler",
        ]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._function,
                env=self._lambda_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await_start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runtime_pid(self) -> int:
        """The process of the function, which exists from the first invocation on."""
        (runtime,) = child_processes(self._process.pid)
        return runtime

    def init_seconds(self) -> float:
        """How long the runtime took to start, until it was ready for an event.

        The emulator starts it at the first invocation; the init duration in its line REPORT is
        not valid.
        """
        (duration,) = re.findall(
            r"INIT REPORT\(durationMs: ([0-9.]+)\)", "\n".join(self.log_lines())
        )
        return float(duration) / 1000

    def invoke(self, event: object) -> Any:
        """Send the event; returns the parsed body, or its text if it is not JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/2015-03-31/functions/function/invocations",
            data=json.dumps(event).encode(),
        )
        self._invocations += 1
        try:
            with urllib.request.urlopen(request, timeout=self._timeout + 600) as answer:
                body = answer.read().decode()
        except urllib.error.HTTPError as failure:
            with failure:
                body = failure.read().decode()
        self._await_report()
        try:
            return json.loads(body)
        except json.JSONDecodeError:
            return body

    def log_lines(self) -> list[str]:
        """All that the function and the emulator have written so far."""
        return self._output.read_text(errors="replace").splitlines()

    def json_log_lines(self) -> list[dict[str, Any]]:
        """The lines that are JSON objects: the workers' own."""
        return [json.loads(line) for line in self.log_lines() if line.startswith("{")]

    def worker_lines(self) -> list[dict[str, Any]]:
        """The workers' log lines."""
        return [line for line in self.json_log_lines() if "_aws" not in line]

    def metric_lines(self) -> list[dict[str, Any]]:
        """The workers' metrics, in CloudWatch's embedded format."""
        return [line for line in self.json_log_lines() if "_aws" in line]

    def _lambda_environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": self._folder.name,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(self._function),
            "PYTHONPATH": f"{self._function}:{self._runtime.layer}",
            # Lambda's /var/task and /opt are read-only.
            "PYTHONDONTWRITEBYTECODE": "1",
            "_HANDLER": "app.lambda_handler",
            "AWS_LAMBDA_FUNCTION_NAME": self._function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            **self._environment,
        }

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            time.sleep(0.02)
        raise RuntimeError("The emulator did not start:\n" + "\n".join(self.log_lines()))

    def _await_report(self) -> None:
        """Wait for the line that ends an invocation, after what the function wrote."""
        deadline = time.monotonic() + REPORT_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            ends = [
                line
                for line in self.log_lines()
                if line.startswith("REPORT RequestId") or "Invoke DONE failed" in line
            ]
            if len(ends) >= self._invocations:
                return
            time.sleep(0.02)

    def _stop(self) -> None:
        """End the emulator and the runtime, which the emulator puts in its own process group."""
        runtimes = child_processes(self._process.pid)
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for runtime in runtimes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(runtime, signal.SIGKILL)
        self._folder.cleanup()


def emulator_program() -> Path:
    processor = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    pattern = f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{processor}"
    return next((ROOT / ".venv-sam").glob(pattern))


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def child_processes(parent: int) -> list[int]:
    with contextlib.suppress(OSError):
        tasks = Path(f"/proc/{parent}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]
    return []
