"""Which days a sync reads, in which pieces."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workers.errors import PermanentError

# Rows that one window should hold: about ten pages, with four windows read at once.
ROWS_PER_WINDOW = 5_000
# Days read first of an account whose size is unknown.
FIRST_WIDTH = 2
# Of one range of the past: more than any platform keeps.
MOST_PAST_DAYS = 4_000
# Wider than any range of a single request.
MOST_DAYS = 400

_DAY = timedelta(days=1)
_DAY_MINUTES = 1440


@dataclass(frozen=True, order=True)
class Window:
    """Days from `since` to `until`, both included. Raises ValueError for an empty range."""

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


def past_window(since: date, until: date, today: date) -> Window:
    """The range that someone asks to be read. Raises ValueError, with a sentence, for one that is
    reversed, not over, or longer than any platform keeps. `today` is that of UTC; no account's day
    is more than one ahead of it."""
    if until < since:
        raise ValueError(f"The last day, {until}, is before the first, {since}.")
    if until > today + _DAY:
        raise ValueError(f"{until} has not come yet.")
    found = Window(since, until)
    if found.width > MOST_PAST_DAYS:
        raise ValueError(
            f"{found} is {found.width:,} days, and no platform keeps more than {MOST_PAST_DAYS:,}."
        )
    return found


def recent(whole: Window, days: int) -> Window:
    """The newest `days` of the look-back; 0 is all of it."""
    return whole.newest(days) if days else whole


def is_whole_due(now: datetime, whole_read_at: datetime | None, minutes: int) -> bool:
    """Whether an account that is read every `minutes` is to be read over the whole look-back:
    always, or once a day where it is read more often."""
    if whole_read_at is None or minutes >= _DAY_MINUTES:
        return True
    # a daily schedule may come a few minutes early
    return now - whole_read_at >= _DAY - timedelta(minutes=min(minutes, 60) / 2)


def look_back(now: datetime, time_zone: str, complete_days: int) -> Window:
    """Today so far in the account's time zone, and the complete days before it.

    `now` is aware. Raises PermanentError for an unknown time zone.
    """
    try:
        today = now.astimezone(ZoneInfo(time_zone)).date()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PermanentError(
            f"the account's time zone {time_zone!r:.60} is unknown", code="unknown_time_zone"
        ) from None
    return Window(today - complete_days * _DAY, today)


def still_read(read: Mapping[date, datetime], today: date, time_zone: str) -> set[date]:
    """The days of `read` (each with the time of its reading) that need not be read again.

    A day that is over by now but was not when it was read is incomplete. `time_zone` is one that
    `look_back` accepts.
    """
    zone = ZoneInfo(time_zone)
    return {day for day, at in read.items() if day >= today or day < at.astimezone(zone).date()}


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


class Width:
    """How many days are read at once: `days`. It starts with what earlier syncs learned (None:
    nothing yet), and never exceeds `longest` (None: no limit)."""

    def __init__(self, known: int | None, longest: int | None) -> None:
        self._is_known = known is not None
        self._longest = longest or MOST_DAYS
        self._most_rows = 0
        self.days = min(known or FIRST_WIDTH, self._longest)

    def read(self, rows_per_day: int) -> None:
        """A window was read; none of its days had more rows than that."""
        self._most_rows = max(self._most_rows, rows_per_day)
        if not self._is_known:
            self._is_known = True
            self.days = self._fitting()

    def narrow(self, failed: int) -> None:
        """A window of `failed` days was too large."""
        self._is_known = True
        self.days = max(1, failed // 2)

    def for_next_sync(self, *, succeeded: bool) -> int | None:
        """What the next sync starts with: gradually wider after a success."""
        if not self._is_known:
            return None
        return min(self._fitting(), 2 * self.days) if succeeded else self.days

    def _fitting(self) -> int:
        """The days that hold ROWS_PER_WINDOW rows."""
        return max(1, min(ROWS_PER_WINDOW // max(self._most_rows, 1), self._longest))
