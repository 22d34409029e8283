"""Error codes by name, as the vendors' own packages list them: names and numbers, no code.

`python -m tests.unit.metrics.vendor_codes WHEEL` writes the list of a newer package again, from the
wheel that `pip download --no-deps` fetched. facebook-business (26.0.3) has no such list.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

LISTS = Path(__file__).resolve().parent / "codes"

GOOGLE_ADS = "google-ads-34.0.0.json"
TIKTOK = "tiktok-business-api-sdk-official-1.1.3.json"


def google_ads() -> dict[str, list[str]]:
    """The values of each family, without UNSPECIFIED and UNKNOWN."""
    found: dict[str, list[str]] = json.loads((LISTS / GOOGLE_ADS).read_text(encoding="utf-8"))
    return found


def tiktok() -> dict[str, int]:
    """Each code but that of success, by its name."""
    found: dict[str, int] = json.loads((LISTS / TIKTOK).read_text(encoding="utf-8"))
    return found


def extract(wheel: Path) -> dict[str, Any]:
    """The list of a wheel, by what is in it."""
    with ZipFile(wheel) as package:
        names = package.namelist()
        if found := [name for name in names if name.endswith("/tiktok_code.py")]:
            return _tiktok(package.read(found[0]).decode())
        errors = [name for name in names if re.search(r"/v\d+/errors/types/\w+\.py$", name)]
        newest = max((name.split("/")[3] for name in errors), key=lambda name: int(name[1:]))
        sources = [package.read(name).decode() for name in errors if f"/{newest}/" in name]
    return _google_ads(sources)


def _tiktok(source: str) -> dict[str, int]:
    codes = {
        one.targets[0].id: one.value.value
        for one in ast.walk(ast.parse(source))
        if isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Name)
        and isinstance(one.value, ast.Constant)
    }
    return {name: code for name, code in codes.items() if isinstance(code, int) and code}


def _google_ads(sources: list[str]) -> dict[str, list[str]]:
    """`ErrorCode` has a field for each family, whose type is an enum of another module."""
    values: dict[str, list[str]] = {}
    enum_of: dict[str, str] = {}
    for source in sources:
        for one in ast.walk(ast.parse(source)):
            if isinstance(one, ast.ClassDef) and one.name == "ErrorCode":
                enum_of |= dict(_families(one))
            elif isinstance(one, ast.ClassDef):
                values[one.name] = [
                    value.targets[0].id
                    for value in one.body
                    if isinstance(value, ast.Assign) and isinstance(value.targets[0], ast.Name)
                ]
    hidden = {"UNSPECIFIED", "UNKNOWN"}
    return {
        family: [value for value in values[enum] if value not in hidden]
        for family, enum in enum_of.items()
    }


def _families(error_code: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for one in error_code.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.value, ast.Call):
            enum = next(word.value for word in one.value.keywords if word.arg == "enum")
            first, *rest = ast.unparse(one.target).split("_")
            yield first + "".join(word.title() for word in rest), ast.unparse(enum).split(".")[-1]


def main(arguments: list[str]) -> None:
    """Writes the list of each wheel, a name or family on a line."""
    for wheel in map(Path, arguments):
        name, version, *_ = wheel.name.split("-")
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in extract(wheel).items()]
        target = LISTS / f"{name.replace('_', '-')}-{version}.json"
        target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
