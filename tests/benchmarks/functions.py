"""Each function in the Lambda emulator: its cold start, its memory and its cost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from local.fakes.sqs import FakeSqs, queue_url
from local.http_server import HttpServer
from local.invoke import known_functions, read_event, scheduled_event
from local.stack import ROOT, Stack
from tests.benchmarks import cost, retention
from tests.benchmarks.cost import Invocation, Load
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import PLATFORM_LATENCY, QUEUE_LATENCY, SLACK_LATENCY, distant
from tests.benchmarks.sizes import Progress, Sizes
from tests.conftest import LocalStack
from tests.e2e.emulator import REGION, Emulator, LambdaRuntime, lambda_runtime
from tests.metrics.accounts import connect_account, sync_event

# Times the duration of importing only the third-party packages.
MOST = 1.2
# The duration of an idle run is the median of this many.
IDLE_RUNS = 5
# Lambda's own three lines about an invocation.
PLATFORM_LOG_BYTES = 350
TICKS = os.sysconf("SC_CLK_TCK")

# Prints which modules of the layer and the runtime a function loads, in order.
_LOADED = """
import json, sys
before = set(sys.modules)
import app
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(json.dumps([
    name for name, file in files.items()
    if name not in before and not name.startswith("workers") and name.isidentifier()
    and (file.startswith(sys.argv[1]) or "site-packages" in file)
]))
"""


def functions(progress: Progress, sizes: Sizes) -> list[Figure]:
    """The layer as deployed, in Lambda's Python if this machine has it."""
    runtime = lambda_runtime()
    with _without_bytecode(runtime) as slow:
        starts = [
            figure
            for function in known_functions()[: sizes.functions]
            for figure in _cold_start(function, runtime, slow, sizes.starts, progress)
        ]
        loads, peaks = _runs(runtime, sizes, progress)
    memory = [
        Figure(f"peak memory of {function}", peak, "MB", note=_NOTE)
        for function, peak in peaks.items()
    ]
    return [*starts, *memory, *cost.month(loads)]


def _cold_start(
    function: str, runtime: LambdaRuntime, slow: LambdaRuntime, times: int, progress: Progress
) -> Iterator[Figure]:
    folder = ROOT / "functions" / function
    with _packages_alone(folder, runtime) as packages:
        progress(f"{times} cold starts of {function}")
        # in turns, so that other load on the machine affects all equally
        rounds = [
            (_init(folder, runtime), _init(packages, runtime), _init(folder, slow))
            for _ in range(times)
        ]
    # anything above the fastest is other load on the machine
    ours, floor, compiling = (min(column) for column in zip(*rounds, strict=True))
    yield Figure(
        f"cold start of {function}",
        ours,
        "s",
        floor=floor,
        target=f"at most {MOST:g} x its packages: {ours / floor:.2f}",
        met=ours <= MOST * floor,
        note=_NOTE,
    )
    yield Figure("  without bytecode in the layer", compiling, "s", floor=floor)


_NOTE = (
    "Cold starts: the emulator's INIT phase, from the start of the process until it is ready for "
    "an event; the fastest of several. Floor: a function that imports the same third-party "
    "packages and does nothing. Memory: the runtime process's peak, after a "
    "run with work and idle ones."
)


def _init(folder: Path, runtime: LambdaRuntime) -> float:
    with Emulator(folder, runtime) as emulator:
        emulator.invoke({})
        return emulator.init_seconds()


@contextmanager
def _packages_alone(folder: Path, runtime: LambdaRuntime) -> Iterator[Path]:
    """The folder of a function that loads the third-party packages of the one in `folder`."""
    listed = subprocess.run(
        [runtime.python, "-c", _LOADED, runtime.layer],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{runtime.layer}", "AWS_DEFAULT_REGION": REGION},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    imports = [f"import {name}" for name in json.loads(listed.stdout)]
    handler = "def lambda_handler(event, context):\n    return None\n"
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "app.py").write_text("\n".join([*imports, "", "", handler]))
        yield Path(made)


@contextmanager
def _without_bytecode(runtime: LambdaRuntime) -> Iterator[LambdaRuntime]:
    with tempfile.TemporaryDirectory() as made:
        layer = Path(made) / "python"
        shutil.copytree(runtime.layer, layer, ignore=shutil.ignore_patterns("__pycache__"))
        yield replace(runtime, layer=layer)


@dataclass(frozen=True)
class _Ground:
    """A stack with the latency of the cloud, and what the functions need to use it."""

    stack: LocalStack
    environment: Mapping[str, str]
    queue: HttpServer


