"""Reads windows ahead of their storing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Self

from workers.errors import (
    ConnectionCredentialsError,
    MalformedAnswerError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    WorkerError,
)
from workers.metrics.facts import Named
from workers.metrics.matching import WindowRows
from workers.metrics.platforms.fetching import Reader
from workers.metrics.windows import ROWS_PER_WINDOW, Window

# At most that many requests are in flight: each window is read by its own thread, page by page.
AT_ONCE = 4

_NOTHING = object()


def most_held(rows: int) -> int:
    """How many windows with that many rows to hold at once, read or being read: those in flight,
    and the one that is being stored. Memory holds no more rows than windows of the usual size have
    altogether."""
    most = AT_ONCE + 1
    return max(1, min(most, most * ROWS_PER_WINDOW // max(rows, 1)))


class ReadAhead:
    """Windows that are read, or being read, before their turn comes. Stops reading at exit."""

    def __init__(self, reader: Reader, named: Named) -> None:
        """`named` is what is stored."""
        self._reader = reader
        self._named = named
        self._given_up = Event()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="window")
        self._in_flight: dict[tuple[Window, int], Future[WindowRows]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._given_up.set()
        self._threads.shutdown(cancel_futures=True)

    def read(
        self, windows: Sequence[Window], page_size: int, meanwhile: Iterator[None]
    ) -> WindowRows:
        """The first of `windows`, while the others are being read. Raises what reading it raised.
        Until it is there, takes one step of `meanwhile` after the other."""
        wanted = [(window, page_size) for window in windows]
        for one in [one for one in self._in_flight if one not in wanted]:
            self._in_flight.pop(one).cancel()
        for one in wanted:
            if one not in self._in_flight:
                self._in_flight[one] = self._threads.submit(self._read, *one)
        first = self._in_flight.pop(wanted[0])
        while not first.done() and next(meanwhile, _NOTHING) is not _NOTHING:
            pass
        return first.result()

    def _read(self, window: Window, page_size: int) -> WindowRows:
        found = WindowRows(window, self._named)
        for report in self._reader.reports:
            try:
                for page in self._reader.pages(window, page_size, self._given_up, report):
                    found.add(page.rows, is_in_total=report.is_in_total)
                    found.add_total(page.spent)
            except (RateLimitedError, ConnectionCredentialsError, SharedCredentialsError):
                raise
            except WorkerError as error:
                is_refused = report.may_be_refused and isinstance(error, PermanentError)
                if not report.is_total and (
                    not is_refused or isinstance(error, MalformedAnswerError)
                ):
                    raise
                found.leave_out(report.name, report.kinds, error)
        found.end()
        return found
