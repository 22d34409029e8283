"""`make mutate` runs the unit tests in a copy of the core: they need nothing that is not there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from local.environment import bare
from tests.mutation.__main__ import copy_core, pure_core


def test_the_tests_of_the_core_are_found_in_its_copy(tmp_path: Path) -> None:
    copy_core(pure_core(), tmp_path / "copy")
    settings = tomllib.loads((tmp_path / "copy" / "pyproject.toml").read_text(encoding="utf-8"))
    chosen = settings["tool"]["mutmut"]
    ended = subprocess.run(
        [
            sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
            *chosen["pytest_add_cli_args"], *chosen["pytest_add_cli_args_test_selection"],
        ],
        cwd=tmp_path / "copy", env=bare(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-4000:]
