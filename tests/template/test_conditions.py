"""What the parameters switch on and off."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.template.deployed import ACCOUNT, ROOT, deployed

ALWAYS = {
    "AWS::IAM::Role": {
        "ConnectionSyncRole", "DoctorRole", "HealthRole", "MetricsSyncRole", "NotificationsRole",
        "RetentionRole", "MetricsSyncFunctionEveryTenMinutesRole",
        "NotificationsFunctionEveryMinuteRole", "RetentionFunctionWeeklyRole",
    },
    "AWS::Lambda::EventInvokeConfig": {
        "MetricsSyncFunctionEventInvokeConfig", "NotificationsFunctionEventInvokeConfig",
        "RetentionFunctionEventInvokeConfig",
    },
    "AWS::Lambda::EventSourceMapping": {"ConnectionSyncFunctionQueue"},
    "AWS::Lambda::Function": {
        "ConnectionSyncFunction", "DoctorFunction", "HealthFunction", "MetricsSyncFunction",
        "NotificationsFunction", "RetentionFunction",
    },
    "AWS::Lambda::Url": {"HealthFunctionUrl"},
    "AWS::Logs::LogGroup": {
        "ConnectionSyncLogGroup", "DoctorLogGroup", "HealthLogGroup", "MetricsSyncLogGroup",
        "NotificationsLogGroup", "RetentionLogGroup",
    },
    "AWS::SQS::Queue": {"ConnectionSyncDeadLetterQueue", "ConnectionSyncQueue", "DeadLetterQueue"},
    "AWS::Scheduler::Schedule": {
        "MetricsSyncFunctionEveryTenMinutes", "NotificationsFunctionEveryMinute",
        "RetentionFunctionWeekly",
    },
}  # fmt: skip
SCHEDULE_ALARMS = {
    "MetricsSyncMissingAlarm", "NotificationsMissingAlarm", "RetentionOverdueAlarm"
}  # fmt: skip
ALARMS = SCHEDULE_ALARMS | {
    "ConnectionSyncDeadLetterQueueAlarm", "ConnectionSyncDurationAlarm",
    "ConnectionsParkedAlarm", "CredentialsRefusedAlarm", "DeadLetterQueueAlarm",
    "DestinationsParkedAlarm", "FunctionErrorsAlarm", "NotificationsDeadAlarm",
    "NotificationsDurationAlarm", "OldestDueAlarm", "RetentionFailedAlarm", "SyncsFailedAlarm",
}  # fmt: skip

EVERYTHING_OFF = {"AlarmsEnabled": "false", "DashboardEnabled": "false"}
EVERYTHING_ON = {
    "AlarmEmail": "oncall@example.com",
    "HealthAuthType": "NONE",
    "ArchiveBucketName": "agency-archive",
    "CreateArchiveBucket": "true",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/0f1e2d3c-0000-4000-8000-000000000001",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
}
PARTS = {
    "NotificationsEnabled": (
        "NotificationsFunctionEveryMinute",
        {
            "NotificationsMissingAlarm", "NotificationsDurationAlarm", "OldestDueAlarm",
            "NotificationsDeadAlarm", "CredentialsRefusedAlarm", "DestinationsParkedAlarm",
        },
    ),
    "MetricsEnabled": (
        "MetricsSyncFunctionEveryTenMinutes",
        {
            "MetricsSyncMissingAlarm", "ConnectionSyncDurationAlarm", "ConnectionsParkedAlarm",
            "ConnectionSyncDeadLetterQueueAlarm", "SyncsFailedAlarm", "RetentionOverdueAlarm",
        },
    ),
    "RetentionEnabled": (
        "RetentionFunctionWeekly", {"RetentionFailedAlarm", "RetentionOverdueAlarm"}
    ),
}  # fmt: skip
COMBINATIONS: dict[str, dict[str, str]] = {
    "default": {},
    "minimal": EVERYTHING_OFF,
    "everything": EVERYTHING_ON,
    "paused": {"ScheduleState": "DISABLED"},
    "bucket of another's": {"ArchiveBucketName": "agency-archive"},
    "nothing but metrics": {"NotificationsEnabled": "false", "RetentionEnabled": "false"},
    "no metrics": {"MetricsEnabled": "false"},
    "mail without alarms": {**EVERYTHING_OFF, "AlarmEmail": "oncall@example.com"},
}


def inventory(**parameters: str) -> dict[str, set[str]]:
    """The names of what is deployed, by type."""
    found: dict[str, set[str]] = {}
    for name, resource in deployed(**parameters).resources.items():
        found.setdefault(resource["Type"], set()).add(name)
    assert len(found.pop("AWS::Lambda::LayerVersion")) == 1, "its name has a hash"
    return found


def test_a_minimal_deployment_has_the_workers_and_no_more() -> None:
    assert inventory(**EVERYTHING_OFF) == ALWAYS


def test_by_default_there_are_alarms_and_a_dashboard() -> None:
    assert inventory() == {
        **ALWAYS,
        "AWS::CloudWatch::Alarm": ALARMS,
        "AWS::CloudWatch::Dashboard": {"Dashboard"},
        "AWS::SNS::Topic": {"AlarmTopic"},
    }


def test_with_everything_on_there_is_mail_a_public_url_and_an_archive() -> None:
    assert inventory(**EVERYTHING_ON) == {
        **inventory(),
        "AWS::IAM::Policy": {"KmsKeyPolicy"},
        "AWS::IAM::RolePolicy": {
            "ArchiveKmsKeyPolicy",
            "DoctorArchivePolicy",
            "RetentionArchivePolicy",
        },
        "AWS::Lambda::Permission": {"HealthInvokePermission", "HealthUrlPermission"},
        "AWS::S3::Bucket": {"ArchiveBucket"},
        "AWS::S3::BucketPolicy": {"ArchiveBucketPolicy"},
        "AWS::SNS::Subscription": {"AlarmMail"},
    }


def test_a_bucket_of_someone_elses_is_used_and_not_created() -> None:
    there = inventory(ArchiveBucketName="agency-archive")

    policies = {"DoctorArchivePolicy", "RetentionArchivePolicy"}
    assert there == {**inventory(), "AWS::IAM::RolePolicy": policies}


def test_a_paused_deployment_misses_no_runs() -> None:
    paused = deployed(ScheduleState="DISABLED")

    assert set(paused.of_type("AWS::CloudWatch::Alarm")) == ALARMS - SCHEDULE_ALARMS
    for name, schedule in paused.of_type("AWS::Scheduler::Schedule").items():
        assert schedule["State"] == "DISABLED", name


@pytest.mark.parametrize("part", PARTS)
def test_a_part_can_be_switched_off_and_nothing_misses_it(part: str) -> None:
    schedule, its_alarms = PARTS[part]
    there = deployed(**{part: "false"})

    states = {
        name: each["State"] for name, each in there.of_type("AWS::Scheduler::Schedule").items()
    }
    assert states.pop(schedule) == "DISABLED"
    assert set(states.values()) == {"ENABLED"}
    assert set(there.of_type("AWS::CloudWatch::Alarm")) == ALARMS - its_alarms
    for name in ("HealthFunction", "DoctorFunction"):
        variables = there.of_type("AWS::Lambda::Function")[name]["Environment"]["Variables"]
        off = {each for each, value in variables.items() if value == "false"}
        assert off == {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part).upper()}, name


def test_every_role_has_the_boundary_that_is_given() -> None:
    boundary = EVERYTHING_ON["PermissionsBoundaryArn"]
    roles = deployed(**EVERYTHING_ON).of_type("AWS::IAM::Role")

    assert len(roles) == 9
    assert {role["PermissionsBoundary"] for role in roles.values()} == {boundary}
    assert not any(
        "PermissionsBoundary" in role for role in deployed().of_type("AWS::IAM::Role").values()
    )


def test_a_bucket_is_encrypted_with_the_key_that_is_given() -> None:
    (bucket,) = deployed(**EVERYTHING_ON).of_type("AWS::S3::Bucket").values()
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert rule == {
        "ServerSideEncryptionByDefault": {
            "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": EVERYTHING_ON["KmsKeyArn"]
        },
        "BucketKeyEnabled": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("partition", "console"),
    [
        ("aws", "eu-west-1.console.aws.amazon.com"),
        ("aws-cn", "eu-west-1.console.amazonaws.cn"),
        ("aws-us-gov", "eu-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_the_link_to_the_dashboard_is_one_of_the_partition(
    partition: str, console: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACCOUNT, "AWS::Partition", partition)
    url = deployed.__wrapped__().outputs["DashboardUrl"]["Value"]

    assert url == f"https://{console}/cloudwatch/home?region=eu-west-1#dashboards:name=<Dashboard>"


def test_alarms_are_mailed_to_the_address_that_is_given() -> None:
    (mail,) = deployed(AlarmEmail="oncall@example.com").of_type("AWS::SNS::Subscription").values()

    assert mail == {"TopicArn": "<AlarmTopic>", "Protocol": "email",
                    "Endpoint": "oncall@example.com"}  # fmt: skip
    assert inventory(**COMBINATIONS["mail without alarms"]) == ALWAYS


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("", True),
        ("oncall@example.com", True),
        ("on-call+workers@mail.example.com", True),
        ("oncall", False),
        ("a@example.com, b@example.com", False),
    ],
)
def test_the_address_is_checked_before_anything_is_deployed(address: str, accepted: bool) -> None:
    pattern = deployed().template["Parameters"]["AlarmEmail"]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, address)) is accepted


@pytest.mark.parametrize("auth", ["AWS_IAM", "NONE"])
def test_the_health_url_asks_for_what_the_parameter_says(auth: str) -> None:
    there = deployed(HealthAuthType=auth)
    (url,) = there.of_type("AWS::Lambda::Url").values()

    assert url == {"TargetFunctionArn": "<HealthFunction>", "AuthType": auth}
    assert there.outputs["HealthUrl"]["Value"] == "<HealthFunctionUrl.FunctionUrl>"


def test_only_a_url_without_sign_in_may_be_used_by_all_and_only_as_a_url() -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    permissions = deployed(HealthAuthType="NONE").of_type("AWS::Lambda::Permission").values()
    function = {"FunctionName": "<HealthFunction.Arn>", "Principal": "*"}

    assert sorted(permissions, key=lambda each: each["Action"]) == [
        {**function, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
        {**function, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    ]
    assert not deployed(HealthAuthType="AWS_IAM").of_type("AWS::Lambda::Permission")


def test_health_and_doctor_run_when_they_are_asked_only() -> None:
    there = deployed()
    started = {
        schedule["Target"]["Arn"] for schedule in there.of_type("AWS::Scheduler::Schedule").values()
    }

    assert not started & {"<HealthFunction.Arn>", "<DoctorFunction.Arn>"}
    functions = there.of_type("AWS::Lambda::Function")
    assert functions["HealthFunction"]["Timeout"] == 10
    assert functions["DoctorFunction"]["Timeout"] == 120


def test_the_outputs_name_what_is_there() -> None:
    minimal = deployed(**EVERYTHING_OFF).outputs
    there = deployed()

    for name in there.of_type("AWS::Lambda::Function") | there.of_type("AWS::Logs::LogGroup"):
        assert minimal[name]["Value"] == f"<{name}>"
    for name in there.of_type("AWS::SQS::Queue"):
        assert minimal[f"{name}Url"]["Value"] == f"<{name}>"
    assert set(there.outputs) - set(minimal) == {"AlarmTopic", "DashboardUrl"}
    assert there.outputs["DashboardUrl"]["Value"].endswith("#dashboards:name=<Dashboard>")
    for name, output in there.outputs.items():
        assert output["Description"], name


def test_the_dashboard_shows_a_few_graphs_that_do_not_overlap() -> None:
    (dashboard,) = deployed().of_type("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    covered = [
        (widget["x"] + right, widget["y"] + down)
        for widget in widgets
        for right in range(widget["width"])
        for down in range(widget["height"])
    ]

    assert dashboard["DashboardName"] == "agency-eu-west-1", (
        "an account's dashboards have no region"
    )
    assert len(widgets) <= 8
    assert len(covered) == len(set(covered))
    assert max(right for right, _ in covered) < 24
    # the free tier's dashboards have at most fifty metrics
    assert sum(len(widget["properties"]["metrics"]) for widget in widgets) <= 50
    for widget in widgets:
        assert widget["properties"]["region"] == "eu-west-1"
        assert widget["properties"]["title"]


def test_nothing_depends_on_what_is_not_deployed() -> None:
    for name, parameters in COMBINATIONS.items():
        resources = deployed(**parameters).template["Resources"]
        for resource in resources.values():
            wanted = resource.get("DependsOn", [])
            names = {wanted} if isinstance(wanted, str) else set(wanted)
            assert names <= set(resources), name


def lintable() -> list[dict[str, Any]]:
    """Templates in which every resource of every combination is, in each form that it has. That
    what they refer to is there too, `deployed` has seen in all of them."""
    templates = [deployed(**parameters).template for parameters in COMBINATIONS.values()]
    chosen, seen = [], set()
    for template in sorted(templates, key=lambda one: len(one["Resources"]), reverse=True):
        forms = {json.dumps(one, sort_keys=True) for one in template["Resources"].items()}
        if not forms <= seen:
            seen |= forms
            chosen.append(template)
    return chosen


def test_cfn_lint_finds_nothing_in_any_combination(tmp_path: Path) -> None:
    files = []
    for number, template in enumerate(lintable()):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(template))
    linted = subprocess.run(
        # W2001, W7001: with the conditions evaluated, what only they used is no longer used
        [ROOT / ".venv" / "bin" / "cfn-lint", "--regions", "eu-west-1", "--ignore-checks", "W2001",
         "W7001", "--template", *files],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip

    assert linted.returncode == 0, linted.stdout + linted.stderr


def stages() -> dict[str, dict[str, Any]]:
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text())
    return {name: stage for name, stage in configuration.items() if isinstance(stage, dict)}


def overrides(stage: dict[str, Any]) -> dict[str, str]:
    pairs = stage["deploy"]["parameters"]["parameter_overrides"]
    return dict(pair.split("=", 1) for pair in pairs)


def test_every_stage_has_a_stack_and_a_secret_of_its_own() -> None:
    stacks = [stage["global"]["parameters"]["stack_name"] for stage in stages().values()]
    secrets = [overrides(stage)["SecretName"] for stage in stages().values()]

    assert set(stages()) == {"default", "staging", "prod"}
    assert len(set(stacks)) == len(set(secrets)) == 3
    for name, stage in stages().items():
        deploy = stage["deploy"]["parameters"]
        assert deploy["s3_prefix"] == stage["global"]["parameters"]["stack_name"], name
        # roles without names of their own
        assert deploy["capabilities"] == "CAPABILITY_IAM", name


def test_every_stage_sets_parameters_that_the_template_takes() -> None:
    parameters = deployed().template["Parameters"]

    for name, stage in stages().items():
        for parameter, value in overrides(stage).items():
            known = parameters[parameter]
            if parameter == "SupabaseUrl":  # a placeholder, which is refused
                assert not re.fullmatch(known["AllowedPattern"], value), name
                continue
            if "AllowedPattern" in known:
                assert re.fullmatch(known["AllowedPattern"], value), (name, parameter)
            if "AllowedValues" in known:
                assert value in map(str, known["AllowedValues"]), (name, parameter)


def test_production_is_watched_and_asks_before_it_changes() -> None:
    production = stages()["prod"]
    chosen = {key: value for key, value in overrides(production).items() if key != "SupabaseUrl"}

    assert production["deploy"]["parameters"]["confirm_changeset"] is True
    assert deployed(**chosen).of_type("AWS::CloudWatch::Alarm")


def test_staging_costs_no_alarms() -> None:
    staging = stages()["staging"]
    chosen = {key: value for key, value in overrides(staging).items() if key != "SupabaseUrl"}

    assert inventory(**chosen) == ALWAYS
