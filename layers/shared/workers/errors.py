"""What can go wrong, by what it means for the work in hand.

    WorkerError
    ├── TransientError         try again later; nothing was done
    │   ├── AmbiguousError     it may have been done: look before trying again
    │   └── GeneralError       no reason given: too much at once, for all one knows
    │       └── BrokenStreamError  an answer did not come in time, or broke off half-read
    ├── RateLimitedError       wait; costs no attempt
    ├── CannotLookError        whether it was done cannot be seen, now or later
    ├── PermanentError         this item will never succeed
    │   ├── DestinationError   nothing sent to this destination will succeed
    │   ├── MalformedAnswerError   an answer is not what was asked for
    │   └── ArchivedObjectError   an archived object cannot be read
    │       ├── DamagedArchiveError   it is not what it was
    │       └── FrozenArchiveError    it has to be brought back from Glacier first
    ├── TooMuchDataError       ask for less at once
    ├── UnknownError           refused for a reason that we have no rule for
    ├── CredentialsError       the credential is refused: stop using it
    │   └── ConnectionCredentialsError   that of one ad account; the others are not concerned
    │       └── ExpiredSignInError       only the short-lived part of it: sign in anew, once
    └── ConfigurationError     the deployment is set up wrongly: the run fails
        └── SharedCredentialsError   a credential that many ad accounts share is refused

Each edge (database, Slack, an ad platform, S3) translates the outside world into this tree in
one place. What an edge does not recognise it lets through untranslated.
"""

from __future__ import annotations


class WorkerError(Exception):
    """Something went wrong in a way that the workers know how to handle.

    `code` is the other side's own name for it (`channel_not_found`, `57014`), for people
    and for grouping; the message is a sentence. Neither ever holds a secret.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class TransientError(WorkerError):
    """It failed without any effect and may succeed later."""


class AmbiguousError(TransientError):
    """It may have taken effect although no proof of it came back."""


class GeneralError(TransientError):
    """It failed in words that fit anything (an internal error, a timeout, a closed connection).

    One that stays after its tries may mean that too much was asked for at once, as
    TooMuchDataError does: a narrower request may get through.
    """


class BrokenStreamError(GeneralError):
    """An answer did not come in time, or broke off half-read: it is not asked for again as it
    was, for smaller ones may get through."""


class RateLimitedError(WorkerError):
    """The other side asked us to wait.

    `retry_after` is in seconds. `everywhere` is true when the wait concerns all that we
    send there and not only this one destination or account. `method` names the call that was
    refused where limits are per method, as Slack's are; else it is empty. `until_midnight` is true
    for a quota of the day, which is back at midnight UTC; `is_guess` where the other side named no
    time.
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


class CannotLookError(WorkerError):
    """One place cannot be looked into, and asking again would not change that.

    It says nothing about whether that place takes what is sent there.
    """


class PermanentError(WorkerError):
    """This item is refused and will be refused each time."""


class DestinationError(PermanentError):
    """The destination cannot receive anything until somebody mends it."""


class MalformedAnswerError(PermanentError):
    """An answer, or a row of it, is not what was asked for; the rest of the account may be."""


class ArchivedObjectError(PermanentError):
    """An object of the cold archive, or its manifest, cannot be read as it is."""

    def __init__(self, key: str, message: str, *, code: str) -> None:
        super().__init__(message, code=code)
        self.key = key


class DamagedArchiveError(ArchivedObjectError):
    """An object of the cold archive, or its manifest, is missing or not what was written."""

    def __init__(self, key: str, problem: str) -> None:
        """`key` is that of the object or manifest, `problem` a clause that says what is wrong."""
        super().__init__(
            key,
            f"{key} in the cold archive is damaged: {problem}. Put a good copy in its place, or "
            "take the object and its manifest away: their rows are then lost, unless they are "
            "still in the database.",
            code="archive_damaged",
        )


class FrozenArchiveError(ArchivedObjectError):
    """An object, or its manifest, was moved to a class of storage that gives nothing at once."""

    def __init__(self, key: str) -> None:
        """https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html"""
        super().__init__(
            key,
            f"{key} in the cold archive lies in Glacier. Bring it back for some days, with its "
            "manifest: aws s3api restore-object --bucket BUCKET --key KEY --restore-request "
            "Days=7; then try again.",
            code="archive_frozen",
        )


class TooMuchDataError(WorkerError):
    """The answer would be, or was, too large for the other side to give at once.

    `smaller_pages_help` is false where a report as a whole is too large: only fewer days are
    less of it.
    """

    def __init__(self, message: str, *, code: str, smaller_pages_help: bool = True) -> None:
        super().__init__(message, code=code)
        self.smaller_pages_help = smaller_pages_help


class UnknownError(WorkerError):
    """The other side refused it with a code that none of our rules knows."""


class CredentialsError(WorkerError):
    """The credential was refused."""


class ConnectionCredentialsError(CredentialsError):
    """The credentials of one platform connection are missing, malformed or refused."""


class ExpiredSignInError(ConnectionCredentialsError):
    """The access token has run out; the credentials themselves may still be good."""


class ConfigurationError(WorkerError):
    """The deployment lacks something or holds something malformed."""

    def __init__(self, message: str, *, code: str = "configuration") -> None:
        super().__init__(message, code=code)


class SharedCredentialsError(ConfigurationError):
    """What many ad accounts are read with (the deployment's OAuth client, an app) is refused.

    The message names the setting, or where else it is put right. No connection is at fault.
    """
