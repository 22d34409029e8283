"""`python -m local ...`, run by `tests.forked` in its own process with its imports already done.

The request has `arguments`, and `root`: the clone to run in.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import local.__main__ as command
from local import distribute, invoke, stack


def main() -> None:
    order = json.load(sys.stdin)
    root = Path(order["root"])
    for module in (command, distribute, invoke, stack):
        module.ROOT = root  # type: ignore[attr-defined]
    invoke.FUNCTIONS = root / "functions"
    os.chdir(root)
    tempfile.tempdir = None  # so that TMPDIR is used
    sys.exit(command.main(order["arguments"]))
