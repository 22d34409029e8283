"""Times as dashboards write them, and as Slack accepts them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NUMBER = re.compile(r"(\d{1,16})(?:\.\d*)?", re.ASCII)
# For some thousand years seconds have fewer digits; what has more is in milliseconds.
_SECONDS_LIMIT: Final = 100_000_000_000


def time_of(text: str) -> datetime | None:
    """An ISO 8601 time (UTC, if it names no zone) or date, aware; None for anything else.

    A date alone becomes noon in UTC, which falls on that day nearly everywhere.
    """
    try:
        time = datetime.fromisoformat(f"{text}T12:00:00" if DAY.fullmatch(text) else text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def epoch(text: str) -> str | None:
    """A time in whole Unix seconds, the only form that Slack accepts, from seconds with a fraction,
    JavaScript's milliseconds, or what `time_of` reads.

    https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    """
    text = text.strip()
    if number := _NUMBER.fullmatch(text):
        seconds = int(number[1])
        return str(seconds if seconds < _SECONDS_LIMIT else seconds // 1_000)
    time = time_of(text)
    try:
        seconds = int(time.timestamp()) if time else -1
    except (OverflowError, ValueError):
        return None
    return str(seconds) if seconds >= 0 else None
