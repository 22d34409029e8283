"""The list of ablations fits the tree: otherwise one of them would remove nothing, or no test would
notice it. `make ablate` shows that each is noticed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.ablation.__main__ import failure
from tests.ablation.ablations import ABLATIONS
from tests.ablation.cuts import Ablation

ROOT = Path(__file__).resolve().parents[2]
each = pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)


@each
def test_each_piece_occurs_once_in_its_file(ablation: Ablation) -> None:
    for cut in ablation.cuts:
        text = (ROOT / cut.file).read_text()
        assert text.count(cut.piece) == 1, cut.piece
        without = ablation.applied(cut.file, text)
        assert without != text
        if cut.file.endswith(".py"):
            compile(without, cut.file, "exec")


@each
def test_each_test_exists(ablation: Ablation) -> None:
    file, *classes, test = ablation.test.split("::")
    text = (ROOT / file).read_text()
    for name in classes:
        assert re.search(rf"^class {name}\b", text, re.MULTILINE)
    indent = "    " if classes else ""
    assert re.search(rf"^{indent}def {test.partition('[')[0]}\(", text, re.MULTILINE)


def test_names_are_unique() -> None:
    names = Counter(ablation.name for ablation in ABLATIONS)
    assert [name for name, count in names.items() if count > 1] == []


def test_removing_two_places_has_a_reason() -> None:
    assert [one.name for one in ABLATIONS if len(one.cuts) > 1 and not one.remark] == []


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("FAILED tests/a.py::test_b - assert 1 == 2", "assert 1 == 2"),
        ("FAILED tests/a.py::test_b[x - y] - assert 1 == 2", "assert 1 == 2"),
        ("FAILED tests/a.py::test_b", "failed"),
        ("FAILED tests/a.py::test_bc - assert 1 == 2", None),
        ("ERROR tests/a.py::test_b - NameError: name 'x' is not defined", None),
        ("ERROR tests/a.py\nFAILED tests/a.py::test_b - assert 1 == 2", None),
        ("", None),
    ],
)
def test_only_a_failure_of_the_test_itself_counts(report: str, reason: str | None) -> None:
    log = "ERROR    worker:run.py:1 The run failed"
    summary = f"=== short test summary info ===\n{report}\n1 failed in 0.01s"
    assert failure(f"F\n{log}\n{summary}", "tests/a.py::test_b") == reason
