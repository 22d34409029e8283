"""`python -m local.lambda_process FUNCTION LOG`: a process that handles events as one of Lambda's
containers does: the function is loaded once and handles one event after the other.

Events are lines of JSON on stdin; for each a line of JSON goes to stdout: what the handler
returned, or null where it raised. Logs, and what it raised, go to the file descriptor LOG. The
process ends with its stdin, so that it does not outlive the one that started it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from local.invoke import STDOUT, load, new_context


def main(function: str, log: int) -> None:
    """Serve until stdin ends."""
    with os.fdopen(os.dup(STDOUT), "w", encoding="utf-8") as answers:
        os.dup2(log, STDOUT)
        handler = load(function).lambda_handler
        for line in sys.stdin:
            answer = _answer(handler, function, json.loads(line))
            sys.stdout.flush()
            print(answer, file=answers, flush=True)


def _answer(handler: Any, function: str, event: Any) -> str:
    try:
        return json.dumps(handler(event, new_context(function)))
    except Exception:  # noqa: BLE001 - Lambda logs whatever the handler raised, and goes on
        traceback.print_exc(file=sys.stdout)
        return "null"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
