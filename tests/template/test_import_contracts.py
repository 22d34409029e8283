"""The import contracts of pyproject.toml cover all of `workers`: a new module gets its place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers" / "shared" / "workers"


def contracts() -> dict[str, dict[str, Any]]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {each["id"]: each for each in configuration["tool"]["importlinter"]["contracts"]}


def modules() -> set[str]:
    paths = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths}


def layers() -> list[set[str]]:
    return [set(re.findall(r"[\w.]+", layer)) for layer in contracts()["direction"]["layers"]]


def test_every_module_has_its_layer() -> None:
    named = set().union(*layers())
    packages = {name for name in named if (PACKAGE.parent / name.replace(".", "/")).is_dir()}
    assert named - packages <= modules()
    alone = {module for module in modules() if ".".join(module.split(".")[:2]) not in packages}
    assert alone == named - packages


def test_all_that_lies_below_the_edges_is_held_to_be_pure() -> None:
    (edges,) = [number for number, layer in enumerate(layers()) if "workers.settings" in layer]

    core = set().union(*layers()[edges + 1 :])
    assert set(contracts()["pure-core"]["source_modules"]) == core
