"""What a run has in flight: claimed deliveries as posts, queued by channel until they are settled.

Pure bookkeeping on one thread: no clock is read and nothing is called. A post carries one delivery
today; what is announced, posted, looked for and paced is a post.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from workers.notifications.answers import Delivery
from workers.notifications.pacing import ChannelPace
from workers.notifications.slack_codes import ts_order

# How far ahead of its start a post is announced to the database: longer than the time from one
# record to the next, so that a channel does not wait for the announcement.
LOOK_AHEAD: Final = 1.5
# A destination with this many in flight gets no more; a paced channel takes half a minute for them.
DESTINATION_SHARE: Final = 30
UNPACED_DESTINATION_SHARE: Final = 500
# Messages take different times to reach Slack: with their starts this much further apart they
# arrive at the channel's pace.
PACE_MARGIN: Final = 1.02
# A destination that has to wait longer is left to a later claim.
LONGEST_WAIT: Final = 20.0


@dataclass(eq=False)
class Post:
    """One message to one destination, in flight.

    Only what is `announced`, that is recorded as `sending`, may be posted. `may_be_announced` stays
    true once the announcement was requested, whatever the answer: the database may have received
    it. `in_doubt`: as far as is known, an earlier attempt may have posted it; with `search_first`
    the history is still to be searched. `looked_down_to` is the message at which an earlier search
    was interrupted. `parent_ts` is the message in whose thread it is announced or may be; None for
    the channel itself.
    """

    deliveries: tuple[Delivery, ...]
    search_first: bool
    in_doubt: bool
    possible_duplicate: bool
    looked_down_to: str | None = None
    parent_ts: str | None = None
    state: Literal["new", "requested", "announced"] = "new"
    may_be_announced: bool = False

    @classmethod
    def of(cls, delivery: Delivery) -> Post:
        """A post of this delivery alone."""
        return cls(
            (delivery,),
            search_first=delivery.is_unknown,
            in_doubt=delivery.is_unknown or delivery.in_doubt,
            possible_duplicate=delivery.possible_duplicate,
            looked_down_to=delivery.looked_down_to,
            parent_ts=delivery.parent_ts,
        )

    @property
    def first(self) -> Delivery:
        """The delivery that gives the post its name and its place."""
        return self.deliveries[0]

    @property
    def id(self) -> str:
        """As the message's metadata names it."""
        return self.first.post_id or self.first.id

    @property
    def destination(self) -> str:
        """Where it goes, as our tables name it."""
        return self.first.destination


@dataclass
class ChannelQueue:
    """What is to go to one destination, in order, one at a time.

    `threads` has, by request, the message that began its thread here.
    """

    destination: str
    pace: ChannelPace
    conversation_id: str | None = None
    waiting: deque[Post] = field(default_factory=deque)
    busy: bool = False
    threads: dict[str, str] = field(default_factory=dict)

    def parent_of(self, post: Post) -> str | None:
        """The message in whose thread it belongs; None for the first one and outside of threads."""
        return self.threads.get(post.first.thread) if post.first.thread else None

    def thread_begun(self, thread: str | None, ts: str) -> None:
        """Note that a message about that request is in the channel itself: what is announced for
        another place is announced again, with its thread. If one was already known, the newer one
        counts: the older one no longer takes replies."""
        if thread is None or ts_order(ts) <= ts_order(self.threads.get(thread, "")):
            return
        self.threads[thread] = ts
        for post in self.waiting:
            if post.first.thread == thread and not post.search_first:
                post.state = "new"

    def ready_at(self, now: float) -> float:
        """When the head may be posted; never while an attempt is under way or nothing waits."""
        if self.busy or not self.waiting:
            return math.inf
        return self.pace.ready_at(now)

    def next_step_at(self, now: float) -> float:
        """When the queue may continue by itself: with a post that is announced, or by searching for
        what may have been posted; never while it depends on something else."""
        if self.busy or not self.waiting:
            return math.inf
        head = self.waiting[0]
        if head.search_first:
            return max(now, self.pace.not_before)
        return self.pace.ready_at(now) if head.state == "announced" else math.inf

    def announce_at(self, now: float) -> float:
        """When the first post that is not announced comes within the look-ahead."""
        for post, time in self._schedule(now):
            if post.state == "new":
                return max(now, time - LOOK_AHEAD)
        return math.inf

    def soon(self, now: float) -> Iterator[Post]:
        """The posts that may start within the look-ahead, earliest first."""
        for post, time in self._schedule(now):
            if time > now + LOOK_AHEAD:
                return
            yield post

    def to_search_for(self) -> list[Post]:
        """The posts that one search of the history settles, if one of them is next."""
        if self.busy or not self.waiting or not self.waiting[0].search_first:
            return []
        place = self.waiting[0].looked_down_to
        return [p for p in self.waiting if p.search_first and p.looked_down_to == place]

    def _schedule(self, now: float) -> Iterator[tuple[Post, float]]:
        """When each may start at the earliest. It ends before a post that has to be searched for:
        what follows depends on what is found."""
        time = self.pace.ready_at(now)
        gap = 1 / self.pace.rate if self.pace.rate else 0.0
        for post in self.waiting:
            if post.search_first:
                return
            yield post, time
            time += gap


