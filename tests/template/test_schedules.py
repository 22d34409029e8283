"""What starts on a schedule: when, and what happens when a run fails or cannot start."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from local.invoke import scheduled_event
from tests.template.deployed import Resource, folder, of_type

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def expression(template: Resource, schedule: Resource) -> str:
    """When it starts: its own text, or the default of the parameter that says so."""
    value = schedule["ScheduleExpression"]
    return str(template["Parameters"][value["Ref"]]["Default"] if "Ref" in value else value)


def is_valid_schedule(expression: str) -> bool:
    """Whether EventBridge Scheduler takes this expression; the linters do not look at it."""
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)(s?)\)", expression):
        return int(rate[1]) > 0 and (int(rate[1]) == 1) == (rate[3] == "")
    if cron := re.fullmatch(r"cron\(([^()]+)\)", expression):
        return is_valid_cron(cron[1].split(" "))
    return False


def is_valid_cron(fields: list[str]) -> bool:
    if len(fields) != 6:
        return False
    minutes, hours, day_of_month, months, day_of_week, years = fields
    return (
        is_cron_field(minutes, 0, 59)
        and is_cron_field(hours, 0, 23)
        and is_cron_field(months, 1, 12, MONTHS)
        and is_cron_field(years, 1970, 2199)
        # Exactly one of the two day fields says "whichever the other one means".
        and (day_of_month == "?") != (day_of_week == "?")
        and (day_of_month == "?" or is_day_of_month(day_of_month))
        and (day_of_week == "?" or is_day_of_week(day_of_week))
    )


def is_day_of_month(field: str) -> bool:
    return bool(re.fullmatch(r"L|LW|(\d{1,2})W", field)) or is_cron_field(field, 1, 31)


def is_day_of_week(field: str) -> bool:
    return bool(re.fullmatch(r"L|[1-7]L|[1-7]#[1-5]", field)) or is_cron_field(field, 1, 7, DAYS)


def is_cron_field(field: str, low: int, high: int, names: Sequence[str] = ()) -> bool:
    values = {name: low + place for place, name in enumerate(names)}

    def number(text: str) -> int | None:
        value = values.get(text, int(text) if text.isdigit() else -1)
        return value if low <= value <= high else None

    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not (step.isdigit() and int(step) > 0):
            return False
        if span == "*":
            continue
        ends = [number(end) for end in span.split("-")]
        if len(ends) > 2 or None in ends or ends != sorted(ends):
            return False
    return True


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)",
        "rate(10 minutes)",
        "rate(1 day)",
        "cron(0 2 ? * SUN *)",
        "cron(0/15 8-18 ? * MON-FRI *)",
        "cron(0 9 L * ? *)",
        "cron(0 9 ? * 2#1 2027)",
    ],
)
def test_valid_schedule_expressions_are_recognised(expression: str) -> None:
    assert is_valid_schedule(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minutes)",
        "rate(10 minute)",
        "rate(0 minutes)",
        "rate(30 seconds)",
        "cron(0 9 * * MON *)",
        "cron(0 9 ? * ? *)",
        "cron(60 9 ? * MON *)",
        "cron(0 2 ? * SUNDAY *)",
        "cron(0 2 * * SUN)",
        "every minute",
    ],
)
def test_invalid_schedule_expressions_are_recognised(expression: str) -> None:
    assert not is_valid_schedule(expression)


def test_every_schedule_has_a_valid_expression(template: Resource) -> None:
    schedules = of_type(template["Resources"], "AWS::Scheduler::Schedule")

    assert schedules
    for name, schedule in schedules.items():
        assert is_valid_schedule(expression(template, schedule)), name


def test_a_schedule_by_the_clock_names_its_time_zone(template: Resource) -> None:
    for name, schedule in of_type(template["Resources"], "AWS::Scheduler::Schedule").items():
        if expression(template, schedule).startswith("cron"):
            assert "ScheduleExpressionTimezone" in schedule, name


def test_what_cannot_be_started_goes_to_the_dead_letter_queue(resources: Resource) -> None:
    queue = {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}

    for name, schedule in of_type(resources, "AWS::Scheduler::Schedule").items():
        assert schedule["Target"]["DeadLetterConfig"]["Arn"] == queue, name
    assert resources["DeadLetterQueue"]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_every_scheduled_function_says_what_becomes_of_a_failed_run(resources: Resource) -> None:
    scheduled = {
        schedule["Target"]["Arn"]["Fn::GetAtt"][0]
        for schedule in of_type(resources, "AWS::Scheduler::Schedule").values()
    }
    decided = {
        config["FunctionName"]["Ref"]: config
        for config in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()
    }

    assert scheduled <= set(decided)
    for config in decided.values():
        assert config["DestinationConfig"]["OnFailure"]["Destination"] == {
            "Fn::GetAtt": ["DeadLetterQueue", "Arn"]
        }


def test_a_failed_notifications_run_is_left_to_the_next_minute(resources: Resource) -> None:
    schedule = resources["NotificationsFunctionEveryMinute"]["Properties"]
    invocation = resources["NotificationsFunctionEventInvokeConfig"]["Properties"]

    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    for policy in (schedule["Target"]["RetryPolicy"], invocation):
        assert policy["MaximumRetryAttempts"] == 0
        assert policy["MaximumEventAgeInSeconds"] == 60


def test_a_failed_plan_is_left_to_the_next_one(resources: Resource) -> None:
    schedule = resources["MetricsSyncFunctionEveryTenMinutes"]["Properties"]
    invocation = resources["MetricsSyncFunctionEventInvokeConfig"]["Properties"]

    assert schedule["ScheduleExpression"] == "rate(10 minutes)"
    for policy in (schedule["Target"]["RetryPolicy"], invocation):
        assert policy["MaximumRetryAttempts"] == 0
        assert policy["MaximumEventAgeInSeconds"] == 600


def test_retention_runs_in_the_night_to_sunday_of_a_time_zone(template: Resource) -> None:
    schedule = template["Resources"]["RetentionFunctionWeekly"]["Properties"]

    assert expression(template, schedule) == "cron(0 2 ? * SUN *)"
    assert schedule["ScheduleExpressionTimezone"] == {"Ref": "RetentionTimeZone"}
    assert schedule["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60}


def test_a_weekly_run_that_fails_is_retried_in_the_same_night(resources: Resource) -> None:
    schedule = resources["RetentionFunctionWeekly"]["Properties"]
    invocation = resources["RetentionFunctionEventInvokeConfig"]["Properties"]

    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 10
    assert invocation["MaximumRetryAttempts"] == 2
    for policy in (schedule["Target"]["RetryPolicy"], invocation):
        assert policy["MaximumEventAgeInSeconds"] == 3 * 3600


def test_every_schedule_can_be_switched_off(resources: Resource) -> None:
    for name, schedule in of_type(resources, "AWS::Scheduler::Schedule").items():
        assert schedule["State"]["Fn::If"][1:] == ["ENABLED", "DISABLED"], name


def test_sample_events_are_what_the_scheduler_sends(resources: Resource) -> None:
    for schedule in of_type(resources, "AWS::Scheduler::Schedule").values():
        name = schedule["Target"]["Arn"]["Fn::GetAtt"][0]
        event = scheduled_event(folder(name))
        assert event["source"] == "aws.scheduler"
        assert event["detail-type"] == "Scheduled Event"
        assert event["detail"] == "{}"
        assert ":schedule/default/" in event["resources"][0]
