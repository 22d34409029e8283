"""Which days a sync reads, in which pieces."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workers.errors import PermanentError

# Rows that one window is meant to hold: some twenty pages, some twenty seconds.
ROWS_PER_WINDOW = 10_000
# Days read first of an account whose size is not known yet.
FIRST_WIDTH = 2

_DAY = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Window:
    """Days from `since` to `until`, both included. Raises ValueError when there is none."""

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise ValueError(f"{self.until} is before {self.since}")

    def __contains__(self, day: date) -> bool:
        return self.since <= day <= self.until

    def __str__(self) -> str:
        return f"{self.since} to {self.until}"

    @property
    def width(self) -> int:
        """How many days."""
        return (self.until - self.since).days + 1

    @property
    def days(self) -> list[date]:
        """Each day, oldest first."""
        return [self.since + number * _DAY for number in range(self.width)]

    def newest(self, width: int) -> Window:
        """The newest `width` days, or all when there are fewer."""
        return Window(max(self.since, self.until - (width - 1) * _DAY), self.until)


def look_back(now: datetime, time_zone: str, complete_days: int) -> Window:
    """Today so far in the account's time zone, and the complete days before it.

    `now` is aware. Raises PermanentError for a time zone that nobody knows.
    """
    try:
        today = now.astimezone(ZoneInfo(time_zone)).date()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PermanentError(
            f"the account's time zone {time_zone!r:.60} is unknown", code="unknown_time_zone"
        ) from None
    return Window(today - complete_days * _DAY, today)


def unread(whole: Window, read: Collection[date]) -> list[Window]:
    """The days of `whole` that are not in `read`, as windows, newest first."""
    found: list[Window] = []
    for day in reversed(whole.days):
        if day in read:
            continue
        if found and found[-1].since == day + _DAY:
            found[-1] = Window(day, found[-1].until)
        else:
            found.append(Window(day, day))
    return found


def fitting_width(rows_per_day: int | None, longest: int | None) -> int:
    """Days to read at once from an account that gives at most so many rows a day (None: not
    known yet) on a platform that allows at most `longest` days (None: any number)."""
    width = FIRST_WIDTH if rows_per_day is None else ROWS_PER_WINDOW // max(rows_per_day, 1)
    return max(1, min(width, longest or width))


def rows_for_width(width: int) -> int:
    """The rows per day of an account for which `fitting_width` gives `width` days."""
    return ROWS_PER_WINDOW // max(width, 1)
