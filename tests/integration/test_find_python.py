"""Which Python the Makefile chooses, and what it reports about unsuitable ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.locks import ROOT, required_targets

SCRIPT = ROOT / "local" / "find_python.sh"
OLD = "echo Python 3.9; exit 70"  # how the script's own check ends there
NOT_INSTALLED = "echo \"pyenv: version '3.12.9' is not installed (set by /x/.python-version)\" >&2"
NO_SUCH_COMMAND = (
    "printf 'pyenv: python3: command not found\\n\\nThe command exists in: 3.9\\n' >&2"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path


def add(path: Path, name: str, script: str | None = None) -> None:
    """A command of that name: a script, or the Python that runs this."""
    if script is None:
        script = f'exec {sys.executable} "$@"'
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


def find(path: Path, *named: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", SCRIPT, *named], env={"PATH": str(path)}, capture_output=True, text=True
    )


def test_python3_is_chosen_silently(path: Path) -> None:
    add(path, "python3")
    add(path, "python3.13")
    found = find(path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "python3\n", "")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (OLD, "python3 is Python 3.9"),
        (f"{NOT_INSTALLED}; exit 1", "is a shim of pyenv"),
        (None, "python3 is not on PATH"),
    ],
    ids=["too old", "a shim that cannot start", "absent"],
)
def test_another_one_on_path_is_chosen_instead(path: Path, script: str | None, said: str) -> None:
    if script:
        add(path, "python3", script)
    add(path, "python3.11", OLD)
    add(path, "python3.14")
    found = find(path)
    assert (found.returncode, found.stdout) == (0, "python3.14\n")
    assert said in found.stderr
    assert found.stderr.endswith("; it is used instead\n")


@pytest.mark.parametrize(
    "script", [f"{NOT_INSTALLED}; exit 1", f"{NO_SUCH_COMMAND}; exit 127"], ids=["1", "127"]
)
def test_a_pyenv_shim_that_cannot_start_is_reported_as_that(path: Path, script: str) -> None:
    add(path, "python3", script)
    found = find(path)
    assert (found.returncode, found.stdout) == (1, "")
    assert (
        f"python3 is a shim of pyenv ({path}/python3) that cannot start:\npyenv: " in found.stderr
    )
    assert "`pyenv versions` lists what is installed" in found.stderr


def test_the_output_of_another_command_is_shown(path: Path) -> None:
    add(path, "python3", "echo 'No version is set' >&2; exit 126")
    assert f"python3 ({path}/python3) cannot start:\nNo version is set\n" in find(path).stderr


def test_without_a_suitable_one_the_error_names_the_versions(path: Path) -> None:
    add(path, "python3", OLD)
    found = find(path)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("python3 is Python 3.9\nPython 3.11 to 3.14 is needed.")


def test_one_that_is_named_is_not_replaced(path: Path) -> None:
    add(path, "python3")
    add(path, "mine", OLD)
    found = find(path, "mine")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("mine is Python 3.9\n")
    add(path, "mine")
    assert find(path, "mine").stdout == "mine\n"


def test_the_real_check_refuses_versions_outside_the_range(path: Path) -> None:
    asked = SCRIPT.read_text().replace("oldest=11", "oldest=2").replace("newest=14", "newest=3")
    other = path / "other.sh"
    other.write_text(asked)
    add(path, "python3")
    found = subprocess.run(
        ["/bin/sh", other], env={"PATH": str(path)}, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert re.match(r"python3 is Python 3\.1\d\nPython 3\.2 to 3\.3 is needed", found.stderr)


def test_the_versions_are_the_same_as_for_the_locks() -> None:
    minors = sorted({int(each.python.removeprefix("3.")) for each in required_targets()})
    text = SCRIPT.read_text()
    assert re.findall(r"^(?:oldest|newest)=(\d+)$", text, re.MULTILINE) == [
        str(minors[0]),
        str(minors[-1]),
    ]
    (tried,) = re.findall(r"for version in ([\d ]+);", text)
    assert sorted(map(int, tried.split())) == minors
