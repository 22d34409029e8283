"""Each alarm watches what is there, and fires and clears when it should."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from local.invoke import invoke, scheduled_event
from tests.conftest import LocalStack
from tests.template.cloudwatch import ALARM, OK, UNKNOWN, Alarm, Metric, Series
from tests.template.deployed import Deployed, deployed
from workers.composition.container import RETURN_MARGIN
from workers.doctor.health import WELL_FOR
from workers.metrics.sync import CLOSING_SECONDS

DAY = 24 * 3600
NAMESPACE = "AgencyDashboardWorkers/agency"

# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
AWS_METRICS = {
    "AWS/Lambda": {"Errors", "Invocations", "Duration"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible"},
}


def alarms() -> dict[str, dict[str, Any]]:
    return deployed().of_type("AWS::CloudWatch::Alarm")


def alarm(name: str) -> Alarm:
    return Alarm(alarms()[name])


def graphed() -> set[Metric]:
    """The metrics of the dashboard."""
    (dashboard,) = deployed().of_type("AWS::CloudWatch::Dashboard").values()
    found = set()
    for widget in json.loads(dashboard["DashboardBody"])["widgets"]:
        above: list[Any] = []
        for row in widget["properties"]["metrics"]:
            names = [each for each in row if isinstance(each, str)]
            above = [above[place] if each == "." else each for place, each in enumerate(names)]
            namespace, name, dimension, value = above
            found.add(Metric(namespace, name, ((dimension, value),)))
    return found


def watched() -> set[Metric]:
    return {metric for properties in alarms().values() for metric in Alarm(properties).metrics}


@pytest.fixture
def emitted(stack: LocalStack) -> set[Metric]:
    """What the workers report to CloudWatch, in a run of each against the local stack."""
    environment = {**stack.environment(), "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE}
    with tempfile.TemporaryFile("w+") as log:
        # pytest's own stdout is none that a file descriptor would redirect
        with redirect_stdout(log):
            # the plan has its syncs done as well
            for function in ("notifications", "metrics_sync", "retention"):
                invoke(function, scheduled_event(function), environment, log=log.fileno())
        log.seek(0)
        lines = [json.loads(line) for line in log if line.startswith("{")]
    return set(reported(line for line in lines if "_aws" in line))


def reported(lines: Iterator[Mapping[str, Any]]) -> Iterator[Metric]:
    for line in lines:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = tuple((name, line[name]) for name in sorted(names))
                for metric in directive["Metrics"]:
                    yield Metric(directive["Namespace"], metric["Name"], dimensions)


def test_the_emitted_metrics_are_those_that_are_watched(emitted: set[Metric]) -> None:
    ours = {metric for metric in watched() | graphed() if metric.namespace not in AWS_METRICS}

    assert ours == emitted
    assert len(emitted) <= 10, "each is paid for"


def test_metrics_of_aws_belong_to_what_is_deployed() -> None:
    there = deployed()
    owners = {
        "AWS/Lambda": ("FunctionName", {f"<{name}>" for name in functions(there)}),
        "AWS/SQS": (
            "QueueName", {f"<{name}.QueueName>" for name in there.of_type("AWS::SQS::Queue")}
        ),
    }  # fmt: skip

    for metric in watched() | graphed():
        if metric.namespace in AWS_METRICS:
            ((dimension, value),) = metric.dimensions
            known, values = owners[metric.namespace]
            assert metric.name in AWS_METRICS[metric.namespace]
            assert dimension == known
            assert value in values


def test_each_stack_has_a_namespace_of_its_own() -> None:
    there = deployed()

    for name, function in functions(there).items():
        variables = function["Environment"]["Variables"]
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == NAMESPACE, name
    assert {metric.namespace for metric in watched() | graphed()} == {NAMESPACE, *AWS_METRICS}
    assert NAMESPACE.endswith("/agency"), "the name of the stack"


def functions(there: Deployed) -> dict[str, dict[str, Any]]:
    return there.of_type("AWS::Lambda::Function")


def test_errors_of_every_function_are_watched() -> None:
    watching = {value for metric in alarm("FunctionErrorsAlarm").metrics
                for _, value in metric.dimensions}  # fmt: skip

    assert watching == {f"<{name}>" for name in functions(deployed())}


def test_every_dead_letter_queue_is_watched() -> None:
    queues = deployed().of_type("AWS::SQS::Queue")
    watching = {value for metric in watched() if metric.namespace == "AWS/SQS"
                for _, value in metric.dimensions}  # fmt: skip

    assert watching == {f"<{name}.QueueName>" for name in queues if "DeadLetter" in name}


def test_alarms_stay_within_cloudwatchs_limits() -> None:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    for name, properties in alarms().items():
        defined = Alarm(properties)
        assert len(defined.metrics) <= 10, name
        assert defined.window * 60 <= (DAY if defined.period < 60 else 7 * DAY), name
        assert len(properties["AlarmDescription"]) <= 1024, name


def test_alarms_notify_the_topic_when_they_fire_and_when_they_clear() -> None:
    for name, properties in alarms().items():
        assert properties["AlarmActions"] == properties["OKActions"] == ["<AlarmTopic>"], name
        assert "TreatMissingData" in properties, name
        assert "AlarmName" not in properties, f"{name}: two stacks would collide"


def test_alarms_say_what_to_do_first() -> None:
    there = deployed()
    commands = (r"sam logs --stack-name agency\b", r"sam remote invoke (\w+) --stack-name agency\b",
                r"python -m workers\.operate (dead|parked|connections) list")  # fmt: skip

    for name, properties in alarms().items():
        said = properties["AlarmDescription"]
        assert re.search(r"\. First (run|read|check|see) ", said), name
        for resource in re.findall(r"sam remote invoke (\w+)|(\w+Queue\b|\w+Function\b)", said):
            assert next(filter(None, resource)) in there.resources, name
        assert any(re.search(each, said) for each in commands) or "check" in said or "Queue" in said


def test_there_are_about_a_dozen() -> None:
    assert 12 <= len(alarms()) <= 15
    assert sum(len(Alarm(each).metrics) for each in alarms().values()) <= 20, "each costs"


@pytest.mark.parametrize("linger", ["0", "150"])
def test_a_run_that_works_until_its_deadline_is_not_too_long(linger: str) -> None:
    there = deployed(NotificationLingerSeconds=linger)
    timeout = {name: function["Timeout"] for name, function in functions(there).items()}
    threshold = {
        name: there.resources[f"{name}DurationAlarm"]["Properties"]["Threshold"] / 1000
        for name in ("Notifications", "ConnectionSync")
    }

    deadline = timeout["NotificationsFunction"] - RETURN_MARGIN
    assert deadline + 1 < threshold["Notifications"] < timeout["NotificationsFunction"]
    deadline = timeout["ConnectionSyncFunction"] - RETURN_MARGIN - CLOSING_SECONDS
    assert deadline + 1 < threshold["ConnectionSync"] < timeout["ConnectionSyncFunction"]


def test_what_is_late_is_late_for_health_and_for_the_alarms_alike() -> None:
    def minutes(name: str) -> timedelta:
        return timedelta(minutes=alarm(name).window)

    assert minutes("NotificationsMissingAlarm") == WELL_FOR["notifications"]
    assert minutes("MetricsSyncMissingAlarm") == WELL_FOR["metrics_sync"]
    hours = alarms()["RetentionOverdueAlarm"]["Threshold"]
    assert timedelta(hours=hours) == WELL_FOR["retention"]


def test_a_reported_state_is_reported_in_every_period() -> None:
    for name in ("ConnectionsParkedAlarm", "RetentionOverdueAlarm"):
        assert alarm(name).period > 10, "the plan reports it every ten minutes"


@dataclass(frozen=True)
class Every:
    """`value` is reported in every so many minutes."""

    minutes: int
    value: float

    def between(self, start: int, stop: int) -> Series:
        return {minute: [self.value] for minute in range(start, stop, self.minutes)}


NOTHING = Every(1_000_000, 0)


@dataclass(frozen=True)
class Case:
    """An alarm while all is `well`, while something is `wrong`, and when it is well again; and
    what is `harmless`, in turn. Times are in minutes."""

    alarm: str
    well: Every | None
    wrong: Every | None
    fires_within: int
    clears_within: int
    harmless: Sequence[Every | None] = ()
    phase: int = 240
    metric: int = 0

    def reported(self, *phases: Every | None) -> dict[Metric, Series]:
        """One phase after the other, of the one metric; the alarm's others are as when well."""
        metrics = alarm(self.alarm).metrics
        found: dict[Metric, Series] = {}
        for place, metric in enumerate(metrics):
            found[metric] = {}
            for number, each in enumerate(phases):
                shown = each if place == self.metric else self.well
                if shown is not None:
                    start = number * self.phase
                    found[metric] = {**found[metric], **shown.between(start, start + self.phase)}
        return found


