"""How fast messages may go out: per workspace and per channel.

https://docs.slack.dev/apis/web-api/rate-limits. Times are seconds on one clock, which the caller
reads. A rate of 0 means no limit. The objects are not thread-safe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_NEVER = -math.inf


@dataclass
class TokenBucket:
    """Holds up to `burst` tokens, refilled at `rate` a second; a message takes one.

    `tokens` is what it held at the time `at`. In any span of w seconds at most burst + rate * w
    messages pass.
    """

    rate: float
    burst: float
    tokens: float
    at: float

    def __post_init__(self) -> None:
        if self.rate < 0 or (self.rate > 0 and self.burst < 1):
            raise ValueError("a bucket needs a rate of at least 0 and room for one token")
        self.tokens = min(self.tokens, self.burst)

    def ready_at(self, now: float) -> float:
        """The earliest time, not before `now`, at which `take` succeeds."""
        if self.held(now) >= 1:
            return now
        time = max(now, self.at + (1 - self.tokens) / self.rate)
        return _later_until(lambda time: self.held(time) >= 1, time)

    def take(self, now: float) -> bool:
        """Take a token; False, and nothing taken, if there is none."""
        held = self.held(now)
        if held < 1:
            return False
        if self.rate:
            self.tokens = held - 1
            self.at = max(now, self.at)
        return True

    def held(self, now: float) -> float:
        """How many tokens it holds now; infinitely many at a rate of 0."""
        if not self.rate:
            return math.inf
        # A clock that was set back refills nothing.
        return min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)


@dataclass
class ChannelPace:
    """One message at a time in one channel, at most `rate` a second; the last one got there at
    `last_post`.

    `not_before` is the end of a wait that Slack asked for; it applies at a rate of 0 too.
    """

    rate: float
    last_post: float = _NEVER
    not_before: float = _NEVER

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("a rate cannot be negative")
        self._opens_at = self._next_post()

    def ready_at(self, now: float) -> float:
        """The earliest time, not before `now`, at which the next message may start."""
        return max(now, self._opens_at)

    def posted(self, at: float) -> None:
        """Note that a message got there at that time."""
        self.last_post = at
        self._opens_at = self._next_post()

    def wait_until(self, time: float) -> None:
        """Start nothing before `time`; a later end that is already set stays."""
        self.not_before = max(self.not_before, time)
        self._opens_at = self._next_post()

    # Worked out when something changes: each step of a run asks for it, for every channel.
    def _next_post(self) -> float:
        if not self.rate or self.last_post == _NEVER:
            return self.not_before
        gap, last = 1 / self.rate, self.last_post
        return _later_until(lambda at: at - last >= gap, max(self.not_before, last + gap))


def _later_until(good: Callable[[float], bool], time: float) -> float:
    """`time`, or slightly later where rounding requires it.

    The steps double, so that the loop ends soon even where many steps round to nothing.
    """
    step = math.ulp(time)
    while not good(time):
        time += step
        step *= 2
    return time
