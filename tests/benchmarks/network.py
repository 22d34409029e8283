"""The network between the workers and other services, and how a worker is run."""

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
    """The URL of a proxy that adds the cloud's latency to the data API."""
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
    """One run in its own process; returns what one_run.py reports.

    Without an event the function gets its sample. Raises RuntimeError, with the process's output,
    if the run fails.
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
    stdin: str | None = None,
    python: str | Path = sys.executable,
) -> dict[str, Any]:
    """Run a module in its own process, away from any .env, with `stdin` as its input; returns the
    JSON of its last line. Raises RuntimeError, with its output, if it fails."""
    with tempfile.TemporaryDirectory() as elsewhere:
        ended = subprocess.run(
            [str(python), "-m", module, *arguments],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers" / "shared")]),
                **environment,
            },
            cwd=elsewhere,
            input=stdin or "",
            capture_output=True,
            text=True,
        )
    if ended.returncode != 0:
        raise RuntimeError(f"the run failed:\n{ended.stdout}{ended.stderr}")
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer
