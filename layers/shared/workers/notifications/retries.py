"""When a failed delivery is retried."""

from __future__ import annotations

from typing import Final

FIRST_DELAY: Final = 30.0
LONGEST_DELAY: Final = 900.0
JITTER_SHARE: Final = 0.2

# From this exponent on, 2**attempts * FIRST_DELAY exceeds LONGEST_DELAY.
_LAST_DOUBLING: Final = 5


def retry_delay(attempts: int, jitter: float) -> float:
    """Seconds until the next attempt: min(900, 2^attempts * 30), and up to 20% more.

    `attempts` are those before the one that failed, so the first wait is 30 s. `jitter`, from 0 to
    below 1, is drawn by the caller; it never shortens the wait.
    """
    doublings = min(max(attempts, 0), _LAST_DOUBLING)
    delay = min(LONGEST_DELAY, FIRST_DELAY * (1 << doublings))
    return delay * (1 + JITTER_SHARE * min(max(jitter, 0.0), 1.0))