def queue(name: str) -> list[Case]:
    # an unused queue reports nothing
    return [
        Case(name, well=None, wrong=Every(1, 1), fires_within=1, clears_within=15),
        Case(name, well=Every(1, 0), wrong=Every(1, 1), fires_within=1, clears_within=5),
    ]


@pytest.mark.parametrize("name", ["DeadLetterQueueAlarm", "ConnectionSyncDeadLetterQueueAlarm"])
@pytest.mark.parametrize("before", [None, 0])
def test_a_message_that_stays_for_two_weeks_alarms_once_and_a_further_one_again(
    name: str, before: float | None
) -> None:
    (metric,) = alarm(name).metrics
    quiet = {} if before is None else {minute: [before] for minute in range(100)}
    series = {
        metric: {
            **quiet,
            **{minute: [1.0] for minute in range(100, 400)},
            **{minute: [2.0] for minute in range(400, 700)},
        }
    }
    states = alarm(name).states(series, 700, extra=0)
    assert [states[at] for at in (99, 102, 110, 399, 402, 410, 699)] == [
        OK, ALARM, OK, OK, ALARM, OK, OK
    ]  # fmt: skip


CASES = [
    *(
        Case("FunctionErrorsAlarm", well=Every(1, 0), wrong=Every(2, 1), fires_within=1,
             clears_within=5, metric=number)
        for number in range(6)
    ),
    # only the health function is ever called, and it fails once in a while
    Case("FunctionErrorsAlarm", well=None, wrong=Every(60, 1), fires_within=1, clears_within=15),
    Case("NotificationsMissingAlarm", well=Every(1, 1), wrong=None, fires_within=8,
         clears_within=2, harmless=[Every(4, 1)]),
    Case("MetricsSyncMissingAlarm", well=Every(10, 1), wrong=None, fires_within=40,
         clears_within=2, harmless=[Every(20, 1)]),
    Case("NotificationsDurationAlarm", well=Every(1, 900), wrong=Every(2, 120_000),
         fires_within=1, clears_within=5, harmless=[Every(2, 117_900)]),
    Case("ConnectionSyncDurationAlarm", well=Every(10, 5000), wrong=Every(10, 300_000),
         fires_within=1, clears_within=15, harmless=[Every(5, 288_000)]),
    *queue("DeadLetterQueueAlarm"),
    *queue("ConnectionSyncDeadLetterQueueAlarm"),
    Case("OldestDueAlarm", well=Every(1, 0), wrong=Every(2, 3601), fires_within=1,
         clears_within=5, harmless=[Every(1, 3600)]),
    Case("NotificationsDeadAlarm", well=Every(1, 0), wrong=Every(60, 1), fires_within=1,
         clears_within=15),
    Case("CredentialsRefusedAlarm", well=Every(1, 0), wrong=Every(1, 1), fires_within=1,
         clears_within=5),
    Case("DestinationsParkedAlarm", well=Every(1, 0), wrong=Every(1, 1), fires_within=1,
         clears_within=5),
    Case("ConnectionsParkedAlarm", well=Every(10, 0), wrong=Every(10, 1), fires_within=1,
         clears_within=15),
    # one account that always fails: at once, after 10, 20, 40, 80 minutes
    Case("SyncsFailedAlarm", well=Every(5, 0), wrong=Every(15, 1), fires_within=31,
         clears_within=60, harmless=[Every(31, 1)]),
    Case("RetentionOverdueAlarm", well=Every(10, 100), wrong=Every(10, 193), fires_within=1,
         clears_within=15, harmless=[Every(10, 192)]),
    # reported once a week, and valid until the next
    Case("RetentionFailedAlarm", well=Every(7 * 1440, 0), wrong=Every(7 * 1440, 1),
         fires_within=1, clears_within=60, phase=7 * 1440),
]  # fmt: skip

