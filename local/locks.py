"""`make check-locks`: checks that every lock file can be installed wherever it has to be.

Packages are installed from wheels only, with the hashes of the lock. So each pin needs a wheel for
the system, processor and Python, and its hash in the lock. pyproject.toml says where the project is
supported (`required-environments`); the layer's lock must also work in Lambda. uv lists the wheels,
from its cache or, if that is incomplete, from the index.

In npm's lock, a package with a variant for each platform must list the supported ones.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
LAYER = ROOT / "layers" / "shared"
NPM_LOCK = ROOT / "local" / "services" / "package-lock.json"

# The oldest systems that wheels must run on.
GLIBC = 28  # 2.28: Debian 10, RHEL 8, Ubuntu 20.04
MACOS = (13, 0)
# The names of wheels before manylinux_2_N.
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

SYSTEMS = {"linux": "Linux", "darwin": "macOS"}
NPM_PROCESSORS = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}


class LockError(RuntimeError):
    """The wheels of a lock file could not be listed."""


@dataclass(frozen=True)
class Target:
    """A kind of machine with a version of Python."""

    system: str
    machine: str
    python: str
    glibc: int = GLIBC

    @property
    def platform(self) -> str:
        return f"{SYSTEMS[self.system]} {self.machine}"

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """The tags of wheels that can be installed there."""
        version = tuple(map(int, self.python.split(".")))
        interpreter = f"cp{self.python.replace('.', '')}"
        platforms = list(self._platforms())
        return frozenset(
            [
                *cpython_tags(version, [interpreter], platforms),
                *compatible_tags(version, interpreter, platforms),
            ]
        )

    def _platforms(self) -> Iterator[str]:
        if self.system == "darwin":
            yield from mac_platforms(MACOS, self.machine)
            return
        for minor in range(self.glibc, 4, -1):
            yield f"manylinux_2_{minor}_{self.machine}"
            if minor in LEGACY:
                yield f"{LEGACY[minor]}_{self.machine}"
        yield f"linux_{self.machine}"

    @cached_property
    def markers(self) -> dict[str, str]:
        """The values that a requirement's marker may test."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system.capitalize(),
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": self.system,
        }


def main() -> int:
    """The exit status: 0 if all can be installed, else 1."""
    targets = required_targets()
    locks = lock_files()
    of_layer = [*targets, lambda_target()]
    with ThreadPoolExecutor() as pool:
        found = list(
            pool.map(
                lambda lock: problems_of(lock, of_layer if lock.parent == LAYER else targets), locks
            )
        )
    found.append(npm_problems(NPM_LOCK.read_text(encoding="utf-8"), targets))
    problems = [problem for of_one in found for problem in of_one]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"All {len(found)} lock files can be installed on {_described(targets)}")
    return int(bool(problems))


def _described(targets: Sequence[Target]) -> str:
    pythons: defaultdict[str, list[str]] = defaultdict(list)
    for target in dict.fromkeys(targets):
        pythons[target.platform].append(target.python)
    places: defaultdict[str, list[str]] = defaultdict(list)
    for platform, versions in pythons.items():
        places[", ".join(versions)].append(platform)
    return "; ".join(
        f"{', '.join(platforms)} with Python {versions}" for versions, platforms in places.items()
    )


def required_targets(pyproject: Path = ROOT / "pyproject.toml") -> list[Target]:
    """Where pyproject.toml requires every lock to be installable."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["uv"]
    pattern = re.compile(
        r"sys_platform == '(\w+)' and platform_machine == '(\w+)' and python_version == '([\d.]+)'"
    )
    targets = []
    for environment in settings["required-environments"]:
        match = pattern.match(environment)
        if match is None:
            raise LockError(f"pyproject.toml requires an environment unknown here: {environment}")
        system, machine, python = match.groups()
        targets.append(Target(system, machine, python))
    return targets


def lambda_target() -> Target:
    """What the layer's recipe builds for."""
    recipe = (LAYER / "Makefile").read_text(encoding="utf-8")
    (python,) = re.findall(r"^PYTHON_VERSION \?= ([\d.]+)$", recipe, re.MULTILINE)
    found = re.findall(r"^PLATFORM \?= (\w+?)-manylinux_2_(\d+)$", recipe, re.MULTILINE)
    ((machine, glibc),) = found
    return Target("linux", machine, python, int(glibc))


