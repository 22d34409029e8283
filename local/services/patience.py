"""How long to wait for another process: for as long as it makes progress.

On a busy machine anything may take many times as long as usual, so a limit in seconds is either too
short there or too long elsewhere. A hanging process uses no processor time; a slow one does. A
process that works without end is given up as well, much later.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

POLL_SECONDS = 0.5
LONGEST = 20.0
_TICKS = 100.0


class Process(NamedTuple):
    """A process: its parent, the letter of its state, and the processor time in seconds that it and
    its ended children have used."""

    parent: int
    state: str
    used: float


class Patience:
    """Over once the process `pid` and its descendants have used no processor time for `seconds`, or
    after `LONGEST` times as long in any case."""

    def __init__(
        self,
        seconds: float,
        pid: int,
        *,
        now: Callable[[], float] = time.monotonic,
        used: Callable[[int], float] | None = None,
    ) -> None:
        self._seconds, self._pid, self._now = seconds, pid, now
        self._used = used or used_below
        self._begun = self._polled = self._moved = now()
        self._last = -1.0

    @property
    def is_over(self) -> bool:
        now = self._now()
        if now - self._polled >= POLL_SECONDS:
            self._polled = now
            used = self._used(self._pid)
            if used != self._last:
                self._last, self._moved = used, now
        still = now - self._moved
        return still > self._seconds or now - self._begun > LONGEST * self._seconds


def used_below(pid: int) -> float:
    """The processor time, in seconds, of a process and all that it has started."""
    table = process_table()
    below = {pid}
    while more := {one for one, process in table.items() if process.parent in below} - below:
        below |= more
    return sum(table[one].used for one in below if one in table)


def process_table() -> dict[int, Process]:
    """Every process, by its id."""
    if platform.system() == "Linux":  # minimal machines may have no ps
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended in the meantime
                # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
                pid, _, rest = stat.read_text().partition(" (")
                fields = rest.rpartition(") ")[2].split()
                used = sum(map(int, fields[11:15])) / _TICKS
                found[int(pid)] = Process(int(fields[1]), fields[0], used)
        return found
    listed = subprocess.run(
        ["/bin/ps", "-axo", "pid=,ppid=,stat=,time="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split() for line in listed.splitlines())
    return {
        int(pid): Process(int(parent), state[0], _seconds(clock))
        for pid, parent, state, clock in rows
    }


def _seconds(clock: str) -> float:
    """Seconds of "[[days-]hours:]minutes:seconds", as ps prints times."""
    days, _, rest = clock.rpartition("-")
    total = 0.0
    for part in rest.split(":"):
        total = total * 60 + float(part.replace(",", "."))
    return total + 86_400 * float(days or 0)
