"""What the README says of the code is so."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from workers.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_that_of_the_code() -> None:
    rows = []
    for setting in fields(Settings):
        default = setting.default
        if default is MISSING or default is None:
            shown = "required" if default is MISSING else "none"
        else:
            shown = f"`{default:g}`" if isinstance(default, int | float) else f"`{default}`"
        rows.append(f"| `{setting.name.upper()}` | {shown} | {setting.metadata['help']} |")
    assert "\n".join(rows) in README


def test_every_test_that_it_names_exists() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", README))
    assert len(named) > 10
    for name in named:
        assert f"def {name}(" in tests, name


def test_every_promise_names_a_test() -> None:
    section = README.partition("## What is promised")[2].partition("\n## ")[0]
    promises = re.findall(r"^- .*(?:\n  .*)*", section, re.MULTILINE)
    assert len(promises) > 25
    for promise in promises:
        assert re.search(r"`test_\w+(?:\.py)?`", promise), promise


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_it_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)make ([a-z -]+)", text, re.MULTILINE)
    assert commands
    for target in {target for command in commands for target in command.split()}:
        if re.fullmatch(r"[a-z-]+", target):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_that_it_names_exists() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / name).exists(), name
    for name in set(re.findall(r"`(\w+\.py)`", README)):
        assert list(ROOT.glob(f"tests/**/{name}")), name


def test_the_manifest_asks_for_the_scopes_that_the_sample_workspace_grants() -> None:
    manifest = (ROOT / "slack-manifest.yaml").read_text(encoding="utf-8")
    workspace = (ROOT / "local" / "fakes" / "workspace.json").read_text(encoding="utf-8")
    for scope in ("chat:write", "im:write", "channels:read", "channels:history", "groups:history"):
        assert f"- {scope}\n" in manifest
        assert f'"{scope}"' in workspace
