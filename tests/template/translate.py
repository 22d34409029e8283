"""Prints the plain CloudFormation that SAM makes of a template, as JSON.

Run with the Python that has sam: `.venv-sam/bin/python tests/template/translate.py template.yaml`.
With `-` behind that it reads parameters from stdin, a JSON object a line, and prints a line for
each: to load sam takes far longer than to translate. Needs neither network nor credentials.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    """Stands in for the lookup of AWS managed policies by name: the template uses none."""

    def load(self) -> dict[str, str]:
        return {}


def translate(template: Path, parameters: Mapping[str, str]) -> dict[str, Any]:
    source = yaml_parse(template.read_text())
    for resource in source["Resources"].values():
        for key in ("CodeUri", "ContentUri"):
            if key in resource.get("Properties", {}):
                # What packaging would put there: only uploaded code can be translated.
                resource["Properties"][key] = f"s3://bucket/{resource['Properties'][key]}"
    return transform(source, dict(parameters), NoManagedPolicies())


if __name__ == "__main__":
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
    if sys.argv[2:] == ["-"]:
        for line in sys.stdin:
            print(json.dumps(translate(Path(sys.argv[1]), json.loads(line))), flush=True)
    else:
        json.dump(translate(Path(sys.argv[1]), {}), sys.stdout, indent=2)
