"""LinkedIn's errors, and what each means: by HTTP status, and by `code` where that says more.

https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/error-handling
https://learn.microsoft.com/en-us/linkedin/marketing/error-responses
https://learn.microsoft.com/en-us/linkedin/shared/api-guide/concepts/rate-limits
https://learn.microsoft.com/en-us/linkedin/shared/authentication/programmatic-refresh-tokens
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from workers.metrics.platforms.meanings import Meaning, meaning_of_status

STATUSES: Mapping[Meaning, Iterable[int]] = MappingProxyType(
    {
        # the token expired, was revoked or is invalid: a refresh token gets another
        Meaning.SIGN_IN: (401,),
        Meaning.APP_LIMIT: (429,),
        Meaning.PERMISSION: (403, 404),
        Meaning.VERSION: (426,),
        Meaning.REFUSED: (400, 405, 409, 411, 412, 413, 414, 415, 422),
        Meaning.UNAVAILABLE: (503,),
        Meaning.GENERAL: (408, 500, 502, 504),
    }
)

CODES: Mapping[Meaning, Iterable[str]] = MappingProxyType(
    {
        Meaning.SIGN_IN: (
            "EMPTY_ACCESS_TOKEN", "EXPIRED_ACCESS_TOKEN", "INVALID_ACCESS_TOKEN",
            "REVOKED_ACCESS_TOKEN", "UNAUTHORIZED",
        ),
        Meaning.APP_LIMIT: ("QUOTA_EXCEEDED", "TOO_MANY_REQUESTS"),
        Meaning.PERMISSION: ("ACCESS_DENIED", "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        Meaning.VERSION: ("NONEXISTENT_VERSION", "VERSION_MISSING"),
        Meaning.UNAVAILABLE: ("SERVICE_UNAVAILABLE",),
        Meaning.GENERAL: ("GATEWAY_TIMEOUT", "INTERNAL_SERVER_ERROR", "REQUEST_TIMEOUT"),
    }
)  # fmt: skip

# Of the token endpoint: RFC 6749, section 5.2. LinkedIn also returns invalid_request for an expired
# refresh token.
GRANTS: Mapping[Meaning, Iterable[str]] = MappingProxyType(
    {
        Meaning.CREDENTIALS: (
            "access_denied", "insufficient_scope", "invalid_grant", "invalid_request",
            "invalid_scope", "invalid_token", "unsupported_grant_type",
        ),
        Meaning.CLIENT: ("invalid_client", "unauthorized_client"),
        Meaning.APP_LIMIT: ("rate_limit_exceeded", "slow_down"),
        Meaning.UNAVAILABLE: ("temporarily_unavailable",),
        Meaning.GENERAL: ("server_error",),
    }
)  # fmt: skip

_OF_STATUS = {status: meaning for meaning, codes in STATUSES.items() for status in codes}
_OF_CODE = {code: meaning for meaning, codes in CODES.items() for code in codes}
_OF_GRANT = {error: meaning for meaning, errors in GRANTS.items() for error in errors}


def meaning_of(status: int, code: str) -> Meaning:
    """What a response of that status and `code` means; UNKNOWN where neither says."""
    return _OF_CODE.get(code) or _OF_STATUS.get(status) or meaning_of_status(status)


def meaning_of_grant(error: str, status: int) -> Meaning:
    """What the token endpoint's `error` means; by its status where it is in no table."""
    return _OF_GRANT.get(error) or meaning_of_status(status)
