"""One run of a function in its own process, timed from within.

`python -m tests.benchmarks.one_run FUNCTION TIMEOUT` reads the event from stdin; empty means
the function's sample. The last line on stdout is {"imported", "seconds", "peak", "summary"}:
the seconds from the start of this module until the function's modules were loaded, those from
the handler's call to its return, and the process's peak memory by then, in MB.
"""

from __future__ import annotations

import json
import re
import resource
import runpy
import sys
import time
from pathlib import Path

from local.invoke import Context, read_event
from local.stack import ROOT

STATUS = Path("/proc/self/status")
KILOBYTES_PER_MB = 1024


def main(function: str, timeout: float) -> None:
    """Call the handler as in a cold start on Lambda, with `timeout` seconds left."""
    given = sys.stdin.read()
    event = json.loads(given) if given else read_event(function, None)
    started = time.monotonic()
    handler = runpy.run_path(str(ROOT / "functions" / function / "app.py"))["lambda_handler"]
    imported = time.monotonic() - started

    context = Context(function, timeout, memory_limit_in_mb=512)
    started = time.monotonic()
    summary = handler(event, context)
    seconds = time.monotonic() - started
    result = {"imported": imported, "seconds": seconds, "peak": peak_memory(), "summary": summary}
    print(json.dumps(result))


def peak_memory() -> float:
    """The peak memory of this process, in MB."""
    if STATUS.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())):
        return int(found[1]) / KILOBYTES_PER_MB
    # on Linux this is at least the memory of the process that started this one
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES_PER_MB


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
