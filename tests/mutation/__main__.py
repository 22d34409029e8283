"""`make mutate`: small changes to the core, one at a time, that a test should notice.

mutmut works on a copy in `.build/mutation`. The score and the unnoticed changes are printed, and
`.build/mutation/mutants` is kept for inspection. Code that no unit test reaches is counted
separately: tests with a database are too slow for this.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LAYER = ROOT / "layers" / "shared"
COPY = ROOT / ".build" / "mutation"
MUTMUT = ROOT / ".venv-mutation" / "bin" / "mutmut"
# What tests of the core read besides it.
READ_BY_TESTS = (
    "docs/messages.md", "docs/metrics.md", "local/fakes/slack_blocks.py", "supabase/seed.sql"
)  # fmt: skip
# mutmut's exit codes: a test failed or took too long; no test reaches the code.
NOTICED = {1, 3, 24, 36, 152, 255, -24}
UNREACHED = 33


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if the run was completed, whatever the score."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="such as workers/metrics/windows.py"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="default: one per core"
    )
    options = parser.parse_args(arguments)
    core = pure_core()
    unknown = [name for name in options.modules if name not in core]
    if unknown:
        parser.error(f"not in the core: {', '.join(unknown)}; available: {', '.join(core)}")
    modules = options.modules or core
    copy_core(modules, COPY)
    done = subprocess.run(
        [MUTMUT, "run", "--max-children", str(options.jobs)],
        cwd=COPY, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )  # fmt: skip
    if done.returncode:
        print(_without_spinner(done.stdout), file=sys.stderr)
        return done.returncode
    _report(modules)
    return 0


def pure_core() -> list[str]:
    """The paths of what the import contract `pure` covers without exception; not the platforms,
    whose tests use servers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {one["id"]: one for one in project["tool"]["importlinter"]["contracts"]}
    excepted = contracts["core-below-edges"]["protected_modules"]
    found: set[Path] = set()
    for name in contracts["pure"]["source_modules"]:
        pattern = name.removesuffix(".**").replace(".", "/")
        place = LAYER / pattern
        found |= set(place.glob("*.py")) if place.is_dir() else {place.with_suffix(".py")}
    paths = sorted(str(path.relative_to(LAYER)) for path in found if path.name != "__init__.py")
    return [path for path in paths if path.removesuffix(".py").replace("/", ".") not in excepted]


def copy_core(modules: Sequence[str], to: Path) -> None:
    """Fill the folder with the code, its unit tests and mutmut's settings for those modules."""
    shutil.rmtree(to, ignore_errors=True)
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(LAYER / "workers", to / "workers", ignore=unwanted)
    shutil.copytree(ROOT / "tests/unit", to / "tests/unit", ignore=unwanted)
    for file in READ_BY_TESTS:
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, to / file)
    shutil.copy(ROOT / "tests/mutation/profile.py", to / "tests/conftest.py")
    configuration = (ROOT / "tests/mutation/mutmut.toml").read_text()
    chosen = (
        f"[tool.mutmut]\nonly_mutate = {json.dumps(list(modules))}\n"
        f"also_copy = {json.dumps(sorted({Path(file).parts[0] for file in READ_BY_TESTS}))}\n"
    )
    (to / "pyproject.toml").write_text(configuration.replace("[tool.mutmut]\n", chosen))


def _environment() -> dict[str, str]:
    """An environment with the tests' packages from .venv."""
    return {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}


def _report(modules: Sequence[str]) -> None:
    unnoticed: list[str] = []
    everything: list[str] = []
    print(f"{'module':<40} {'noticed':>7} {'of':>5} {'score':>6} {'unreached':>10}")
    for module in modules:
        found = COPY / "mutants" / f"{module}.meta"
        codes = json.loads(found.read_text())["exit_code_by_key"] if found.exists() else {}
        results = [_result(code) for code in codes.values()]
        print(_line(module, results))
        everything += results
        unnoticed += [name for name, code in codes.items() if _result(code) == "unnoticed"]
    print(_line("all", everything))
    for name in unnoticed:
        shown = subprocess.run(
            [MUTMUT, "show", name],
            cwd=COPY, env=_environment(), capture_output=True, text=True, check=True
        )  # fmt: skip
        print(f"\n{_essence(shown.stdout)}")


def _result(code: int | None) -> str:
    return "noticed" if code in NOTICED else "unreached" if code == UNREACHED else "unnoticed"


def _line(name: str, results: Sequence[str]) -> str:
    noticed, unreached = results.count("noticed"), results.count("unreached")
    of = len(results) - unreached
    score = f"{noticed / of:.0%}" if of else "-"
    return f"{name:<40} {noticed:>7} {of:>5} {score:>6} {unreached:>10}"


def _without_spinner(output: str) -> str:
    return "\n".join(line for line in output.splitlines() if not re.match("[\u2800-\u28ff]", line))


def _essence(shown: str) -> str:
    """The name, its result, and the lines that differ."""
    return "\n".join(line for line in shown.splitlines() if re.match(r"# |[-+](?!--|\+\+)", line))


if __name__ == "__main__":
    sys.exit(main())
