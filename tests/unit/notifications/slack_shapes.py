"""The shapes of Slack's own types for blocks, as its package for TypeScript declares them.

`python -m tests.unit.notifications.slack_shapes FOLDER` writes slack_block_shapes.json from an
unpacked https://www.npmjs.com/package/@slack/types: the fields of each interface, with the type of
each and whether it is optional.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

SHAPES = Path(__file__).with_name("slack_block_shapes.json")
# What our messages are made of, and the list of all blocks.
WANTED = ("SectionBlock", "TextObject", "MrkdwnElement", "PlainTextElement", "KnownBlock")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_INTERFACE = re.compile(
    r"^(?:export )?interface (\w+)(?: extends ([\w, ]+))? \{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_FIELD = re.compile(r"^    (\w+)(\?)?: (.+);$", re.MULTILINE)
_ALIAS = re.compile(r"^(?:export )?type (\w+) = ([^;]+);", re.MULTILINE)


def declared(folder: Path) -> dict[str, Any]:
    """{"version", "interfaces": {name: {field: [type, is optional]}}, "aliases": {name: type}} for
    those that are WANTED, including the fields of what they extend."""
    source = "\n".join(
        _COMMENT.sub("", path.read_text(encoding="utf-8"))
        for path in sorted((folder / "dist" / "block-kit").glob("*.d.ts"))
    )
    found = {
        name: (bases, {field: [kind, bool(mark)] for field, mark, kind in _FIELD.findall(body)})
        for name, bases, body in _INTERFACE.findall(source)
    }
    interfaces = {}
    for name in WANTED:
        if name in found:
            bases, own = found[name]
            inherited = [found[base.strip()][1] for base in bases.split(",") if base.strip()]
            interfaces[name] = {
                key: kind for fields in (*inherited, own) for key, kind in fields.items()
            }
    aliases = {
        name: " ".join(kind.split()) for name, kind in _ALIAS.findall(source) if name in WANTED
    }
    version = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    return {"version": version, "interfaces": interfaces, "aliases": aliases}


def misfits(value: Any, kind: str, shapes: dict[str, Any], where: str = "") -> list[str]:
    """The places at which a JSON value does not have a declared type."""
    kind = shapes["aliases"].get(kind, kind)
    if " | " in kind:
        each = [misfits(value, one.strip(), shapes, where) for one in kind.split(" | ")]
        return min(each, key=len)
    if kind.endswith("[]"):
        if not isinstance(value, list):
            return [f"{where} is not a list"]
        return [
            flaw
            for at, one in enumerate(value)
            for flaw in misfits(one, kind[:-2], shapes, f"{where}/{at}")
        ]
    if kind in shapes["interfaces"]:
        return _misfits_of_object(value, shapes["interfaces"][kind], shapes, where)
    if kind.startswith("'"):
        return [] if value == kind.strip("'") else [f"{where} is not {kind}"]
    simple: type | None = {"string": str, "boolean": bool}.get(kind)
    if simple is None:
        return [f"{where}: {kind} is not recorded in {SHAPES.name}"]
    return [] if isinstance(value, simple) else [f"{where} is no {kind}"]


def _misfits_of_object(
    value: Any, fields: dict[str, Any], shapes: dict[str, Any], where: str
) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is not an object"]
    flaws = [f"{where}/{key} is not a field of it" for key in value if key not in fields]
    for key, (kind, may_be_left_out) in fields.items():
        if key in value:
            flaws += misfits(value[key], kind, shapes, f"{where}/{key}")
        elif not may_be_left_out:
            flaws.append(f"{where}/{key} is missing")
    return flaws


if __name__ == "__main__":
    shapes = json.dumps(declared(Path(sys.argv[1])), indent=1)
    SHAPES.write_text(f"{shapes}\n", encoding="utf-8")
