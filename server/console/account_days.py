"""The state of an ad account's days: what is known of each, in one word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

# The days of a strip, including today.
MONTH: Final = 31
_DAY: Final = timedelta(days=1)
# The size of a day in a strip, in the drawing's units.
_STEP, _HEIGHT = 7, 18


@dataclass(frozen=True)
class DayState:
    """A state: its word, its mark, the CSS class of its colour, what it means, and how it is drawn
    in a strip (an SVG path from the day's upper left corner)."""

    word: str
    mark: str
    tone: str
    meaning: str
    drawn: str


STATES: Final[Mapping[str, DayState]] = MappingProxyType(
    {
        one.word: one
        for one in (
            DayState("read", "✓", "ok", "read completely after the day was over", "v18h6v-18z"),
            DayState(
                "restated", "↻", "ok", "read, with other values than when it was first read",
                "v11h6v-11zm0 14v4h6v-4z",
            ),
            DayState(
                "partial", "◐", "warning", "read before the day was over: its numbers so far",
                "m0 9v9h6v-9z",
            ),
            DayState(
                "unreadable", "✕", "failed", "could not be read: it is retried",
                "m3 3l3 6l-3 6l-3-6z",
            ),
            DayState("missing", "·", "", "not read yet", "m0 15v3h6v-3z"),
        )
    }
)  # fmt: skip

_STRIP = Markup(
    '<svg class="days" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
    'data-since="{since}" data-states="{states}"><title>{label}</title>{paths}</svg>'
)
_PATH = Markup('<path class="day-{}" d="{}"></path>')


@dataclass(frozen=True)
class KnownDay:
    """What the database has of a day."""

    read_at: datetime | None = None
    is_restated: bool = False
    is_unreadable: bool = False


def state_of(day: date, known: KnownDay | None, zone: tzinfo) -> DayState:
    """A day that could not be read last time is unreadable, even if it was read before."""
    if known is None or (known.read_at is None and not known.is_unreadable):
        return STATES["missing"]
    if known.is_unreadable or known.read_at is None:
        return STATES["unreadable"]
    if known.read_at < datetime.combine(day + _DAY, time(), zone):
        return STATES["partial"]
    return STATES["restated" if known.is_restated else "read"]


def zone_of(name: str | None) -> tzinfo:
    """The account's time zone; UTC where it is unknown."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):  # an unknown zone, an invalid name, or a folder's
        return UTC


def last_days(now: datetime, zone: tzinfo, count: int = MONTH) -> list[date]:
    """The last `count` days up to the account's today, oldest first."""
    today = now.astimezone(zone).date()
    return [today - number * _DAY for number in reversed(range(count))]


def strip(days: Sequence[date], states: Sequence[DayState]) -> Markup:
    """The days as a small image, with their words in `data-states`."""
    counts = Counter(state.word for state in states)
    summary = ", ".join(f"{counts[word]} {word}" for word in STATES if counts[word])
    paths = []
    for word, state in STATES.items():
        places = [number for number, one in enumerate(states) if one.word == word]
        if places:
            drawn = "".join(f"M{number * _STEP} 0{state.drawn}" for number in places)
            paths.append(_PATH.format(word, drawn))
    return _STRIP.format(
        width=len(days) * _STEP,
        height=_HEIGHT,
        label=f"{days[0]} to {days[-1]}: {summary}",
        since=days[0].isoformat(),
        states=" ".join(state.word for state in states),
        paths=Markup("").join(paths),
    )
