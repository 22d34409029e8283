"""How much the benchmarks measure: for docs/performance.md, or just enough to see it all work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.server.console.large import Amounts

# Told what goes on.
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sizes:
    """`paced` and `wide` are drains, as (notifications, channels): the former are bound by the
    channels' pace, the latter by how much is posted side by side. `queues` are rows, the first
    of which the others are compared with; `claims` out of each are timed. `messages` come one by
    one to a run that lingers. `ads` are those of an account, `days` how many of them a sync reads.
    `rows` are archived and purged, among so many that are `kept`. `logs` are sync logs. So many
    functions (None: all) are started cold, each `starts` times. `beside`: an
    earlier commit is measured as well, where there is one to compare with. `console` is what its
    pages are shown of, each of them `visits` times.
    """

    wide: tuple[int, int]
    paced: tuple[tuple[int, int], ...]
    queues: tuple[int, ...]
    claims: int
    messages: int
    ads: tuple[int, ...]
    days: int
    connections: int
    rows: int
    kept: tuple[int, ...]
    logs: int
    functions: int | None
    starts: int
    beside: bool
    console: Amounts
    visits: int


FULL = Sizes(
    wide=(500, 250),
    paced=((500, 25), (5_000, 250)),
    queues=(10_000, 100_000, 600_000),
    claims=20,
    messages=40,
    ads=(200, 2_000),
    days=31,
    connections=1_000,
    rows=200_000,
    kept=(0, 1_000_000),
    logs=1_000_000,
    functions=None,
    starts=5,
    beside=True,
    console=Amounts(
        notifications=1_000_000, channels=50, runs=50_000, requests=5_000, accounts=300, ads=92,
        days=365, charted=31, unnamed=200, activity=100_000,
    ),  # 10,074,000 rows of the ledger
    visits=20,
)  # fmt: skip

# Says nothing of speed.
SHORT = Sizes(
    wide=(40, 20),
    paced=((20, 10),),
    queues=(1_000, 2_000),
    claims=2,
    messages=3,
    ads=(8,),
    days=3,
    connections=40,
    rows=1_000,
    kept=(0, 2_000),
    logs=2_000,
    functions=2,
    starts=1,
    beside=False,
    console=Amounts(
        notifications=300, channels=4, runs=100, requests=12, accounts=8, ads=6, days=40,
        charted=35, unnamed=10, activity=100,
    ),
    visits=1,
)  # fmt: skip
