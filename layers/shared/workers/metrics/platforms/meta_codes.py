"""Meta's error codes, and what each means.

https://developers.facebook.com/docs/graph-api/guides/error-handling
https://developers.facebook.com/docs/marketing-api/error-reference
https://developers.facebook.com/docs/marketing-api/insights/error-codes
https://developers.facebook.com/docs/graph-api/overview/rate-limiting
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from workers.metrics.platforms.meanings import Meaning

CODES: Mapping[Meaning, Iterable[int]] = MappingProxyType(
    {
        Meaning.APP_LIMIT: (4, 341),
        # 9 is a user's limit, 32 a page's; the others are for use cases of one account
        Meaning.ACCOUNT_LIMIT: (9, 17, 32, 613, *range(80000, 80015)),
        Meaning.GENERAL: (1, 2, 5000),
        # 960 is part of a batch, 2601 and -2 a report that failed: all say to try again
        Meaning.UNAVAILABLE: (-2, 960, 2601),
        Meaning.TOO_MUCH: (-3, 18),
        # 450 to 469 are the subcodes of 190, which some endpoints return as codes
        Meaning.CREDENTIALS: (101, 102, 104, 190, *range(450, 470), 492),
        # 803 and 1150: an object that does not exist, or not for this token
        Meaning.PERMISSION: (3, 5, 10, *range(200, 300), 803, 1150, 2654),
        Meaning.VERSION: (11, 12, 2635),
        # 368 is a block for policy violations, 3018 a day before the oldest data
        Meaning.REFUSED: (100, 368, 506, 2606, 2607, 2615, 3018, 1609005),
    }
)

# (code, subcode), where the subcode says more than the code.
SUBCODES: Mapping[Meaning, Iterable[tuple[int, int]]] = MappingProxyType(
    {
        Meaning.TOO_MUCH: ((100, 1487534), (100, 1504018), (2, 1504038)),
        Meaning.PERMISSION: ((100, 33), (100, 3191001)),
        Meaning.REFUSED: ((1, 2853001), (2, 1504041), (2, 1504042)),
    }
)

_OF_CODE = {code: meaning for meaning, codes in CODES.items() for code in codes}
_OF_PAIR = {pair: meaning for meaning, pairs in SUBCODES.items() for pair in pairs}

# A path in Graph's "Unknown path components: /act_1", in whatever language the rest is.
_PATH = re.compile(r"/\w")


def meaning_of(code: int, subcode: int, message: str) -> Meaning:
    """What the code and subcode mean; UNKNOWN for those in no table.

    The message counts only where one code has two meanings, and if possible only by what is not
    translated: the names of parameters and paths.
    """
    if (code, subcode) in _OF_PAIR:
        return _OF_PAIR[code, subcode]
    if code == 1 and "reduce the amount of data" in message:
        return Meaning.TOO_MUCH  # in another language it is a general error
    if code == 100 and "appsecret_proof" in message:
        return Meaning.CREDENTIALS
    if code == 100 and "summary param" in message:
        return Meaning.UNAVAILABLE  # intermittent, according to other connectors
    if code == 2500:  # a version that is not served, or no token
        return Meaning.VERSION if _PATH.search(message) else Meaning.CREDENTIALS
    return _OF_CODE.get(code, Meaning.UNKNOWN)
