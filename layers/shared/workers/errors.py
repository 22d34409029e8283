"""What can go wrong, by what it means for the work in progress.

    WorkerError
    ├── TransientError         try again later; nothing was done
    │   ├── AmbiguousError     it may have been done: check before trying again
    │   └── GeneralError       no reason given: perhaps too much was asked for at once
    │       └── BrokenStreamError  the answer did not come in time, or was cut off
    ├── RateLimitedError       wait; does not count as an attempt
    ├── CannotReadError        whether it was done cannot be checked, now or later
    ├── PermanentError         this item will never succeed
    │   ├── DestinationError   nothing sent to this destination will succeed
    │   ├── MalformedAnswerError   an answer is not what was asked for
    │   └── ArchivedObjectError   an archived object cannot be read
    │       ├── DamagedArchiveError   it is not what it was
    │       └── FrozenArchiveError    it has to be restored from Glacier first
    ├── TooMuchDataError       ask for less at once
    ├── UnknownError           refused for an unknown reason
    ├── CredentialsError       the credential is refused: stop using it
    │   └── ConnectionCredentialsError   that of one ad account; the others are not affected
    │       └── ExpiredSignInError       only its short-lived part: sign in again, once
    └── ConfigurationError     the deployment is set up wrongly: the run fails
        └── SharedCredentialsError   a credential that many ad accounts share is refused

Each edge (database, Slack, an ad platform, S3) translates the outside world into this tree in one
place. One that an edge does not know is UnknownError, or passes through untranslated.
"""

from __future__ import annotations

from typing import Final

# What the names of libraries' errors have in common, and what each means.
_REASONS: Final = (
    ("Timeout", "there was no answer in time"),
    ("SSL", "no secure connection could be made"),
    ("Proxy", "the proxy could not be used"),
    ("EndpointConnection", "no connection could be made"),
    ("ConnectionError", "no connection could be made, or it broke"),
    ("ConnectError", "no connection could be made"),
    ("NewConnection", "no connection could be made"),
    ("ConnectionRefused", "no connection could be made"),
    ("NameResolution", "its name is not known"),
    ("gaierror", "its name is not known"),
    ("Parser", "the answer cannot be read"),
)


def unreachable_since(error: Exception) -> str:
    """A clause for people: why the other side could not be reached, by the kind of a library's
    error; its text may quote an address or a token."""
    name = type(error).__name__
    return next((words for part, words in _REASONS if part in name), "the connection broke")


class WorkerError(Exception):
    """An error that the workers know how to handle.

    `code` is the other side's own name for it (`channel_not_found`, `57014`), for people and for
    grouping; the message is a sentence. Neither ever contains a secret.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class TransientError(WorkerError):
    """It failed without any effect and may succeed later."""


class AmbiguousError(TransientError):
    """It may have taken effect, although no confirmation came back."""


class GeneralError(TransientError):
    """It failed for no particular reason (an internal error, a timeout, a closed connection).

    If retries do not help, too much may have been asked for at once, as with TooMuchDataError: a
    narrower request may succeed.
    """


class BrokenStreamError(GeneralError):
    """An answer did not come in time, or was cut off. It is not requested again as it was:
    smaller requests may succeed."""


class RateLimitedError(WorkerError):
    """The other side asked us to wait.

    `retry_after` is in seconds. `everywhere` is true if the wait applies to everything that is sent
    there, not only to this destination or account. `method` names the refused call where limits are
    per method, as Slack's are; otherwise it is empty. `until_midnight` is true for a daily quota,
    which is renewed at midnight UTC; `is_guess` if the other side named no time.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retry_after: float,
        everywhere: bool = False,
        method: str = "",
        until_midnight: bool = False,
        is_guess: bool = False,
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after
        self.everywhere = everywhere
        self.method = method
        self.until_midnight = until_midnight
        self.is_guess = is_guess


class CannotReadError(WorkerError):
    """A destination cannot be read, and asking again would not change that.

    That says nothing about whether messages can be posted to it.
    """


class PermanentError(WorkerError):
    """This item is refused, and will be refused every time."""


class DestinationError(PermanentError):
    """The destination cannot receive anything until someone fixes it."""


class MalformedAnswerError(PermanentError):
    """An answer, or a row of it, is not what was asked for; the rest of the account may be."""


class ArchivedObjectError(PermanentError):
    """An object of the cold archive, or its manifest, cannot be read."""

    def __init__(self, key: str, message: str, *, code: str) -> None:
        super().__init__(message, code=code)
        self.key = key


class DamagedArchiveError(ArchivedObjectError):
    """An object of the cold archive, or its manifest, is missing or not what was written."""

    def __init__(self, key: str, problem: str) -> None:
        """`key` is that of the object or manifest; `problem` is a clause that says what is
        wrong."""
        super().__init__(
            key,
            f"{key} in the cold archive is damaged: {problem}. Replace it with a good copy, or "
            "remove the object and its manifest: their rows are then lost, unless they are still "
            "in the database.",
            code="archive_damaged",
        )


class FrozenArchiveError(ArchivedObjectError):
    """An object, or its manifest, was moved to a storage class that cannot be read immediately."""

    def __init__(self, key: str) -> None:
        """https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html"""
        super().__init__(
            key,
            f"{key} in the cold archive is in Glacier. Restore it for some days, with its "
            "manifest: aws s3api restore-object --bucket BUCKET --key KEY --restore-request "
            "Days=7; then try again.",
            code="archive_frozen",
        )


class TooMuchDataError(WorkerError):
    """The answer would be, or was, too large for the other side to return at once.

    `smaller_pages_help` is false if the report as a whole is too large: only fewer days make it
    smaller.
    """

    def __init__(self, message: str, *, code: str, smaller_pages_help: bool = True) -> None:
        super().__init__(message, code=code)
        self.smaller_pages_help = smaller_pages_help


class UnknownError(WorkerError):
    """The other side refused it with an unknown code."""


class CredentialsError(WorkerError):
    """The credential was refused."""


class ConnectionCredentialsError(CredentialsError):
    """The credentials of one platform connection are missing, malformed or refused."""


class ExpiredSignInError(ConnectionCredentialsError):
    """The access token has expired; the credentials themselves may still be valid."""


class ConfigurationError(WorkerError):
    """Something in the deployment's setup is missing or malformed."""

    def __init__(self, message: str, *, code: str = "configuration") -> None:
        super().__init__(message, code=code)


class SharedCredentialsError(ConfigurationError):
    """A credential that many ad accounts share (the deployment's OAuth client, an app) is refused.

    The message names the setting, or where else to fix it. No connection is at fault.
    """
