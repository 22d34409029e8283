"""What a sync still has to read, and what happens to windows that cannot be read."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from workers.errors import (
    BrokenStreamError,
    MalformedAnswerError,
    PermanentError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)
from workers.metrics.windows import Width, Window, unread

# After that many failures in a row, the cause is the platform and not a day: narrowing a month down
# to its newest day takes six, and two further days fail.
MOST_FAILURES = 8

# Errors that a narrower window may avoid. A refusal and a limit apply to every window.
_NARROWED = (TransientError, TooMuchDataError, UnknownError, MalformedAnswerError)


class Agenda:
    """The days of a range, newest first, in windows as wide as the account allows.

    A window that fails is read in halves, down to single days, and these in smaller pages where
    that may help. A day that still fails is left out, as long as others can be read.
    """

    def __init__(
        self,
        whole: Window,
        read: Collection[date],
        width: Width,
        page_size: int,
        smallest_page: int,
        *,
        may_end: bool = False,
    ) -> None:
        """`read` are the days that need not be read, `width` is shared with the caller.

        `may_end`: the range may begin earlier than the platform keeps data, which it then refuses.
        """
        self.whole = whole
        self.width = width
        self.page_size = page_size
        # the days that could not be read, each with the reason
        self.left_out: dict[date, str] = {}
        # the newest day of which the platform no longer keeps anything
        self.edge: date | None = None
        self._smallest_page = smallest_page
        self._may_end = may_end
        self._done = set(read)
        self._halves: list[Window] = []
        self._failures = 0
        # while windows are read in halves: the width before, and whether a single day was at fault
        self._width_before: int | None = None
        self._is_one_day = False
        self._suspects: dict[date, WorkerError] = {}
        self._has_success = False

    @property
    def days_left(self) -> int:
        """How many days are still to be read."""
        return sum(window.width for window in unread(self.whole, self._done))

    def following(self, most: int) -> list[Window]:
        """The next windows, at most `most`; none when all is done. Raises the last error when no
        day could be read."""
        windows = list(reversed(self._halves))[:most]
        done = self._done.union(*(window.days for window in self._halves))
        while len(windows) < most and (missing := unread(self.whole, done)):
            windows.append(missing[0].newest(self.width.days))
            done.update(windows[-1].days)
        if not windows:
            self._conclude()
        return windows

    def succeeded(self, window: Window, rows_per_day: int) -> None:
        """The window was read and stored; none of its days had more rows than that."""
        self.width.read(rows_per_day)
        self._settle(window)
        self._failures = 0
        self._has_success = True
        self._confirm()

    def failed(self, window: Window, error: WorkerError) -> None:
        """The window could not be read. Raises the error where every other window would fail,
        too."""
        if self._may_end and _is_refusal(error):
            self._find_edge(window, error)
            return
        if not isinstance(error, _NARROWED):
            raise error
        if isinstance(error, TooMuchDataError | BrokenStreamError):
            self._width_before = self._width_before or self.width.days
            self.width.narrow(window.width)
        if window.width == 1 and self._smaller_pages_may_help(error):
            self.page_size = max(self._smallest_page, self.page_size // 2)
            return
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self._suspects.clear()
            raise error
        if window.width > 1:
            self._split(window)
        else:
            self._suspects[window.until] = error
            self._is_one_day = True
            self._settle(window)

    def _split(self, window: Window) -> None:
        newer = window.newest(window.width // 2)
        older = Window(window.since, window.days[window.width - newer.width - 1])
        if window in self._halves:
            self._halves.remove(window)
        self._halves += [older, newer]

    def _find_edge(self, window: Window, error: WorkerError) -> None:
        """What is refused may begin too long ago: a refused day that follows readable ones does,
        and so do all days before it."""
        if window.width > 1:
            self._split(window)
            return
        if not self._has_success:
            raise error
        self.edge = window.until
        self._halves = [half for half in self._halves if half.since > window.until]
        self._done.update(Window(self.whole.since, window.until).days)

    def _smaller_pages_may_help(self, error: WorkerError) -> bool:
        if self.page_size <= self._smallest_page:
            return False
        if isinstance(error, TooMuchDataError):
            return error.smaller_pages_help
        return isinstance(error, BrokenStreamError)

    def _settle(self, window: Window) -> None:
        self._done.update(window.days)
        if window in self._halves:
            self._halves.remove(window)
        if not self._halves:
            if self._is_one_day and self._width_before:
                self.width.days = self._width_before  # a day was at fault, not the width
            self._width_before, self._is_one_day = None, False

    def _confirm(self) -> None:
        """Other days can be read, so the cause is these days."""
        self.left_out |= {day: f"{error.code}: {error}" for day, error in self._suspects.items()}
        self._suspects.clear()

    def _conclude(self) -> None:
        if self._has_success:
            self._confirm()
        elif self._suspects:
            raise self._suspects[max(self._suspects)]


def _is_refusal(error: WorkerError) -> bool:
    return isinstance(error, PermanentError) and not isinstance(error, MalformedAnswerError)
