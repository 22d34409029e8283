"""Due notifications, drained through the real handler over a network with latency."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg

from local.control import Control
from local.stack import Running, Stack
from tests.benchmarks import original
from tests.benchmarks.figures import Figure
from tests.benchmarks.network import API_LATENCY, SLACK_LATENCY, distant, run_function
from tests.benchmarks.sizes import Progress, Sizes
from tests.conftest import LocalStack
from workers.settings import Settings

CHANNEL_GAP = 1.0
CONCURRENCY = Settings.notification_concurrency
TIMEOUT = 120.0
# The original design takes the same time for each notification, so a sample is enough.
ORIGINAL_SAMPLE = 100

TIMES_FASTER = 15.0
PACE_RATIO = 1.15
REQUESTS_PER_NOTIFICATION = 1 / 6
# The tolerance for the fake's clock and threads.
CLOCK_ERROR = 0.003


@dataclass(frozen=True)
class Run:
    """One run of the worker, and what the fakes saw of it."""

    process_seconds: float
    seconds: float
    api_requests: int
    smallest_gap: float
    wrong: int
    peak: float


class Network:
    """A stack whose parts are separate processes with the latency of the cloud."""

    def __init__(self, running: Running, proxy_url: str) -> None:
        self._running = running
        self._proxy = Control(proxy_url)
        self.environment = {**running.environment(), "SUPABASE_URL": proxy_url}

    def queue(self, count: int, channels: int) -> None:
        """Start over with `count` due notifications."""
        self._running.reset()
        with psycopg.connect(self._running.database_url, autocommit=True) as connection:
            LocalStack(self._running, connection).queue_notifications(count, channels)
            connection.execute("analyze")
        self._running.slack.configure(latency=SLACK_LATENCY)
        self._proxy.clear_journal()

    def run(self, count: int, channels: int, **settings: object) -> Run:
        """Queue `count` notifications over the channels and drain them in one run."""
        self.queue(count, channels)
        texts = {name.upper(): str(value) for name, value in settings.items()}
        started = time.monotonic()
        environment = {**self.environment, "SLACK_WORKSPACE_RATE": "0", **texts}
        ended = run_function("notifications", TIMEOUT, environment)
        process_seconds = time.monotonic() - started
        messages = self._running.slack.state()["messages"]
        arrivals = [[one["arrived"] for one in channel] for channel in messages.values()]
        return Run(
            process_seconds=process_seconds,
            seconds=ended["seconds"],
            api_requests=self._proxy.count(),
            smallest_gap=min(b - a for channel in arrivals for a, b in pairwise(channel)),
            wrong=_wrong(messages, count, channels),
            peak=ended["peak"],
        )

    def original(self, count: int, channels: int) -> float:
        """The seconds that the original design would take for `count` notifications."""
        sample = min(count, ORIGINAL_SAMPLE)
        self.queue(sample, min(channels, sample))
        return original.drain(self.environment, sample) * count / sample


def drains(progress: Progress, sizes: Sizes) -> list[Figure]:
    """One shows what posting in parallel gains, the others how close it comes to the pace."""
    with _network(progress) as network:
        figures = _wide(network, *sizes.wide, progress)
        for count, channels in sizes.paced:
            figures += _paced(network, count, channels, progress)
    return figures


def _wide(network: Network, count: int, channels: int, progress: Progress) -> list[Figure]:
    run = network.run(count, channels)
    progress(f"{count:,} drained in {run.seconds:.2f} s; now with NOTIFICATION_CONCURRENCY=1")
    alone = network.run(count, channels, notification_concurrency=1)
    progress(f"drained in {alone.seconds:.2f} s; now the original design")
    original_seconds = network.original(count, channels)
    slower = min(alone.seconds, original_seconds)
    times = slower / run.seconds
    return [
        _drain(
            run, count, channels, original_seconds,
            target=f"{TIMES_FASTER:g} x faster than the faster of one at a time "
            f"({slower:.1f} s): {times:.1f}",
            met=times >= TIMES_FASTER,
        ),
        Figure(
            "  ours one at a time",
            alone.seconds,
            "s",
            floor=count * SLACK_LATENCY,
            original=original_seconds,
        ),
        *_record(run, count, channels, original_seconds),
    ]  # fmt: skip


def _paced(network: Network, count: int, channels: int, progress: Progress) -> list[Figure]:
    run = network.run(count, channels)
    progress(f"{count:,} drained in {run.seconds:.2f} s; now the original design")
    original_seconds = network.original(count, channels)
    ratio = run.seconds / _floor(count, channels)
    return [
        _drain(
            run, count, channels, original_seconds,
            target=f"at most {PACE_RATIO} x the floor: {ratio:.3f}",
            met=ratio <= PACE_RATIO,
        ),
        *_record(run, count, channels, original_seconds),
    ]  # fmt: skip


def _drain(
    run: Run, count: int, channels: int, original_seconds: float, *, target: str, met: bool
) -> Figure:
    return Figure(
        f"drain of {count:,} over {channels} channels",
        run.seconds,
        "s",
        floor=_floor(count, channels),
        original=original_seconds,
        target=target,
        met=met,
        note=_NOTE,
    )


_NOTE = (
    f"Drains: Slack's fake with {SLACK_LATENCY * 1000:.0f} ms, the data API with "
    f"{API_LATENCY * 1000:.0f} ms latency, no limit for the workspace; from the handler's call to "
    "its return in a fresh process. Floor: computed from the channels' pace (1 a second) or "
    f"{CONCURRENCY} posts at a time, whichever is longer. Original: a claim of {original.BATCH}, "
    "then for each notification a read of its config, a post and an update; measured on "
    f"{ORIGINAL_SAMPLE} and scaled; it does not pace."
)


def _floor(count: int, channels: int) -> float:
    paced = (count // channels - 1) * CHANNEL_GAP + SLACK_LATENCY
    side_by_side = math.ceil(count / min(channels, CONCURRENCY)) * SLACK_LATENCY
    return max(paced, side_by_side)


def _record(run: Run, count: int, channels: int, original_seconds: float) -> list[Figure]:
    """What the run's record must show, regardless of speed."""
    requests = run.api_requests / count
    return [
        Figure(
            "  its whole process, imports included",
            run.process_seconds,
            "s",
            floor=_floor(count, channels),
            original=original_seconds,
        ),
        Figure(
            "  data-API requests per notification",
            requests,
            "",
            original=2 + 1 / original.BATCH,
            target=f"at most 1 in 6 ({run.api_requests} of {count / 6:.0f})",
            met=requests <= REQUESTS_PER_NOTIFICATION,
        ),
        Figure(
            "  smallest gap in a channel",
            run.smallest_gap,
            "s",
            floor=CHANNEL_GAP,
            target="at least 1 s",
            met=run.smallest_gap >= CHANNEL_GAP - CLOCK_ERROR,
            at_any_size=True,
        ),
        Figure(
            "  messages lost, duplicated or out of order",
            run.wrong,
            "",
            target="none",
            met=run.wrong == 0,
            at_any_size=True,
        ),
        Figure("  its peak memory", run.peak, "MB"),
    ]


def _wrong(messages: Mapping[str, list[dict[str, Any]]], count: int, channels: int) -> int:
    """How many positions in the channels' histories differ from what was queued."""
    wanted = [str(number) for number in range(1, count // channels + 1)]
    wrong = len(wanted) * max(0, channels - len(messages))
    for channel in messages.values():
        texts = [message["text"] for message in channel]
        wrong += sum(a != b for a, b in zip(texts, wanted, strict=False))
        wrong += abs(len(texts) - len(wanted))
    return wrong


@contextmanager
def _network(progress: Progress) -> Iterator[Network]:
    with Stack(seed=False) as running, distant(running.api_url) as proxy_url:
        progress("the stack is up")
        yield Network(running, proxy_url)
