"""Files that external tools read: they are valid, and name what exists."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.locks import ROOT, lock_files, required_targets

YAML_FILES = [
    ".github/dependabot.yml",
    ".github/workflows/ci.yml",
    ".pre-commit-config.yaml",
    "slack-manifest.yaml",
]


def parsed(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", YAML_FILES)
def test_it_is_yaml(name: str) -> None:
    assert isinstance(parsed(name), dict)


def test_every_yaml_file_is_covered() -> None:
    found = [*ROOT.glob("*.y*ml"), *ROOT.glob(".*.y*ml"), *(ROOT / ".github").rglob("*.y*ml")]
    names = {path.relative_to(ROOT).as_posix() for path in found}
    assert names - {"template.yaml"} == set(YAML_FILES)


def test_the_workflow_runs_all_checks_and_may_only_read() -> None:
    workflow = parsed(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "read"}
    assert job["timeout-minutes"] == 30
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", each) for each in used), used


def test_dependabot_covers_every_lock() -> None:
    updates = {
        each["package-ecosystem"]: each for each in parsed(".github/dependabot.yml")["updates"]
    }
    assert sorted(updates) == ["github-actions", "npm", "uv"]
    folders = {f"/{lock.parent.relative_to(ROOT)}".rstrip(".") for lock in lock_files()}
    assert sorted(updates["uv"]["directories"]) == sorted(folders)
    assert (ROOT / updates["npm"]["directory"].lstrip("/") / "package-lock.json").exists()


def test_the_headers_that_dependabot_reads_say_how_locks_are_compiled() -> None:
    (recipe,) = re.findall(r"^compile = (?:.*\\\n)*.*", (ROOT / "Makefile").read_text(), re.M)
    for lock in lock_files():
        header = lock.read_text(encoding="utf-8").splitlines()[1]
        for option in ["--universal", "--python-version 3.11"]:
            assert option in header
            assert recipe.count(option) == 2, option


def test_hooks_call_the_tools_of_the_environment() -> None:
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/")
        assert f"$(BIN)/{Path(tool).name}" in (ROOT / "Makefile").read_text()


def test_the_lowest_required_python_is_the_linters_target() -> None:
    lowest = min((each.python for each in required_targets()), key=lambda it: int(it.split(".")[1]))
    assert f'requires-python = ">={lowest}"' in (ROOT / "pyproject.toml").read_text()


def test_findings_are_executable_and_listed() -> None:
    listed = (ROOT / "findings" / "README.md").read_text(encoding="utf-8")
    findings = sorted((ROOT / "findings").glob("*.sh"))
    assert findings
    for finding in findings:
        assert f"]({finding.name})" in listed
        assert os.access(finding, os.X_OK), finding
        assert subprocess.run(["sh", "-n", finding]).returncode == 0


def test_the_package_is_typed() -> None:
    assert (ROOT / "layers" / "shared" / "workers" / "py.typed").exists()
