"""Starting the project's commands as processes, and seeing what they leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.stack import ROOT

PATIENCE = 60.0


def eventually(is_so: Callable[[], bool], what: str) -> None:
    """Wait for another process to have done something; fails with `what` when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def children_of(pid: int) -> set[int]:
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return {int(child) for child, parent in pairs if int(parent) == pid}


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    # one that nobody has waited for yet is over all the same
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """For temporary files: anyone may use it, Postgres's user too; its name has a space."""
    # not pytest's tmp_path: only its owner may enter that
    directory = Path(tempfile.mkdtemp(prefix="scratch of ", dir="/tmp"))
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


def leftovers(scratch: Path) -> list[str]:
    """The directories of stacks."""
    return [path.name for path in scratch.iterdir() if path.name.startswith("agency-stack-")]


def python(
    scratch: Path, *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """A Python process at the root of the project, with `scratch` for temporary files."""
    return subprocess.Popen(
        **{
            "args": [sys.executable, *arguments],
            "cwd": ROOT,
            "env": {**os.environ, "TMPDIR": str(scratch), **(env or {})},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **options,
        }
    )


def run_command(
    scratch: Path, *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> tuple[int, str, str]:
    """`python -m local ...` to its end: status, stdout, stderr."""
    with python(scratch, "-m", "local", *arguments, env=env, **options) as process:
        out, err = process.communicate(timeout=2 * PATIENCE)
    return process.returncode, out, err


def copy_project(to: Path) -> None:
    """A clone as `git` would make it, as far as the local stack goes; nothing installed in it."""
    ignored = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in ("local", "functions", "layers", "events", "supabase"):
        shutil.copytree(ROOT / name, to / name, ignore=ignored)
    shutil.copy(ROOT / "template.yaml", to)


def copy_installed(source: Path, to: Path) -> None:
    """A copy of installed files, by hard links where the file system lets it."""
    shutil.copytree(source, to, symlinks=True, copy_function=_link)


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)
