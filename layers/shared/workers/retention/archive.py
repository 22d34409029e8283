"""The cold archive in S3: storing rows so that each is proven to be there, and reading them.

`workers.retention.cold` defines the format; this module writes and reads it, and handles what can
go wrong. The object is written first, and its manifest once the object was read back: an object
without a manifest, as a killed run leaves behind, does not count, whereas a manifest without its
object would block every later run.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any, Final

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as AwsConnectionError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from workers.errors import (
    ArchivedObjectError,
    ConfigurationError,
    DamagedArchiveError,
    FrozenArchiveError,
    TransientError,
    UnknownError,
    WorkerError,
    unreachable_since,
)
from workers.retention.cold import (
    Chunk,
    Manifest,
    all_days_prefix,
    build_chunk,
    by_date,
    check_object,
    day_of,
    day_prefix,
    is_manifest,
    object_of,
    parse_manifest,
    row_key,
)

# Each day takes half a dozen requests; rows of further days are left for the next call, so that one
# call stays short.
MOST_DAYS: Final = 10

# botocore retries a failed request once; after that the run decides.
_CONFIG: Final = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)

_UNREACHABLE: Final = (
    AwsConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseParserError,
)
_NOT_SET_UP: Final = (
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,  # a name that no bucket can have
    PartialCredentialsError,
)
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_TRANSIENT_CODES: Final = frozenset(
    {
        "BadDigest",  # S3 did not receive the bytes that were sent
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "XAmzContentSHA256Mismatch",
    }
)
# For the engineer to fix: the role, the bucket's name or the region.
_REFUSALS: Final = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "IllegalLocationConstraintException",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidToken",
        "KMS.DisabledException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
        "NoSuchBucket",
        "NotSignedUp",
        "PermanentRedirect",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html
_FROZEN: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True)
class Listed:
    """An object or a manifest as the bucket lists it; its size in bytes."""

    key: str
    day: date
    written_at: datetime
    size: int

    @property
    def of(self) -> str | None:
        """The key of the object that this is the manifest of; None for an object."""
        return object_of(self.key) if is_manifest(self.key) else None


class ColdArchive:
    """One bucket, by its name."""

    def __init__(self, bucket: str, client: Any = None) -> None:
        """`client` is boto3's for S3; by default, one is made.

        Raises ConfigurationError when boto3 finds no region.
        """
        self._bucket = bucket
        with _translated(f"bucket {bucket}"):
            self._client = client or boto3.client("s3", config=_CONFIG)
        # Called before each request; what it raises ends the store or the read.
        self.heed: Callable[[], None] = lambda: None
        # Those of the day that was stored last: a manifest's key determines its content, so none is
        # fetched twice while a day is stored in pieces.
        self._known: dict[str, Manifest] = {}

    def store(self, lines: Sequence[str]) -> tuple[list[str], int]:
        """Stores rows, each the JSON text that Postgres made of it.

        Returns those that are now verified, each in an object that was read back and matches its
        manifest, and the number of bytes written. Where the rows are of more than MOST_DAYS days,
        only the oldest days are taken. Rows that are already there, as after a run that was killed
        before it could purge, are not written again.

        Raises DamagedArchiveError when an object that may hold such rows has changed,
        PermanentError for a line that is not a row, TransientError and ConfigurationError for
        problems of S3, and what `heed` raises. What was stored until then, the next call finds.
        """
        days = list(by_date(lines).items())[:MOST_DAYS]
        written = sum(self._store_day(day, rows) for day, rows in days)
        return [line for _, rows in days for line in rows], written

    def read(
        self,
        since: date,
        until: date,
        ignore: Callable[[str], None] = lambda key: None,
        miss: Callable[[ArchivedObjectError], None] | None = None,
    ) -> Iterator[Chunk]:
        """The verified objects of these days, both included, oldest day first.

        Of two versions of a row, the one written later comes first. `ignore` is called with the key
        of each object that has no manifest and so does not count, `miss` with the error of each
        that is damaged or cannot be read now; without `miss`, the first such error is raised at the
        end. Raises TransientError and ConfigurationError as `store` does.
        """
        missed: list[ArchivedObjectError] = []
        for _, listed in groupby(self.listed(since, until), key=lambda each: each.day):
            by_age = sorted(listed, key=lambda each: each.written_at)
            newest_first = [each.key for each in by_age][::-1]
            manifests = [key for key in newest_first if is_manifest(key)]
            for key in sorted(set(newest_first) - set(manifests) - set(map(object_of, manifests))):
                ignore(key)
            for key in manifests:
                try:
                    chunk = self._verified(self._manifest(key))
                except ArchivedObjectError as error:
                    (miss or missed.append)(error)
                else:
                    yield chunk
        if missed:
            raise missed[0]

    def reach(self) -> None:
        """Raises TransientError or ConfigurationError if the bucket cannot be listed."""
        with _translated(f"bucket {self._bucket}"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=all_days_prefix(), MaxKeys=1)

    def expiry_days(self) -> int | None:
        """Days until objects are deleted by the bucket's own rules; None: never."""
        days = [rule.get("Expiration", {}).get("Days") for rule in self._lifecycle()]
        return min(filter(None, days), default=None)

    def frozen_after_days(self) -> int | None:
        """Days until objects move to a storage class that cannot be read immediately; None:
        never."""
        moves = [move for rule in self._lifecycle() for move in rule.get("Transitions", [])]
        return min((m["Days"] for m in moves if m.get("StorageClass") in _FROZEN), default=None)

    def kms_key(self) -> str | None:
        """The customer-managed key that the bucket encrypts with, if it has one."""
        with _translated(f"the encryption of bucket {self._bucket}"):
            answer = self._client.get_bucket_encryption(Bucket=self._bucket)
        rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
        keys = [rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in rules]
        return next(filter(None, keys), None)

    def _lifecycle(self) -> list[dict[str, Any]]:
        """The enabled rules that apply to the archive's keys."""
        with _translated(f"the lifecycle of bucket {self._bucket}"):
            try:
                answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
            except ClientError as error:
                if error.response["Error"].get("Code") == "NoSuchLifecycleConfiguration":
                    return []
                raise
        return [
            rule
            for rule in answer["Rules"]
            if rule["Status"] == "Enabled" and all_days_prefix().startswith(_prefix_of(rule))
        ]

    def _store_day(self, day: date, lines: Sequence[str]) -> int:
        """Stores and verifies all lines of one day; returns the number of bytes written."""
        keys = [row_key(line) for line in lines]
        first, last = min(keys), max(keys)
        there: Counter[str] = Counter()
        for manifest in self._manifests(day):
            if manifest.overlaps(first, last):
                there |= Counter(self._readable_lines(manifest))
        # without a primary key, the same row may be there more than once
        missing = list((Counter(lines) - there).elements())
        return self._write(build_chunk(day, missing)) if missing else 0

    def _readable_lines(self, manifest: Manifest) -> tuple[str, ...]:
        """Empty for an object that was moved to Glacier: a second copy does no harm."""
        try:
            return self._verified(manifest).lines
        except FrozenArchiveError:
            return ()

    def _write(self, chunk: Chunk) -> int:
        manifest, body = chunk.manifest, chunk.manifest.body()
        sha256 = bytes.fromhex(manifest.sha256)
        self._put(
            manifest.object_key, chunk.body, "application/gzip", ChecksumSHA256=_base64(sha256)
        )
        self._verified(manifest)
        self._put(manifest.key, body, "application/json", ChecksumAlgorithm="SHA256")
        if self._get(manifest.key) != body:
            raise DamagedArchiveError(manifest.key, "it is not what was written")
        self._known[manifest.key] = manifest
        return manifest.size + len(body)

    def _verified(self, manifest: Manifest) -> Chunk:
        return check_object(manifest, self._get(manifest.object_key))

    def _manifests(self, day: date) -> list[Manifest]:
        keys = [each.key for each in self.listed(day, day) if is_manifest(each.key)]
        known: dict[str, Manifest] = {}
        for key in keys:
            with suppress(FrozenArchiveError):
                known[key] = self._known.get(key) or self._manifest(key)
        self._known = known
        return list(known.values())

    def _manifest(self, key: str) -> Manifest:
        return parse_manifest(key, self._get(key))

    def listed(self, since: date, until: date) -> Iterator[Listed]:
        """The objects and manifests of these days, both included, in order of their keys. Raises
        TransientError and ConfigurationError."""
        prefix = day_prefix(since) if since == until else all_days_prefix()
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, StartAfter=day_prefix(since)
        )
        self.heed()
        with _translated(f"bucket {self._bucket}"):
            for page in pages:
                for entry in page.get("Contents", []):
                    day = day_of(entry["Key"])
                    if day is not None and day > until:
                        return
                    if day is not None:
                        written_at = entry["LastModified"].astimezone(UTC)
                        yield Listed(entry["Key"], day, written_at, entry["Size"])

    def _put(self, key: str, body: bytes, kind: str, **checksum: str) -> None:
        """Stores an object; S3 refuses it if the bytes it received are not those that were
        sent."""
        self.heed()
        with _translated(key):
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType=kind, **checksum
            )

    def _get(self, key: str) -> bytes:
        self.heed()
        with _translated(key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
                return bytes(answer["Body"].read())
            except FlexibleChecksumError:
                problem = "its bytes do not match the checksum that S3 keeps"
                raise DamagedArchiveError(key, problem) from None
            except ClientError as error:
                code = error.response["Error"].get("Code")
                # A role that may list one prefix only gets AccessDenied for a missing key.
                if code == "NoSuchKey" or (code == "AccessDenied" and not self._is_there(key)):
                    raise DamagedArchiveError(key, "it is missing") from error
                if code == "InvalidObjectState":
                    raise FrozenArchiveError(key) from error
                raise

    def _is_there(self, key: str) -> bool:
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
        return bool(answer["KeyCount"])


def _prefix_of(rule: Mapping[str, Any]) -> str:
    """What the keys of a lifecycle rule begin with; empty if it applies to all."""
    chosen = rule.get("Filter", {})
    return str(
        rule.get("Prefix") or chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or ""
    )


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Raises the workers' own errors for boto3's, naming the key or bucket."""
    try:
        yield
    except _NOT_SET_UP as error:
        raise _not_set_up(error, subject) from error
    except _UNREACHABLE as error:
        raise TransientError(
            f"S3 cannot be reached for {subject}: {unreachable_since(error)}. If it persists, "
            "check the network, the region and AWS's status page.",
            code="s3_unreachable",
        ) from error
    except ClientError as error:
        raise _own_error(error, subject) from error
    except BotoCoreError as error:  # such as a sign-in that has expired
        raise _not_set_up(error, subject) from error


def _not_set_up(error: Exception, subject: str) -> ConfigurationError:
    return ConfigurationError(
        f"S3 cannot be called for {subject}: {str(error).rstrip('.')}. Check the region, and the "
        "credentials that this process has for AWS.",
        code="s3_not_set_up",
    )


def _own_error(error: Any, subject: str) -> WorkerError:
    """The workers' own error for one of S3's."""
    code = str(error.response["Error"].get("Code") or "unknown")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _TRANSIENT_CODES or status == 429 or status >= 500:
        return TransientError(f"S3 answered {code} (status {status}) for {subject}.", code=code)
    if code in _REFUSALS or 300 <= status < 400:  # a redirect may come without a code
        return ConfigurationError(
            f"S3 answered {code} for {subject}: the bucket of ARCHIVE_BUCKET_NAME must exist in "
            "this account's region, and the role must be allowed to list, read and write its "
            "activity_log/.",
            code=code,
        )
    said = str(error.response["Error"].get("Message") or "").rstrip(".")
    return UnknownError(
        f"S3 answered {code} (status {status}) for {subject}{f': {said}' if said else ''}. Its "
        "meaning: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html",
        code=code,
    )
