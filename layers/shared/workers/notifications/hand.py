"""What a run has in hand: claimed notifications, sorted into lanes, until they are told of.

Pure book-keeping, by one thread: no clock is read and nothing is called.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from workers.notifications.claims import Delivery, Notification
from workers.notifications.lanes import Lane, Work
from workers.notifications.outcomes import Outcome
from workers.notifications.pacing import ChannelPace
from workers.notifications.records import Record, Told
from workers.notifications.report import Report

# A config with this much in hand claims no more; a paced channel takes a minute for it.
CONFIG_SHARE: Final = 60
UNPACED_CONFIG_SHARE: Final = 500
# As in claim_notifications: one that so many workers died over is handled alone.
LOST_CLAIMS_ALONE: Final = 3
# Messages do not take the same time to reach Slack: with this much more between their starts
# they arrive at the channel's pace.
PACE_MARGIN: Final = 1.02
# A destination that has to wait longer is left to a later run.
LONGEST_WAIT: Final = 20.0


class Hand:
    """Every delivery taken in is told of, dropped or released exactly once; `outbox` gathers
    what the database is to hear."""

    def __init__(self, channel_rate: float, report: Report) -> None:
        self._channel_rate = channel_rate / PACE_MARGIN
        self._report = report
        self._open: Counter[str] = Counter()
        self._configs: Counter[str] = Counter()
        self._parked: set[str] = set()
        self.lanes: dict[str, Lane] = {}
        self.outbox = Record()
        self.alone = False

    def __len__(self) -> int:
        """How many notifications are in hand."""
        return len(self._open)

    def anything_waits(self) -> bool:
        """Whether a delivery is still to be posted."""
        return any(lane.waiting for lane in self.lanes.values())

    def ready_at(self, now: float) -> float:
        """When the first lane may go on, as far as its destination is concerned."""
        return min((lane.next_step_at(now) for lane in self.lanes.values()), default=math.inf)

    def announce_at(self, now: float) -> float:
        """When the next delivery comes within the look-ahead."""
        return min((lane.announce_at(now) for lane in self.lanes.values()), default=math.inf)

    def busy_configs(self) -> list[str]:
        """The configs that have their share in hand."""
        share = CONFIG_SHARE if self._channel_rate else UNPACED_CONFIG_SHARE
        return [config for config, count in self._configs.items() if count >= share]

    def take_in(self, notification: Notification, now: float) -> None:
        """Sort a claimed notification's due deliveries into their lanes."""
        due = [delivery for delivery in notification.deliveries if delivery.due_in <= 0]
        if not due or notification.config_id in self._parked:
            self.give_back(notification)
            return
        self.alone = self.alone or notification.lost_claims >= LOST_CLAIMS_ALONE
        self._open[notification.id] = len(due)
        self._configs[notification.config_id] += 1
        for delivery in due:
            self._enqueue(Work(notification, delivery, look_first=delivery.is_unknown), now)

    def give_back(self, notification: Notification) -> None:
        """Return a notification as it was claimed."""
        self.outbox.finished.append(notification)

    def tell(self, work: Work, outcome: Outcome, posted_at: float | None = None) -> None:
        """Note what came of a delivery, and be done with it."""
        self.outbox.told.append(Told(work, replace(outcome, in_doubt=work.in_doubt), posted_at))
        self._conclude(work)

    def drop(self, work: Work) -> None:
        """Let go of a delivery that a newer claim holds: it is no longer ours to tell of."""
        if self._unqueue(work):
            self._conclude(work)

    def release(self, works: Iterable[Work]) -> None:
        """Give back what was not posted, as it was."""
        for work in list(works):
            if not self._unqueue(work):
                continue
            self._report.counts["released"] += 1
            if work.may_be_announced:
                self.tell(work, Outcome("unstarted"))
            else:
                self._conclude(work)

    def release_all(self) -> None:
        """Give back everything that was not posted."""
        for lane in self.lanes.values():
            self.release(lane.waiting)

    def close(self, lane: Lane, until: float) -> None:
        """Leave a destination alone: what is queued behind goes back, and keeps its place."""
        lane.pace.wait_until(until)
        self.release(lane.waiting)

    def park(self, config_id: str, code: str, reason: str, destination: str | None = None) -> None:
        """Have a config wait until it is released, with all that it has in hand."""
        if config_id in self._parked:
            return
        self._parked.add(config_id)
        self._report.counts["parked"] += 1
        self.outbox.park(config_id, code, reason, destination)
        for lane in self.lanes.values():
            self.release(w for w in lane.waiting if w.notification.config_id == config_id)

    def settle_waiting(self, work: Work, outcome: Outcome) -> bool:
        """Tell of a delivery that still waits; False when it was given back meanwhile."""
        if not self._unqueue(work):
            return False
        self.tell(work, outcome)
        return True

    def to_announce(self, room: float, now: float) -> Iterator[Work]:
        """What may be posted soon and is not announced, at most `room` with what is."""
        for lane in self.lanes.values():
            for work in lane.soon(now):
                room -= 1
                if room < 0:
                    return
                if work.state == "new":
                    yield work

    def _enqueue(self, work: Work, now: float) -> None:
        lane = self._lane(work.delivery, now)
        wait = lane.pace.ready_at(now) - now
        if wait > LONGEST_WAIT:
            self.tell(work, Outcome("wait", retry_in=wait, error_code="destination_waits"))
        else:
            lane.waiting.append(work)

    def _lane(self, delivery: Delivery, now: float) -> Lane:
        lane = self.lanes.get(delivery.destination)
        if lane is None:
            pace = ChannelPace(self._channel_rate)
            if delivery.idle_for is not None:
                pace.last_start = now - delivery.idle_for
            lane = self.lanes[delivery.destination] = Lane(delivery.destination, pace)
        lane.pace.wait_until(now + delivery.ready_in)
        lane.conversation_id = lane.conversation_id or delivery.conversation_id
        return lane

    def _unqueue(self, work: Work) -> bool:
        waiting = self.lanes[work.delivery.destination].waiting
        if work not in waiting:
            return False
        waiting.remove(work)
        return True

    def _conclude(self, work: Work) -> None:
        notification = work.notification
        self._open[notification.id] -= 1
        if self._open[notification.id] > 0:
            return
        del self._open[notification.id]
        self._configs[notification.config_id] -= 1
        self.alone = False
        self.give_back(notification)
