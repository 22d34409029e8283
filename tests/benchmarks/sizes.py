"""The sizes of the benchmarks: for docs/performance.md, or just enough to check that all works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.server.console.large import Amounts

# Called with what is going on.
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sizes:
    """`paced` and `wide` are drains, as (notifications, channels): the former are limited by
    the channels' pace, the latter by the number of parallel posts. `queues` are rows; the others
    are compared with the first, and `claims` from each are timed. `messages` arrive one by one at a
    lingering run. `ads` are those of an account, `days` how many days a sync reads. `rows` are
    archived and purged, among those `kept`. `logs` are sync logs. `functions` (None: all) are
    cold-started, each `starts` times. `beside`: an earlier commit is measured as well, if there is
    one to compare with. `console` is the data of its pages, each shown `visits` times.
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

# Does not measure speed.
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
