"""How much of Slack a run may use: the workspace's rate, waits, and caution after failures.

Pure: times are seconds on the caller's clock. One run passes what it knows on to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from workers.notifications.pacing import TokenBucket

# This many failures in a row mean that Slack is failing, not single messages.
FAILURE_LIMIT: Final = 4
FAILURE_HOLD: Final = 30.0


@dataclass(frozen=True)
class Handover:
    """What one run passes on to the next, `age` seconds ago.

    `tokens` is what the workspace's bucket held (None: its full burst), `hold` how long everything
    still had to wait, in seconds, and `failing` whether Slack was failing.
    """

    tokens: float | None = None
    hold: float = 0.0
    failing: bool = False
    age: float = 0.0

    def as_json(self) -> dict[str, object]:
        """As it is stored; the database knows its age."""
        return {"tokens": self.tokens, "hold": self.hold, "failing": self.failing}


class Throttle:
    """Of one run. While Slack is failing one call at a time is under way, so that the next is a
    probe."""

    def __init__(
        self, *, rate: float, burst: float, concurrency: int, handover: Handover, now: float
    ) -> None:
        """`handover` is what the last run passed on."""
        self._concurrency = concurrency
        tokens = burst if handover.tokens is None else handover.tokens
        self._bucket = TokenBucket(rate, burst, tokens + handover.age * rate, now)
        self.hold_until = now + max(0.0, handover.hold - handover.age)
        self._is_failing = handover.failing
        self._failures = 0
        self._limited: set[str] = set()

    @property
    def width(self) -> int:
        """How many calls may be under way at once."""
        return 1 if self._is_failing else self._concurrency

    def handover(self, now: float) -> Handover:
        """What the next run needs to continue from here."""
        held = self._bucket.held(now)
        return Handover(
            tokens=None if math.isinf(held) else round(held, 3),
            hold=round(max(0.0, self.hold_until - now), 3),
            failing=self._is_failing,
        )

    def ready_at(self, now: float) -> float:
        """The earliest time at which anything may be posted."""
        return max(self.hold_until, self._bucket.ready_at(now))

    def take(self, now: float) -> bool:
        """Use up one message of the workspace's rate; False when there is none."""
        return now >= self.hold_until and self._bucket.take(now)

    def room(self, now: float, ahead: float) -> float:
        """How many messages the workspace's rate allows within the next `ahead` seconds."""
        return self._bucket.held(now) + self._bucket.rate * ahead

    def succeeded(self) -> None:
        """Slack answered as it does when it works."""
        self._failures = 0
        self._is_failing = False

    def failed(self, now: float) -> bool:
        """Slack failed; True when Slack itself is failing, and everything has to wait."""
        self._failures += 1
        if self._failures < FAILURE_LIMIT and not self._is_failing:
            return False
        self._is_failing = True
        self.hold_until = max(self.hold_until, now + FAILURE_HOLD)
        return True

    def limited(self, destination: str, resume_at: float, *, everywhere: bool) -> bool:
        """Slack asked us to wait; True when everything waits: Slack said so, or it asked the same
        of a second destination."""
        self._limited.add(destination)
        if not everywhere and len(self._limited) < 2:
            return False
        self.hold_until = max(self.hold_until, resume_at)
        return True
