"""`make ablate`: removes each safety mechanism in turn, which its test should notice.

Works on a copy of the tree, in a temporary directory with its own environment, so that no test
there can import from the tree itself. All tests have to pass in the unchanged copy; then each
ablation is applied, has to fail its test, and is undone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local.environment import bare
from tests.ablation.ablations import ABLATIONS
from tests.ablation.cuts import Ablation

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("mechanism", "file", "test", "result", "seconds", "how it failed")
PATIENCE = 180.0
# For all tests together, in the unchanged copy.
LONG_PATIENCE = 900.0
PYTEST = ("-m", "pytest", "-q", "-x", "--no-header", "--tb=short", "-rfE", "-p", "no:cacheprovider")
# The end of a test's report that is shown when it needs attention.
LAST_LINES = 40
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".build", ".aws-sam", ".env", "node_modules", "__pycache__", ".*_cache",
    ".hypothesis",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every ablation was noticed."""
    names = [ablation.name for ablation in ABLATIONS]
    parser = argparse.ArgumentParser(prog="python -m tests.ablation", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--list", action="store_true", help="only list them")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; available: {', '.join(names)}")
    chosen = [one for one in ABLATIONS if not options.names or one.name in options.names]
    if options.list:
        for one in chosen:
            print(f"{one.name:<26} {one.mechanism}{f' ({one.remark})' if one.remark else ''}")
        return 0
    with tempfile.TemporaryDirectory(prefix="ablation-") as directory:
        copy = Copy(Path(directory))
        if not _all_pass(copy, chosen):
            return 1
        show = _Lines(chosen)
        unnoticed = [one.name for one in chosen if not _is_noticed(copy, one, show)]
    print(f"\n{len(chosen) - len(unnoticed)} of {len(chosen)} noticed.")
    if unnoticed:
        print(f"NOT NOTICED: {', '.join(unnoticed)}")
    return 1 if unnoticed else 0


class Copy:
    """The project in `directory`, with an environment of only it and the packages."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "project"
        copy_project(self.root)
        venv.create(directory / "venv", symlinks=True)
        self.python = directory / "venv" / "bin" / "python"
        # Not by PYTHONPATH, which a test may not pass to the processes that it starts. What is
        # added here is not searched for further .pth files, so the tree's own stays out.
        paths = [f"{self.root / 'layers' / 'shared'}", sysconfig.get_path("purelib")]
        (packages,) = (directory / "venv" / "lib").glob("*/site-packages")
        (packages / "copy.pth").write_text("\n".join(paths))
        self._check_imports()

    def pytest(self, tests: Sequence[str], patience: float) -> tuple[int | None, str]:
        """Run tests up to the first failure: pytest's exit status, or None if it had to be stopped,
        and its output."""
        return self._run([*PYTEST, *tests], patience)

    @contextmanager
    def without(self, ablation: Ablation) -> Iterator[None]:
        """Remove a mechanism from the copy within the block."""
        texts = {cut.file: (self.root / cut.file).read_text() for cut in ablation.cuts}
        try:
            for file, whole in texts.items():
                (self.root / file).write_text(ablation.applied(file, whole))
            yield
        finally:
            for file, whole in texts.items():
                (self.root / file).write_text(whole)

    def _run(self, arguments: Sequence[str], patience: float) -> tuple[int | None, str]:
        # CI makes hypothesis draw the same examples in each run, and pytest not truncate lines.
        # A file that changes back within the same second must not be taken from a cache.
        environment = {
            **bare(), "CI": "true", "PYTHONDONTWRITEBYTECODE": "1", "PROPERTY_EXAMPLES": "100"
        }  # fmt: skip
        environment.pop("PYTHONPATH", None)
        # into a file: a pipe would also wait for processes that a stopped test leaves behind
        with tempfile.TemporaryFile("w+") as output:
            try:
                status = subprocess.run(
                    [self.python, *arguments],
                    cwd=self.root, env=environment, timeout=patience,
                    stdout=output, stderr=subprocess.STDOUT
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                status = None
            output.seek(0)
            return status, output.read()

    def _check_imports(self) -> None:
        names = ("workers", "local", "tests")
        probe = f"import {', '.join(names)}\nfor one in {', '.join(names)}: print(*one.__path__)"
        found = self._run(["-c", probe], PATIENCE)[1].splitlines()
        expected = [f"{self.root / place}" for place in ("layers/shared/workers", "local", "tests")]
        assert found == expected, f"the copy imports from elsewhere: {found}"


def copy_project(to: Path) -> None:
    """Copy what git has or would add; without git, all but caches. Links JavaScript packages."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True
    ) if shutil.which("git") else None  # fmt: skip
    if listed is None or listed.returncode:
        shutil.copytree(ROOT, to, ignore=_LEFT_OUT)
    else:
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():  # not deleted since
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, to / name)
    modules = Path("local", "services", "node_modules")
    (to / modules).symlink_to(ROOT / modules)


