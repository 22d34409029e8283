"""Ties child processes and their directory to the life of the process that started them.

A `Tether` starts one supervisor process. The supervisor makes a private temporary directory,
starts children on request, and holds the read end of a pipe whose write end only the parent
has. When that pipe closes, whether by `close()`, by Ctrl-C, by a crash or by SIGKILL of the
parent, the kernel notifies the supervisor, which then stops the children, last started first, and
removes the directory. So there is one way to stop, and it cannot be skipped.

The supervisor is this file run as a script. It uses only the standard library and runs without
`site`, so it starts in about ten milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from local.services.patience import Patience

DIRECTORY_PREFIX = "agency-stack-"
STOP_GRACE_SECONDS = 5.0
POLL_SECONDS = 0.01

T = TypeVar("T")


class TetherError(RuntimeError):
    """A child could not be started, ended early or was not ready in time."""


class Child:
    """A process under the supervisor; its output goes to a file in the tether's directory."""

    def __init__(self, tether: Tether, name: str, pid: int, log: Path) -> None:
        self._tether = tether
        self.name = name
        self.pid = pid
        self.log = log

    def exit_code(self) -> int | None:
        """The exit status, or None while the child runs."""
        code = self._tether.ask({"poll": self.name})["code"]
        return None if code is None else int(code)

    def stop(self) -> int:
        """Stop the child now and return its exit status; harmless if it has already ended."""
        return int(self._tether.ask({"stop": self.name})["code"])

    def output(self) -> str:
        """What the child has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait(self, timeout: float) -> int:
        """Wait for the child to end by itself; returns its exit status.

        Raises TetherError when it has been idle for `timeout` seconds; see `Patience`.
        """
        patience = self._patience(timeout)
        while (code := self.exit_code()) is None:
            self._check(patience, "did not end")
            time.sleep(POLL_SECONDS)
        return code

    def wait_until(self, ready: Callable[[], T | None], timeout: float) -> T:
        """Poll `ready` until it returns something other than None, and return that.

        Raises TetherError, with the end of the child's output, when the child ends first or has
        been idle for `timeout` seconds; see `Patience`.
        """
        patience = self._patience(timeout)
        while (value := ready()) is None:
            if (code := self.exit_code()) is not None:
                raise TetherError(f"{self.name} ended with status {code}: {self._last_output()}")
            self._check(patience, "was not ready")
            time.sleep(POLL_SECONDS)
        return value

    def _patience(self, seconds: float) -> Patience:
        # not at the top: the supervisor, which runs this file alone, could not import it
        from local.services.patience import Patience

        return Patience(seconds, self.pid)

    def _check(self, patience: Patience, what: str) -> None:
        if patience.is_over:
            raise TetherError(f"{self.name} {what} and is idle: {self._last_output()}")

    def _last_output(self) -> str:
        return self.output()[-2000:].strip() or "(no output)"


class Tether:
    """The parent's side: a context manager that starts children, which cannot outlive it."""

    def __init__(self, root: Path | None = None) -> None:
        """Start the supervisor; its directory is made below `root` (default: the system's)."""
        self._lock = threading.Lock()
        script = str(Path(__file__).resolve())
        base = str(root or tempfile.gettempdir())
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", script, base],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone
        )
        self.pid = self._process.pid
        try:
            self.directory = Path(self._read()["directory"])
        except BaseException:
            self.close()
            raise

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        owner: tuple[int, int] | None = None,
    ) -> Child:
        """Start `command` as a child called `name`, with exactly the environment `env`.

        `owner` is the (uid, gid) to run as, for a parent that is root. Raises TetherError when
        the program cannot be started.
        """
        log = self.directory / f"{name}.log"
        request = {
            "start": name,
            "command": [str(part) for part in command],
            "env": dict(env),
            "cwd": str(cwd or "/"),
            "signal": int(stop_signal),
            "owner": owner,
            "log": str(log),
        }
        return Child(self, name, int(self.ask(request)["pid"]), log)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request to the supervisor and return its answer."""
        with self._lock:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            except (OSError, ValueError) as error:
                raise TetherError("the supervisor is gone") from error
            return self._read()

    def close(self) -> None:
        """Stop all children, remove the directory and wait until that is done."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Tether:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise TetherError("the supervisor ended unexpectedly")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise TetherError(answer["error"])
        return answer


# What follows runs in the supervisor.


class _Supervised:
    def __init__(self, process: subprocess.Popen[bytes], stop_signal: int) -> None:
        self.process = process
        self._signal = stop_signal

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(self._signal)
            try:
                self.process.wait(STOP_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill()
        return self.process.wait()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class _Supervisor:
    def __init__(self) -> None:
        self._children: dict[str, _Supervised] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "start" in request:
            return self._start(request)
        if "poll" in request:
            return {"code": self._children[request["poll"]].process.poll()}
        return {"code": self._children[request["stop"]].stop()}

    def stop_all(self) -> None:
        for child in reversed(list(self._children.values())):
            child.stop()

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        owner: dict[str, Any] = {}
        if request["owner"]:
            uid, gid = request["owner"]
            owner = {"user": uid, "group": gid, "extra_groups": []}
        with open(request["log"], "ab") as log:
            process = subprocess.Popen(
                request["command"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **owner,
            )
        self._children[request["start"]] = _Supervised(process, request["signal"])
        return {"pid": process.pid}


def _serve(requests: IO[str], answers: IO[str], directory: str) -> None:
    supervisor = _Supervisor()
    try:
        print(json.dumps({"directory": directory}), file=answers, flush=True)
        for line in requests:
            try:
                answer = supervisor.answer(json.loads(line))
            except (OSError, subprocess.SubprocessError) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), file=answers, flush=True)
    except BrokenPipeError:
        pass  # the parent ended while an answer was being sent
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing may interrupt what follows
        supervisor.stop_all()


def _supervise(base: str) -> None:
    # SIGTERM is treated like the end of the parent.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    directory = tempfile.mkdtemp(prefix=DIRECTORY_PREFIX, dir=base)
    try:
        # A child that dropped root must reach what it owns here; the names cannot be listed.
        os.chmod(directory, 0o711)
        _serve(sys.stdin, sys.stdout, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _supervise(sys.argv[1])
    # The interpreter's shutdown would try to flush a pipe that is no longer read.
    os._exit(0)
