"""`make bench`: its speed, the best possible speed, and that of the original design."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence

from local.environment import isolate
from local.services.node import ensure_installed
from tests.benchmarks.figures import show
from tests.benchmarks.running import BENCHMARKS, in_parallel, one_by_one


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if all targets are met, else 1."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; available: {', '.join(BENCHMARKS)}")
    isolate()
    ensure_installed()
    names = list(options.names or BENCHMARKS)
    figures = in_parallel(names) if options.short else one_by_one(names)
    if options.json:
        print(json.dumps({"machine": _machine(), "figures": [one.as_json() for one in figures]}))
    else:
        show(figures)
    return 1 if any(figure.met is False for figure in figures) else 0


def _machine() -> dict[str, str | int | None]:
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")
    parser.add_argument(
        "--short", action="store_true", help="small sizes, only to check that everything works"
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"run these only, of: {', '.join(BENCHMARKS)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
