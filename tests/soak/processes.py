"""A worker in a process of its own, which ends by itself, at a step, or at a moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.02
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Ended:
    """How a process ended, and all that it said, as far as Lambda's log would have it."""

    how: str
    said: str


def run_process(
    module: str,
    order: Mapping[str, Any],
    *,
    patience: float,
    passed: Callable[[float], None] = lambda seconds: None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Runs the module with that order, and kills it after `patience` seconds; `passed` is told
    of the time that passes meanwhile."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**os.environ, "NO_PROXY": "127.0.0.1", **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(json.dumps(order))
        _watch(process, patience, passed)
        said.seek(0)
        text = said.read()
    return Ended(_how(process.returncode, order, text), _as_lambda_says_it(text))


def _watch(
    process: subprocess.Popen[str], patience: float, passed: Callable[[float], None]
) -> None:
    begun = told = time.monotonic()
    while process.poll() is None:
        now = time.monotonic()
        passed(now - told)
        told = now
        if now - begun > patience:
            process.kill()
        try:
            process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _how(code: int, order: Mapping[str, Any], text: str) -> str:
    steps = [line for line in text.splitlines() if line.startswith(("before ", "after "))]
    if code == -signal.SIGKILL:
        return "killed at a step" if steps and steps[-1] == order["kill_at"] else "killed"
    if code == 0:
        ends = [line for line in text.splitlines() if line.startswith("ended ")]
        return ends[-1] if ends else "ended"
    return f"raised {_raised(text)}"


def _as_lambda_says_it(text: str) -> str:
    """Without the causes of an error, of which Lambda logs the last one only."""
    first, last = text.find(TRACEBACK), text.rfind(TRACEBACK)
    return text if first == last else text[:first] + text[last:]


def _raised(text: str) -> str:
    """The exception's class: the last line of a traceback begins with it."""
    names = [
        line.partition(":")[0].rpartition(".")[2]
        for line in text.splitlines()
        if line and line[0].isalpha() and line.partition(":")[0].replace(".", "").isidentifier()
    ]
    return names[-1] if names else "nothing"
