"""`python -m local.lambda_process FUNCTION LOG`: processes that handle events as Lambda's
containers do: each loads the function once and handles one event after another.

Stdin is a socket. Each file descriptor received through it is the socket of a new container, for
which a process is forked. That saves repeating the imports, most of a container's start-up time.

A container receives events as lines of JSON, and answers each with a line of JSON: what the handler
returned, or null if it raised. Logs and exceptions go to the file descriptor LOG. A process ends
with its socket, so none outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

from local.invoke import STDOUT, load, new_context

STDIN = 0


def main(function: str, log: int) -> None:
    """Start containers until stdin ends."""
    with socket.socket(fileno=os.dup(STDIN)) as orders:
        os.dup2(os.open(os.devnull, os.O_RDONLY), STDIN)
        os.dup2(log, STDOUT)
        load(function)  # for its imports
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for containers that ended
        while descriptors := socket.recv_fds(orders, 1, 1)[1]:
            if os.fork() == 0:
                orders.close()
                _serve(function, descriptors[0])
                os._exit(0)
            os.close(descriptors[0])


def _serve(function: str, descriptor: int) -> None:
    """Be a container."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    handler = load(function).lambda_handler
    with (
        socket.socket(fileno=descriptor) as events,
        events.makefile("rw", encoding="utf-8") as lines,
    ):
        for line in lines:
            answer = _answer(handler, function, json.loads(line))
            sys.stdout.flush()
            print(answer, file=lines, flush=True)


def _answer(handler: Any, function: str, event: Any) -> str:
    try:
        return json.dumps(handler(event, new_context(function)))
    except Exception:  # noqa: BLE001 - Lambda logs what the handler raised, and continues
        traceback.print_exc(file=sys.stdout)
        return "null"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
