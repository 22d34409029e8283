"""Round after round, each from its own seed."""

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
    """Play the round of a seed, which also selects the worker: three in a row are one of each.

    What goes wrong follows from the seed alone; the microsecond of a kill does not. Raises
    AssertionError for a broken promise.
    """
    worker, round_of = PLAYS[seed % len(PLAYS)]
    with _overheard(ground):
        round_of(ground, random.Random(seed), tally)  # noqa: S311
    tally.add("rounds", worker)


@contextmanager
def _overheard(ground: Ground) -> Iterator[None]:
    """Keep the log of runs in this process off the terminal, and search it for secrets."""
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
