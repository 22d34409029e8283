"""What a deployment with given parameters makes of the template."""

from __future__ import annotations

import atexit
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SAM_PYTHON = ROOT / ".venv-sam" / "bin" / "python"

Resource = dict[str, Any]

# What a deployment has to give, and no default could.
NEEDED = {"SupabaseUrl": "https://abcdefghij.supabase.co"}

ACCOUNT = {
    "AWS::StackName": "agency",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
# Of a property that is left out.
_NO_VALUE = object()


@dataclass(frozen=True)
class Deployed:
    """`template` is valid CloudFormation without conditions. In `resources` and `outputs` all
    functions are resolved: a resource's Ref is <Name>, its attribute <Name.Attribute>."""

    template: dict[str, Any]
    resources: dict[str, Any]
    outputs: dict[str, Any]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        return of_type(self.resources, kind)


def of_type(resources: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource.get("Properties", {})
        for name, resource in resources.items()
        if resource["Type"] == kind
    }


def functions(resources: Resource) -> dict[str, Resource]:
    return of_type(resources, "AWS::Lambda::Function")


def folder(logical_id: str) -> str:
    """The folder of a function: MetricsSyncFunction lives in functions/metrics_sync."""
    words = re.findall(r"[A-Z][a-z0-9]*", logical_id.removesuffix("Function"))
    return "_".join(words).lower()


@cache
def _translator() -> subprocess.Popen[str]:
    """The process that translates, until this one ends."""
    process = subprocess.Popen(
        [SAM_PYTHON, Path(__file__).with_name("translate.py"), ROOT / "template.yaml", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process


@cache
def _translated(parameters: tuple[tuple[str, str], ...]) -> str:
    process = _translator()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(dict(parameters)) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, f"sam refuses the template with {parameters}: see above"
    return answer


def translated(**parameters: str) -> dict[str, Any]:
    """The template in plain CloudFormation, as SAM translates it for these parameters."""
    return dict(json.loads(_translated(tuple(sorted(parameters.items())))))


@cache
def deployed(**parameters: str) -> Deployed:
    """What is there with these parameters and the defaults of the rest; not to be changed."""
    template = translated(**parameters)
    values = {
        name: str(parameter["Default"])
        for name, parameter in template["Parameters"].items()
        if "Default" in parameter
    }
    chosen = NEEDED | parameters
    values |= chosen
    resolver = _Resolver(values, template)
    kept = {
        **template,
        "Resources": resolver.chosen(resolver.present(template["Resources"])),
        "Outputs": resolver.chosen(resolver.present(template["Outputs"])),
        "Parameters": {
            name: {**parameter, "Default": chosen[name]} if name in chosen else parameter
            for name, parameter in template["Parameters"].items()
        },
    }
    del kept["Conditions"]
    resolver.resources = kept["Resources"]
    return Deployed(kept, resolver.resolve(kept["Resources"]), resolver.resolve(kept["Outputs"]))


class _Resolver:
    """CloudFormation's functions, as far as the template uses them."""

    def __init__(self, parameters: Mapping[str, str], template: Mapping[str, Any]) -> None:
        self._values = {**ACCOUNT, **parameters}
        self._conditions = template["Conditions"]
        self._mappings = template["Mappings"]
        self.resources: Mapping[str, Any] = {}

    def present(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """What of a section's entries there is, without their conditions."""
        return {
            name: self.chosen({key: value for key, value in entry.items() if key != "Condition"})
            for name, entry in section.items()
            if "Condition" not in entry or self.holds({"Condition": entry["Condition"]})
        }

    def chosen(self, value: Any) -> Any:
        """The same with one branch of each Fn::If."""
        match value:
            case {"Fn::If": [condition, yes, no]}:
                return self.chosen(yes if self.holds({"Condition": condition}) else no)
            case {"Ref": "AWS::NoValue"}:
                return _NO_VALUE
            case dict():
                found = {key: self.chosen(each) for key, each in value.items()}
                return {key: each for key, each in found.items() if each is not _NO_VALUE}
            case list():
                return [each for each in map(self.chosen, value) if each is not _NO_VALUE]
        return value

    def holds(self, condition: Any) -> bool:
        ((function, argument),) = condition.items()
        match function:
            case "Condition":
                return self.holds(self._conditions[argument])
            case "Fn::Equals":
                left, right = (self.resolve(side) for side in argument)
                return bool(left == right)
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(self.holds(each) for each in argument)
        raise NotImplementedError(function)

    def resolve(self, value: Any) -> Any:
        match value:
            case {"Ref": name}:
                return self._named(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._named(f"{name}.{attribute}")
            case {"Fn::Sub": [text, own]}:
                return self._filled(text, {name: self.resolve(each) for name, each in own.items()})
            case {"Fn::Sub": text}:
                return self._filled(text, {})
            case {"Fn::FindInMap": [name, first, second]}:
                return self._mappings[name][self.resolve(first)][self.resolve(second)]
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self.resolve(part) for part in parts)
            case dict():
                assert not any(key.startswith("Fn::") for key in value), value
                return {key: self.resolve(each) for key, each in value.items()}
            case list():
                return [self.resolve(each) for each in value]
        return value

    def _filled(self, text: str, own: Mapping[str, Any]) -> str:
        def fill(found: re.Match[str]) -> str:
            name = found[1]
            return str(own[name]) if name in own else self._named(name)

        return re.sub(r"\$\{([^!}]+)\}", fill, text)

    def _named(self, name: str) -> str:
        if name in self._values:
            return self._values[name]
        resource = name.partition(".")[0]
        assert resource in self.resources, f"{resource} is not deployed"
        return f"<{name}>"
