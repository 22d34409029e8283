"""TikTok's return codes, and what each means.

https://business-api.tiktok.com/portal/docs?id=1737172488964097
https://github.com/tiktok/tiktok-business-api-sdk (tiktok_code.py: the names of the codes)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from workers.metrics.platforms.meanings import Meaning

CODES: Mapping[Meaning, Iterable[int]] = MappingProxyType(
    {
        Meaning.APP_LIMIT: (40100, 40132, 61000),
        # 40201 is a task that is not ready, 40202 are concurrent changes
        Meaning.UNAVAILABLE: (40201, 40202, 60001),
        Meaning.GENERAL: range(50000, 60000),
        # a token (40102 to 40107), its signature or grant, a user who is signed out, a scope
        Meaning.CREDENTIALS: (
            *range(40102, 40113), 40114, 40115, 40116, 40119, 40120, 40130, 40131, 40309, 40900,
            70001,
        ),
        # the app itself: it may not call at all, may not call this, or is not approved
        Meaning.APP: (40101, 40113, 40117, 40118, 40124, 40125),
        # 40300 to 40302: the advertiser does not exist, or not for this token; 41000 is a block
        Meaning.PERMISSION: (
            40001, 40003, 40013, 40121, 40122, *range(40126, 40130), 40300, 40301, 40302, 41000,
        ),
        # 41001 an interface that was taken offline, 41002 fields of it
        Meaning.VERSION: (40006, 40051, 41001, 41002),
        # invalid parameters, objects and files
        Meaning.REFUSED: (
            20001, 40000, 40002, 40007, 40008, 40009, 40010, 40011, 40012, 40014, 40016, 40050,
            40052, 40053, 40061, 40062, 40063, 40200, 40400, 40502, 40700, *range(40901, 40917),
            41013,
        ),
    }
)  # fmt: skip

_OF_CODE = {code: meaning for meaning, codes in CODES.items() for code in codes}


def meaning_of(code: int) -> Meaning:
    """What the code means; UNKNOWN for one in no table."""
    return _OF_CODE.get(code, Meaning.UNKNOWN)
