"""What a cold start of each function costs, against importing its third-party packages alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from local.stack import ROOT
from tests.benchmarks.figures import Figure

ROUNDS = 7
# Of the time that the packages alone take.
MOST = 1.2

# Imports the function, then says which third-party modules that loaded, in their order.
_LOADED = """
import json, sys
before = set(sys.modules)
import app
site = [m for m in sys.modules if m not in before and "site-packages" in
        (getattr(sys.modules[m], "__file__", None) or "")]
print(json.dumps(site))
"""
# CPU time, so that other work on the machine counts for little.
_TIMED = """
import importlib, json, sys, time
names = json.loads(sys.argv[1])
begun = time.process_time()
for name in names:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print(time.process_time() - begun)
"""

Progress = Callable[[str], None]


def cold_starts(progress: Progress) -> list[Figure]:
    """CPU seconds of loading each function's module, from bytecode."""
    figures = []
    for app in sorted(ROOT.glob("functions/*/app.py")):
        function = app.parent.name
        progress(f"cold start of {function}")
        packages = json.loads(_run(app.parent, _LOADED))
        ours = _least(app.parent, ["app"])
        floor = _least(app.parent, packages)
        figures.append(
            Figure(
                f"cold start of {function} (CPU)",
                ours,
                "s",
                floor=floor,
                target=f"at most {MOST:g} x its packages",
                met=ours <= MOST * floor,
            )
        )
    return figures


def _least(folder: Path, names: list[str]) -> float:
    """The quickest of several starts: what is above it is other work on the machine."""
    told = json.dumps(names)
    return min(float(_run(folder, _TIMED, told)) for _ in range(ROUNDS))


def _run(folder: Path, program: str, *arguments: str) -> str:
    with tempfile.TemporaryDirectory() as elsewhere:
        ended = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=elsewhere,
            env={
                "PYTHONPATH": f"{folder}:{ROOT / 'layers' / 'shared'}",
                "AWS_DEFAULT_REGION": "eu-west-1",
            },
            capture_output=True,
            text=True,
            check=True,
        )
    return ended.stdout.splitlines()[-1]
