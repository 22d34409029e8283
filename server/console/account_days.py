"""What is known of the days of an ad account, in one word each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

# Of a strip, today included.
MONTH: Final = 31
_DAY: Final = timedelta(days=1)
# A day of a strip, in the drawing's units; what is drawn of it depends on its state.
_STEP, _HEIGHT = 7, 18


@dataclass(frozen=True)
class DayState:
    """A state: its word, the mark that stands for it, the sheet's class for its colour, what it
    means, and how it is drawn in a strip (an SVG path from the day's upper left corner)."""

    word: str
    mark: str
    tone: str
    meaning: str
    drawn: str


STATES: Final[Mapping[str, DayState]] = MappingProxyType(
    {
        one.word: one
        for one in (
            DayState("read", "✓", "ok", "read completely after it was over", "v18h6v-18z"),
            DayState(
                "restated", "↻", "ok", "read, and other than when it was read first",
                "v11h6v-11zm0 14v4h6v-4z",
            ),
            DayState(
                "partial", "◐", "warning", "read before it was over: its numbers so far",
                "m0 9v9h6v-9z",
            ),
            DayState(
                "unreadable", "✕", "failed", "could not be read: it is tried again",
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
    """A day as the database knows it."""

    read_at: datetime | None = None
    is_restated: bool = False
    is_unreadable: bool = False


def state_of(day: date, known: KnownDay | None, zone: tzinfo) -> DayState:
    """One that could not be read lately counts as unreadable, also where it was read before."""
    if known is None or (known.read_at is None and not known.is_unreadable):
        return STATES["missing"]
    if known.is_unreadable or known.read_at is None:
        return STATES["unreadable"]
    if known.read_at < datetime.combine(day + _DAY, time(), zone):
        return STATES["partial"]
    return STATES["restated" if known.is_restated else "read"]


def zone_of(name: str | None) -> tzinfo:
    """The account's time zone; UTC where it is not known."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):  # no such zone, no name of one, or one of a folder
        return UTC


def last_days(now: datetime, zone: tzinfo, count: int = MONTH) -> list[date]:
    """So many days up to the account's today, oldest first."""
    today = now.astimezone(zone).date()
    return [today - number * _DAY for number in reversed(range(count))]


def strip(days: Sequence[date], states: Sequence[DayState]) -> Markup:
    """Its days as a small image, whose `data-states` has the word of each."""
    counts = Counter(state.word for state in states)
    told = ", ".join(f"{counts[word]} {word}" for word in STATES if counts[word])
    paths = []
    for word, state in STATES.items():
        places = [number for number, one in enumerate(states) if one.word == word]
        if places:
            drawn = "".join(f"M{number * _STEP} 0{state.drawn}" for number in places)
            paths.append(_PATH.format(word, drawn))
    return _STRIP.format(
        width=len(days) * _STEP,
        height=_HEIGHT,
        label=f"{days[0]} to {days[-1]}: {told}",
        since=days[0].isoformat(),
        states=" ".join(state.word for state in states),
        paths=Markup("").join(paths),
    )
