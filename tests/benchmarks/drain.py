"""500 due notifications, drained through the real handler over a network with latency."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg

from local.control import Control
from local.stack import Running, Stack
from tests.benchmarks import original
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import API_LATENCY, distant, run_function
from tests.conftest import LocalStack
from workers.settings import Settings

COUNT = 500
SLACK_LATENCY = 0.060
CHANNEL_GAP = 1.0
CONCURRENCY = Settings.notification_concurrency
TIMEOUT = 120.0
# The original's way takes the same for each notification, so a sample is enough.
ORIGINAL_SAMPLE = 100

TIMES_FASTER = 15.0
PACE_RATIO = 1.15
REQUESTS_PER_NOTIFICATION = 1 / 6
# What the stand-in's own clock and threads may be off by.
CLOCK_ERROR = 0.003

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One run of the worker and what the stand-ins saw of it."""

    process_seconds: float
    seconds: float
    api_requests: int
    smallest_gap: float
    wrong: int


class Network:
    """A stack whose parts are processes of their own and as far away as in the cloud."""

    def __init__(self, running: Running, proxy_url: str) -> None:
        self._running = running
        self._proxy = Control(proxy_url)
        self.environment = {**running.environment(), "SUPABASE_URL": proxy_url}

    def queue(self, count: int, channels: int) -> None:
        """Begin anew with `count` due notifications."""
        self._running.reset()
        with psycopg.connect(self._running.database_url, autocommit=True) as connection:
            LocalStack(self._running, connection).queue_notifications(count, channels)
            connection.execute("analyze")
        self._running.slack.configure(latency=SLACK_LATENCY)
        self._proxy.clear_journal()

    def run(self, channels: int, **settings: object) -> Run:
        """Queue COUNT notifications over the channels and have one run drain them."""
        self.queue(COUNT, channels)
        texts = {name.upper(): str(value) for name, value in settings.items()}
        started = time.monotonic()
        environment = {**self.environment, "SLACK_WORKSPACE_RATE": "0", **texts}
        told = run_function("notifications", TIMEOUT, environment)
        process_seconds = time.monotonic() - started
        messages = self._running.slack.state()["messages"]
        arrivals = [[one["arrived"] for one in lane] for lane in messages.values()]
        return Run(
            process_seconds=process_seconds,
            seconds=told["seconds"],
            api_requests=self._proxy.count(),
            smallest_gap=min(b - a for lane in arrivals for a, b in pairwise(lane)),
            wrong=_wrong(messages, channels),
        )

    def original_way(self, channels: int) -> float:
        """The seconds that the original's way would take for COUNT notifications."""
        self.queue(ORIGINAL_SAMPLE, min(channels, ORIGINAL_SAMPLE))
        return original.drain(self.environment, ORIGINAL_SAMPLE) * COUNT / ORIGINAL_SAMPLE


def drain_250_channels(progress: Progress) -> list[Figure]:
    """Two for each channel: what posting side by side is worth."""
    channels = 250
    with _network(progress) as network:
        run = network.run(channels)
        progress(f"drained in {run.seconds:.2f} s; now with NOTIFICATION_CONCURRENCY=1")
        alone = network.run(channels, notification_concurrency=1)
        progress(f"drained in {alone.seconds:.2f} s; now the original's way")
        way = network.original_way(channels)
    slower = min(alone.seconds, way)
    times = slower / run.seconds
    floor = _floor(channels)
    name = f"drain of {COUNT} over {channels} channels"
    return [
        Figure(
            name,
            run.seconds,
            "s",
            floor=floor,
            original=way,
            target=f"{TIMES_FASTER:g} x faster than the faster of one after the other "
            f"({slower:.1f} s): {times:.1f}",
            met=times >= TIMES_FASTER,
            note=_NOTE,
        ),
        _whole_process(run, floor, way),
        Figure(
            "  ours one after the other",
            alone.seconds,
            "s",
            floor=COUNT * SLACK_LATENCY,
            original=way,
        ),
        *_record(run),
    ]


def drain_25_channels(progress: Progress) -> list[Figure]:
    """Twenty for each channel: how near to the channels' pace it comes."""
    channels = 25
    with _network(progress) as network:
        run = network.run(channels)
        progress(f"drained in {run.seconds:.2f} s; now the original's way")
        way = network.original_way(channels)
    floor = _floor(channels)
    ratio = run.seconds / floor
    return [
        Figure(
            f"drain of {COUNT} over {channels} channels",
            run.seconds,
            "s",
            floor=floor,
            original=way,
            target=f"at most {PACE_RATIO} x the floor: {ratio:.3f}",
            met=ratio <= PACE_RATIO,
            note=_NOTE,
        ),
        _whole_process(run, floor, way),
        *_record(run),
    ]


_NOTE = (
    f"Drains: Slack's stand-in with {SLACK_LATENCY * 1000:.0f} ms, the data API with "
    f"{API_LATENCY * 1000:.0f} ms latency, no limit for the workspace; from the handler's call to "
    "its return in a fresh process. Floor: computed from the channels' pace (1 a second) or "
    f"{CONCURRENCY} posts at a time, whichever is longer. Original: a claim of {original.BATCH}, "
    "then for each notification a read of its config, a post and an update; measured on "
    f"{ORIGINAL_SAMPLE}, scaled to {COUNT}; it keeps no pace."
)


def _floor(channels: int) -> float:
    paced = (COUNT // channels - 1) * CHANNEL_GAP + SLACK_LATENCY
    side_by_side = math.ceil(COUNT / min(channels, CONCURRENCY)) * SLACK_LATENCY
    return max(paced, side_by_side)


def _whole_process(run: Run, floor: float, way: float) -> Figure:
    return Figure("  its whole process, imports included", run.process_seconds, "s", floor, way)


def _record(run: Run) -> list[Figure]:
    """What the run's record must show, whatever its speed."""
    requests = run.api_requests / COUNT
    return [
        Figure(
            "  data-API requests per notification",
            requests,
            "",
            original=2 + 1 / original.BATCH,
            target=f"at most 1 in 6 ({run.api_requests} of {COUNT / 6:.0f})",
            met=requests <= REQUESTS_PER_NOTIFICATION,
        ),
        Figure(
            "  smallest gap in a channel",
            run.smallest_gap,
            "s",
            floor=CHANNEL_GAP,
            target="at least 1 s",
            met=run.smallest_gap >= CHANNEL_GAP - CLOCK_ERROR,
        ),
        Figure(
            "  messages lost, doubled or out of order",
            run.wrong,
            "",
            target="none",
            met=run.wrong == 0,
        ),
    ]


def _wrong(messages: Mapping[str, list[dict[str, Any]]], channels: int) -> int:
    """How many places in the channels' histories do not hold what was queued for them."""
    wanted = [str(number) for number in range(1, COUNT // channels + 1)]
    wrong = len(wanted) * max(0, channels - len(messages))
    for lane in messages.values():
        texts = [message["text"] for message in lane]
        wrong += sum(a != b for a, b in zip(texts, wanted, strict=False))
        wrong += abs(len(texts) - len(wanted))
    return wrong


@contextmanager
def _network(progress: Progress) -> Iterator[Network]:
    with Stack(seed=False) as running, distant(running.api_url) as proxy_url:
        progress("the stack is up")
        yield Network(running, proxy_url)
