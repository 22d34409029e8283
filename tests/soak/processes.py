"""A worker in its own process, which ends by itself or is killed at a step or after a time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests import forked
from tests.notifications.killed_run import kinds_of

POLL_SECONDS = 0.02
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Ended:
    """How a process ended, the steps that it took, and its output as Lambda's log would have it."""

    how: str
    steps: tuple[str, ...]
    said: str


def run_process(
    module: str,
    request: Mapping[str, Any],
    *,
    patience: float,
    passed: Callable[[float], None] = lambda seconds: None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run the module with that request and kill it `patience` seconds after its first step;
    `passed` is called with the seconds that pass meanwhile."""
    run = forked.Run(module, request, {"NO_PROXY": "*", **(environment or {})})
    _watch(run, patience, passed)
    ended = run.ended()
    text = ended.out + ended.err
    steps = tuple(line for line in text.splitlines() if line.startswith(("before ", "after ")))
    return Ended(_how(ended.status, request, steps, text), steps, _as_lambda_logs_it(text))


def assert_listed(steps: Iterable[str], kinds: Collection[str]) -> None:
    """Fail for a step at which no test tries a kill."""
    unknown = kinds_of(steps) - set(kinds)
    assert not unknown, f"no test kills a worker at {unknown}"


def _watch(run: forked.Run, patience: float, passed: Callable[[float], None]) -> None:
    polled_at = time.monotonic()
    begun: float | None = None
    while not run.is_over(POLL_SECONDS):
        now = time.monotonic()
        passed(now - polled_at)
        polled_at = now
        if begun is None and run.has_begun:
            begun = now
        if begun is not None and now - begun > patience:
            run.kill()


def _how(code: int, request: Mapping[str, Any], steps: Sequence[str], text: str) -> str:
    if code == -signal.SIGKILL:
        return "killed at a step" if steps and steps[-1] == request["kill_at"] else "killed"
    if code == 0:
        ends = [line for line in text.splitlines() if line.startswith("ended ")]
        return ends[-1] if ends else "ended"
    return f"raised {_raised(text)}"


def _as_lambda_logs_it(text: str) -> str:
    """Without an error's causes: Lambda logs the last error only."""
    first, last = text.find(TRACEBACK), text.rfind(TRACEBACK)
    return text if first == last else text[:first] + text[last:]


def _raised(text: str) -> str:
    """The exception's class, with which the last line of a traceback starts."""
    names = [
        line.partition(":")[0].rpartition(".")[2]
        for line in text.splitlines()
        if line and line[0].isalpha() and line.partition(":")[0].replace(".", "").isidentifier()
    ]
    return names[-1] if names else "nothing"
