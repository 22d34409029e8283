"""The bucket of the cold archive: access, expiry, encryption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from workers.doctor.sections import of_error
from workers.errors import WorkerError
from workers.findings import Finding, ok, warning


class ArchiveBucket(Protocol):
    """What the check needs of the bucket; each raises the workers' errors."""

    def reach(self) -> None: ...

    def expiry_days(self) -> int | None:
        """Days until its objects are deleted; None: never."""
        ...

    def frozen_after_days(self) -> int | None:
        """Days until they move to a storage class that cannot be read immediately; None: never."""
        ...

    def kms_key(self) -> str | None:
        """The customer-managed key that it encrypts with, if any."""
        ...


def check_archive(bucket: ArchiveBucket) -> Iterator[Finding]:
    """One check after the other; one that fails does not stop the others."""
    try:
        bucket.reach()
    except WorkerError as error:
        yield of_error("the bucket of the cold archive", error)
        return
    yield ok("the bucket of the cold archive can be listed")
    for check in (_expiry, _frozen, _encryption):
        try:
            yield from check(bucket)
        except WorkerError as error:
            yield warning(
                f"the bucket's {check.__name__[1:]} could not be checked: {error}",
                "The doctor's role needs s3:GetLifecycleConfiguration and "
                "s3:GetEncryptionConfiguration on the bucket",
            )


Check = Callable[[ArchiveBucket], Iterator[Finding]]


def _expiry(bucket: ArchiveBucket) -> Iterator[Finding]:
    days = bucket.expiry_days()
    if days is None:
        yield warning(
            "the bucket keeps archived activity forever",
            "Give it a lifecycle rule that expires activity_log/ after as many days as you promise",
        )
    else:
        yield ok(f"the bucket keeps archived activity for {days} days")


def _frozen(bucket: ArchiveBucket) -> Iterator[Finding]:
    days = bucket.frozen_after_days()
    if days is not None:
        yield warning(
            f"after {days} days the bucket moves objects to a storage class that cannot be read "
            "immediately: a restore names them, and they have to be restored in S3 first",
            "Nothing, if that is intended: docs/retention.md says how to restore them",
        )


def _encryption(bucket: ArchiveBucket) -> Iterator[Finding]:
    key = bucket.kms_key()
    if key is not None:
        yield ok(f"the bucket encrypts with {key}: ArchiveKmsKeyArn lets the roles use it")
