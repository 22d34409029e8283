"""One round after the other, each from a seed of its own."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.soak import deliveries, retentions, syncs
from tests.soak.ground import Ground
from tests.soak.tally import Tally, assert_silent
from workers.telemetry import logger

PLAYS: tuple[tuple[str, Callable[[Ground, random.Random, Tally], None]], ...] = (
    ("notifications", deliveries.play),
    ("metrics", syncs.play),
    ("retention", retentions.play),
)


def play(ground: Ground, seed: int, tally: Tally) -> None:
    """The round of a seed, which also says whose it is: three in a row are one of each worker.

    What goes wrong follows from the seed alone; in which microsecond a process is killed does
    not. Raises AssertionError where a promise is broken.
    """
    worker, round_of = PLAYS[seed % len(PLAYS)]
    with _overheard(ground):
        round_of(ground, random.Random(seed), tally)  # noqa: S311
    tally.add("rounds", worker)


@contextmanager
def _overheard(ground: Ground) -> Iterator[None]:
    """The log of the runs within this process, kept from the terminal and read for secrets."""
    said = io.StringIO()
    handlers = [
        handler
        for handler in logging.getLogger(logger.name).handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    before = [handler.setStream(said) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
    assert_silent(said.getvalue(), ground.secrets)