class InFlight:
    """Every post taken in leaves by `remove`, by `release_all`, or from the head of its queue to be
    attempted, and is then `settled` once."""

    def __init__(self, channel_rate: float) -> None:
        self._channel_rate = channel_rate / PACE_MARGIN
        self._counts: dict[str, int] = {}
        self.queues: dict[str, ChannelQueue] = {}

    def __len__(self) -> int:
        """How many posts are in flight, including those being attempted."""
        return sum(self._counts.values())

    def anything_waits(self) -> bool:
        """Whether a post is still to be attempted."""
        return any(queue.waiting for queue in self.queues.values())

    def ready_at(self, now: float) -> float:
        """When the first queue may continue, as far as its destination is concerned."""
        return min((queue.next_step_at(now) for queue in self.queues.values()), default=math.inf)

    def announce_at(self, now: float) -> float:
        """When the next post comes within the look-ahead."""
        return min((queue.announce_at(now) for queue in self.queues.values()), default=math.inf)

    def is_held_up(self, now: float) -> bool:
        """Whether a queue could post now if only its head were announced."""
        return any(
            queue.ready_at(now) <= now and queue.waiting[0].state == "new"
            for queue in self.queues.values()
        )

    def busy_destinations(self) -> list[str]:
        """The destinations that have their share in flight."""
        share = DESTINATION_SHARE if self._channel_rate else UNPACED_DESTINATION_SHARE
        return [destination for destination, count in self._counts.items() if count >= share]

    def take_in(self, delivery: Delivery, now: float) -> Post | None:
        """Queue a claimed delivery; None if its destination has to wait too long."""
        queue = self._queue(delivery, now)
        if queue.pace.ready_at(now) - now > LONGEST_WAIT:
            return None
        post = Post.of(delivery)
        queue.waiting.append(post)
        self._counts[delivery.destination] = self._counts.get(delivery.destination, 0) + 1
        return post

    def settled(self, post: Post) -> None:
        """Finish with a post that left its queue."""
        self._counts[post.destination] -= 1
        if not self._counts[post.destination]:
            del self._counts[post.destination]

    def remove(self, post: Post) -> bool:
        """Take a post out of its queue and finish with it; False when it is not there."""
        waiting = self.queues[post.destination].waiting
        if post not in waiting:
            return False
        waiting.remove(post)
        self.settled(post)
        return True

    def close(self, destination: str, until: float) -> list[Post]:
        """Post nothing to a destination until then; returns what was queued there, which keeps its
        place in the database."""
        queue = self.queues[destination]
        queue.pace.wait_until(until)
        return self._emptied(queue)

    def release_all(self) -> list[Post]:
        """Take out everything that was not attempted."""
        return [post for queue in self.queues.values() for post in self._emptied(queue)]

    def to_announce(self, room: float, now: float) -> Iterator[Post]:
        """What may start soon and is not announced: at most `room`, counting what is announced."""
        for queue in self.queues.values():
            for post in queue.soon(now):
                room -= 1
                if room < 0:
                    return
                if post.state == "new":
                    yield post

    def _emptied(self, queue: ChannelQueue) -> list[Post]:
        posts = list(queue.waiting)
        queue.waiting.clear()
        for post in posts:
            self.settled(post)
        return posts

    def _queue(self, delivery: Delivery, now: float) -> ChannelQueue:
        queue = self.queues.get(delivery.destination)
        if queue is None:
            pace = ChannelPace(self._channel_rate)
            if delivery.idle_for is not None:
                pace.posted(now - delivery.idle_for)
            queue = ChannelQueue(delivery.destination, pace)
            self.queues[delivery.destination] = queue
        queue.pace.wait_until(now + delivery.ready_in)
        queue.conversation_id = queue.conversation_id or delivery.conversation_id
        if delivery.thread_ts is not None:
            queue.thread_begun(delivery.thread, delivery.thread_ts)
        return queue
