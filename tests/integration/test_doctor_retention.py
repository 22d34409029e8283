"""What the doctor says about retention: policies, constraints, the bucket of the cold archive."""

from __future__ import annotations

import pytest

from tests.conftest import LocalStack
from tests.integration.archive_bucket import BUCKET, Bucket
from tests.integration.examination import Examine, changed, one_failure


def test_policies_that_are_not_carried_out(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute(
        "insert into retention_policies "
        "(entity_type, active_retention_days, archive_retention_days) "
        "values ('clients', 1, 1), ('activity_log', 30, 60)"
    )
    _, sections = examine()
    assert "no retention for 'clients'" in one_failure(sections["Retention"])
    assert any("longer times apply" in one["text"] for one in sections["Retention"])


def test_policies_that_are_probably_a_mistake(examine: Examine, stack: LocalStack) -> None:
    stack.connection.execute("delete from retention_policies")
    _, sections = examine()
    (found,) = sections["Retention"]
    assert (found["level"], found["text"][:28]) == ("warning", "there is no retention policy")
    stack.connection.execute(
        "insert into retention_policies "
        "(entity_type, active_retention_days, archive_retention_days) "
        "values ('activity_log', 90, 30)"
    )
    _, sections = examine()
    (found,) = sections["Retention"]
    assert found["level"] == "warning"
    assert "archive_retention_days (30) is less than active_retention_days (90)" in found["text"]


@pytest.mark.parametrize(
    ("change", "level", "shown"),
    [
        (
            "create table child (a uuid references activity_log (id) on delete cascade)",
            "warning", "are not archived while rows of child refer to them",
        ),
        (
            "create table child (a uuid references archived_activity_log (id) on delete set null)",
            "warning", "the rows of child that refer to it are deleted or changed",
        ),
        (
            "create table child (a uuid references notification_queue (id) on delete cascade)",
            "warning", "with each row purged from notification_queue",
        ),
        (
            "create table child (a uuid references metric_sync_logs (id))",
            "ok", "stay as long as rows of child refer to them",
        ),
        (
            "create table child (a uuid references metric_sync_logs (id))",
            "warning", "all of child is searched",
        ),
        (
            ("create table child ();"
            "create function nothing() returns trigger language plpgsql as "
            "$$ begin return old; end $$;"
            "create trigger watch before delete on activity_log for each row "
            "execute function nothing()"),
            "ok", "the trigger watch on activity_log runs",
        ),
        (
            "create table child (); alter table activity_log add column ip inet",
            "failed", "cannot hold the column ip inet",
        ),
    ],
)  # fmt: skip
def test_what_constraints_and_triggers_do_with_retention_is_named(
    examine: Examine, stack: LocalStack, change: str, level: str, shown: str
) -> None:
    undo = (
        "drop table child; drop trigger if exists watch on activity_log;"
        "drop function if exists nothing(); alter table activity_log drop column if exists ip"
    )
    with changed(stack, change, undo):
        _, sections = examine()
    (found,) = [one for one in sections["Retention"] if shown in one["text"]]
    assert found["level"] == level
    assert found["fix"] or level == "ok"


LIFECYCLE = {
    "Rules": [
        {
            "ID": "all", "Status": "Enabled", "Filter": {"Prefix": "activity_log/"},
            "Expiration": {"Days": 2555},
            "Transitions": [{"Days": 90, "StorageClass": "GLACIER"}],
        }
    ]
}  # fmt: skip


def test_the_bucket_is_checked(
    examine: Examine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sections = examine(ARCHIVE_BUCKET_NAME=BUCKET)
    shown = [(one["level"], one["text"]) for one in sections["Archive"]]
    assert shown[0][0] == "ok"
    assert ("warning", "the bucket keeps archived activity forever") in shown

    key = "arn:aws:kms:eu-west-1:123456789012:key/0f1e2d3c"
    bucket.s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=LIFECYCLE)
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    bucket.s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": by_key}]
        },
    )
    _, sections = examine(ARCHIVE_BUCKET_NAME=BUCKET)
    shown = [(one["level"], one["text"]) for one in sections["Archive"]]
    assert ("ok", "the bucket keeps archived activity for 2555 days") in shown
    assert any(level == "warning" and "after 90 days" in text for level, text in shown)
    assert any(level == "ok" and key in text for level, text in shown)

    _, sections = examine(ARCHIVE_BUCKET_NAME="no-such-bucket")
    assert "NoSuchBucket" in one_failure(sections["Archive"])
    bucket.server.stop()
    _, sections = examine(ARCHIVE_BUCKET_NAME=BUCKET)
    assert "cannot be reached" in one_failure(sections["Archive"])
