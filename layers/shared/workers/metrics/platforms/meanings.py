"""What the error codes of the ad platforms mean to the workers: a few meanings for all platforms.

Each platform has a table from its codes to these (`<name>_codes.py`); docs/metrics.md shows them
side by side.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

from workers.errors import (
    ConnectionCredentialsError,
    ExpiredSignInError,
    GeneralError,
    PermanentError,
    RateLimitedError,
    SharedCredentialsError,
    TooMuchDataError,
    TransientError,
    UnknownError,
    WorkerError,
)


class Meaning(Enum):
    """What a code leads to; the value is its name in the documentation."""

    ACCOUNT_LIMIT = "limit of the account"
    APP_LIMIT = "limit of the app"
    GENERAL = "general error"
    UNAVAILABLE = "not available"
    TOO_MUCH = "too much data"
    SIGN_IN = "access token ran out"
    CREDENTIALS = "credentials"
    CLIENT = "OAuth client"
    APP = "app"
    PERMISSION = "permission"
    VERSION = "version"
    REFUSED = "refused"
    UNKNOWN = "unknown"


# In seconds: no limit lasts longer than the day that its quota is for.
_LONGEST_WAIT = 86_400.0


def error_of(
    meaning: Meaning,
    said: str,
    *,
    code: str,
    wait: float | None = None,
    usual_wait: float = 60.0,
    until_midnight: bool = False,
    version: str = "",
    shared: str = "",
) -> WorkerError:
    """The workers' error for what a platform `said`, of that `meaning`.

    `wait` is how long the platform says that a limit lasts, in seconds; `usual_wait` applies where
    it does not say. `version` names the setting of the API's version. `shared` says where to
    correct the refused client or app, if it is one that many connections share; empty where it is
    the connection's own.
    """
    match meaning:
        case Meaning.ACCOUNT_LIMIT | Meaning.APP_LIMIT:
            return RateLimitedError(
                said,
                code=code,
                retry_after=min(wait or usual_wait, _LONGEST_WAIT),
                everywhere=meaning is Meaning.APP_LIMIT,
                until_midnight=until_midnight,
                is_guess=not wait,
            )
        case Meaning.CLIENT | Meaning.APP if shared:
            return SharedCredentialsError(f"{said}. {shared}", code=code)
        case Meaning.CREDENTIALS | Meaning.CLIENT:
            return ConnectionCredentialsError(said, code=code)
        case Meaning.VERSION:
            return PermanentError(f"{said}. Set {version} to one that is still served", code=code)
        case Meaning.APP | Meaning.PERMISSION | Meaning.REFUSED:
            return PermanentError(said, code=code)
        case Meaning.GENERAL:
            return GeneralError(said, code=code)
        case Meaning.UNAVAILABLE:
            return TransientError(said, code=code)
        case Meaning.TOO_MUCH:
            return TooMuchDataError(said, code=code)
        case Meaning.SIGN_IN:
            return ExpiredSignInError(said, code=code)
        case Meaning.UNKNOWN:
            return UnknownError(said, code=code)
        case _:
            assert_never(meaning)


def meaning_of_status(status: int) -> Meaning:
    """By the status alone, where a response has no code: a gateway's, or a truncated one."""
    if status == 401:
        return Meaning.CREDENTIALS
    if status == 429:
        return Meaning.APP_LIMIT
    if status == 503:
        return Meaning.UNAVAILABLE
    if status >= 500 or status == 408 or 200 <= status < 300:
        return Meaning.GENERAL
    return Meaning.UNKNOWN
