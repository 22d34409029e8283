"""The cold archive's bucket: off by default; when created, private, expiring and kept."""

from __future__ import annotations

from tests.template.deployed import Resource


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
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == {
        "Fn::If": ["HasKmsKey", "aws:kms", "AES256"]
    }
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
