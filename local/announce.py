"""`python -m local.announce PART WHAT LOCK [--with-dev]`: one line of an install's progress.

The Makefile calls it before each part, the first time before anything else is installed.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from pathlib import Path

PROCESSORS = {"x86_64": "x64", "aarch64": "arm64"}  # as npm calls them


def main(arguments: list[str] | None = None) -> None:
    """Print which part of how many starts, and its number of packages."""
    parser = argparse.ArgumentParser(prog="python -m local.announce", description=__doc__)
    parser.add_argument("part", help="such as 2/4, or empty for a separate part")
    parser.add_argument("what")
    parser.add_argument("lock", type=Path)
    parser.add_argument("--with-dev", action="store_true")
    options = parser.parse_args(arguments)
    text = options.lock.read_text(encoding="utf-8")
    count = npm_packages(text, options.with_dev) if options.lock.suffix == ".json" else wheels(text)
    part = f"[{options.part}] " if options.part else ""
    packages = "1 package" if count == 1 else f"{count} packages"
    print(f"{part}{options.what}: {packages} ({options.lock})", flush=True)


def wheels(lock: str) -> int:
    """How many packages a requirements lock has, without those for Windows."""
    pins = re.findall(r"^([\w.-]+)==(.*)", lock, re.MULTILINE)
    return len({name for name, rest in pins if "sys_platform == 'win32'" not in rest})


def npm_packages(lock: str, with_dev: bool) -> int:
    """How many packages `npm ci` installs here."""
    machine = platform.machine()
    here = {"os": sys.platform, "cpu": PROCESSORS.get(machine, machine)}
    return sum(
        1
        for place, package in json.loads(lock)["packages"].items()
        if place
        and (with_dev or not package.get("dev"))
        and all(value in package.get(key, [value]) for key, value in here.items())
    )


if __name__ == "__main__":
    main()