def lock_files() -> list[Path]:
    """The compiled requirements: each is next to its `.in`."""
    sources = [
        *ROOT.glob("requirements-*.in"),
        *ROOT.glob("layers/*/requirements.in"),
        *ROOT.glob("server/requirements*.in"),
        *ROOT.glob("tests/*/requirements.in"),
    ]
    return sorted(source.with_suffix(".txt") for source in sources)


def problems_of(lock: Path, targets: Sequence[Target]) -> list[str]:
    """A line for each pin that cannot be installed everywhere it applies.

    Raises LockError, with uv's message, if it cannot list the wheels.
    """
    try:
        if not _problems_among(lock, packages_of(lock, offline=True), targets):
            return []
    except LockError:
        pass
    # uv's cache may be outdated or incomplete.
    return _problems_among(lock, packages_of(lock), targets)


@dataclass(frozen=True)
class Wheel:
    """A wheel in the index: the tags in its name, and its SHA-256."""

    tags: frozenset[Tag]
    digest: str


@dataclass(frozen=True)
class Package:
    """A pinned package, where it applies (None: everywhere), and its wheels in the index."""

    name: str
    version: str
    marker: Marker | None
    wheels: tuple[Wheel, ...]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Package:
        """Read an entry of pylock.toml: https://packaging.python.org/en/latest/specifications/pylock-toml/"""
        wheels = tuple(
            Wheel(parse_wheel_filename(one["url"].rpartition("/")[2])[3], one["hashes"]["sha256"])
            for one in entry.get("wheels", [])
        )
        marker = Marker(entry["marker"]) if "marker" in entry else None
        return cls(entry["name"], entry["version"], marker, wheels)

    def applies_to(self, target: Target) -> bool:
        """Whether it is installed there."""
        return self.marker is None or self.marker.evaluate(target.markers)


def packages_of(lock: Path, *, offline: bool = False) -> list[Package]:
    """The pinned packages with all wheels that the index has of them.

    Raises LockError, with uv's message, if it cannot list them.
    """
    command = [
        *(str(UV), "pip", "compile", str(lock.resolve()), "--quiet", "--universal", "--no-deps"),
        *("--python-version=3.11", f"--python={sys.executable}", "--only-binary=:all:"),
        *("--generate-hashes", "--format=pylock.toml", *(["--offline"] if offline else [])),
    ]
    # In another folder, so that this project's settings do not restrict what it lists.
    with tempfile.TemporaryDirectory() as elsewhere:
        listed = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    if listed.returncode != 0:
        raise LockError(f"uv cannot list the wheels of {lock}:\n{listed.stderr.strip()}")
    return list(map(Package.of, tomllib.loads(listed.stdout)["packages"]))


def _problems_among(
    lock: Path, packages: Sequence[Package], targets: Sequence[Target]
) -> list[str]:
    listed = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock.read_text(encoding="utf-8")))
    name = lock.relative_to(ROOT) if lock.is_relative_to(ROOT) else lock
    problems = []
    for package in packages:
        lacks: defaultdict[str, list[Target]] = defaultdict(list)
        for target in targets:
            if not package.applies_to(target):
                continue
            usable = [wheel for wheel in package.wheels if wheel.tags & target.tags]
            if not usable:
                lacks["has no wheel"].append(target)
            elif not any(wheel.digest in listed for wheel in usable):
                lacks["has a wheel, but the lock does not list its hash,"].append(target)
        problems += [
            f"{name}: {package.name} {package.version} {what} for {_described(where)}"
            for what, where in lacks.items()
        ]
    return problems


def npm_problems(lock: str, targets: Sequence[Target]) -> list[str]:
    """A line for each platform-specific package that lacks one of our platforms in npm's lock.

    npm can leave out other platforms when it writes a lock next to an existing node_modules.
    """
    packages = json.loads(lock)["packages"]
    ours = {(each.system, NPM_PROCESSORS[each.machine]) for each in targets}
    problems = []
    for place, package in packages.items():
        has = set()
        for name in package.get("optionalDependencies", {}):
            nested, hoisted = f"{place}/node_modules/{name}", f"node_modules/{name}"
            variant = packages.get(nested) or packages.get(hoisted) or {}
            has |= set(product(variant.get("os", []), variant.get("cpu", [])))
        name = place.removeprefix("node_modules/")
        problems += [
            f"package-lock.json: {name} has nothing for {system} {cpu}"
            for system, cpu in sorted(ours - has if has else [])
        ]
    return problems


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LockError as error:
        sys.exit(f"{error}\nIf only pip knows your mirror, set UV_DEFAULT_INDEX to it.")
