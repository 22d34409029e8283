"""When runs start, by AWS's expressions and by crontab's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml
from apscheduler.triggers.base import BaseTrigger  # type: ignore[import-untyped]

from local.invoke import _TemplateLoader
from local.stack import ROOT
from server.runs import LINGERING_SECONDS, RUN_SECONDS
from server.schedules import read_schedule
from server.settings import ServerSettings

# A Wednesday.
NOW = datetime(2026, 11, 25, 10, 7, 30, tzinfo=UTC)


def times(trigger: BaseTrigger, count: int, now: datetime = NOW) -> list[datetime]:
    found: list[datetime] = []
    at: datetime | None = now
    while len(found) < count:
        at = trigger.get_next_fire_time(found[-1] if found else None, at)
        assert at is not None
        found.append(at)
        at += timedelta(microseconds=1)
    return found


def first(expression: str, time_zone: str = "UTC", now: datetime = NOW) -> str:
    [found] = times(read_schedule(expression, time_zone), 1, now)
    return found.astimezone(ZoneInfo(time_zone)).strftime("%a %Y-%m-%d %H:%M")


def test_a_rate_is_an_interval() -> None:
    for expression, seconds in (
        ("rate(1 minute)", 60), ("rate(10 minutes)", 600), ("rate(2 hours)", 7200),
        ("rate(1 day)", 86400), ("rate(5 seconds)", 5),
    ):  # fmt: skip
        assert read_schedule(expression, "UTC").interval == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 2 ? * SUN *)", "Sun 2026-11-29 02:00"),
        ("cron(0 2 ? * 1 *)", "Sun 2026-11-29 02:00"),
        ("cron(0 2 ? * 7 *)", "Sat 2026-11-28 02:00"),
        ("cron(0 2 ? * 2-6 *)", "Thu 2026-11-26 02:00"),
        ("cron(0 2 ? * SUN-TUE *)", "Sun 2026-11-29 02:00"),
        ("cron(0 2 ? * mon,WED *)", "Mon 2026-11-30 02:00"),
        ("cron(15 10 1 * ? *)", "Tue 2026-12-01 10:15"),
        ("cron(0/20 * * * ? *)", "Wed 2026-11-25 10:20"),
        ("cron(5/20 8-17 ? * MON-FRI *)", "Wed 2026-11-25 10:25"),
        ("cron(0 12 ? JAN * *)", "Fri 2027-01-01 12:00"),
        ("cron(0 12 1 1 ? 2030)", "Tue 2030-01-01 12:00"),
        ("0 2 * * 0", "Sun 2026-11-29 02:00"),
        ("0 2 * * 7", "Sun 2026-11-29 02:00"),
        ("0 2 * * 1-5", "Thu 2026-11-26 02:00"),
        ("0 2 * * sun", "Sun 2026-11-29 02:00"),
        ("*/15 * * * *", "Wed 2026-11-25 10:15"),
    ],
)
def test_the_first_run_after_an_expression(expression: str, expected: str) -> None:
    assert first(expression) == expected


def test_a_time_zone_is_followed_across_a_clock_change() -> None:
    # 2027-03-28 has no 2:30 in Berlin, and is on summer time after it
    saturday = datetime(2027, 3, 27, 12, tzinfo=UTC)
    assert first("cron(0 4 ? * SUN *)", "Europe/Berlin", saturday) == "Sun 2027-03-28 04:00"
    [at] = times(read_schedule("cron(0 4 ? * SUN *)", "Europe/Berlin"), 1, saturday)
    assert at.astimezone(UTC).hour == 2


@pytest.mark.parametrize(
    "expression",
    [
        "", "weekly", "rate(0 minutes)", "rate(1 week)", "rate(1.5 hours)", "rate(-1 minute)",
        "cron()", "cron(0 2 ? * SUN)", "cron(0 2 ? * SUN * *)", "cron(60 2 ? * SUN *)",
        "cron(0 25 ? * SUN *)", "cron(0 2 ? * 8 *)", "cron(0 2 ? * 0 *)", "cron(0 2 L * ? *)",
        "cron(0 2 ? * 6#3 *)", "cron(0 2 ? * 2L *)", "cron(0 2 1 * MON *)", "0 2 1 * mon",
        "0 2 * *", "0 2 * * 8", "0 2 * * funday", "cron(0 2 ? * FRI-FUN *)", "cron(a b c d e f)",
        "@weekly", "at(2026-11-20T13:00:00)",
    ],
)  # fmt: skip
def test_an_invalid_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"must be like rate|names a day"):
        read_schedule(expression, "UTC")


def test_schedules_and_timeouts_are_the_same_as_in_the_template() -> None:
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    template = yaml.load(text, _TemplateLoader)  # noqa: S506 - a SafeLoader with tags
    resources, parameters = template["Resources"], template["Parameters"]

    def schedule(function: str) -> str:
        [event] = resources[function]["Properties"]["Events"].values()
        return str(event["Properties"]["ScheduleExpression"])

    assert schedule("NotificationsFunction") == ServerSettings.notifications_schedule
    assert schedule("MetricsSyncFunction") == ServerSettings.metrics_schedule
    assert parameters["RetentionSchedule"]["Default"] == ServerSettings.retention_schedule
    assert parameters["RetentionTimeZone"]["Default"] == ServerSettings.retention_time_zone
    timeouts = {
        "notifications": "NotificationsFunction", "metrics": "MetricsSyncFunction",
        "connection_sync": "ConnectionSyncFunction", "retention": "RetentionFunction",
    }  # fmt: skip
    for worker, function in timeouts.items():
        assert resources[function]["Properties"]["Timeout"] == RUN_SECONDS[worker]
    assert re.search(rf"Timeout: !If \[Lingers, {LINGERING_SECONDS:g}, ", text)