def _all_pass(copy: Copy, chosen: Sequence[Ablation]) -> bool:
    tests = list(dict.fromkeys(ablation.test for ablation in chosen))
    begun = time.monotonic()
    status, report = copy.pytest(tests, LONG_PATIENCE)
    seconds = time.monotonic() - begun
    if status != 0:
        print(report, file=sys.stderr)
        print("The tests have to pass in the unchanged copy, but do not.", file=sys.stderr)
        return False
    print(f"In the unchanged copy {len(tests)} tests pass ({seconds:.0f} s).\n", flush=True)
    return True


def _is_noticed(copy: Copy, ablation: Ablation, show: _Lines) -> bool:
    """Whether the test failed; one that does not end has noticed nothing."""
    begun = time.monotonic()
    with copy.without(ablation):
        status, report = copy.pytest([ablation.test], PATIENCE)
    reason = failure(report, ablation.test) if status == 1 else None
    show.line(ablation, reason, time.monotonic() - begun)
    if reason is None:
        print("\n".join(report.splitlines()[-LAST_LINES:]), flush=True)
    return reason is not None


def failure(report: str, test: str) -> str | None:
    """How the test failed, in pytest's words; None if it passed, or if something else kept it from
    running."""
    summary = report.rpartition(" short test summary info ")[2]
    if re.search(r"^ERROR ", summary, re.MULTILINE):
        return None
    found = re.search(rf"^FAILED {re.escape(test)}(?:\[.*?\])?(?: - (.*))?$", summary, re.MULTILINE)
    return (found[1] or "failed").removeprefix("AssertionError: ") if found else None


class _Lines:
    """The table, printed line by line: coloured in a terminal, plain elsewhere."""

    def __init__(self, chosen: Sequence[Ablation]) -> None:
        self._console = Console() if sys.stdout.isatty() else None
        known = [COLUMNS, *(self._cells(one, "NOT NOTICED", 0.0, "") for one in chosen)]
        self._widths = [max(map(len, column)) for column in zip(*known, strict=True)]
        self._print(COLUMNS, "bold")

    def line(self, ablation: Ablation, reason: str | None, seconds: float) -> None:
        """One ablation, and how it was noticed, if at all."""
        result = "NOT NOTICED" if reason is None else "noticed"
        cells = self._cells(ablation, result, seconds, reason or "")
        self._print(cells, "red" if reason is None else "")

    def _cells(
        self, ablation: Ablation, result: str, seconds: float, reason: str
    ) -> tuple[str, ...]:
        names = [re.sub(r"^\d+_", "", Path(cut.file).name) for cut in ablation.cuts]
        file = ", ".join(dict.fromkeys(names))
        test = ablation.test.rpartition("::")[2]
        return ablation.mechanism, file, test, result, f"{seconds:.0f}", reason

    def _print(self, cells: Sequence[str], style: str) -> None:
        if self._console is None:
            padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
            print("  ".join(padded).rstrip()[:250], flush=True)
            return
        # one table per line, so that each shows at once; relative widths align them
        table = Table.grid(padding=(0, 2), expand=True)
        for share in (5, 5, 7, 2, 2, 5):
            table.add_column(ratio=share, overflow="fold")
        table.add_row(*cells, style=style)
        self._console.print(table)


if __name__ == "__main__":
    sys.exit(main())
