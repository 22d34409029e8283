"""The index at the top of template.yaml says what is in it, in its order."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATE = (Path(__file__).resolve().parents[2] / "template.yaml").read_text(encoding="utf-8")


def index() -> list[str]:
    """The names in the index: sections, and the first resource of each part."""
    head = TEMPLATE.partition("\nAWSTemplateFormatVersion")[0]
    lines = re.findall(r"^# {3,}([A-Z]\w+(?:, [A-Z]\w+)*)", head, re.MULTILINE)
    return [name for line in lines for name in line.split(", ")]


def keys(indent: str) -> list[str]:
    return re.findall(rf"^{indent}([A-Z]\w+):", TEMPLATE, re.MULTILINE)


def test_every_name_stands_in_the_template_in_this_order() -> None:
    places = [re.search(rf"^(?:  )?{name}:", TEMPLATE, re.MULTILINE) for name in index()]
    starts = [place.start() for place in places if place]
    assert len(starts) == len(index()) > 12
    assert starts == sorted(starts)


def test_no_section_and_no_function_is_missing() -> None:
    sections = set(keys("")) - {"AWSTemplateFormatVersion", "Transform", "Description"}
    functions = {name for name in keys("  ") if re.fullmatch(r"\w+Function", name)}
    assert sections | functions <= set(index())