# One bad value of these is an event, not a state: they clear even if it recurs now and then.
EVENTS = {
    "NotificationsDeadAlarm", "FunctionErrorsAlarm", "ConnectionSyncDurationAlarm",
    "DeadLetterQueueAlarm", "ConnectionSyncDeadLetterQueueAlarm",
}  # fmt: skip


def test_every_alarm_has_its_case() -> None:
    assert {case.alarm for case in CASES} == set(alarms())


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alarm)
def test_an_alarm_fires_and_clears(case: Case, extra: int) -> None:
    phase = case.phase
    reported = case.reported(case.well, case.wrong, case.well)
    # the first minutes have no past
    states = alarm(case.alarm).states(reported, 3 * phase, extra)
    before, during, after = (
        states[phase // 2 : phase],
        states[phase : 2 * phase],
        states[2 * phase :],
    )

    assert ALARM not in before
    assert during.index(ALARM) <= case.fires_within
    if case.alarm not in EVENTS:
        assert set(during[case.fires_within :]) == {ALARM}
    assert set(after[case.clears_within + 1 :]) == {OK}


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("case", [case for case in CASES if case.harmless],
                         ids=lambda case: case.alarm)  # fmt: skip
def test_an_alarm_is_silent_below_its_threshold(case: Case, extra: int) -> None:
    phases = [case.well, *case.harmless, case.well]
    minutes = case.phase * len(phases)
    states = alarm(case.alarm).states(case.reported(*phases), minutes, extra)

    assert ALARM not in states[case.phase // 2 :]


@pytest.mark.parametrize(
    "name",
    [
        "OldestDueAlarm", "DestinationsParkedAlarm", "ConnectionsParkedAlarm",
        "RetentionOverdueAlarm", "RetentionFailedAlarm",
    ],
)  # fmt: skip
def test_a_state_that_is_not_reported_stays_the_last_known(name: str) -> None:
    (case,) = [case for case in CASES if case.alarm == name]
    for shown, state in ((case.wrong, ALARM), (case.well, OK)):
        reported = case.reported(shown, None)
        assert alarm(name).states(reported, 2 * case.phase, extra=2)[-1] == state


# Oldest first; 0: not breaching, X: breaching, -: missing.
THREE_OF_THREE = [
    ("0-X-X", OK, OK, OK),
    ("0----", "as before", OK, OK),
    ("-----", "as before", ALARM, OK),
    ("0XX-X", ALARM, ALARM, ALARM),
    ("----X", "as before", ALARM, OK),
    ("X----", "as before", ALARM, OK),
]
TWO_OF_THREE = [
    ("0-X-X", ALARM, ALARM, ALARM),
    ("00X0X", ALARM, ALARM, ALARM),
    ("0-X--", OK, ALARM, OK),
    ("----0", OK, ALARM, OK),
    ("----X", "as before", ALARM, OK),
]
TABLE = [
    (needed, points, treatment, expected)
    for needed, rows in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for points, *states in rows
    for treatment, expected in zip(("ignore", "breaching", "notBreaching"), states, strict=True)
    # documented as OK: with one good point of three, the alarm could not fire anyway
    if (points, treatment) != ("0----", "ignore")
]


@pytest.mark.parametrize(("needed", "points", "treatment", "expected"), TABLE)
def test_missing_data_counts_as_aws_documents(
    needed: int, points: str, treatment: str, expected: str
) -> None:
    evaluated = Alarm({
        "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60, "Threshold": 0,
        "EvaluationPeriods": 3, "DatapointsToAlarm": needed, "TreatMissingData": treatment,
        "ComparisonOperator": "GreaterThanThreshold",
    })  # fmt: skip
    values = {"0": 0.0, "X": 1.0, "-": None}
    newest_first = [values[point] for point in reversed(points)]

    for before in (OK, ALARM, UNKNOWN):
        after = before if expected == "as before" else expected
        assert evaluated.judge(before, newest_first) == after
