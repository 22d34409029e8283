"""What the template deploys, asserted on the CloudFormation that SAM makes of it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.template.deployed import ROOT, of_type
from workers.metrics import planning, sync
from workers.retention.cold import all_days_prefix
from workers.settings import Settings

Resource = dict[str, Any]

# X-Ray's write actions cannot be narrowed to a resource.
ACTIONS_WITHOUT_RESOURCES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}

# Read by Powertools, or to find the secret that holds the other settings.
VARIABLES_BESIDE_THE_SETTINGS = {
    "LOG_LEVEL",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_SERVICE_NAME",
    "WORKERS_SECRET_NAME",
}

SECRET_NAMES = re.compile(r"KEY|TOKEN|PASSWORD|CREDENTIAL|DSN", re.IGNORECASE)

# The database's leases on claimed rows end after this; a function that outlives them would post
# what the next run has taken over.
LONGEST_ROW_LEASE_SECONDS = 180

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def functions(resources: Resource) -> dict[str, Resource]:
    return of_type(resources, "AWS::Lambda::Function")


def folder(logical_id: str) -> str:
    """The folder of a function: MetricsSyncFunction lives in functions/metrics_sync."""
    words = re.findall(r"[A-Z][a-z0-9]*", logical_id.removesuffix("Function"))
    return "_".join(words).lower()


def statements(resources: Resource) -> list[tuple[str, Resource]]:
    found = []
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                found.append((name, statement))
    for policy in of_type(resources, "AWS::IAM::RolePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            found.append((policy["RoleName"]["Ref"], statement))
    return found


def allowed(resources: Resource, role: str) -> dict[str, set[str]]:
    """What a role may do: its actions by the logical id of the resource ("*": any)."""
    found: dict[str, set[str]] = {}
    for name, statement in statements(resources):
        if name == role:
            assert statement["Effect"] == "Allow"
            resource = statement["Resource"]
            target = resource if isinstance(resource, str) else next(iter(resource.values()))
            key = target[0] if isinstance(target, list) else target
            found.setdefault(key, set()).update(as_list(statement["Action"]))
    return found


def expression(template: Resource, schedule: Resource) -> str:
    """When it starts: its own text, or the default of the parameter that says so."""
    value = schedule["ScheduleExpression"]
    return str(template["Parameters"][value["Ref"]]["Default"] if "Ref" in value else value)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


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


def test_two_stacks_in_one_account_do_not_collide(resources: Resource) -> None:
    for name, schedule in of_type(resources, "AWS::Scheduler::Schedule").items():
        assert "Name" not in schedule, name
    for kind, key in (
        ("AWS::Lambda::Function", "FunctionName"),
        ("AWS::SQS::Queue", "QueueName"),
        ("AWS::IAM::Role", "RoleName"),
        ("AWS::Logs::LogGroup", "LogGroupName"),
        ("AWS::SNS::Topic", "TopicName"),
        ("AWS::CloudWatch::Alarm", "AlarmName"),
        ("AWS::CloudWatch::Dashboard", "DashboardName"),
    ):
        for name, properties in of_type(resources, kind).items():
            assert "AWS::StackName" in json.dumps(properties.get(key, "AWS::StackName")), name


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


def test_a_weekly_run_that_fails_is_tried_again_in_the_same_night(resources: Resource) -> None:
    schedule = resources["RetentionFunctionWeekly"]["Properties"]
    invocation = resources["RetentionFunctionEventInvokeConfig"]["Properties"]

    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 10
    assert invocation["MaximumRetryAttempts"] == 2
    for policy in (schedule["Target"]["RetryPolicy"], invocation):
        assert policy["MaximumEventAgeInSeconds"] == 3 * 3600


def test_every_schedule_can_be_switched_off(resources: Resource) -> None:
    for name, schedule in of_type(resources, "AWS::Scheduler::Schedule").items():
        assert schedule["State"] == {"Ref": "ScheduleState"}, name


def test_the_plan_sends_to_the_queue_that_the_syncs_read(resources: Resource) -> None:
    plan = functions(resources)["MetricsSyncFunction"]["Environment"]["Variables"]
    (source,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()

    assert plan["SYNC_QUEUE_URL"] == {"Ref": "ConnectionSyncQueue"}
    assert source["EventSourceArn"] == {"Fn::GetAtt": ["ConnectionSyncQueue", "Arn"]}
    assert source["FunctionName"] == {"Ref": "ConnectionSyncFunction"}
    assert source["BatchSize"] == 1
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_plan_and_the_queue_know_the_same_concurrency(template: Resource) -> None:
    resources = template["Resources"]
    (source,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    plan = functions(resources)["MetricsSyncFunction"]["Environment"]["Variables"]
    parameter = template["Parameters"]["MetricsConcurrency"]

    assert source["ScalingConfig"]["MaximumConcurrency"] == {"Ref": "MetricsConcurrency"}
    assert plan["METRICS_CONCURRENCY"] == {"Ref": "MetricsConcurrency"}
    # AWS's own bounds of MaximumConcurrency
    assert (parameter["MinValue"], parameter["MaxValue"]) == (2, 1000)


def test_no_function_takes_from_the_concurrency_of_the_account(resources: Resource) -> None:
    for name, function in functions(resources).items():
        assert "ReservedConcurrentExecutions" not in function, name


def test_a_message_is_hidden_while_it_is_handled_and_lives_no_longer_than_its_lease(
    resources: Resource,
) -> None:
    queue = resources["ConnectionSyncQueue"]["Properties"]
    timeout = functions(resources)["ConnectionSyncFunction"]["Timeout"]
    attempts = queue["RedrivePolicy"]["maxReceiveCount"]

    assert timeout < queue["VisibilityTimeout"]
    assert queue["MessageRetentionPeriod"] <= planning.LEASE_SECONDS
    assert attempts * queue["VisibilityTimeout"] <= queue["MessageRetentionPeriod"]


def test_the_code_knows_how_long_a_sync_may_take(resources: Resource) -> None:
    timeout = functions(resources)["ConnectionSyncFunction"]["Timeout"]

    assert timeout == planning.SYNC_SECONDS
    assert timeout < sync.LEASE_SECONDS


def test_a_message_that_fails_again_and_again_is_kept_as_evidence(resources: Resource) -> None:
    policy = resources["ConnectionSyncQueue"]["Properties"]["RedrivePolicy"]
    kept = resources["ConnectionSyncDeadLetterQueue"]["Properties"]

    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["ConnectionSyncDeadLetterQueue", "Arn"]}
    assert policy["maxReceiveCount"] == 3
    assert kept["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_the_notifications_function_ends_before_its_row_leases(resources: Resource) -> None:
    timeout = functions(resources)["NotificationsFunction"]["Timeout"]

    assert 60 < timeout < LONGEST_ROW_LEASE_SECONDS


def test_every_function_has_its_code_and_its_sample_event(resources: Resource) -> None:
    for name, function in functions(resources).items():
        subject = folder(name)
        assert function["Code"]["S3Key"] == f"functions/{subject}", name
        assert (ROOT / "functions" / subject / "app.py").is_file(), name
        assert isinstance(json.loads((ROOT / "events" / f"{subject}.json").read_text()), dict)
        service = function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        assert service == subject, name


def test_every_function_folder_and_sample_event_belongs_to_a_function(resources: Resource) -> None:
    subjects = {folder(name) for name in functions(resources)}

    assert {path.parent.name for path in ROOT.glob("functions/*/app.py")} == subjects
    # a function may have further samples: retention-dry-run.json
    samples = {path.stem.partition("-")[0] for path in ROOT.glob("events/*.json")}
    assert samples == subjects


def test_every_function_runs_on_the_layer_built_for_it(resources: Resource) -> None:
    (layer_name,) = of_type(resources, "AWS::Lambda::LayerVersion")
    layer = resources[layer_name]["Properties"]

    for name, function in functions(resources).items():
        assert function["Layers"] == [{"Ref": layer_name}], name
        assert function["Architectures"] == layer["CompatibleArchitectures"], name
        assert [function["Runtime"]] == layer["CompatibleRuntimes"], name


def test_the_layer_is_built_for_the_runtime_of_the_template(resources: Resource) -> None:
    recipe = (ROOT / "layers" / "shared" / "Makefile").read_text()
    function = functions(resources)["NotificationsFunction"]

    version = re.search(r"^PYTHON_VERSION \?= (\S+)", recipe, re.MULTILINE)
    platform = re.search(r"^PLATFORM \?= (\w+)-", recipe, re.MULTILINE)
    assert version is not None
    assert platform is not None
    assert function["Runtime"] == f"python{version[1]}"
    assert function["Architectures"] == [{"aarch64": "arm64"}[platform[1]]]


def test_the_layer_leaves_boto3_to_the_runtime() -> None:
    pins = (ROOT / "layers" / "shared" / "requirements.txt").read_text()

    assert not re.search(r"^boto", pins, re.MULTILINE)


def test_every_function_is_traced(resources: Resource) -> None:
    for name, function in functions(resources).items():
        assert function["TracingConfig"] == {"Mode": "Active"}, name


def test_every_function_writes_to_a_log_group_with_a_retention(resources: Resource) -> None:
    groups = of_type(resources, "AWS::Logs::LogGroup")
    used = [
        function["LoggingConfig"]["LogGroup"]["Ref"] for function in functions(resources).values()
    ]

    assert sorted(used) == sorted(groups)
    for name, group in groups.items():
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name


def test_no_policy_is_wider_than_it_must_be(resources: Resource) -> None:
    for role, statement in statements(resources):
        actions = as_list(statement["Action"])
        assert not [action for action in actions if "*" in action], role
        if "*" in as_list(statement["Resource"]):
            assert set(actions) <= ACTIONS_WITHOUT_RESOURCES, role


def test_every_function_has_a_role_of_its_own(resources: Resource) -> None:
    roles = [function["Role"]["Fn::GetAtt"][0] for function in functions(resources).values()]

    assert len(set(roles)) == len(roles)


SECRET = (
    "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:"
    "${SecretName}-??????"
)
ARCHIVE = "arn:${AWS::Partition}:s3:::${ArchiveBucketName}"


@pytest.mark.parametrize(
    ("subject", "its_own"),
    [
        ("Notifications", {"DeadLetterQueue": {"sqs:SendMessage"}}),
        (
            "MetricsSync",
            {
                "DeadLetterQueue": {"sqs:SendMessage"},
                "ConnectionSyncQueue": {"sqs:SendMessage"},
            },
        ),
        (
            "ConnectionSync",
            {
                "ConnectionSyncQueue": {
                    "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"
                }
            },
        ),
        (
            "Retention",
            {
                "DeadLetterQueue": {"sqs:SendMessage"},
                f"{ARCHIVE}/activity_log/*": {"s3:PutObject", "s3:GetObject"},
                ARCHIVE: {"s3:ListBucket"},
            },
        ),
        ("Health", {}),
        ("Doctor", {}),
    ],
)  # fmt: skip
def test_a_role_allows_what_its_function_does_and_no_more(
    resources: Resource, subject: str, its_own: dict[str, set[str]]
) -> None:
    assert allowed(resources, f"{subject}Role") == {
        SECRET: {"secretsmanager:GetSecretValue"},
        f"{subject}LogGroup": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "*": ACTIONS_WITHOUT_RESOURCES,
        **its_own,
    }


def test_s3_is_allowed_where_there_is_an_archive_and_only_its_own_keys(
    resources: Resource,
) -> None:
    policy = resources["RetentionArchivePolicy"]
    listing = [
        statement
        for _, statement in statements(resources)
        if as_list(statement["Action"]) == ["s3:ListBucket"]
    ]

    assert policy["Condition"] == "HasArchive"
    assert [one["Condition"] for one in listing] == [
        {"StringLike": {"s3:prefix": f"{all_days_prefix().partition('/')[0]}/*"}}
    ]


def test_the_archive_is_off_unless_it_is_named(template: Resource) -> None:
    parameters, conditions = template["Parameters"], template["Conditions"]
    named = {"Fn::Not": [{"Fn::Equals": [{"Ref": "ArchiveBucketName"}, ""]}]}

    assert parameters["ArchiveBucketName"]["Default"] == ""
    assert parameters["CreateArchiveBucket"]["Default"] == "false"
    assert conditions["HasArchive"] == named
    assert conditions["CreatesArchive"] == {"Fn::Equals": [{"Ref": "CreateArchiveBucket"}, "true"]}
    assert template["Rules"]["ArchiveBucketHasAName"] == {
        "RuleCondition": conditions["CreatesArchive"],
        "Assertions": [
            {
                "Assert": named,
                "AssertDescription": "CreateArchiveBucket needs an ArchiveBucketName",
            }
        ],
    }


def test_a_created_archive_is_private_encrypted_and_expires(resources: Resource) -> None:
    archive = resources["ArchiveBucket"]
    bucket = archive["Properties"]
    encryption, *others = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]

    assert archive["Condition"] == "CreatesArchive"
    assert bucket["BucketName"] == {"Ref": "ArchiveBucketName"}
    assert not others
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert rule["Status"] == "Enabled"
    assert rule["ExpirationInDays"] == {"Ref": "ArchiveExpiryDays"}
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7
    assert "VersioningConfiguration" not in bucket, "an older version would not expire"


def test_a_created_archive_is_not_reached_over_plain_http(resources: Resource) -> None:
    (statement,) = resources["ArchiveBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [
        {"Fn::GetAtt": ["ArchiveBucket", "Arn"]},
        {"Fn::Sub": "${ArchiveBucket.Arn}/*"},
    ]


def test_a_created_archive_outlives_the_stack(resources: Resource) -> None:
    for name in ("ArchiveBucket", "ArchiveBucketPolicy"):
        assert resources[name]["DeletionPolicy"] == "Retain", name
        assert resources[name]["UpdateReplacePolicy"] == "Retain", name


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("ArchiveBucketName", "", True),
        ("ArchiveBucketName", "agency-archive.example", True),
        ("ArchiveBucketName", "Agency_Archive", False),
        ("ArchiveBucketName", "s3://agency-archive", False),
        ("RetentionTimeZone", "UTC", True),
        ("RetentionTimeZone", "America/Argentina/Buenos_Aires", True),
        ("RetentionTimeZone", "Europe/", False),
        ("RetentionSchedule", "cron(30 3 1 * ? *)", True),
        ("RetentionSchedule", "every sunday", False),
    ],
)
def test_the_parameters_of_retention_are_checked_before_anything_is_deployed(
    template: Resource, parameter: str, value: str, accepted: bool
) -> None:
    pattern = template["Parameters"][parameter]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, value)) is accepted


def test_roles_use_no_managed_policies(resources: Resource) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        assert not role.get("ManagedPolicyArns"), name


def test_a_function_may_read_the_one_secret_only(resources: Resource) -> None:
    reading = [
        statement
        for _, statement in statements(resources)
        if any(action.startswith("secretsmanager:") for action in as_list(statement["Action"]))
    ]

    assert reading
    for statement in reading:
        assert as_list(statement["Action"]) == ["secretsmanager:GetSecretValue"]
        assert statement["Resource"]["Fn::Sub"].endswith(":secret:${SecretName}-??????")


def test_every_variable_is_a_setting_with_the_default_of_the_code(template: Resource) -> None:
    settings = {field.name.upper(): field for field in fields(Settings)}

    for function in functions(template["Resources"]).values():
        for variable, value in function["Environment"]["Variables"].items():
            if variable in VARIABLES_BESIDE_THE_SETTINGS:
                continue
            assert variable in settings
            if value["Ref"] in template["Resources"]:  # an address that the deployment makes
                continue
            parameter = template["Parameters"][value["Ref"]]
            if "Default" in parameter:
                # a setting that is empty counts as one that is not there
                assert (parameter["Default"] or None) == settings[variable].default, variable


def test_no_secret_is_in_the_environment(resources: Resource) -> None:
    for function, properties in functions(resources).items():
        for name in properties["Environment"]["Variables"]:
            assert not SECRET_NAMES.search(name), f"{function}: {name}"


def test_no_parameter_or_stage_holds_a_secret(template: Resource) -> None:
    for name in template["Parameters"]:
        assert not SECRET_NAMES.search(name), name
    for path in ("template.yaml", "samconfig.toml"):
        assert not re.search(r"xox[bp]-|sb_secret_|eyJ[A-Za-z0-9]", (ROOT / path).read_text()), path


def test_every_parameter_is_described_and_grouped(template: Resource) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]

    assert sorted(grouped) == sorted(template["Parameters"])
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("MetaApiVersion", "v26.0", True),
        ("MetaApiVersion", "26.0", False),
        ("MetaApiVersion", "v26", False),
        ("GoogleAdsApiVersion", "v26", True),
        ("GoogleAdsApiVersion", "v26.0", False),
        ("TikTokApiVersion", "v1.3", True),
        ("TikTokApiVersion", "1.3", False),
        ("LinkedInApiVersion", "202607", True),
        ("LinkedInApiVersion", "202613", False),
    ],
)
def test_the_template_takes_the_versions_that_the_settings_take(
    template: Resource, parameter: str, value: str, accepted: bool
) -> None:
    setting = {
        "MetaApiVersion": "meta_api_version",
        "GoogleAdsApiVersion": "google_ads_api_version",
        "TikTokApiVersion": "tiktok_api_version",
        "LinkedInApiVersion": "linkedin_api_version",
    }
    (parse,) = [
        each.metadata["parse"] for each in fields(Settings) if each.name == setting[parameter]
    ]

    assert (
        bool(re.fullmatch(template["Parameters"][parameter]["AllowedPattern"], value)) is accepted
    )
    if accepted:
        assert parse(value) == value
    else:
        with pytest.raises(ValueError, match="must look like"):
            parse(value)


def test_the_template_takes_no_number_that_the_settings_refuse(template: Resource) -> None:
    parse = {field.name.upper(): field.metadata["parse"] for field in fields(Settings)}

    for function in functions(template["Resources"]).values():
        for variable, value in function["Environment"]["Variables"].items():
            if variable not in parse:
                continue
            parameter = template["Parameters"].get(value["Ref"])
            if parameter and parameter["Type"] == "Number":
                for bound in {"MinValue", "MaxValue"} & set(parameter):
                    parse[variable](str(parameter[bound]))


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://abcdefghij.supabase.co", True),
        ("https://dashboard.example.com:8443/", True),
        ("https://YOUR-PROJECT.supabase.co", False),
        ("http://abcdefghij.supabase.co", False),
        ("https://abcdefghij.supabase.co/rest/v1", False),
    ],
)
def test_the_supabase_url_is_checked_before_anything_is_deployed(
    template: Resource, url: str, accepted: bool
) -> None:
    pattern = template["Parameters"]["SupabaseUrl"]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, url)) is accepted


def test_sample_events_are_what_the_scheduler_sends(resources: Resource) -> None:
    for schedule in of_type(resources, "AWS::Scheduler::Schedule").values():
        name = schedule["Target"]["Arn"]["Fn::GetAtt"][0]
        event = json.loads((ROOT / "events" / f"{folder(name)}.json").read_text())
        assert event["source"] == "aws.scheduler"
        assert event["detail-type"] == "Scheduled Event"
        assert event["detail"] == "{}"
        assert ":schedule/default/" in event["resources"][0]


def test_the_sample_event_of_the_syncs_is_a_message_that_no_plan_has_sent() -> None:
    (record,) = json.loads((ROOT / "events" / "connection_sync.json").read_text())["Records"]
    body = record["body"]

    assert record["eventSource"] == "aws:sqs"
    assert record["md5OfBody"] == hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    assert set(json.loads(body)) == {"connection_id", "token"}
    for value in json.loads(body).values():
        # nothing random begins like that
        assert str(uuid.UUID(value)).startswith("00000000-0000-4000-8000-")


def test_sam_accepts_the_template_without_network_credentials_or_region(tmp_path: Path) -> None:
    validated = subprocess.run(
        [ROOT / ".venv" / "bin" / "sam", "validate", "--lint"],
        check=False,
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "SAM_CLI_TELEMETRY": "0",
            "https_proxy": "http://127.0.0.1:9",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert validated.returncode == 0, validated.stdout + validated.stderr
