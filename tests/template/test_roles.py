"""Each role allows what its function does and no more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.template.deployed import Resource, functions, of_type
from workers.retention.cold import all_days_prefix

# X-Ray's write actions cannot be narrowed to a resource.
ACTIONS_WITHOUT_RESOURCES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def statements(resources: Resource) -> list[tuple[str, Resource]]:
    found = []
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                found.append((name, statement))
    for policy in of_type(resources, "AWS::IAM::RolePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            found.append((policy["RoleName"]["Ref"], statement))
    for policy in of_type(resources, "AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            found += [(role["Ref"], statement) for role in policy["Roles"]]
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


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


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
                "KmsKeyArn": {"kms:GenerateDataKey", "kms:Decrypt"},
            },
        ),
        ("Health", {}),
        (
            "Doctor",
            {
                ARCHIVE: {
                    "s3:ListBucket", "s3:GetLifecycleConfiguration", "s3:GetEncryptionConfiguration"
                }
            },
        ),
    ],
)  # fmt: skip
def test_a_role_allows_what_its_function_does_and_no_more(
    resources: Resource, subject: str, its_own: dict[str, set[str]]
) -> None:
    assert allowed(resources, f"{subject}Role") == {
        SECRET: {"secretsmanager:GetSecretValue"},
        f"{subject}LogGroup": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "*": ACTIONS_WITHOUT_RESOURCES,
        "KmsKeyArn": {"kms:Decrypt"},
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

    assert policy["Condition"] == resources["DoctorArchivePolicy"]["Condition"] == "HasArchive"
    assert [one["Condition"] for one in listing] == [
        {"StringLike": {"s3:prefix": f"{all_days_prefix().partition('/')[0]}/*"}}
    ] * 2


def test_the_key_is_used_through_the_services_that_need_it_only(resources: Resource) -> None:
    using = [
        statement["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Sub"]
        for _, statement in statements(resources)
        if any(action.startswith("kms:") for action in as_list(statement["Action"]))
    ]

    assert set(using) == {
        "secretsmanager.${AWS::Region}.${AWS::URLSuffix}",
        "s3.${AWS::Region}.${AWS::URLSuffix}",
    }
    assert resources["KmsKeyPolicy"]["Condition"] == "HasKmsKey"
    assert resources["ArchiveKmsKeyPolicy"]["Condition"] == "EncryptsArchive"


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
