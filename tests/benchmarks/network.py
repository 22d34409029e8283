"""What the benchmarks put between the workers and the world, and how they run a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.invoke import REGION
from local.services.readiness import announced_port
from local.services.tether import Tether
from local.stack import ROOT

API_LATENCY = 0.020
SLACK_LATENCY = 0.060
PLATFORM_LATENCY = 0.050
QUEUE_LATENCY = 0.010
START_SECONDS = 30.0


@contextmanager
def distant(api_url: str) -> Iterator[str]:
    """The URL of a proxy that makes the data API as far away as in the cloud."""
    with Tether() as tether:
        proxy = tether.start(
            "proxy",
            [sys.executable, "-m", "local.services.proxy", "--upstream", api_url,
             "--latency", str(API_LATENCY)],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=ROOT,
        )  # fmt: skip
        port = proxy.wait_until(lambda: announced_port(proxy), START_SECONDS)
        yield f"http://127.0.0.1:{port}"


def run_function(
    function: str, timeout: float, environment: Mapping[str, str], event: Any = None
) -> dict[str, Any]:
    """One run in a process of its own; what one_run.py says of it.

    Without an event it gets its sample. Raises RuntimeError, with the process's output, when
    the run failed.
    """
    return run_module(
        "tests.benchmarks.one_run",
        [function, str(timeout)],
        {"AWS_REGION": REGION, "POWERTOOLS_SERVICE_NAME": function, **environment},
        None if event is None else json.dumps(event),
    )


def run_module(
    module: str,
    arguments: list[str],
    environment: Mapping[str, str],
    told: str | None = None,
    python: str | Path = sys.executable,
) -> dict[str, Any]:
    """A module in a process of its own, away from any .env, with `told` on its stdin: the JSON
    of the last line that it prints. Raises RuntimeError, with its output, when it fails."""
    with tempfile.TemporaryDirectory() as elsewhere:
        ended = subprocess.run(
            [str(python), "-m", module, *arguments],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers" / "shared")]),
                **environment,
            },
            cwd=elsewhere,
            input=told or "",
            capture_output=True,
            text=True,
        )
    if ended.returncode != 0:
        raise RuntimeError(f"the run failed:\n{ended.stdout}{ended.stderr}")
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer
