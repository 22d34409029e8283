"""In place of SQS and Lambda between the function that plans and the one that works.

The planning function sends to a fake SQS. Then each message goes once to the working function,
several at a time. As with Lambda's containers, each process serves one message after the other.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

from local.fakes.sqs import FakeSqs, md5, queue_url
from local.http_server import HttpServer
from local.stack import ROOT
from workers.settings import Settings

# The function that handles the messages of a planning function.
CONSUMERS = {"metrics_sync": "connection_sync"}

PROCESSES_PER_CORE = 2

# For signing requests to the fake; the developer's own credentials are not used.
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
_OTHER_CREDENTIALS = frozenset({"AWS_PROFILE", "AWS_SESSION_TOKEN"})


@dataclass(frozen=True)
class LocalQueue:
    """A fake SQS with one queue."""

    server: HttpServer

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """`environment` for a function that sends to this queue."""
        region = environment["AWS_REGION"]
        queue = {
            "AWS_DEFAULT_REGION": environment.get("AWS_DEFAULT_REGION") or region,
            "AWS_ENDPOINT_URL_SQS": self.server.url,
            "SYNC_QUEUE_URL": queue_url(self.server),
        }
        if environment.get(
            "WORKERS_SECRET_NAME"
        ):  # the secret is read with the developer's credentials
            return {**environment, **queue}
        rest = {
            name: value for name, value in environment.items() if name not in _OTHER_CREDENTIALS
        }
        return {**rest, **queue, **_CREDENTIALS}

    def events(self, region: str) -> list[dict[str, Any]]:
        """The events that Lambda would make of the messages in the queue: one for each."""
        return [sqs_event(message, region) for message in self.server.app.state()]


def local_queue() -> LocalQueue:
    """This process's queue, emptied."""
    server = _server()
    server.reset()
    return LocalQueue(server)


@cache
def _server() -> HttpServer:
    # one for all invocations, because a function's cached clients keep the URL
    server = HttpServer(FakeSqs())
    server.start()
    return server


def sqs_event(message: Mapping[str, Any], region: str) -> dict[str, Any]:
    """The event in which Lambda passes one message of the fake, on its first receipt.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    sent = str(int(message["sent_at"] * 1000))
    record = {
        "messageId": message["id"],
        "receiptHandle": uuid.uuid4().hex,
        "body": message["body"],
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": sent,
            "SenderId": "AROALOCAL:local",
            "ApproximateFirstReceiveTimestamp": sent,
        },
        "messageAttributes": {},
        "md5OfBody": md5(message["body"]),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{region}:123456789012:local",
        "awsRegion": region,
    }
    return {"Records": [record]}


def distribute(
    events: Sequence[Mapping[str, Any]], function: str, environment: Mapping[str, str], log: int
) -> dict[str, int]:
    """Pass every event once to the function, with `environment`; its logs go to the descriptor
    `log`. Returns how many of the messages it handled, and how many failed."""
    waiting: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
    for event in events:
        waiting.put(event)
    failed = 0
    if size := _size(len(events), environment):
        # the containers end first, which ends the threads that wait for their answers
        with (
            ThreadPoolExecutor(size) as workers,
            _Containers(function, environment, log) as started,
        ):
            running = [workers.submit(_work, waiting, started) for _ in range(size)]
            failed = sum(one.result() for one in running)
    return {"messages_handled": len(events) - failed, "messages_failed": failed}


def _size(events: int, environment: Mapping[str, str]) -> int:
    """How many containers: as many as in AWS, but no more than this machine can use."""
    allowed = environment.get("METRICS_CONCURRENCY") or Settings.metrics_concurrency
    return min(events, int(float(allowed)), PROCESSES_PER_CORE * (os.cpu_count() or 1))


def _work(waiting: SimpleQueue[Mapping[str, Any]], containers: _Containers) -> int:
    """Have one event after another handled; returns how many failed."""
    failed = 0
    container: _Container | None = None
    while True:
        try:
            event = waiting.get_nowait()
        except Empty:
            return failed
        if container is None or container.ended:  # as Lambda does after a crash
            container = containers.start()
        failed += not container.handle(event)


class _Containers:
    """The processes of one function: a context manager that ends them all."""

    def __init__(self, function: str, environment: Mapping[str, str], log: int) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
        no_bytecode = ["-B"] if sys.dont_write_bytecode else []
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *no_bytecode, "-m", "local.lambda_process", function, str(log)],
                env={**environment, "PYTHONPATH": path},
                stdin=theirs.fileno(),
                pass_fds=(log,),
                start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone
            )
        self._lock = threading.Lock()
        self._started: list[_Container] = []
        self._closed = False

    def __enter__(self) -> _Containers:
        return self

    def __exit__(self, *exception: object) -> None:
        """End all of them at once, and wait until they have ended."""
        with self._lock:
            self._closed = True
        with suppress(ProcessLookupError, PermissionError):  # they ended by themselves
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._requests.close()
        for container in self._started:
            container.close()

    def start(self) -> _Container:
        """Start one more. Raises RuntimeError once they are being ended."""
        with self._lock:
            if self._closed:
                raise RuntimeError("containers are shutting down")
            ours, theirs = socket.socketpair()
            with theirs, suppress(OSError):  # if their process is gone, this one counts as ended
                socket.send_fds(self._requests, [b"+"], [theirs.fileno()])
            container = _Container(ours)
            self._started.append(container)
        return container


class _Container:
    """One process that handles one event after another; see `local.lambda_process`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rw", encoding="utf-8")
        self.ended = False

    def handle(self, event: Mapping[str, Any]) -> bool:
        """Whether the handler took every message of the event."""
        try:
            print(json.dumps(event), file=self._lines, flush=True)
            line = self._lines.readline()
        except OSError:
            line = ""
        self.ended = not line
        answer = json.loads(line or "null")
        return isinstance(answer, dict) and not answer.get("batchItemFailures")

    def close(self) -> None:
        """Wait until its process, which is stopping, has ended."""
        with suppress(OSError):
            while self._connection.recv(1 << 16):
                pass
        with suppress(OSError):  # what it never read
            self._lines.close()
        self._connection.close()
