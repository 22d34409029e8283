"""What the error codes of the ad platforms lead to: a few meanings, whatever a platform calls them.

Each platform has a table from its codes to these (`<name>_codes.py`); docs/metrics.md shows all of
them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

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
    """The consequence of a code; the value is its name in the documentation."""

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


_ERRORS: Mapping[Meaning, type[WorkerError]] = MappingProxyType(
    {
        Meaning.GENERAL: GeneralError,
        Meaning.UNAVAILABLE: TransientError,
        Meaning.TOO_MUCH: TooMuchDataError,
        Meaning.SIGN_IN: ExpiredSignInError,
        Meaning.CREDENTIALS: ConnectionCredentialsError,
        Meaning.CLIENT: ConnectionCredentialsError,
        Meaning.APP: PermanentError,
        Meaning.PERMISSION: PermanentError,
        Meaning.VERSION: PermanentError,
        Meaning.REFUSED: PermanentError,
        Meaning.UNKNOWN: UnknownError,
    }
)
# In seconds: no limit lasts longer than the day that its quota is for.
_LONGEST_WAIT = 86_400.0
_LIMITS = frozenset({Meaning.ACCOUNT_LIMIT, Meaning.APP_LIMIT})
_SHARED = frozenset({Meaning.CLIENT, Meaning.APP})


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

    `wait` is what the platform says of a limit, in seconds; `usual_wait` holds where it says
    nothing. `version` names the setting of the API's version. `shared`
    says where the refused client or app is put right, if it is one that many connections share;
    empty where it is the connection's own.
    """
    if meaning in _LIMITS:
        return RateLimitedError(
            said,
            code=code,
            retry_after=min(wait or usual_wait, _LONGEST_WAIT),
            everywhere=meaning is Meaning.APP_LIMIT,
            until_midnight=until_midnight,
            is_guess=not wait,
        )
    if meaning in _SHARED and shared:
        return SharedCredentialsError(f"{said}. {shared}", code=code)
    if meaning is Meaning.VERSION:
        said = f"{said}. Set {version} to one that is still served"
    return _ERRORS[meaning](said, code=code)


def meaning_of_status(status: int) -> Meaning:
    """What is left to go by where an answer holds no code: a gateway's, or half of one."""
    if status == 401:
        return Meaning.CREDENTIALS
    if status == 429:
        return Meaning.APP_LIMIT
    if status == 503:
        return Meaning.UNAVAILABLE
    if status >= 500 or status == 408 or 200 <= status < 300:
        return Meaning.GENERAL
    return Meaning.UNKNOWN
