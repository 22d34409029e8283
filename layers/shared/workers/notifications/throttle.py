"""How much of Slack a run may use: the workspace's rate, waits, and caution in trouble.

Pure: times are seconds on the caller's clock. What one run knows it hands over to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from workers.notifications.pacing import TokenBucket

# This many failures of Slack in a row are trouble at Slack, not of messages.
TROUBLE_LIMIT: Final = 4
TROUBLE_HOLD: Final = 30.0


class Throttle:
    """Of one run. In trouble one call at a time is under way, so that the next is a probe."""

    def __init__(
        self,
        *,
        rate: float,
        burst: float,
        concurrency: int,
        handover: Mapping[str, Any],
        age: float,
        now: float,
    ) -> None:
        """`handover` is what `handover()` of the last run gave, `age` seconds ago."""
        self._concurrency = concurrency
        self._bucket = TokenBucket(
            rate, burst, float(handover.get("tokens", burst)) + age * rate, now
        )
        self.hold_until = now + max(0.0, float(handover.get("hold", 0.0)) - age)
        self._trouble = bool(handover.get("trouble"))
        self._failures = 0
        self._limited: set[str] = set()

    @property
    def width(self) -> int:
        """How many calls may be under way at once."""
        return 1 if self._trouble else self._concurrency

    def handover(self, now: float) -> dict[str, Any]:
        """What the next run needs to go on from here, as JSON."""
        held = self._bucket.held(now)
        return {
            **({} if math.isinf(held) else {"tokens": round(held, 3)}),
            "hold": round(max(0.0, self.hold_until - now), 3),
            "trouble": self._trouble,
        }

    def ready_at(self, now: float) -> float:
        """The earliest time at which anything may be posted."""
        return max(self.hold_until, self._bucket.ready_at(now))

    def take(self, now: float) -> bool:
        """Use up one message of the workspace's rate; False when there is none."""
        return now >= self.hold_until and self._bucket.take(now)

    def room(self, now: float, ahead: float) -> float:
        """How many messages the workspace's rate allows within the next `ahead` seconds."""
        return self._bucket.held(now) + self._bucket.rate * ahead

    def all_well(self) -> None:
        """Slack answered as it does when it is well."""
        self._failures = 0
        self._trouble = False

    def failed(self, now: float) -> bool:
        """Slack failed; True when that is trouble at Slack and all is to stand still."""
        self._failures += 1
        if self._failures < TROUBLE_LIMIT and not self._trouble:
            return False
        self._trouble = True
        self.hold_until = max(self.hold_until, now + TROUBLE_HOLD)
        return True

    def limited(self, destination: str, resume_at: float, *, everywhere: bool) -> bool:
        """Slack asked to wait; True when everything waits: it said so, or a second
        destination has heard the same."""
        self._limited.add(destination)
        if not everywhere and len(self._limited) < 2:
            return False
        self.hold_until = max(self.hold_until, resume_at)
        return True
