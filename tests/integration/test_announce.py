"""The line that an install says before each part."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from local.announce import PROCESSORS, main, npm_packages, wheels


def test_a_package_counts_once_and_windows_packages_do_not_count() -> None:
    lock = """\
# a comment
one==1.0 ; sys_platform == 'darwin' \\
    --hash=sha256:00
one==2.0 ; sys_platform != 'darwin' \\
    --hash=sha256:11
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:22
two-three==1 \\
    --hash=sha256:33
"""
    assert wheels(lock) == 2


def test_npm_packages_of_other_machines_and_optional_ones_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    other = {"linux": "darwin", "darwin": "linux"}[sys.platform]
    packages = {
        "": {},
        "node_modules/a": {},
        "node_modules/b": {"dev": True},
        "node_modules/here": {"os": [sys.platform], "cpu": [PROCESSORS["x86_64"]]},
        "node_modules/other-system": {"os": [other], "cpu": [PROCESSORS["x86_64"]]},
        "node_modules/other-processor": {"os": [sys.platform], "cpu": ["arm64"], "dev": True},
    }
    lock = json.dumps({"packages": packages})
    assert npm_packages(lock, with_dev=False) == 2
    assert npm_packages(lock, with_dev=True) == 3


@pytest.mark.parametrize(
    ("part", "said"), [("2/4", "[2/4] Tools: 1 package ("), ("", "Tools: 1 package (")]
)
def test_it_shows_the_part_and_how_many_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, said: str
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("one==1.0 \\\n")
    main([part, "Tools", str(lock)])
    assert capsys.readouterr().out == f"{said}{lock})\n"
