"""Deliveries in hand, sorted into one lane per destination."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from workers.notifications.claims import Delivery, Notification
from workers.notifications.pacing import ChannelPace

# How far ahead of its post a delivery is announced to the database: longer than the time from
# one record to the next, so that a lane need not wait for its announcement.
LOOKAHEAD: Final = 1.5

# Without a pace nothing says how soon a lane gets to its next ones.
UNPACED_LOOKAHEAD: Final = 20


@dataclass(eq=False)
class Work:
    """A delivery in hand.

    Only what is `announced`, that is recorded as `sending`, may be posted. `may_be_announced`
    stays true once it was asked for, whatever the answer: the database may have heard.
    `look_first`: an earlier try may have posted it.
    """

    notification: Notification
    delivery: Delivery
    look_first: bool
    state: Literal["new", "asked", "announced"] = "new"
    may_be_announced: bool = False
    possible_duplicate: bool = False

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier try may have posted it, for all that this run could find out."""
        return self.look_first or self.possible_duplicate


@dataclass
class Lane:
    """What is to go to one destination, in order, one at a time."""

    destination: str
    pace: ChannelPace
    conversation_id: str | None = None
    waiting: deque[Work] = field(default_factory=deque)
    busy: bool = False

    def ready_at(self, now: float) -> float:
        """When the head may be posted; never while a try is under way or nothing waits."""
        if self.busy or not self.waiting:
            return math.inf
        return self.pace.ready_at(now)

    def next_step_at(self, now: float) -> float:
        """When the lane may go on by itself: with a post that is announced, or by looking for
        what may have been posted; never while it depends on something else."""
        if self.busy or not self.waiting:
            return math.inf
        head = self.waiting[0]
        if head.look_first:
            return max(now, self.pace.not_before)
        return self.pace.ready_at(now) if head.state == "announced" else math.inf

    def announce_at(self, now: float) -> float:
        """When the first one that is not announced comes within the look-ahead."""
        for work, time in self._schedule(now):
            if work.state == "new":
                return max(now, time - LOOKAHEAD)
        return math.inf

    def soon(self, now: float) -> Iterator[Work]:
        """The works that may be posted within the look-ahead, first first."""
        for work, time in self._schedule(now):
            if time > now + LOOKAHEAD:
                return
            yield work

    def _schedule(self, now: float) -> Iterator[tuple[Work, float]]:
        """When each may be posted at the earliest. It ends before one that has to be looked
        for: what follows depends on what is found."""
        gap = 1 / self.pace.rate if self.pace.rate else LOOKAHEAD / UNPACED_LOOKAHEAD
        time = self.pace.ready_at(now)
        for work in self.waiting:
            if work.look_first:
                return
            yield work, time
            time += gap

    def to_look_for(self) -> list[Work]:
        """The works that may have been posted already, if one of them is next."""
        if self.busy or not self.waiting or not self.waiting[0].look_first:
            return []
        return [work for work in self.waiting if work.look_first]
