"""The installation works without a network, for any user, and wherever the clone is."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.services import node, postgres
from local.services.tether import Tether
from tests.integration.processes import (
    communicate,
    copy_installed,
    copy_project,
    python,
    run_command,
    temporary_directory,
)

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users too")


@only_root
def test_postgres_runs_where_its_user_cannot_reach_the_clone(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(node.postgres_tree(), closed / "native", symlinks=True)
    monkeypatch.setattr(node, "postgres_tree", lambda: closed / "native")
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    with Tether(postgres.server_directory()) as tether:
        server = postgres.start(tether)
        assert server.create_database("one")


NO_NETWORK = {
    "npm_config_registry": "http://127.0.0.1:1/", "npm_config_fetch_retries": "0",
    "HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1",
}  # fmt: skip


def test_the_installation_needs_no_network(scratch: Path) -> None:
    node.ensure_installed(with_dev=True)
    for options in ([], ["--with-dev"]):
        with python(
            scratch, "-m", "local.services.node", "install", *options, env=NO_NETWORK
        ) as process:
            assert communicate(process) == ("", "")
        assert process.returncode == 0


def test_installing_without_a_network_is_reported(scratch: Path, tmp_path: Path) -> None:
    copy_project(tmp_path / "clone")
    env = {**NO_NETWORK, "npm_config_cache": str(tmp_path / "cache")}
    with python(
        scratch, "-m", "local.services.node", "install", env=env, cwd=tmp_path / "clone"
    ) as process:
        out, err = communicate(process)
    assert (process.returncode, out) == (1, "")
    assert "the first start needs the network" in err
    assert "Traceback" not in err


def as_nobody() -> dict[str, Any]:
    """How to start a process as an unprivileged user."""
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def python_for_any_user() -> str | None:
    """An interpreter of this version that any user can run, or None."""
    names = [sys.executable, f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3"]
    for name in names:
        found = shutil.which(name, path=None if "/" in name else "/usr/bin:/usr/local/bin")
        if found and _is_same_version(found):
            return found
    return None


def _is_same_version(interpreter: str) -> bool:
    ask_version = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [interpreter, "-c", ask_version], capture_output=True, text=True, cwd="/", **as_nobody()
        )
    except OSError:
        return False
    return bool(answer.stdout.split() == [str(part) for part in sys.version_info[:2]])


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """A clone with everything installed, in its own folder."""
    # next to the installed files if possible, so that links can be used
    with temporary_directory(Path(tempfile.gettempdir())) as outer:
        copy_project(outer / "clone")
        copy_installed(node.MODULES, outer / "clone" / "local" / "services" / "node_modules")
        copy_installed(Path(sysconfig.get_path("purelib")), outer / "packages")
        yield outer / "clone"


def in_clone(clone: Path) -> dict[str, str]:
    places = (clone, clone / "layers" / "shared", clone.parent / "packages")
    return {"PYTHONPATH": os.pathsep.join(map(str, places)), "HOME": "/nonexistent"}


@only_root
def test_an_ordinary_user_runs_it(clone: Path, scratch: Path) -> None:
    interpreter = python_for_any_user()
    if interpreter is None:
        pytest.skip("no interpreter of this version that other users can run")
    status, out, err = run_command(
        scratch,
        env={**in_clone(clone), "PYTHONDONTWRITEBYTECODE": ""},
        args=[interpreter, "-m", "local", "invoke", "notifications"],
        cwd=clone,
        umask=0o077,
        **as_nobody(),
    )
    assert status == 0, err
    assert json.loads(out)["sent"] > 0
    assert list(scratch.iterdir()) == []
    assert not list(clone.glob("local/__pycache__"))  # they must not write there


@only_root
def test_root_runs_it_below_a_folder_that_only_root_may_enter(clone: Path, scratch: Path) -> None:
    clone.parent.chmod(0o700)
    env = {**in_clone(clone), "PYTHONDONTWRITEBYTECODE": "1"}
    status, out, err = run_command(
        scratch, "invoke", "notifications", env=env, cwd=clone, umask=0o077
    )
    clone.parent.chmod(0o755)
    assert status == 0, err
    assert json.loads(out)["sent"] > 0
    assert list(scratch.iterdir()) == []
    assert not list(clone.glob("local/__pycache__"))
