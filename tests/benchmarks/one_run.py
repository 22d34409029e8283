"""One run of a function in a process of its own, timed from within.

`python -m tests.benchmarks.one_run FUNCTION TIMEOUT` reads the event from stdin: nothing stands
for the function's sample. The last line on stdout is {"imported", "seconds", "peak", "summary"}:
the seconds from the start of this module until the function's modules were loaded, those from
the handler's call to its return, and the most memory that the process had by then, in MB.
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
    """Call the handler, as cold as Lambda would, with `timeout` seconds to go."""
    given = sys.stdin.read()
    event = json.loads(given) if given else read_event(function, None)
    started = time.monotonic()
    handler = runpy.run_path(str(ROOT / "functions" / function / "app.py"))["lambda_handler"]
    imported = time.monotonic() - started

    context = Context(function, timeout, memory_limit_in_mb=512)
    started = time.monotonic()
    summary = handler(event, context)
    seconds = time.monotonic() - started
    told = {"imported": imported, "seconds": seconds, "peak": most_memory(), "summary": summary}
    print(json.dumps(told))


def most_memory() -> float:
    """The most that this process has had in memory at once, in MB."""
    if STATUS.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())):
        return int(found[1]) / KILOBYTES_PER_MB
    # on Linux this is never less than what the process that started this one had
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES_PER_MB


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
