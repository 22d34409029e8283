"""Starts the project's commands as processes, and checks what they leave behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.services.patience import Patience, process_table
from local.services.postgres import server_directory
from local.stack import ROOT
from tests import forked

# Seconds without activity; see local.services.patience.
PATIENCE = 60.0
# Seconds to wait for an effect.
LONG = 300.0


def eventually(is_so: Callable[[], bool], what: str) -> None:
    """Wait until another process has done something; fails with `what` if it never does."""
    begun = time.monotonic()
    while not is_so():
        waited = time.monotonic() - begun
        assert waited < LONG, what
        # what takes longer need not be asked for as often, which takes its share of the processor
        time.sleep(min(0.01 + waited / 20, 0.05))


def children_of(pid: int) -> set[int]:
    return {child for child, process in process_table().items() if process.parent == pid}


def is_running(pid: int) -> bool:
    found = process_table().get(pid)
    return found is not None and found.state != "Z"  # a zombie has ended, but was not waited for


def communicate(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The rest of its stdout and stderr, once it has ended. Raises TimeoutExpired if it hangs."""
    patience = Patience(PATIENCE, process.pid)
    while True:
        try:
            return process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            if patience.is_over:
                raise


@contextmanager
def temporary_directory(place: Path | None = None) -> Iterator[Path]:
    """A directory for temporary files that anyone may use, even Postgres's user; with a space."""
    # not pytest's tmp_path, which only its owner may enter
    directory = Path(tempfile.mkdtemp(prefix="scratch of ", dir=place or server_directory()))
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


def leftovers(scratch: Path) -> list[str]:
    """The directories of stacks."""
    return [path.name for path in scratch.iterdir() if path.name.startswith("agency-stack-")]


def _heed_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def python(
    scratch: Path, *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A Python process at the root of the project, with `scratch` for temporary files.

    It is killed if the block fails, so that a failed test does not wait for it forever.
    """
    with subprocess.Popen(
        **{
            "args": [sys.executable, *arguments],
            "cwd": ROOT,
            "env": {**os.environ, "TMPDIR": str(scratch), **(env or {})},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            # as in a terminal, also where the tests run under nohup
            "preexec_fn": _heed_hangups,
            **options,
        }
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def run_command(
    scratch: Path, *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> tuple[int, str, str]:
    """`python -m local ...` to its end: status, stdout, stderr."""
    with python(scratch, "-m", "local", *arguments, env=env, **options) as process:
        out, err = communicate(process)
    return process.returncode, out, err


def forked_command(
    scratch: Path, clone: Path, *arguments: str, env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """As `run_command` in this clone, in a tenth of the time; stdin is not a terminal."""
    request = {"root": str(clone), "arguments": arguments}
    environment = {"TMPDIR": str(scratch), **(env or {})}
    ended = forked.Run("tests.integration.forked_command", request, environment).ended()
    return ended.status, ended.out, ended.err


def copy_project(to: Path) -> None:
    """A clone as by `git`, with the files of the local stack and nothing installed."""
    ignored = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in ("local", "functions", "layers", "events", "supabase"):
        shutil.copytree(ROOT / name, to / name, ignore=ignored)
    shutil.copy(ROOT / "template.yaml", to)


def copy_installed(source: Path, to: Path) -> None:
    """A copy of installed files, by hard links where the file system supports them."""
    shutil.copytree(source, to, symlinks=True, copy_function=_link)


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)