class _Running:
    """A function started in the emulator, with the time and CPU of its runs."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def run(self, event: Any) -> Invocation:
        """One invocation. Raises RuntimeError if it fails."""
        logged = self._log_bytes()
        cpu, started = self._cpu(), time.monotonic()
        answer = self._emulator.invoke(event)
        seconds = time.monotonic() - started
        if isinstance(answer, dict) and "errorType" in answer:
            raise RuntimeError(f"the run failed: {answer}")
        return Invocation(
            seconds, self._cpu() - cpu, self._log_bytes() - logged + PLATFORM_LOG_BYTES
        )

    def idle(self, event: Any) -> Invocation:
        """The median of several runs with nothing to do."""
        runs = [self.run(event) for _ in range(IDLE_RUNS)]
        return sorted(runs, key=lambda run: run.seconds)[IDLE_RUNS // 2]

    def init(self) -> Invocation:
        """The cold start."""
        seconds = self._emulator.init_seconds()
        return Invocation(seconds, seconds, 0)

    def peak(self) -> float:
        """Its peak memory so far, in MB."""
        status = Path(f"/proc/{self._emulator.runtime_pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", status)
        return int(kilobytes) / 1024

    def _cpu(self) -> float:
        """The CPU seconds so far; 0 before the first invocation, which starts the process."""
        try:
            fields = Path(f"/proc/{self._emulator.runtime_pid}/stat").read_text().rpartition(")")
        except ValueError:
            return 0.0
        user, system = fields[2].split()[11:13]
        return (int(user) + int(system)) / TICKS

    def _log_bytes(self) -> int:
        return sum(len(line) for line in self._emulator.log_lines() if line.startswith("{"))


def _runs(
    runtime: LambdaRuntime, sizes: Sizes, progress: Progress
) -> tuple[list[Load], dict[str, float]]:
    """Each function's load in a month, and its peak memory in MB."""
    loads, peaks = [], {}
    with _ground() as ground:
        for function, measure in _LOADS.items():
            progress(f"runs of {function}")
            with _started(function, runtime, ground) as running:
                loads.append(measure(running, ground, sizes))
                peaks[function] = running.peak()
    return loads, peaks


def _notifications(running: _Running, ground: _Ground, sizes: Sizes) -> Load:
    event = read_event("notifications", None)
    ground.stack.queue_notifications(*sizes.wide)
    running.run(event)
    idle = running.idle(event)
    ground.stack.connection.execute("truncate notification_config cascade")
    ground.stack.queue_notifications(1, 1)
    busy = running.run(event)
    return Load(
        "notifications",
        ((cost.MINUTES - cost.NOTIFICATIONS, idle), (cost.NOTIFICATIONS, busy)),
    )


def _plan(running: _Running, ground: _Ground, sizes: Sizes) -> Load:
    event = read_event("metrics_sync", None)
    connect_account(ground.stack.running, ground.stack.connection, "meta", 2, 1)
    running.run(event)
    return Load("metrics_sync", ((cost.PLANS, running.idle(event)),))


def _sync(running: _Running, ground: _Ground, sizes: Sizes) -> Load:
    ads = sizes.ads[0]
    connect_account(ground.stack.running, ground.stack.connection, "meta", ads, ads // 2)
    # the first one is for a new account, as few in a month are
    running.run(sync_event(ground.stack.connection))
    again = running.run(sync_event(ground.stack.connection))
    return Load("connection_sync", ((cost.SYNCS, again),), cost.SYNCS, running.init())


def _retention(running: _Running, ground: _Ground, sizes: Sizes) -> Load:
    event = scheduled_event("retention")
    running.run(event)
    retention.fill(ground.stack.connection, sizes.rows // 20)
    return Load(
        "retention", ((cost.RETENTIONS, running.run(event)),), cost.RETENTIONS, running.init()
    )


def _health(running: _Running, ground: _Ground, sizes: Sizes) -> Load:
    # it repeats its answer for a while, so that only the first run asks the database
    first, init = running.run(read_event("health", None)), running.init()
    asked = replace(first, seconds=first.seconds - init.seconds, cpu=max(0, first.cpu - init.cpu))
    return Load("health", ((cost.HEALTH_CHECKS, asked),))


def _doctor(running: _Running, ground: _Ground, sizes: Sizes) -> Load:
    event = read_event("doctor", None)
    running.run(event)
    return Load("doctor", ((cost.DOCTORS, running.idle(event)),), cost.DOCTORS, running.init())


_LOADS = {
    "notifications": _notifications,
    "metrics_sync": _plan,
    "connection_sync": _sync,
    "retention": _retention,
    "health": _health,
    "doctor": _doctor,
}


@contextmanager
def _started(function: str, runtime: LambdaRuntime, ground: _Ground) -> Iterator[_Running]:
    environment = {
        "POWERTOOLS_METRICS_NAMESPACE": "AgencyDashboardWorkers/benchmark",
        "POWERTOOLS_SERVICE_NAME": function,
        "SLACK_WORKSPACE_RATE": "0",
        **ground.environment,
    }
    folder = ROOT / "functions" / function
    with Emulator(folder, runtime, environment=environment, timeout=300) as emulator:
        yield _Running(emulator)


@contextmanager
def _ground() -> Iterator[_Ground]:
    with (
        Stack(seed=False) as running,
        distant(running.api_url) as api_url,
        HttpServer(FakeSqs(), latency=QUEUE_LATENCY) as queue,
        psycopg.connect(running.database_url, autocommit=True) as connection,
    ):
        running.slack.configure(latency=SLACK_LATENCY)
        for platform in running.ad_platforms.values():
            platform.configure(latency=PLATFORM_LATENCY)
        environment = {
            **running.environment(),
            "SUPABASE_URL": api_url,
            "SYNC_QUEUE_URL": queue_url(queue),
            "AWS_ENDPOINT_URL_SQS": queue.url,
        }
        yield _Ground(LocalStack(running, connection), environment, queue)
