"""One run of the notification function in a process of its own, timed from within.

The last line on stdout is {"imported", "seconds", "summary"}: the seconds from the start of
this module until the function's modules were loaded, and from the handler's call to its return.
"""

from __future__ import annotations

import json
import runpy
import sys
import time

from local.invoke import Context, read_event
from local.stack import ROOT

FUNCTION = "notifications"


def main(timeout: float) -> None:
    """Call the handler, as cold as Lambda would, with `timeout` seconds to go."""
    event = read_event(FUNCTION, None)
    started = time.monotonic()
    handler = runpy.run_path(str(ROOT / "functions" / FUNCTION / "app.py"))["lambda_handler"]
    imported = time.monotonic() - started

    context = Context(FUNCTION, timeout, memory_limit_in_mb=512)
    started = time.monotonic()
    summary = handler(event, context)
    seconds = time.monotonic() - started
    print(json.dumps({"imported": imported, "seconds": seconds, "summary": summary}))


if __name__ == "__main__":
    main(float(sys.argv[1]))
