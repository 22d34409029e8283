"""The import contracts of pyproject.toml notice what they are there for, in files made today."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

DIRECTION = "Imports run down"
PURE = "Workers import no client"
BELOW_EDGES = "The core does not get at clients"


@dataclass(frozen=True)
class Breach:
    """A file that someone adds, one line in it, and the contract that has to notice."""

    file: str
    line: str
    contract: str


BREACHES = {
    "up": Breach("notifications/new.py", "from workers.composition import runs", DIRECTION),
    "from shared to a worker": Breach("new.py", "from workers.metrics import facts", DIRECTION),
    "a new shared module without a place": Breach("new.py", "", DIRECTION),
    "between workers": Breach("retention/new.py", "from workers.metrics import facts", DIRECTION),
    "a client in the core": Breach("notifications/new.py", "import slack_sdk", PURE),
    "the clock in the core": Breach("retention/new.py", "import time", PURE),
    "the logger in a platform": Breach(
        "metrics/platforms/new.py", "from workers.telemetry import logger", PURE
    ),
    "an edge in the core": Breach(
        "metrics/new.py", "from workers.metrics import sync_queue", BELOW_EDGES
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of all that the contracts speak of."""
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for place in ("layers/shared/workers", "local"):
        shutil.copytree(ROOT / place, tmp_path / place, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken_contracts(tree: Path) -> list[str]:
    """The names of those that do not hold; also why, where lint-imports cannot say."""
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=tree, env={"PYTHONPATH": f"{tree / 'layers/shared'}:{tree}", "COLUMNS": "200"},
        capture_output=True, text=True,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return found


def test_they_hold_in_the_copy_as_it_is(tree: Path) -> None:
    assert broken_contracts(tree) == []


@pytest.mark.parametrize("breach", BREACHES.values(), ids=list(BREACHES))
def test_a_breach_is_noticed(breach: Breach, tree: Path) -> None:
    (tree / "layers/shared/workers" / breach.file).write_text(f"{breach.line}\n")

    assert any(line.startswith(breach.contract) for line in broken_contracts(tree))


def test_a_new_pure_file_needs_no_line(tree: Path) -> None:
    (tree / "layers/shared/workers/retention/new.py").write_text("import math\n")

    assert broken_contracts(tree) == []


def test_each_exception_of_the_core_is_closed_to_the_rest_of_it() -> None:
    """Who gets at a client by leave of one contract is out of the core's reach by another."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    by_id = {each["id"]: each for each in configuration["tool"]["importlinter"]["contracts"]}
    excepted = {
        line.removesuffix(" -> **")
        for line in by_id["pure"]["ignore_imports"]
        if line.endswith(" -> **")
    }
    assert excepted == set(by_id["core-below-edges"]["protected_modules"])
