"""When runs start: `rate(...)` and `cron(...)` as in the template, and five crontab fields.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import Final
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger  # type: ignore[import-untyped]
from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]
from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]

_RATE: Final = re.compile(r"rate\(([1-9][0-9]{0,5}) (second|minute|hour|day)s?\)")
_CRON: Final = re.compile(r"cron\((.+)\)")
# The first and last value of each field, for `5/10` and the like.
_BOUNDS: Final = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12)}
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORMS: Final = "must be like rate(10 minutes), cron(0 2 ? * SUN *) or five crontab fields"


def check_schedule(expression: str) -> str:
    """Returns the expression. Raises ValueError with a clause that says what is wrong."""
    read_schedule(expression, "UTC")
    return expression


def read_schedule(expression: str, time_zone: str) -> BaseTrigger:
    """The trigger of an expression; `time_zone` is that of cron(...).

    Raises ValueError for what is not a schedule.
    """
    if rate := _RATE.fullmatch(expression):
        return IntervalTrigger(**{f"{rate[2]}s": int(rate[1])}, timezone=UTC)
    cron = _CRON.fullmatch(expression)
    fields = (cron[1] if cron else expression).lower().split()
    if cron and len(fields) == 6:
        return _trigger(fields, time_zone, first_day=1)
    if not cron and len(fields) == 5:
        return _trigger([*fields, "*"], time_zone, first_day=0)
    raise ValueError(_FORMS)


def _trigger(fields: list[str], time_zone: str, *, first_day: int) -> CronTrigger:
    minute, hour, day, month, day_of_week, year = ("*" if one == "?" else one for one in fields)
    if "*" not in (day, day_of_week):
        # cron fires when either matches, this library when both do
        raise ValueError("names a day of the month and a day of the week: one of them must be *")
    try:
        return CronTrigger(
            minute=_steps("minute", minute),
            hour=_steps("hour", hour),
            day=_steps("day", day),
            month=_steps("month", month),
            day_of_week=_named_days(day_of_week, first_day),
            year=year,
            timezone=ZoneInfo(time_zone),
        )
    except (ValueError, TypeError):
        raise ValueError(_FORMS) from None


def _steps(name: str, field: str) -> str:
    """`5/10` as `5-59/10`."""
    return re.sub(r"(?<![-\d*])(\d+)/", rf"\1-{_BOUNDS[name][1]}/", field)


def _named_days(field: str, first_day: int) -> str:
    """Days of the week by name: their numbers differ between the kinds of cron.

    Sunday is `first_day`: 1 in AWS, 0 (and 7) in crontab.
    """
    if "/" in field or "#" in field or "l" in field:
        raise ValueError(_FORMS)

    def named(match: re.Match[str]) -> str:
        number = int(match[0]) - first_day
        if not 0 <= number < len(_DAYS) - first_day:
            raise ValueError(_FORMS)
        return _DAYS[number]

    days: list[str] = []
    for part in re.sub(r"\d+", named, field).split(","):
        first, dash, last = part.partition("-")
        days += _days_between(first, last) if dash else [part]
    return ",".join(days)


def _days_between(first: str, last: str) -> list[str]:
    """The days of a range; the library, whose week begins on Monday, knows none from Sunday."""
    begin = _DAYS.index(first)
    end = _DAYS.index(last, begin)
    return list(_DAYS[begin : end + 1])
