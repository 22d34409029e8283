"""Every way in which S3 can fail the cold archive, and the kind of error each becomes."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config

from local.faults import Fault, close, failing, hang, redirect, reset, truncate
from tests.integration.archive_bucket import BUCKET, DAY, Bucket, lines
from tests.integration.moto_s3 import path_of, s3_error
from workers.errors import ConfigurationError, TransientError, UnknownError
from workers.retention.archive import ColdArchive
from workers.retention.cold import build_chunk


@pytest.mark.parametrize(
    "fault",
    [
        s3_error("InternalError", 500),
        s3_error("SlowDown", 503),
        s3_error("RequestTimeout", 400),
        s3_error("BadDigest", 400),
        failing(502, times=None),
        failing(429, times=None),
        reset(times=None),
        close(times=None),
    ],
    ids=lambda fault: f"{fault.how} {fault.status} {fault.body[27:50]}",
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_temporary_failure_is_transient(bucket: Bucket, fault: Fault, method: str) -> None:
    bucket.fails(Fault(**{**vars(fault), "method": method}))
    with pytest.raises(TransientError):
        bucket.archive().store(lines(5))
    assert bucket.manifests() == []


def test_a_temporary_problem_is_not_noticed(bucket: Bucket) -> None:
    bucket.fails(failing(503, method="PUT"))
    bucket.fails(failing(503, method="GET"))
    assert bucket.archive().store(lines(5))[0] == lines(5)


def test_an_interrupted_answer_is_transient_and_names_the_object(bucket: Bucket) -> None:
    bucket.archive().store(lines(5))
    (key,) = bucket.objects()
    bucket.fails(truncate(method="GET", path=path_of(BUCKET, key), times=None))
    with pytest.raises(TransientError, match=key):
        bucket.archive().store(lines(5))


def test_an_unreachable_server_is_transient(bucket: Bucket) -> None:
    archive = bucket.archive()
    bucket.server.stop()
    with pytest.raises(TransientError, match="cannot be reached"):
        archive.store(lines(5))


def test_a_name_that_dns_does_not_know_is_transient(bucket: Bucket) -> None:
    impatient = Config(retries={"total_max_attempts": 1})
    elsewhere = boto3.client("s3", config=impatient, endpoint_url="http://s3.invalid")
    with pytest.raises(TransientError, match="no connection could be made"):
        ColdArchive(BUCKET, elsewhere).store(lines(3))


def test_no_answer_in_time_is_transient(bucket: Bucket) -> None:
    impatient = Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    archive = ColdArchive(BUCKET, boto3.client("s3", config=impatient))
    bucket.fails(hang(30))
    with pytest.raises(TransientError, match="no answer in time"):
        archive.store(lines(5))


def test_the_calls_do_not_wait_for_long(bucket: Bucket) -> None:
    config = bucket.archive()._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("InvalidAccessKeyId", 403),
        ("IllegalLocationConstraintException", 400),
    ],
)
def test_a_refusal_is_a_matter_of_configuration(
    bucket: Bucket, method: str, code: str, status: int
) -> None:
    bucket.fails(s3_error(code, status, method=method))
    with pytest.raises(ConfigurationError, match=f"{code}.*ARCHIVE_BUCKET_NAME") as caught:
        bucket.archive().store(lines(5))
    assert caught.value.code == code
    assert bucket.manifests() == []


def test_a_refused_read_names_its_object(bucket: Bucket) -> None:
    key = build_chunk(DAY, lines(5)).manifest.object_key
    bucket.fails(s3_error("AccessDenied", 403, method="GET", path=path_of(BUCKET, key)))
    with pytest.raises(ConfigurationError, match=key):
        bucket.archive().store(lines(5))


def test_a_redirect_is_a_matter_of_configuration_and_not_followed(bucket: Bucket) -> None:
    bucket.fails(redirect(f"{bucket.server.url}/elsewhere", method="PUT", times=None))
    with pytest.raises(ConfigurationError, match=r"302.*ARCHIVE_BUCKET_NAME"):
        bucket.archive().store(lines(3))
    assert bucket.keys() == []
    assert not any("elsewhere" in one["path"] for one in bucket.server.journal.listing())


def test_a_bucket_that_does_not_exist_is_a_matter_of_configuration(bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="NoSuchBucket"):
        ColdArchive("none").store(lines(5))


def test_a_name_that_no_bucket_can_have_is_a_matter_of_configuration(bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="Invalid bucket name"):
        ColdArchive("no bucket").store(lines(5))


def test_missing_credentials_are_a_matter_of_configuration(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigurationError, match="credentials"):
        bucket.archive().store(lines(5))


def test_an_unknown_error_is_quoted_with_where_to_look_it_up(bucket: Bucket) -> None:
    bucket.fails(s3_error("SomethingOfNextYear", 400))
    with pytest.raises(UnknownError, match=r"answered SomethingOfNextYear .*https://docs"):
        bucket.archive().store(lines(5))
